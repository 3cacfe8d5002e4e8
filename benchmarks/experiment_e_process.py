"""How often the e-value of an experiment without an effect ever reaches 20, and how soon with one.

``python benchmarks/experiment_e_process.py [R]``: in each world R runs (2000) of 30 minutes, 15 pairs of 60 s
blocks at 2 steps/s, and of 120 minutes; the e-value is looked at after every pair, and so is the mean of two
outcomes, as the alert does. No outcome knows the schedule, but for the last rows.
"""

import sys
from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter
from thermograd.analysis.arrays import Floats
from thermograd.store.experiment.e_process import REJECT_AT, EProcess, pair_contrasts
from thermograd.store.experiment.schedules import Schedule, Switchback

BLOCK_STEPS = 120
EARLY = 3  # pairs
World = Callable[[np.random.Generator, int], Floats]


def _memory(rng: np.random.Generator, size: int, of: float) -> Floats:
    return np.asarray(lfilter([1.0], [1.0, -of], rng.normal(size=size + 2000))[2000:] * np.sqrt(1 - of**2))


def _bursts(rng: np.random.Generator, size: int) -> Floats:
    loud = np.repeat(rng.random(size // 40 + 1) < 0.1, 40)[:size]
    return np.asarray(rng.normal(size=size) * np.where(loud, 30.0, 1.0))


def _driver(rng: np.random.Generator, size: int) -> Floats:
    return rng.normal(size=size) + 2.0 * _memory(rng, size, 0.995)


def _falling(rng: np.random.Generator, size: int) -> Floats:
    return np.asarray(6.0 * np.exp(-np.arange(size) / 1200.0) + 0.1 * _memory(rng, size, 0.8))


def _rhythm(rng: np.random.Generator, size: int) -> Floats:
    return np.asarray(np.sin(2 * np.pi * np.arange(size) / (2 * BLOCK_STEPS)) + 0.1 * rng.normal(size=size))


WORLDS: dict[str, World] = {
    "white": lambda rng, size: rng.normal(size=size),
    "memory (AR .9)": lambda rng, size: _memory(rng, size, 0.9),
    "falling loss": _falling,
    "random walk": lambda rng, size: np.cumsum(rng.normal(size=size)),
    "bursts of 30 sd": _bursts,
    "heavy tails (Cauchy)": lambda rng, size: rng.standard_cauchy(size),
    "driver of 2 sd": _driver,
    "rhythm of two blocks": _rhythm,
    "whole numbers": lambda rng, size: np.round(_memory(rng, size, 0.9)),
    "one step in ten known": lambda rng, size: np.where(
        rng.random(size) < 0.1, rng.normal(size=size), np.nan
    ),
}


def largest(values: Floats, schedule: Schedule) -> tuple[float, float, list[float]]:
    """Return the largest e-value, that of the first pairs, and all of them."""
    process, way = EProcess(), [1.0]
    known = [None if np.isnan(value) else float(value) for value in values]
    for contrast in pair_contrasts(schedule, range(1, len(known) + 1), known):
        process.update(contrast.d)
        way.append(process.e_value)
    return max(way), max(way[: EARLY + 1]), way


def main(count: int) -> None:
    """Print the share of runs that reach 20, by world and length, and of the mean of two outcomes."""
    print(f"R = {count} a row; share of runs whose e-value ever reaches {REJECT_AT:.0f} [95 %]")
    print(f"{'world':24}  pairs  ever                    in {EARLY} pairs  mean of two outcomes")
    for number, (name, world) in enumerate(WORLDS.items()):
        for pairs in (15, 60):
            runs = count if pairs == 15 else count // 4
            _row(name, world, pairs, runs, number, 0.0)
    for size in (0.3, 0.5, 1.0):
        _row(f"effect of {size} sd in AR .8", lambda rng, n: _memory(rng, n, 0.8), 15, count // 4, 99, size)


def _row(name: str, world: World, pairs: int, runs: int, number: int, effect: float) -> None:
    ever = early = mean = 0
    for run in range(runs):
        rng = np.random.default_rng([run, number, pairs])
        schedule = Schedule("duty", Switchback(BLOCK_STEPS), int(rng.integers(2**31)), 1)
        size = 2 * pairs * BLOCK_STEPS
        ways = []
        for _ in range(2):
            values = world(rng, size)
            if effect:
                hot = [schedule.assignment(block).level == "hot" for block in range(2 * pairs)]
                values = values + effect * np.repeat(hot, BLOCK_STEPS)
            ways.append(largest(values, schedule))
        ever += ways[0][0] >= REJECT_AT
        early += ways[0][1] >= REJECT_AT
        mean += np.mean([way for _, _, way in ways], axis=0).max() >= REJECT_AT
    print(
        f"{name:24}  {pairs:5}  {_share(ever, runs)}  {early / runs:10.3f}  {_share(mean, runs)}  R = {runs}",
        flush=True,
    )


def _share(found: int, n: int) -> str:
    """Return a share with its 95 % interval (Wilson)."""
    share, z = found / n, 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"{share:.4f} [{max(middle - half, 0):.3f}, {middle + half:.3f}]"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
