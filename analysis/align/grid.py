"""Steps and samples brought together: both series on one causal clock; plain arrays in, plain arrays out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.align.clocks import GAP_INTERVALS, Clock, common_clock
from thermograd.analysis.arrays import Floats, Ints, Mask, Times
from thermograd.analysis.remembered import plainly
from thermograd.store.align.matching import interval_mean, time_array

_FARTHEST = 0.5  # how far a mean is moved to the middle of its bin, in differences from the one before
_NEAR_BINS = 3  # how far back that one is, at most
_MUCH_LOST = 0.05  # of the bins, in stretches too short


@dataclass(frozen=True, slots=True, eq=False)
class CausalGrid:
    """Two series on one clock, every value made only from what was known by its time.

    Attributes
    ----------
    x, y
        Shape (n,): training and hardware values at the grid times, all finite.
    time_ns
        Shape (n,): end of each interval, int64 nanoseconds, ascending.
    bin
        Shape (n,): number of the interval on a regular lattice of `period_s`, from 0, ascending. Where
        values are missing it jumps, so that a difference of two numbers is a time: a lag counts these,
        not rows. A hole may be long (a wrong time stamp: decades); do not allocate by it.
    segment
        Shape (n,): number of the gap-free stretch a value belongs to, from 0. Values of different
        segments are no neighbours; `residual_cross_correlation` takes it as `segments`.
    period_s
        Length of a bin, in seconds (NaN for an empty grid); a lag of one bin is this long.
    clock
        Whose clock it is: "samples", "steps", or "bins" (both were faster than the minimum period, or
        one came at uneven intervals).
    n_dropped
        What was left out, by reason; the reason names what is counted (steps, samples or intervals).
    notes
        What a reader must know of how the grid came about, a sentence each; mostly none.
    """

    x: Floats
    y: Floats
    time_ns: Times
    bin: Ints
    segment: Ints
    period_s: float
    clock: str
    n_dropped: dict[str, int]
    notes: list[str] = field(default_factory=list)

    @property
    def place(self) -> Ints:
        """Shape (n,): as `bin`, with the holes between segments cut short, so that arrays fit by it."""
        ahead = np.diff(self.bin, prepend=self.bin[:1])
        between = np.diff(self.segment, prepend=self.segment[:1]) > 0
        ahead[between] = np.minimum(ahead[between], GAP_INTERVALS + 1)
        return np.cumsum(ahead)

    def laid_out(self, values: Floats) -> Floats:
        """Put values of shape (n, ...) on their places, NaN where a bin is missing: rows are times then."""
        place = self.place
        whole = np.full((int(place[-1]) + 1 if place.size else 0, *values.shape[1:]), np.nan)
        whole[place] = values
        return whole

    def laid_out_segments(self) -> Ints:
        """Return the segment of every place; a missing bin belongs to the segment before it."""
        place = self.place
        every = np.arange(int(place[-1]) + 1 if place.size else 0)
        return self.segment[np.searchsorted(place, every, side="right") - 1]


def causal_grid(
    step_time_ns: ArrayLike,
    step_values: ArrayLike,
    sample_time_ns: ArrayLike,
    sample_values: ArrayLike,
    *,
    min_period_s: float = 1.0,
    minimum_stretch: int = 30,
    call: Callable[..., Any] = plainly,
) -> CausalGrid:
    """Put a training signal and a hardware signal on the slower of their two clocks.

    Samples slower than steps: x is the mean of the steps in (previous sample, this sample], y is
    the sample. Steps slower: y is the mean of the samples in (previous step, this step]. Both
    faster than the minimum period: both are averaged over bins of that period. Intervals that vary (a
    tenth of them further than a quarter from whole multiples of the median): both are averaged over
    bins long enough that nearly every one holds a value, each mean is moved to the middle of its bin along
    the slope from the one before, and `notes` say so. Nothing is repeated and
    nothing comes from the future, so n is an honest count.

    Where the grid has a hole of more than 5 bins, a new segment begins. Segments are
    kept, rather than only the longest, because a run that evaluates every few minutes would lose
    most of its data; the statistics give each its own level and never pair values across a hole.

    Parameters
    ----------
    step_time_ns, step_values
        Shape (n_steps,), int64 nanoseconds and values on the scale to be averaged (pass the
        logarithm of grad_norm, not grad_norm), in any order. Equal times are averaged.
    sample_time_ns, sample_values
        Shape (n_samples,), of ONE device, in any order; of equal times the last one counts.
    min_period_s
        Finest grid, in seconds. Below 1 s power sensors repeat their own one-second mean.
    minimum_stretch
        Segments with fewer intervals are dropped, unless all are that short: they cannot bear a level
        of their own.
    call
        Calls a function with what it is given; may remember what it was asked (see `Remembered`).

    Returns
    -------
    CausalGrid
        Possibly empty; `n_dropped` says why.

    Raises
    ------
    ValueError
        If times and values differ in shape or `min_period_s` is not positive.
    TypeError
        If a time is not an integer.
    """
    if not min_period_s > 0:
        raise ValueError(f"min_period_s is {min_period_s!r}; expected seconds > 0")
    dropped = Counter[str]()
    steps = _cleaned(step_time_ns, step_values, "step", dropped)
    times, values = _cleaned(sample_time_ns, sample_values, "sample", dropped)
    last = np.append(times[1:] != times[:-1], True)[: times.size]  # of samples at the same time
    samples = (times, values) if last.all() else (times[last], values[last])
    dropped["samples repeated at the same time"] = int((~last).sum())
    if steps[0].size < 2 or samples[0].size < 2:
        return _empty_grid(dropped)
    clock = call(common_clock, steps[0], samples[0], min_period_s)
    x, y = (call(_bin_values, clock, *series) for series in (steps, samples))
    inside = (clock.edges >= steps[0][0]) & (clock.starts < steps[0][-1])
    filled = _filled(inside, x, y, dropped)
    segment = _segments(clock.bin[filled])
    lengths = np.bincount(segment, minlength=1)  # of every stretch
    long_enough = (lengths >= min(minimum_stretch, lengths.max()))[segment]
    too_short = f"intervals in a stretch of fewer than {minimum_stretch} between gaps"
    dropped[too_short] = int((~long_enough).sum())
    chosen = filled[long_enough]
    if chosen.size < 2:
        return _empty_grid(dropped)
    return CausalGrid(
        x=x[chosen],
        y=y[chosen],
        time_ns=clock.edges[chosen],
        bin=clock.bin[chosen] - clock.bin[chosen[0]],
        segment=np.unique(segment[long_enough], return_inverse=True)[1].astype(np.int64),
        period_s=clock.period_ns / 1e9,
        clock=clock.name,
        n_dropped=dict(+dropped),  # what is not zero
        notes=[note for note in (clock.why, _lost(dropped[too_short], filled.size, minimum_stretch)) if note],
    )


def _lost(count: int, of: int, minimum_stretch: int) -> str:
    """Return what a reader must know where pauses cut much of a run into stretches too short to use."""
    if count <= _MUCH_LOST * of:
        return ""
    short = f"stretches of fewer than {minimum_stretch}"
    return f"{count:,} of {of:,} bins are left out: pauses cut them into {short}."


def _cleaned(time_ns: ArrayLike, values: ArrayLike, name: str, dropped: Counter[str]) -> tuple[Times, Floats]:
    times, numbers = time_array(time_ns, f"{name}_time_ns"), np.asarray(values, dtype=np.float64)
    if times.shape != numbers.shape:
        raise ValueError(f"{name}_time_ns has shape {times.shape} but {name}_values {numbers.shape}")
    finite = np.isfinite(numbers)
    dropped[f"{name}s without a finite value"] = int((~finite).sum())
    if not finite.all():
        times, numbers = times[finite], numbers[finite]
    if (times[1:] >= times[:-1]).all():
        return times, numbers
    order = np.argsort(times, kind="stable")
    return times[order], numbers[order]


def _bin_values(clock: Clock, times: Times, values: Floats) -> Floats:
    """Return the mean of what came in every bin; of uneven values as it would be in the bin's middle.

    Where few values come at uneven times, their mean belongs to another moment in every bin, and to the same
    one on both sides: two slopes then look coupled. Each mean is moved to the middle of its bin, along the
    slope from the last bin that holds one, which is known by then; by no more than half their difference.
    """
    means = interval_mean(clock.starts, clock.edges, times, values)
    if not clock.why or not means.size:
        return means
    begin = clock.edges[0]
    at = interval_mean(clock.starts, clock.edges, times, (times - begin) / 1e9)
    filled = np.flatnonzero(np.isfinite(means))
    mean, moment = means[filled], at[filled]
    ahead = (clock.edges[filled] - begin) / 1e9 - clock.period_ns / 2e9 - moment  # from it to the middle
    near = np.diff(clock.bin[filled]) <= _NEAR_BINS
    share = np.clip(ahead[1:] / np.diff(moment), -_FARTHEST, _FARTHEST)
    mean[1:] += np.where(near, share * np.diff(mean), 0.0)
    means[filled] = mean
    return means


def _filled(inside: Mask, x: Floats, y: Floats, dropped: Counter[str]) -> Ints:
    """Return the indices of the usable intervals, and count the others by their first fault."""
    with_step, with_sample = np.isfinite(x), np.isfinite(y)
    dropped["intervals outside the time of the steps"] = int((~inside).sum())
    dropped["intervals without a step"] = int((inside & ~with_step).sum())
    dropped["intervals without a sample"] = int((inside & with_step & ~with_sample).sum())
    return np.flatnonzero(inside & with_step & with_sample)


def _segments(numbers: Ints) -> Ints:
    if numbers.size < 2:
        return np.zeros(numbers.size, dtype=np.int64)
    return np.append(0, np.cumsum(np.diff(numbers) > GAP_INTERVALS)).astype(np.int64)


def _empty_grid(dropped: Counter[str]) -> CausalGrid:
    nothing, none = np.empty(0), np.empty(0, dtype=np.int64)
    empty = nothing, nothing.copy(), none, none.copy(), none.copy()
    return CausalGrid(*empty, float("nan"), "none", dict(+dropped))
