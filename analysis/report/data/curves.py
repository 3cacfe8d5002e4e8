"""Curves for a screen or a page: gaps stay gaps, and thinning (`decimate`) keeps every extreme."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from thermograd.analysis.arrays import Floats, Ints, Mask

_HOLE_INTERVALS = 5.0  # a hole longer than this many median intervals is a gap, as in `align`
_PACE = 9  # of so many intervals before or after it: steps may become slower for good
_HOLE_S = 2.0
_FEW_DECADES = 300.0


@dataclass(frozen=True, eq=False)
class Line:
    """One curve of a device, or (device None) of the training, with a label for a person.

    `time_s` and `values` have shape (n,): seconds since the run's first event; NaN is a gap in the curve.
    Of `total` recorded values `shown` are left, every extreme among them. A `dashed` curve is no measurement
    of this recording: a bound, or what an imported log had derived.
    """

    label: str
    device: str | None
    time_s: Floats
    values: Floats
    shown: int
    total: int
    dashed: bool = False

    @property
    def lowest(self) -> float:
        """The lowest recorded value: thinning keeps it."""
        return float(np.nanmin(self.values))

    @property
    def highest(self) -> float:
        """The highest recorded value."""
        return float(np.nanmax(self.values))

    def thinned(self, buckets: int) -> "Line":
        """Return the curve with each bucket's lowest and highest value only."""
        kept = decimate(self.time_s, self.values, buckets)
        values = self.values[kept]
        shown = int(np.isfinite(values).sum())
        return replace(self, time_s=self.time_s[kept], values=values, shown=shown)

    @cached_property
    def isolated(self) -> Mask:
        """Values with a gap on either side, which a curve alone would not show; shape (n,)."""
        finite = np.isfinite(self.values)
        before, after = np.append(False, finite[:-1]), np.append(finite[1:], False)
        alone: Mask = finite & ~before & ~after
        return alone


@dataclass(frozen=True, eq=False)
class Band:
    """Several devices together: lowest, middle and highest value of each stretch of time.

    `time_s` (middles of the stretches), `low`, `middle` (median of the devices' means) and `high` have shape
    (n,), NaN where no device has a value. Of `total` values of so many `devices` every extreme is kept.
    """

    label: str
    devices: int
    time_s: Floats
    low: Floats
    middle: Floats
    high: Floats
    total: int

    @property
    def lowest(self) -> float:
        """The lowest value of all."""
        return float(np.nanmin(self.low))

    @property
    def highest(self) -> float:
        """The highest value of all."""
        return float(np.nanmax(self.high))

    @property
    def note(self) -> str:
        """What a reader must know of it."""
        return (
            f"{self.label}: {self.total:,} values of {self.devices} devices in {self.time_s.size:,} "
            f"stretches of time, every extreme kept; they range from {self.lowest:.6g} to "
            f"{self.highest:.6g}. The thin line is the median of the devices."
        )


def make_line(
    label: str,
    device: str | None,
    time_s: Floats,
    values: Floats,
    buckets: int,
    keep_s: Floats | None = None,
    dashed: bool = False,
) -> Line:
    """Return a curve of all recorded points, decimated, with gaps where nothing was measured.

    The nearest points of `keep_s`, such as the times of alerts, are kept too.
    """
    total = int(np.isfinite(values).sum())
    holes = _holes(time_s)
    if holes.size:
        middle = (time_s[holes] + time_s[holes + 1]) / 2
        time_s, values = np.insert(time_s, holes + 1, middle), np.insert(values, holes + 1, np.nan)
    kept = decimate(time_s, values, buckets, None if keep_s is None else _nearest(time_s, keep_s))
    shown = np.where(np.isfinite(values[kept]), values[kept], np.nan)
    return Line(label, device, time_s[kept], shown, int(np.isfinite(shown).sum()), total, dashed)


def averaged(time_s: Floats, values: Floats, width_s: float) -> tuple[Floats, Floats]:
    """Return the mean of the values in each stretch of time that has some, and the stretches' middles.

    Examples
    --------
    >>> averaged(np.array([0.0, 1.0, 2.0, 7.0]), np.array([0.0, 1.0, 1.0, 1.0]), 2.0)
    (array([1., 3., 7.]), array([0.5, 1. , 1. ]))
    """
    last = max(0.0, math.ceil(float(time_s[-1]) / width_s) - 1)  # a value at the very end is of the last
    stretch = np.minimum(np.floor(time_s / width_s), last).astype(np.int64)
    which, place = np.unique(stretch, return_inverse=True)
    middle_s: Floats = (which.astype(np.float64) + 0.5) * width_s
    return middle_s, np.bincount(place, values) / np.bincount(place)


