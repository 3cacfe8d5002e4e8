"""What a training does again and again, as logged: epochs, evaluations, checkpoints, its own logging.

A loader that does not shuffle makes each batch as hard and as long in every epoch. Such a pattern is in
both sides of a pair, repeats, and fits itself at some lag: it is taken out whole, not its slowest waves only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.special
from thermograd.analysis.align.grid import CausalGrid
from thermograd.analysis.arrays import Floats, Ints, Times
from thermograd.analysis.coupling.cleaning.residuals import trend_basis, trend_order
from thermograd.analysis.run.series import RunSeries

_OF_MARKS = ("evaluation", "checkpoint")
_OF_COLUMNS = ("loss", "learning_rate", "tokens")  # known every few steps only where the training logs so
_FEWEST_TURNS = 2.0
_FEWEST_MARKS = 4  # that show a period
_SAME_INTERVAL = 0.1  # spread of the intervals of marks, as a share
_MOST_EQUAL = 0.9  # share of equal intervals between the steps that were logged
_FEWEST_BINS = 2.0  # in a turn that is resolved
_TWO_DECIMALS = 0.02  # what rounding an epoch may do to its length, in turns over the run
_NEAR_WHOLE = 0.3
_SAME_PHASE = 0.1  # turns
_SLOWLY = 2  # cosines over the run by which a pattern may change
_DRIFTS = 0.01
_DEPENDENT = 1e-9  # of the largest squared size of a direction: this small, it is rounding
_ENOUGH_BINS = 4000  # to choose between two ways


@dataclass(frozen=True, slots=True, eq=False)
class Cycle:
    """One thing that repeats, told by the steps of the run."""

    name: str
    turn: Floats  # shape (n_steps,): turns passed at the end of each step, ascending
    steps: float  # in one turn


def logged_cycles(data: RunSeries) -> list[Cycle]:
    """Return the cycles that the log tells of and that the run goes through at least twice.

    One that goes round a whole number of times in an earlier one (an evaluation after every epoch) is part of
    that one's pattern.
    """
    if data.step_time_ns.size < 2:
        return []
    cycles: list[Cycle] = []
    for each in (_epochs(data), *(_marked(data, kind) for kind in _OF_MARKS), _logging(data)):
        if each is None or np.ptp(each.turn) < _FEWEST_TURNS:
            continue
        if not any(_divides(each, other) for other in cycles):
            cycles.append(each)
    return cycles


def _divides(cycle: Cycle, other: Cycle) -> bool:
    """Return whether a cycle stays in one phase of another: drifts by less than a tenth over the run."""
    ratio = other.steps / cycle.steps
    drift = abs(ratio - round(ratio)) * float(np.ptp(other.turn))
    return ratio > 0.5 and drift < _SAME_PHASE


def cycle_waves(cycle: Cycle, data: RunSeries, grid: CausalGrid, most: int) -> tuple[Floats, int]:
    """Return sines and cosines of the multiples of a cycle on a grid, slowest first.

    The phase is that of the steps, so that epochs may vary in length. Where several steps share a bin,
    the waves are either averaged over them, as the training signal is, or taken at the end of the bin:
    whichever leaves less of the training signal.

    Returns
    -------
    waves
        Shape (n, 2 k) with k <= `most`; none where the bins do not resolve the cycle.
    whole
        How many multiples the whole pattern has; 0 where the bins do not resolve it.
    """
    times = data.step_time_ns
    at_end = np.interp(_seconds(grid.time_ns, grid), _seconds(times, grid), cycle.turn)
    bins = (int(grid.bin[-1]) + 1) / max(float(at_end[-1] - at_end[0]), 1e-9)
    if min(bins, cycle.steps) < _FEWEST_BINS or grid.bin[-1] + 1 < _FEWEST_TURNS * bins:
        return np.empty((grid.x.size, 0)), 0
    shown, whole = int(min(bins, cycle.steps) / 2), int(cycle.steps / 2)
    at_end_of = _waves(at_end, min(shown, most))
    if bins >= cycle.steps or not most:
        return at_end_of, shown
    bounds = _steps_of_bins(data, grid)
    few = _averaged(cycle.turn, bounds[:_ENOUGH_BINS], min(whole, most))
    if few is None or _left(grid, few) >= _left(grid, at_end_of[:_ENOUGH_BINS]):
        return at_end_of, shown
    averaged = _averaged(cycle.turn, bounds, min(whole, most))
    return (at_end_of, shown) if averaged is None else (averaged, whole)


def with_drift(columns: Floats, grid: CausalGrid, room: int) -> Floats:
    """Let a pattern change slowly over the run, where either signal shows that it does.

    Learning changes how hard each batch is. The waves are joined by themselves times one and two slow
    cosines, if these fit into `room` more columns and tell more than chance would (F test, 1 %).
    """
    slow = min(_SLOWLY, room // max(columns.shape[1], 1))
    if not slow:
        return columns
    place = np.pi * (np.arange(grid.x.size) + 0.5) / grid.x.size
    changing = np.hstack([columns, *(columns * np.cos(j * place)[:, None] for j in range(1, slow + 1))])
    trend = trend_basis(grid.x.size, trend_order(grid.x.size), grid.segment)
    models = [np.hstack([trend, each]) for each in (columns, changing)]
    tells = any(_chance(signal, *models) < _DRIFTS for signal in (grid.x, grid.y))
    return changing if tells else columns


def _chance(signal: Floats, fewer: Floats, more: Floats) -> float:
    """Return how often chance lets so many more columns tell so much more."""
    (left, few), (rest, many) = (_left_by(columns, signal) for columns in (fewer, more))
    new, free = many - few, signal.size - many
    if new <= 0 or free <= 0 or rest <= 0:
        return 1.0
    return float(scipy.special.fdtrc(new, free, max(left - rest, 0.0) / new / (rest / free)))


def _left_by(columns: Floats, signal: Floats) -> tuple[float, int]:
    """Return the sum of squares that columns of size about 1 leave of a signal, and their rank."""
    centred = signal - signal.mean()
    sizes, directions = np.linalg.eigh(columns.T @ columns)
    told = directions.T @ (columns.T @ centred)
    kept = sizes > _DEPENDENT * sizes[-1]
    return float(centred @ centred - np.sum(told[kept] ** 2 / sizes[kept])), int(kept.sum())


def _seconds(times: Times, grid: CausalGrid) -> Floats:
    return np.asarray((times - grid.time_ns[0]) / 1e9)


def _waves(turn: Floats, harmonics: int) -> Floats:
    """Return sine and cosine of every multiple of a turn, shape (n, 2 harmonics)."""
    return np.column_stack([turn[:, None][:, :0], *_each_wave(turn, harmonics)])


def _each_wave(turn: Floats, harmonics: int) -> Iterator[Floats]:
    first = np.exp(2j * np.pi * (turn - np.floor(turn[0])))
    wave = np.ones_like(first)
    for _ in range(harmonics):
        wave = wave * first
        yield np.column_stack([wave.imag, wave.real])


def _steps_of_bins(data: RunSeries, grid: CausalGrid) -> Ints:
    """Return the first step of every bin and the one after its last, shape (n, 2)."""
    starts = grid.time_ns - round(grid.period_s * 1e9)
    ends = np.column_stack([starts, grid.time_ns])
    return np.searchsorted(data.step_time_ns, ends, side="right")


def _averaged(turn: Floats, bounds: Ints, harmonics: int) -> Floats | None:
    """Return the waves averaged over the steps of every bin; None where a bin holds no step."""
    counts = np.diff(bounds, axis=1)
    if (counts < 1).any():
        return None
    means = []
    for wave in _each_wave(turn, harmonics):
        sums = np.add.reduceat(np.vstack([wave, np.zeros((1, 2))]), bounds.ravel(), axis=0)[::2]
        means.append(sums / counts)
    return np.column_stack(means)


def _left(grid: CausalGrid, columns: Floats) -> float:
    """Return the sum of squares of the training signal that trend and columns leave."""
    x = grid.x[: len(columns)]
    trend = trend_basis(x.size, trend_order(x.size), grid.segment[: x.size])
    return _left_by(np.hstack([trend, columns]), x)[0]


def _epochs(data: RunSeries) -> Cycle | None:
    epoch = data.training("epoch")
    known = np.flatnonzero(np.isfinite(epoch))
    if known.size < 2:
        return None
    values = _ascending(epoch[known])
    first = np.append(True, np.diff(values) > 0)  # of the rows of one value
    knots, passed = known[first], values[first]
    if knots.size > 2 and (passed == np.round(passed)).all():
        knots, passed = knots[1:], passed[1:]  # the run may begin within an epoch
    return _by_rows("epoch", knots, passed, epoch.size)


def _ascending(epoch: Floats) -> Floats:
    """Let an epoch that goes back, where a training began again, go on in the same phase."""
    back = np.maximum(-np.diff(epoch), 0.0)
    return np.asarray(epoch + np.append(0.0, np.cumsum(np.ceil(back))))


def _by_rows(name: str, knots: Ints, turns: Floats, rows: int) -> Cycle | None:
    """Return the cycle that has passed so many turns at these rows of the steps, evenly between them."""
    if knots.size < 2 or turns[-1] <= turns[0]:
        return None
    steps = float((knots[-1] - knots[0]) / (turns[-1] - turns[0]))
    row = np.arange(rows, dtype=np.float64)
    turn = np.interp(row, knots, turns)
    turn += (np.minimum(row - knots[0], 0.0) + np.maximum(row - knots[-1], 0.0)) / steps
    if abs(steps - round(steps)) < min(_NEAR_WHOLE, _TWO_DECIMALS * steps / (turns[-1] - turns[0])):
        steps = float(round(steps))
    line = row / steps
    offset = np.median(turn - line)
    if np.abs(turn - line - offset).max() * steps < 1.0:  # equally many steps a turn: the rest is rounding
        turn = line + offset
    return Cycle(name, turn, steps)


def _marked(data: RunSeries, kind: str) -> Cycle | None:
    times = mark_times(data, kind)
    name = f"period of {kind} marks"
    if times.size < _FEWEST_MARKS:
        return None
    rows = np.unique(np.searchsorted(data.step_time_ns, times))
    if rows.size >= _FEWEST_MARKS and _even(rows):
        return _by_rows(name, rows, np.arange(rows.size, dtype=np.float64), data.step_time_ns.size)
    times = np.unique(times)
    if times.size < _FEWEST_MARKS or not _even(times):
        return None
    seconds, at = (times - times[0]) / 1e9, (data.step_time_ns - times[0]) / 1e9
    length = float(np.mean(np.diff(seconds)))
    turn = np.interp(at, seconds, np.arange(seconds.size, dtype=np.float64))
    turn += (np.minimum(at, 0.0) + np.maximum(at - seconds[-1], 0.0)) / length
    return Cycle(name, turn, at.size / max(float(np.ptp(turn)), 1e-9))


def mark_times(data: RunSeries, kind: str) -> Times:
    """Return when the marks of a kind were made, int64 ns, in logged order."""
    return np.array([mark["time_ns"] for mark in data.marks if mark["mark"] == kind], dtype=np.int64)


def _even(places: Ints) -> bool:
    spacing = np.diff(places).astype(np.float64)
    return float(np.std(spacing)) <= _SAME_INTERVAL * float(np.mean(spacing))


def _logging(data: RunSeries) -> Cycle | None:
    """Return the cycle of a training that logs a column every few steps only."""
    for name in _OF_COLUMNS:
        rows = np.flatnonzero(np.isfinite(data.training(name)))
        spacing = np.diff(rows)
        if rows.size < _FEWEST_MARKS or np.median(spacing) < 2:
            continue
        if (spacing == np.median(spacing)).mean() >= _MOST_EQUAL:
            turns = np.cumsum(np.append(0.0, np.maximum(1, np.round(spacing / np.median(spacing)))))
            return _by_rows("logging interval", rows, turns, data.step_time_ns.size)
    return None
