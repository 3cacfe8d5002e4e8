"""The parts of the calibration that test pairs of series: errors, power, bounds; a process for every row."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from calibration_page import judged, rate
from thermograd.analysis.calibration.calibrate import Measured, measure, random_numbers
from thermograd.analysis.calibration.zoo import ZOO, Process, coupled, nulls as null_processes
from thermograd.analysis.calibration.zoo.memory import cont
from thermograd.analysis.calibration.zoo.one_lag import (
    cont_trend,
    in_degrees,
    noisy_sensor,
    restless_cont,
)
from thermograd.analysis.calibration.zoo.process import Pair, Rng
from thermograd.analysis.calibration.zoo.signals import held
from thermograd.analysis.coupling.cross_correlation import Coupling, residual_cross_correlation
from thermograd.analysis.coupling.detectable import smallest_detectable
from thermograd.analysis.coupling.linear_algebra import one_blas_thread

__all__ = ["MOST_REJECTIONS", "absent", "bounds", "nulls", "power", "reach"]

MOST_REJECTIONS, MOST_COUPLED, LEAST_COVERED = 0.065, 0.05, 0.93
LEAST_EXCLUDED, MOST_DENIED = 0.85, 0.05
ERROR = 2.0  # standard errors of a rate that a goal with "binomial error" allows
RHO0 = 0.2
# by name and bins: the least rate of p <= .05
LEAST_POWER = {
    ("cont .2", 400): 0.72,
    ("cont .3", 400): 0.98,
    ("cont_trend .3", 400): 0.95,
    ("spike 2", 400): 0.92,
    ("missing15", 400): 0.92,
    ("slow10-trends", 400): 0.95,
    ("slow30-trends", 400): 0.95,
    ("slow60-trends", 400): 0.95,
    ("slow30-noise.3", 1500): 0.95,
}
Row = tuple[object, ...]


def together(work: Callable[..., Row], calls: list[tuple[object, ...]], jobs: int) -> Iterator[Row]:
    """Yield the rows of many calls in their order, so many at a time."""
    if jobs < 2:
        yield from (work(*call) for call in calls)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(work, *call) for call in calls]
        for row in waiting:
            yield row.result()


def measured(process: Process, m: int, runs: int, seed: int) -> Measured:
    """Measure one process of the zoo."""
    return measure(process.name, process.make, m, runs, true_lag=process.lag_s, seed=seed)


def most(goal: float, runs: int) -> float:
    """Return the rate that a goal allows with its binomial error."""
    return goal + ERROR * float(np.sqrt(goal * (1 - goal) / runs))


# -- nothing is coupled ----------------------------------------------------------------------------


def nulls(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Count what is wrong where nothing is coupled, at three lengths."""
    lengths = {75: runs, 400: runs, 1500: max(1, round(0.3 * runs))}
    calls = [(name, m, count, seed) for m, count in lengths.items() for name in null_processes()]
    yield from together(null_row, calls, jobs)


def null_row(name: str, m: int, runs: int, seed: int) -> Row:
    """Return one row of it."""
    found = measured(ZOO[name], m, runs, seed)
    met = judged(found.found <= MOST_REJECTIONS * runs)
    held = judged(found.coupled <= most(MOST_COUPLED, runs) * runs)
    excluded = f"{found.excluded / runs:.3f}" if m >= 1000 else ""
    naive = f"{found.naive / runs:.2f}"
    return name, m, runs, naive, rate(found.found, runs), met, rate(found.coupled, runs), held, excluded


# -- something is coupled --------------------------------------------------------------------------


