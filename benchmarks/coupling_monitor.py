"""False alarms of the coupling monitor on uncoupled days, and how soon it sees a coupling that begins.

Run with: python benchmarks/coupling_monitor.py --days 5
"""

import argparse
import statistics
import sys
import time

import numpy as np
from thermograd.analysis.calibration.processes import NULLS, autoregressive
from thermograd.stream.coupling.detector import CouplingMonitor

UNCOUPLED = ("ar.5", "ar.9", "ar.98", "trend", "heavy")
DAY = 86_400
QUIET = 3_600  # ticks before a coupling begins
PATIENCE = 5_400


def false_alarms(name: str, days: int, seed: int) -> tuple[int, float, float]:
    """Watch so many uncoupled days at 1 Hz; return alarms, largest e-value, CPU microseconds a tick."""
    rng = np.random.default_rng([sum(name.encode()), seed])
    alarms, largest, begun = 0, 0.0, time.process_time()
    for _ in range(days):
        pair = NULLS[name](rng, DAY)
        monitor = CouplingMonitor()
        for x, y in zip(pair.x.tolist(), pair.y.tolist(), strict=True):
            monitor.update(x, y)
            largest = max(largest, monitor.e_value)
        alarms += monitor.alarms
    return alarms, largest, 1e6 * (time.process_time() - begun) / (days * DAY)


def delay(rho: float, seed: int, whole_degrees: bool, phi: float = 0.9) -> int | None:
    """Switch a coupling on, y being 5 ticks behind; return ticks until the alarm, None if there is none."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((2, QUIET + PATIENCE))
    strength = np.where(np.arange(noise.shape[1]) < QUIET, 0.0, rho)
    behind = strength * np.roll(noise[0], 5) + np.sqrt(1.0 - strength**2) * noise[1]
    x, y = autoregressive(noise[0], phi), autoregressive(behind, phi)
    if whole_degrees:
        t = np.arange(x.size) / x.size
        x, y = 2.0 * np.exp(-3.0 * t) + 0.3 * x, np.round(45.0 + 20.0 * (1.0 - np.exp(-5.0 * t)) + y)
    monitor = CouplingMonitor()
    for tick, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        monitor.update(a, b)
        if monitor.detected and tick >= QUIET:
            return tick - QUIET
    return None


def main() -> None:
    """Parse the arguments and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=5, help="uncoupled days per process")
    parser.add_argument("--runs", type=int, default=24, help="runs per coupling")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| process | days | false alarms | per 24 h | largest e-value | us a tick |")
    print("|---|--:|--:|--:|--:|--:|")
    for name in UNCOUPLED:
        alarms, largest, cost_us = false_alarms(name, arguments.days, arguments.seed)
        each = alarms / arguments.days
        print(f"| {name} | {arguments.days} | {alarms} | {each:.2f} | {largest:.3g} | {cost_us:.0f} |")
        sys.stdout.flush()
    print("\n| coupling | runs | found | median delay s | slowest s |\n|---|--:|--:|--:|--:|")
    for whole_degrees in (False, True):
        for rho in (0.5, 0.3, 0.2):
            found = [delay(rho, arguments.seed + 1 + run, whole_degrees) for run in range(arguments.runs)]
            seen = sorted(ticks for ticks in found if ticks is not None)
            label = f"rho {rho}" + (", trend, whole degrees" if whole_degrees else ", AR .9")
            middle = statistics.median(seen) if seen else float("nan")
            print(f"| {label} | {len(found)} | {len(seen)} | {middle:.0f} | {max(seen, default=0)} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
