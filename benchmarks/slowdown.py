"""How often the interval of the slowdown while throttled holds the truth, and is silent where there is none.

    python benchmarks/slowdown.py                  # 400 trainings a row, some ten minutes
    python benchmarks/slowdown.py --runs 50

Trainings of known truth, seeded: step times with a memory, a drift, rare long steps, and phases in which
every step is 2.5 times as long; stretches of throttling that come regularly, at random, or a few times. What
the statistic is told of the throttling is exact, from a counter or from bits that are read once a second.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import scipy.signal
from scipy.stats import binomtest
from thermograd.analysis.arrays import Floats
from thermograd.analysis.run.incident.slowdown import Slowdown, slowdown
from thermograd.analysis.run.incident.throttled_steps import any_share
from thermograd.store.throttling.reasons import HEAT
from thermograd.store.throttling.spans import throttled_spans

_NS = 1e9


class Training(NamedTuple):
    """What a simulated training is like."""

    throttling: str  # "regular", "random", "six times" or "flickering"
    minutes: float
    step_s: float
    memory: float  # correlation of neighbouring steps
    phases: int
    told: str  # "exactly", "counter" or "bits"


def throttled_at(rng: np.random.Generator, seconds: float, kind: str) -> tuple[Floats, Floats]:
    """Return when stretches of throttling begin and end, s."""
    if kind == "regular":
        begin = np.arange(rng.uniform(0, 20), seconds, 20.0)
        return begin, begin + rng.uniform(5, 10)
    if kind == "random":
        edges = np.cumsum(rng.exponential(60, size=2 * int(seconds / 60) + 10))
        return edges[::2], edges[1::2]
    if kind == "flickering":  # half of the time in every third minute
        begin = np.arange(0.0, seconds, 0.77)
        begin = begin[begin // 60 % 3 == 1]
        return begin, begin + 0.385
    begin = (np.arange(6) + rng.uniform(0.2, 0.7, 6)) * seconds / 6
    return begin, begin + 0.04 * seconds


def draw(seed: int, training: Training, ratio: float) -> tuple[Floats, Floats, Floats]:
    """Return when steps end, how long they take, and the share of each that was throttled."""
    rng = np.random.default_rng([seed, *training.throttling.encode(), round(100 * training.memory)])
    seconds = 60 * training.minutes
    n = int(seconds / training.step_s)
    noise = rng.standard_normal(n) * 0.08 * np.sqrt(1 - training.memory**2)
    step_s = training.step_s * np.exp(scipy.signal.lfilter([1], [1, -training.memory], noise))
    step_s *= np.linspace(1.0, 1.2, n)
    step_s[np.arange(n) * (training.phases + 1) // n % 2 == 1] *= 2.5
    long = rng.random(n) < 0.005
    step_s[long] *= rng.uniform(2, 30, long.sum())
    begin, end = throttled_at(rng, 1.2 * step_s.sum(), training.throttling)
    end_s, step_s = slowed(step_s, begin, end, ratio)
    return end_s, step_s, told(end_s, step_s, begin, end, training.told)


def slowed(step_s: Floats, begin: Floats, end: Floats, ratio: float) -> tuple[Floats, Floats]:
    """Return when steps end and how long they take where throttled work takes `ratio` times as long."""
    edges = np.sort(np.concatenate([[0.0], begin, end]))
    slow = np.searchsorted(begin, edges, side="right") > np.searchsorted(end, edges, side="right")
    work = np.append(0.0, np.cumsum(np.diff(edges) / np.where(slow, ratio, 1.0)[:-1]))
    end_s = np.interp(np.cumsum(step_s), work, edges)
    return end_s, np.diff(end_s, prepend=0.0)


def told(end_s: Floats, step_s: Floats, begin: Floats, end: Floats, how: str) -> Floats:
    """Return the share of each step that was throttled, as `how` tells it."""
    edges = np.sort(np.concatenate([[0.0], begin, end]))
    slow = np.searchsorted(begin, edges, side="right") > np.searchsorted(end, edges, side="right")
    spent = np.append(0.0, np.cumsum(np.diff(edges) * slow[:-1]))
    if how == "exactly":
        return (np.interp(end_s, edges, spent) - np.interp(end_s - step_s, edges, spent)) / step_s
    at = np.arange(0.0, end_s[-1] + 1)
    columns = {"throttled_thermal_ns": (np.interp(at, edges, spent) * _NS).astype(np.int64)}
    if how == "bits":
        on = np.searchsorted(begin, at, side="right") > np.searchsorted(end, at, side="right")
        columns = {"clock_event_mask": (0x20 * on).astype(np.uint64)}
    spans = throttled_spans(pa.table({"time_ns": (at * _NS).astype(np.int64)} | columns))
    return any_share(((end_s - step_s) * _NS, end_s * _NS), [spans], HEAT)


def estimate(seed: int, training: Training, ratio: float) -> Slowdown:
    """Return what is found in one training."""
    return slowdown(*draw(seed, training, ratio), sampled=training.told == "bits")


def rows(pool: ProcessPoolExecutor, runs: int, only: str) -> Iterator[str]:
    """Yield a row of the table for each kind of training."""
    shapes = (
        ("regular", 60.0, 0.5),
        ("random", 240.0, 2.0),
        ("random", 60.0, 0.5),
        ("six times", 240.0, 2.0),
        ("flickering", 60.0, 2.3),
    )
    for shape, memory, phases, how in product(
        shapes, (0.0, 0.9, 0.99), (0, 6), ("exactly", "counter", "bits")
    ):
        if only not in shape[0] or (how != "exactly" and (memory, phases) != (0.9, 0)):
            continue
        training = Training(*shape, memory, phases, how)
        hits, calls, known, width = [], [], [], []
        for ratio in (1.4, 1.0):
            found = list(
                pool.map(partial(estimate, training=training, ratio=ratio), range(runs), chunksize=20)
            )
            told_of = [each for each in found if each.low is not None and each.high is not None]
            known.append(len(told_of))
            hits.append(sum(each.low <= ratio <= each.high for each in told_of))
            calls.append(sum(each.slower for each in told_of))
            width.append(np.median([each.high - each.low for each in told_of]) if told_of else np.nan)
        yield (
            f"| {training.throttling} | {training.minutes:g} min of {training.step_s:g} s | {memory:g} | "
            f"{phases} | {how} | "
            f"{_share(hits[0], known[0])} | {_share(hits[1], known[1])} | {_share(calls[1], known[1])} | "
            f"{calls[0]} of {known[0]} | {width[0]:.3f} |"
        )


def _share(count: int, of: int) -> str:
    if not of:
        return "none told"
    interval = binomtest(count, of).proportion_ci()
    return f"{count / of:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=400, help="trainings a row and ratio")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="regular, random, six times, flickering")
    given = parser.parse_args()
    names = "throttled|training|memory|phases|told|covers 1.4|covers 1|false claims|finds 1.4|width"
    print(f"| {' | '.join(names.split('|'))} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(given.workers) as pool:
        for row in rows(pool, given.runs, given.only):
            print(row, flush=True)


if __name__ == "__main__":
    main()
