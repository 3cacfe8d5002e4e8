"""Spikes and shifts against planted truth, rolling correlations against river, the layer an event."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from river import stats, utils

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from goals import layer
from goals.goal import Goal, main
from thermograd.benchmarks.correlation_grid import CorrelationGrid
from thermograd.stream.correlation import RollingCorrelation
from thermograd.stream.level_shift import LevelShift
from thermograd.stream.spike import SpikeDetector
from training_series import Score, Series, training_series

WINDOW = 128


def measure(quick: bool) -> Iterator[Goal]:
    """Measure everything; each part a second or two where it is quick."""
    yield from detectors(5 if quick else 250, 5 if quick else 120)
    yield from one_pair(2 if quick else 7)
    yield from many_pairs(1 if quick else 12)
    yield from layer.measure(quick)


def version_2() -> SpikeDetector:
    """Return the rule of before the second deviation."""
    return SpikeDetector(k=6.0, rebase_steps=32, usual=False)


def flags(detector: SpikeDetector | LevelShift, values: list[float]) -> list[bool]:
    """Return which steps a fresh detector flags."""
    found = []
    for x in values:
        detector.update(x)
        found.append(detector.detected)
    return found


def detectors(clean_count: int, disturbed_count: int) -> Iterator[Goal]:
    """Clean series of 4,000 steps each, and disturbed ones, on seeds that no rule was chosen on."""
    quiet, calm, spikes, before, shifts = Score(), Score(), Score(), Score(), Score()
    clean = [training_series(5_000_000 + seed, disturbed=False) for seed in range(clean_count)]
    for one in clean:
        quiet.add(one, flags(SpikeDetector(), one.values), ())
    for one in clean[: clean_count // 5]:
        calm.add(one, flags(LevelShift(), one.values), ())
    for one in (training_series(6_000_000 + seed) for seed in range(disturbed_count)):
        for score, detector in ((spikes, SpikeDetector()), (before, version_2())):
            score.add(one, flags(detector, one.values), ("single", "sustained"))
        shifts.add(one, flags(LevelShift(), one.values), ("sustained", "ramp"))
    yield Goal(
        "stream.spike_false", "spikes: false alarms per 10,000 clean steps", quiet.false_per_10k, 6.0, "",
        counted(quiet),
    )  # fmt: skip
    yield Goal(
        "stream.spike_false_disturbed", "spikes: false alarms per 10,000 disturbed steps",
        spikes.false_per_10k, 6.0, "", counted(spikes),
    )  # fmt: skip
    yield Goal(
        "stream.spike_recall", "spikes: share found of those planted", spikes.recall(), before.recall(), "",
        f"as much as version 2; {shares(spikes)}; version 2: {shares(before)}", at_least=True,
    )  # fmt: skip
    yield Goal(
        "stream.spike_recall_x10", "spikes of x10 and more found", spikes.recall("x10+"), 1.0, "",
        f"{spikes.found['x10+']} of {spikes.planted['x10+']}", at_least=True,
    )  # fmt: skip
    yield Goal("stream.spike_f1", "spikes: F1", spikes.f1, 0.927, "", f"version 2: {before.f1:.3f}", True)
    yield Goal(
        "stream.shift_sustained", "shifts: sustained ones found", shifts.recall("sustained"), 0.85, "",
        shares(shifts), at_least=True,
    )  # fmt: skip
    yield Goal("stream.shift_ramps", "shifts: ramps found", shifts.recall("ramp"), 0.6, "", "", True)
    yield Goal(
        "stream.shift_false", "shifts: false alarms per 10,000 clean steps", calm.false_per_10k, 1.0, "",
        counted(calm),
    )  # fmt: skip
    yield from a_step(clean[0])


def counted(score: Score) -> str:
    """Return how many false alarms there were in how many steps, and twice their Poisson error."""
    error = 2e4 * math.sqrt(max(score.false_alarms, 1)) / score.steps
    return f"{score.false_alarms} in {score.steps:,} steps, +- {error:.2f}"


def shares(score: Score) -> str:
    """Return what was found of each group."""
    return ", ".join(f"{group} {score.found[group]} of {n}" for group, n in sorted(score.planted.items()))


def a_step(series: Series) -> Iterator[Goal]:
    """Processor time of a step, with that of a pair of river's correlation in the same rounds."""
    values, spent = series.values, {"spike": math.inf, "shift": math.inf, "river": math.inf}
    works: dict[str, Callable[[], object]] = {
        "spike": lambda: flags(SpikeDetector(), values),
        "shift": lambda: flags(LevelShift(), values),
        "river": lambda: follow(utils.Rolling(stats.PearsonCorr, window_size=WINDOW), values),
    }
    for _ in range(9):
        for name, work in works.items():
            spent[name] = min(spent[name], cpu_us(work, len(values)))
    peer = f"river's rolling correlation of a pair: {spent['river']:.2f} us"
    yield Goal("stream.spike_us", "spikes: a step", spent["spike"], 5.0, "us", peer)
    yield Goal("stream.shift_us", "shifts: a step", spent["shift"], 3.0, "us", peer)


