"""False alarms of the coupling monitor on uncoupled days, and how soon it sees a coupling that begins.

Run with: python benchmarks/coupling_monitor.py --days 5 --only cycle24 pulses20
"""

import argparse
import statistics
import sys
import time
from typing import NamedTuple

import numpy as np
from thermograd.analysis.calibration.processes import autoregressive
from thermograd.analysis.calibration.zoo import Process, nulls
from thermograd.stream.coupling.detector import CouplingMonitor
from thermograd.stream.settings import CouplingSettings

DAY = 86_400
QUIET = 3_600  # ticks before a coupling begins
PATIENCE = 5_400
LOOK_EVERY = 64
EPISODE = CouplingSettings().quiet_s


class Watched(NamedTuple):
    """What a monitor made of one uncoupled day."""

    alerts: int  # alarms less those of the same episode
    withheld: int
    run_e_value: float  # largest
    excess: float  # in the mean
    cost_us: float  # CPU time a tick


def uncoupled_day(process: Process, seed: int, epoch_told: bool) -> Watched:
    """Watch a day at 1 Hz, with the drivers that the process has."""
    pair = process.make(np.random.default_rng([sum(process.name.encode()), seed]), DAY)
    drivers = [()] * pair.x.size if pair.drivers is None else pair.drivers.tolist()
    monitor, alerts, last, largest, excess = CouplingMonitor(len(drivers[0])), 0, -DAY, 0.0, []
    begun = time.process_time()
    for tick, (x, y, told) in enumerate(zip(pair.x.tolist(), pair.y.tolist(), drivers, strict=True)):
        phase = tick / process.cycle_s if epoch_told and process.cycle_s else float("nan")
        monitor.update(x, y, told, phase)
        if monitor.detected:
            alerts += tick - last > EPISODE
            last = tick
        if tick % LOOK_EVERY == 0:
            largest = max(largest, monitor.run_e_value)
            excess.append(float(monitor.excess[0]))
    cost_us = 1e6 * (time.process_time() - begun) / pair.x.size
    return Watched(alerts, monitor.withheld, largest, statistics.mean(excess), cost_us)


def false_alarms(names: list[str], days: int, seed: int) -> None:
    """Print a row for each uncoupled process; a second one with its epoch told, if it has one."""
    print("| process | days | alerts | per 24 h | withheld per 24 h | excess | days of e >= 20 | us a tick |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in names:
        process = nulls()[name]
        for told in (False, True) if process.cycle_s else (False,):
            watched = [uncoupled_day(process, seed + day, told) for day in range(days)]
            alerts, withheld = (sum(day[at] for day in watched) for at in (0, 1))
            excess, cost_us = (statistics.mean(day[at] for day in watched) for at in (3, 4))
            label = f"{name}, epoch told" if told else name
            proven = sum(day.run_e_value >= 20.0 for day in watched)
            print(
                f"| {label} | {days} | {alerts} | {alerts / days:.2f} | {withheld / days:.1f} "
                f"| {excess:.2f} | {proven} | {cost_us:.0f} |"
            )
            sys.stdout.flush()


def one_lag(rho: float, rng: np.random.Generator, phi: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Return series of which the second follows the first 5 ticks later, from some time on."""
    noise = rng.standard_normal((2, QUIET + PATIENCE))
    strength = np.where(np.arange(noise.shape[1]) < QUIET, 0.0, rho)
    behind = strength * np.roll(noise[0], 5) + np.sqrt(1.0 - strength**2) * noise[1]
    return autoregressive(noise[0], phi), autoregressive(behind, phi)


def whole_degrees(rho: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the same under opposite trends, the second in whole degrees."""
    x, y = one_lag(rho, rng)
    t = np.arange(x.size) / x.size
    return 2.0 * np.exp(-3.0 * t) + 0.3 * x, np.round(45.0 + 20.0 * (1.0 - np.exp(-5.0 * t)) + y)


def slow(r: float, rng: np.random.Generator, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Return AR(.3) and, from some time on, its response under white sensor noise."""
    x = autoregressive(rng.standard_normal(QUIET + PATIENCE), 0.3)
    response = autoregressive(x, float(np.exp(-1.0 / tau)))
    strength = np.where(np.arange(x.size) < QUIET, 0.0, r)
    noise = np.sqrt(1.0 - strength**2) * rng.standard_normal(x.size)
    return x, strength * response / response.std() + noise


def delay(x: np.ndarray, y: np.ndarray) -> int | None:
    """Return ticks from when the coupling begins until the alarm, None if there is none."""
    monitor = CouplingMonitor()
    for tick, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        monitor.update(a, b)
        if monitor.detected and tick >= QUIET:
            return tick - QUIET
    return None


def delays(runs: int, seed: int) -> None:
    """Print a row for each coupling."""
    print("\n| coupling | runs | found | median delay s | slowest s |\n|---|--:|--:|--:|--:|")
    kinds = {f"rho {rho}, AR .9": (one_lag, (rho,), ()) for rho in (0.5, 0.3, 0.2)}
    kinds |= {f"rho {rho}, trend, whole degrees": (whole_degrees, (rho,), ()) for rho in (0.5, 0.3, 0.2)}
    kinds |= {
        f"memory {tau} s, R {r}, sensor noise": (slow, (r,), (tau,))
        for tau, r in ((10, 0.5), (30, 0.5), (30, 0.3), (60, 0.5))
    }
    for label, (make, before, after) in kinds.items():
        found = [delay(*make(*before, np.random.default_rng(seed + 1 + run), *after)) for run in range(runs)]
        seen = sorted(ticks for ticks in found if ticks is not None)
        middle = statistics.median(seen) if seen else float("nan")
        print(f"| {label} | {len(found)} | {len(seen)} | {middle:.0f} | {max(seen, default=0)} |")
        sys.stdout.flush()


def main() -> None:
    """Parse the arguments and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=1, help="uncoupled days per process")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="processes of the zoo; all by default")
    parser.add_argument("--runs", type=int, default=24, help="runs per coupling, 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    false_alarms(list(nulls()) if arguments.only is None else arguments.only, arguments.days, arguments.seed)
    if arguments.runs:
        delays(arguments.runs, arguments.seed)


if __name__ == "__main__":
    main()