def power(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Count how often a coupling is found, and its lag."""
    lengths = {75: runs, 400: runs, 1500: max(1, round(0.3 * runs))}
    calls = [(name, m, count, seed) for m, count in lengths.items() for name in coupled()]
    yield from together(power_row, calls, jobs)


def power_row(name: str, m: int, runs: int, seed: int) -> Row:
    """Return one row of it."""
    found, goal = measured(ZOO[name], m, runs, seed), LEAST_POWER.get((name, m))
    met = "" if goal is None else judged(found.found >= goal * runs)
    lag = rate(found.lag_found, runs) if ZOO[name].lag_s is not None else ""
    rates = rate(found.found, runs), f"{found.coupled / runs:.3f}", lag
    return name, m, runs, *rates, "" if goal is None else f">= {goal:g}", met


def absent(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Count how often a coupling that is there is said to be absent."""
    yield from together(absent_row, [(name, m, runs, seed) for m in (1000, 1500) for name in coupled()], jobs)


def absent_row(name: str, m: int, runs: int, seed: int) -> Row:
    """Return one row of it; with a goal where the sentence claims to exclude the kind and the size."""
    process = ZOO[name]
    found = measured(process, m, runs, seed)
    claimed = process.response in ("one lag", "slow") and abs(process.rho or RHO0) >= RHO0
    met = judged(found.excluded <= most(MOST_DENIED, runs) * runs) if claimed else ""
    return name, process.response, m, runs, rate(found.excluded, runs), met


# -- bounds ----------------------------------------------------------------------------------------

Rated = Callable[[Rng, int, float], Pair]


def held_at_fixed_seconds(rng: Rng, m: int, rho: float) -> Pair:
    """Return a coupling of which either side is shown every 5 bins only, always at the same ones."""
    pair = cont(rng, m, rho, 5)
    return Pair(held(pair.x, 5, 0), held(pair.y, 5, 2))


BOUNDED: dict[str, Rated] = {
    "plain": lambda rng, m, rho: cont(rng, m, rho, 5),
    "lag 11 s": lambda rng, m, rho: cont(rng, m, rho, 11),
    "opposite trends": lambda rng, m, rho: cont_trend(rng, m, rho, 5),
    "one shared burst": lambda rng, m, rho: restless_cont(rng, m, rho, 1),
    "four shared bursts": lambda rng, m, rho: restless_cont(rng, m, rho, 4),
    "both held for 5 s": held_at_fixed_seconds,
    "whole degrees, sd .5": in_degrees,
    "sensor noise as large": noisy_sensor,
}


@one_blas_thread()
def drawn(name: str, m: int, rho: float, runs: int, seed: int, permutations: int = 0) -> list[Coupling]:
    """Return what is found in runs of a process whose strength can be chosen."""
    found = []
    for run in range(runs):
        pair = BOUNDED[name](random_numbers(f"bound {name} {rho:.3f}", m, seed, run), m, rho)
        found.append(residual_cross_correlation(pair.x, pair.y, permutations=permutations, seed=run))
    return found


def bounds(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Count how often all lags lie within the half-width of their truth."""
    calls = [(name, m, rho, runs, seed) for name in BOUNDED for m in (400, 1000) for rho in (0.0, 0.3)]
    yield from together(bounds_row, calls, jobs)


def bounds_row(name: str, m: int, rho: float, runs: int, seed: int) -> Row:
    """Return one row of it. The truth of what the sensor shows is the mean profile over all runs."""
    found = drawn(name, m, rho, runs, seed)
    profiles = np.array([result.profile[result.lags >= 0] for result in found])
    widths = np.array([result.half_width for result in found])
    truth = profiles.mean(axis=0) if rho else np.zeros(profiles.shape[1])
    inside = int((np.abs(profiles - truth).max(axis=1) <= widths).sum())
    seen = f"{truth[np.argmax(np.abs(truth))]:.2f}"
    met = judged(inside >= LEAST_COVERED * runs)
    return name, m, f"{rho:g}", seen, runs, f"{widths.mean():.3f}", rate(inside, runs), met


def reach(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Count how often the smallest detectable correlation is detected: in 90 % of runs, it is said."""
    yield from together(reach_row, [(name, m, runs, seed) for name in BOUNDED for m in (400, 1000)], jobs)


def reach_row(name: str, m: int, runs: int, seed: int) -> Row:
    """Return one row of it.

    The statement is of what the sensor shows: the coupling is made so strong that the readings correlate by
    it, with the mean inflation of runs in which something is coupled.
    """
    trial = drawn(name, m, 0.3, 60, seed + 1)
    at = int(np.argmax(np.mean([result.profile[result.lags >= 0] for result in trial], axis=0)))
    seen = float(np.mean([result.profile[result.lags >= 0][at] for result in trial]))
    stated = float(np.mean([detectable(result) for result in trial]))
    rho = min(0.95, 0.3 * stated / seen)
    hits = sum(result.p <= 0.05 for result in drawn(name, m, rho, runs, seed, permutations=499))
    met = judged(0.85 * runs <= hits <= 0.97 * runs)
    return name, m, f"{stated:.3f}", f"{rho:.3f}", runs, rate(hits, runs), met


def detectable(result: Coupling) -> float:
    """Return the smallest correlation that such a run would show."""
    columns = max(result.n - result.df - 2, 0)
    return smallest_detectable(
        result.n, columns=columns, lags=result.alternatives, inflation=result.inflation
    )