def follow(one: object, values: list[float]) -> None:
    """Feed a rolling correlation, and ask it at every step."""
    for x in values:
        one.update(x, 1.0 / x)  # type: ignore[attr-defined]
        one.get()  # type: ignore[attr-defined]


def cpu_us(work: Callable[[], object], count: int) -> float:
    """Return the processor time of one round, in microseconds for each of `count`."""
    begun = time.process_time()
    work()
    return 1e6 * (time.process_time() - begun) / count


def one_pair(rounds: int) -> Iterator[Goal]:
    """One pair, asked at every step."""
    values = np.exp(np.random.default_rng(0).normal(size=10_000)).tolist()
    ours = theirs = math.inf
    for _ in range(rounds):
        ours = min(ours, cpu_us(lambda: follow(RollingCorrelation(WINDOW), values), len(values)))
        peer = utils.Rolling(stats.PearsonCorr, window_size=WINDOW)
        theirs = min(theirs, cpu_us(lambda peer=peer: follow(peer, values), len(values)))  # type: ignore[misc]
    shown = f"{ours:.2f} us against {theirs:.2f}"
    yield Goal("stream.pair", "correlation of one pair against river's", ours / theirs, 0.5, "x", shown)


def many_pairs(rounds: int, pairs: int = 100, lags: int = 21) -> Iterator[Goal]:
    """100 pairs at 21 lags against as many of river's: least time of a tick, in turns.

    Both give all correlations after every tick; ours also with two of its blocks of ticks at once.
    """
    rng = np.random.default_rng(0)
    x, y = rng.normal(1.0, 0.1, (700, pairs)), rng.normal(1980.0, 15.0, (700, pairs))
    xs, ys = x.tolist(), y.tolist()
    grid, many = CorrelationGrid(pairs, lags, WINDOW), CorrelationGrid(pairs, lags, WINDOW)
    block = 2 * (WINDOW - lags)
    results = np.empty((block, lags, pairs))
    peers = [
        [utils.Rolling(stats.PearsonCorr, window_size=WINDOW) for _ in range(pairs)] for _ in range(lags)
    ]

    def theirs(t: int) -> None:
        for lag, row in enumerate(peers):
            for pair, one in enumerate(row):
                one.update(xs[t - lag][pair], ys[t][pair])
                one.get()

    def ours(t: int, ticks: int) -> None:
        for at in range(t, t + ticks):
            grid.update(x[at], y[at])
            grid.get()

    ours(lags, WINDOW)
    for t in range(lags, lags + WINDOW):
        theirs(t)
    fast = at_once = slow = math.inf
    for turn in range(rounds):
        t = lags + WINDOW + turn * 4
        for tick in range(t, t + 4):
            slow = min(slow, cpu_us(lambda tick=tick: theirs(tick), 1))  # type: ignore[misc]
        fast = min(fast, cpu_us(lambda t=t: ours(t, block), block))  # type: ignore[misc]
        at_once = min(at_once, cpu_us(lambda: many.follow(x[:block], y[:block], results), block))
    for how, key, spent in (("one by one", "", fast), (f"{block} at once", "_at_once", at_once)):
        shown = f"{spent:.1f} us a tick against {slow:.0f}; all correlations after every tick"
        what = f"{pairs} pairs x {lags} lags, ticks {how}: river's time, in ours"
        yield Goal(f"stream.grid{key}", what, slow / spent, 400.0, "x", shown, at_least=True)


if __name__ == "__main__":
    main(measure)