def _nearest(time_s: Floats, wanted_s: Floats) -> Ints:
    if not time_s.size:
        return np.empty(0, dtype=np.int64)
    after = np.clip(np.searchsorted(time_s, wanted_s), 1, max(1, time_s.size - 1))
    earlier = wanted_s - time_s[after - 1] <= time_s[np.minimum(after, time_s.size - 1)] - wanted_s
    return np.minimum(np.where(earlier, after - 1, after), time_s.size - 1)


def _holes(time_s: Floats) -> Ints:
    """Return after which points nothing was recorded for long, by the pace just before and after."""
    intervals = np.diff(time_s)
    if not intervals.size or intervals.max() <= _HOLE_S:
        return np.empty(0, dtype=np.int64)
    padded = np.pad(intervals, _PACE - 1, mode="reflect" if intervals.size > 1 else "edge")
    windows = sliding_window_view(padded, _PACE)
    long = np.flatnonzero(intervals > _HOLE_S)  # only these can be holes: the rest need no pace
    until, since = np.median(windows[long], axis=1), np.median(windows[long + _PACE - 1], axis=1)
    return long[intervals[long] > _HOLE_INTERVALS * np.maximum(until, since)]


def decades(lines: Iterable[Line | Band]) -> list[float]:
    """Return at most a dozen values within curves of positive values, for a logarithmic axis.

    Powers of ten; where these are few 2 and 5 times them too.
    """
    ends = [(line.lowest, line.highest) for line in lines]
    lowest, highest = min(low for low, _ in ends), max(high for _, high in ends)
    first, last = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
    if highest < _FEW_DECADES * lowest:
        values = [times * 10.0**k for k in range(first, last + 1) for times in (1, 2, 5)]
        return [value for value in values if lowest / 2 <= value <= 2 * highest]
    return [10.0**k for k in range(first, last + 1, 1 + (last - first) // 6)]


def shown_value(value: float) -> str:
    """Return a value to six digits; millions in full, where those would be written as a power of ten.

    Examples
    --------
    >>> shown_value(0.8937031), shown_value(1975.0), shown_value(2080513.2)
    ('0.893703', '1975', '2,080,513')
    """
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e12 else f"{value:.6g}"


def decimation_notes(lines: Iterable[Line]) -> tuple[str, ...]:
    """Return of each curve how much of it is shown, where that is not all."""
    return tuple(
        f"{f'{line.label}: ' if line.device else ''}shown are {line.shown:,} of {line.total:,} points, "
        f"every extreme kept; they range from {shown_value(line.lowest)} to {shown_value(line.highest)}."
        for line in lines
        if line.shown < line.total
    )


def decimate(time_s: Floats, values: Floats, buckets: int, keep: Ints | None = None) -> Ints:
    """Return the indices of the points that a screen can show; of no more than two a bucket, all.

    Of each bucket, an equal stretch of time, the lowest, the highest and the first gap (what is not finite)
    stay, besides both ends and the indices in `keep`.

    Examples
    --------
    >>> decimate(np.arange(8.0), np.array([1, 9, 2, 3, 3, 3, 0, 3.0]), 2).tolist()
    [0, 1, 4, 6, 7]
    """
    if values.size <= 2 * buckets:
        return np.arange(values.size)
    finite = np.isfinite(values)
    known = np.flatnonzero(finite)
    chosen = [_extremes(time_s, values, known, buckets), np.array([0, values.size - 1])]
    gaps = np.flatnonzero(~finite)
    if gaps.size:
        chosen.append(gaps[np.unique(buckets_of(time_s, buckets)[gaps], return_index=True)[1]])
    if keep is not None:
        chosen.append(keep)
    return np.unique(np.concatenate(chosen)).astype(np.int64)


def _extremes(time_s: Floats, values: Floats, known: Ints, buckets: int) -> Ints:
    """Return where each bucket has its lowest and its highest known value."""
    if known.size <= 2 * buckets:
        return known
    from tsdownsample import MinMaxDownsampler

    whole = known.size == values.size
    first, second = (np.ascontiguousarray(a if whole else a[known]) for a in (time_s, values))
    search: Any = MinMaxDownsampler  # which has no types
    given = (second,) if first[-1] <= first[0] else (first, second)  # where no time passes, by position
    found = np.asarray(search().downsample(*given, n_out=2 * buckets), dtype=np.int64)
    # Of the whole curve they are taken again: a report must not hang on how a bucket's edge is rounded.
    extremes = np.array([np.argmin(second), np.argmax(second)])
    chosen: Ints = known[np.union1d(found, extremes)]
    return chosen


def buckets_of(time_s: Floats, buckets: int) -> Ints:
    """Return which of so many equal stretches of time each point lies in, shape (n,)."""
    span = time_s[-1] - time_s[0]
    share = (time_s - time_s[0]) / span if span > 0 else np.zeros(time_s.size)
    return np.minimum((share * buckets).astype(np.int64), buckets - 1)
