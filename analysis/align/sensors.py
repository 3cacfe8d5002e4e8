"""What readings tell of their sensor: whether it holds its values, averages them, how finely it shows them.

Everything is found from the readings alone, and only where it is plain: a temperature in whole degrees
that stays the same for a while is no sensor that holds.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Mask
from thermograd.store.align.matching import time_array

_FEWEST_CHANGES = 24
_SHORTEST_HOLD = 1.5  # intervals between samples
_LONGEST_HOLD = 20  # updates that a run must hold at least
_ON_LATTICE = 0.9  # of the concentration that changes at even times would have, seen by the samples
_SURE = 8.0  # minus the logarithm of how often chance may do it
_EARLY = 0.02  # share of the changes that may come sooner than a whole period after the one before
_BOTH_WAYS = 0.15  # share of the changes that go up, and down: a steady rise in whole degrees changes evenly
_IN_STEP = 0.3  # of a sample interval: spread of the changes where both have one clock
_OVERSAMPLED = 8  # of the frequencies
_SHORTEST_WINDOW, _LONGEST_WINDOW = 3, 200  # bins
_NOTCH, _NOTCH_SD = 0.18, 5.5  # least depth of the notch, and in its standard deviations
_ALONE = 0.6  # of the notch: no other lag reaches it, each half of the series does
_NOTHING_THERE = 0.15
_LIKE, _LIKE_IN_HALVES = 0.88, 0.65  # correlation with the memory of means of means
_SHORTEST_SLOPE = 8  # bins; a shorter one may as well be a sharp window over a memory
_FEWEST_STEPS = 5  # distinct ones: a flag has no mean
_OWN_PAST = 10


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """A sensor that shows a new value at even times and repeats it in between."""

    period_s: float  # between its updates
    first: Mask  # shape (n,): the first sample of every update


def held(time_ns: ArrayLike, values: ArrayLike) -> Hold | None:
    """Recognise a sensor that repeats each value until its next update; None where it is not plain.

    Its changes lie on a lattice in time, at most one a period, up as well as down. A signal that simply
    does not change (whole degrees) changes at any time.

    Parameters
    ----------
    time_ns
        Shape (n,): times of the samples, int64 nanoseconds, ascending.
    values
        Shape (n,): the readings, NaN where there is none.

    Examples
    --------
    >>> readings = np.repeat(np.random.default_rng(0).standard_normal(100), 4)
    >>> found = held(np.arange(400) * 10**9, readings)
    >>> found.period_s, int(found.first.sum())
    (4.0, 100)
    """
    times, readings = time_array(time_ns, "time_ns"), np.asarray(values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(readings))
    at = (times[known] - times[0]) / 1e9 if known.size else np.empty(0)
    change = np.flatnonzero(np.diff(readings[known])) + 1
    if change.size < _FEWEST_CHANGES or not _go_both_ways(np.diff(readings[known])):
        return None
    interval_s = float(np.median(np.diff(at)))
    if change.size > at.size / _SHORTEST_HOLD or interval_s <= 0:
        return None
    period_s = _lattice(at[change], interval_s)
    if period_s is None:
        return None
    number = np.floor((at - _begin(at[change], period_s, interval_s)) / period_s)
    first = np.zeros(times.size, dtype=np.bool_)
    first[known[np.append(True, np.diff(number) > 0)]] = True
    return Hold(float(period_s), first)


def _go_both_ways(steps: Floats) -> bool:
    up, down = (steps > 0).sum(), (steps < 0).sum()
    return bool(min(up, down) >= _BOTH_WAYS * (up + down))


def _lattice(changes: Floats, interval_s: float) -> float | None:
    """Return the period of the lattice on which changes lie, in seconds; None where they do not."""
    place = np.round((changes - changes[0]) / interval_s).astype(np.int64)
    if place[-1] > 64 * changes.size + 10**6:
        return None  # a wrong time stamp
    from scipy import fft  # where it is needed: it takes longer to import than `show` to answer

    size = fft.next_fast_len(_OVERSAMPLED * (int(place[-1]) + 1), real=True)
    train = np.bincount(place, minlength=size).astype(np.float64)
    strength = np.abs(fft.rfft(train)) / changes.size
    first = max(1, math.ceil(size * _LONGEST_HOLD / (place[-1] + 1)))
    last = math.floor(size / _SHORTEST_HOLD)
    spectrum = np.append(strength, strength[-2:0:-1] if size % 2 == 0 else strength[:0:-1])[: last + 1]
    turns = np.arange(spectrum.size) / size  # a sample interval
    by_chance = math.sqrt((math.log(size) + _SURE) / changes.size)  # Rayleigh's test, of all frequencies
    wanted = np.maximum(_ON_LATTICE * np.sinc(turns), by_chance)
    good = np.flatnonzero(spectrum[first:] >= wanted[first:]) + first
    if not good.size:
        return None
    # The slowest lattice counts; its multiples fit as well. Of the neighbouring frequencies the best.
    near = good[good <= good[0] + _OVERSAMPLED]
    period_s = _refined(changes, interval_s / turns[near[np.argmax(spectrum[near])]])
    early = np.diff(changes) < period_s - 1.5 * interval_s
    exact = np.diff(changes) < 0.6 * period_s
    return period_s if max(early.mean(), exact.mean()) <= _EARLY else None


def _refined(changes: Floats, period_s: float) -> float:
    """Correct a period by how far the phase of the changes drifts between the halves of the run."""
    for _ in range(3):
        turns = np.exp(2j * np.pi * changes / period_s)
        halves = np.array_split(turns, 2), np.array_split(changes, 2)
        drift = float(np.angle(np.mean(halves[0][1]) * np.conj(np.mean(halves[0][0])))) / (2 * np.pi)
        between = float(np.mean(halves[1][1]) - np.mean(halves[1][0]))
        period_s = 1.0 / (1.0 / period_s - drift / between)
    return period_s


def _begin(changes: Floats, period_s: float, interval_s: float) -> float:
    """Return from which phase on, in seconds, a sample shows the new value of its period for certain."""
    centre = float(np.angle(np.mean(np.exp(2j * np.pi * changes / period_s)))) / (2 * np.pi) * period_s
    off = (changes - centre) / period_s
    low, high = np.quantile((off - np.round(off)) * period_s, (0.01, 0.99))
    in_step = high - low < _IN_STEP * interval_s  # the sampler's clock is the sensor's
    return centre + (float(low) - _IN_STEP / 4 * interval_s if in_step else float(high) - 1e-6)


def averaged_over(values: ArrayLike) -> int | None:
    """Recognise a running mean, of a sensor or a logger; return its window in bins, None where not plain.

    The difference of neighbouring means of w bins is what comes in less what came in w bins ago: the
    differences' autocorrelation has one sharp notch, at lag w, of up to -1/2, and nothing at 2 w (an
    oscillation has something there). Means of means, whose window is a triangle of 2 w bins, fall evenly to
    that notch and rise evenly to nothing. Both halves of the series must show it.

    Parameters
    ----------
    values
        Shape (n,): a signal on a regular grid, NaN in a bin without a value. Windows of 3 bins to an eighth
        of n, at most 200, are looked for.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(620)
    >>> averaged_over(np.convolve(noise, np.ones(20) / 20, mode="valid"))
    20
    """
    series = np.asarray(values, dtype=np.float64)
    longest = min(_LONGEST_WINDOW, series.size // 8)
    steps = np.diff(series)
    if longest < 8 or np.unique(steps[np.isfinite(steps)]).size < _FEWEST_STEPS:
        return None
    memory = _difference_memory(series, 2 * longest + 1)
    window = int(np.argmin(memory[_SHORTEST_WINDOW : longest + 1])) + _SHORTEST_WINDOW
    deep = memory[window] < -max(_NOTCH, _NOTCH_SD / math.sqrt(series.size))
    if not deep or abs(memory[2 * window]) > max(_NOTHING_THERE, 3.0 / math.sqrt(series.size)):
        return None
    halves = [_difference_memory(half, 3 * window) for half in np.array_split(series, 2)]
    if window >= _SHORTEST_SLOPE and _falls_and_rises(memory, halves, window):
        return 2 * window
    return window if _one_notch(memory[: longest + 1], halves, window) else None


def _one_notch(memory: Floats, halves: list[Floats], window: int) -> bool:
    near, notch = max(2, window // 4), float(memory[window])
    others = np.append(memory[1 : max(1, window - near)], memory[window + near + 1 :])
    in_each = all(half[window - 1 : window + 2].min() < _ALONE * notch for half in halves)
    return bool(others.min(initial=0.0) > _ALONE * notch) and in_each


def _falls_and_rises(memory: Floats, halves: list[Floats], window: int) -> bool:
    """Return whether differences remember as those of means of means do: 1, evenly to -1/2, evenly to 0."""
    lag = np.arange(1, 3 * window + 1)
    shape = np.where(lag <= window, 1 - 1.5 * lag / window, np.minimum(0.5 * lag / window - 1, 0.0))
    fits = [_likeness(each[1 : lag.size + 1], shape) for each in (memory, *halves)]
    return fits[0] > _LIKE and min(fits[1:]) > _LIKE_IN_HALVES


def _likeness(values: Floats, shape: Floats) -> float:
    shape = shape[: values.size]
    return float(np.corrcoef(values, shape)[0, 1]) if np.ptp(values) > 0 else 0.0


def _difference_memory(series: Floats, lags: int) -> Floats:
    """Return the autocorrelation of the differences, large ones cut; shape (lags + 1,)."""
    steps = np.diff(series)
    known = np.isfinite(steps)
    steps = np.where(known, steps - steps[known].mean(), 0.0) if known.any() else np.zeros(steps.size)
    size = 1.25 * float(np.abs(steps[known]).mean()) if known.any() else 0.0
    if size == 0.0 or steps.size <= lags:
        return np.zeros(lags + 1)
    from scipy import fft

    spectrum = fft.rfft(np.clip(steps, -2 * size, 2 * size), 2 * fft.next_fast_len(steps.size))
    products = fft.irfft(np.abs(spectrum) ** 2)[: lags + 1]
    return np.asarray(products / products[0])


@dataclass(frozen=True, slots=True)
class Fineness:
    """How finely readings show what they measure."""

    resolution: float  # smallest step between two distinct readings, in their unit; NaN for fewer than two
    # share of the variance of what neither past nor trend tells (the innovations) that is rounding alone: a
    # twelfth of the squared resolution; 0 to 1
    rounding: float
    # the same for all that goes and comes back from one reading to the next: rounding, sensor noise, and
    # whatever of the signal itself is as fast; so at most this much is noise
    noise: float

    @property
    def kept(self) -> float:
        """Share of a correlation with the measured quantity that rounding leaves to the readings."""
        return math.sqrt(1.0 - self.rounding)


def fineness(values: ArrayLike) -> Fineness:
    """Estimate from a sensor's readings their resolution, and how much of what is new in them is noise.

    Parameters
    ----------
    values
        Shape (n,): the readings at even times, NaN where there is none.

    Examples
    --------
    >>> walk = 60 + np.cumsum(np.random.default_rng(0).normal(0, 0.3, 4000))
    >>> found = fineness(np.round(walk))
    >>> found.resolution, 0.3 < found.rounding < 0.7
    (1.0, True)
    """
    readings = np.asarray(values, dtype=np.float64)
    readings = readings[np.isfinite(readings)]
    distinct = np.unique(readings)
    if distinct.size < 2:
        return Fineness(math.nan, 0.0, 0.0)
    apart = np.diff(distinct)
    apart = apart[apart > 1e-9 * max(np.abs(distinct).max(), np.ptp(distinct))]
    resolution = float(f"{apart.min():.6g}") if apart.size else math.nan  # .1, not .0999999999
    innovation = _innovation_variance(readings)
    steps = np.diff(readings)
    back = (
        -float(np.mean((steps[1:] - steps.mean()) * (steps[:-1] - steps.mean()))) if steps.size > 2 else 0.0
    )
    if not innovation > 0:
        return Fineness(resolution, 0.0, 0.0)
    rounding = min(1.0, resolution**2 / 12.0 / innovation) if math.isfinite(resolution) else 0.0
    return Fineness(resolution, rounding, min(1.0, max(rounding, back / innovation)))


def _innovation_variance(readings: Floats) -> float:
    """Return the variance of what a few past readings do not tell of the next one."""
    orders = min(_OWN_PAST, readings.size // 10)
    if readings.size < 4:
        return 0.0
    centred = readings - readings.mean()
    past = [centred[orders - k : centred.size - k] for k in range(1, orders + 1)]
    columns = np.column_stack([np.ones(centred.size - orders), *past])
    now = centred[orders:]
    left = now - columns @ np.linalg.lstsq(columns, now, rcond=None)[0]
    return float(left.var())
