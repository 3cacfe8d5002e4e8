"""Steps and samples brought together: both series on one causal clock; plain arrays in, plain arrays out."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.align.matching import interval_mean, time_array
from thermograd.analysis.arrays import Floats, Ints, Mask, Times

_GAP_INTERVALS = 5.0  # a hole longer than this many median intervals ends a segment
_CLOCK_SLACK = 0.9  # a nominal 1 Hz clock jitters; a median this close to the minimum period is native


@dataclass(frozen=True, slots=True, eq=False)
class CausalGrid:
    """Two series on one clock, every value made only from what was known by its time.

    Attributes
    ----------
    x, y
        Shape (n,): training and hardware values at the grid times, all finite.
    time_ns
        Shape (n,): end of each interval, int64 nanoseconds, ascending.
    segment
        Shape (n,): number of the gap-free stretch a value belongs to, from 0. Values of different
        segments are no neighbours; `residual_cross_correlation` takes it as `segments`.
    period_s
        Median interval of the grid, in seconds (NaN for an empty grid); a lag of one bin is this long.
    clock
        Whose clock it is: "samples", "steps", or "bins" (both were faster than the minimum period).
    n_dropped
        What was left out, by reason; the reason names what is counted (steps, samples or intervals).
    """

    x: Floats
    y: Floats
    time_ns: Times
    segment: Ints
    period_s: float
    clock: str
    n_dropped: dict[str, int]


def causal_grid(
    step_time_ns: ArrayLike,
    step_values: ArrayLike,
    sample_time_ns: ArrayLike,
    sample_values: ArrayLike,
    *,
    min_period_s: float = 1.0,
    minimum_stretch: int = 30,
) -> CausalGrid:
    """Put a training signal and a hardware signal on the slower of their two clocks.

    Samples slower than steps: x is the mean of the steps in (previous sample, this sample], y is
    the sample. Steps slower: y is the mean of the samples in (previous step, this step]. Both
    faster than the minimum period: both are averaged over bins of that period. Nothing is repeated
    and nothing comes from the future, so n is an honest count.

    Where the grid has a hole of more than 5 median intervals, a new segment begins. Segments are
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
    samples = times[last], values[last]
    dropped["samples repeated at the same time"] = int((~last).sum())
    if steps[0].size < 2 or samples[0].size < 2:
        return _empty_grid(dropped)
    clock, edges, starts = _clock(steps[0], samples[0], min_period_s)
    x, y = interval_mean(starts, edges, *steps), interval_mean(starts, edges, *samples)
    inside = (edges >= steps[0][0]) & (starts < steps[0][-1])
    filled = _filled(inside, x, y, dropped)
    segment = _segments(edges[filled])
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
        time_ns=edges[chosen],
        segment=np.unique(segment[long_enough], return_inverse=True)[1].astype(np.int64),
        period_s=float(np.median(np.diff(edges[filled]))) / 1e9,
        clock=clock,
        n_dropped=dict(+dropped),  # what is not zero
    )


def _cleaned(time_ns: ArrayLike, values: ArrayLike, name: str, dropped: Counter[str]) -> tuple[Times, Floats]:
    times, numbers = time_array(time_ns, f"{name}_time_ns"), np.asarray(values, dtype=np.float64)
    if times.shape != numbers.shape:
        raise ValueError(f"{name}_time_ns has shape {times.shape} but {name}_values {numbers.shape}")
    finite = np.isfinite(numbers)
    dropped[f"{name}s without a finite value"] = int((~finite).sum())
    order = np.argsort(times[finite], kind="stable")
    return times[finite][order], numbers[finite][order]


def _clock(steps: Times, samples: Times, min_period_s: float) -> tuple[str, Times, Times]:
    """Return whose clock the grid follows, the ends of its intervals, and their starts."""
    distinct = np.unique(steps)
    step_ns = float(np.median(np.diff(distinct))) if distinct.size > 1 else 0.0
    sample_ns = float(np.median(np.diff(samples))) if samples.size > 1 else 0.0
    period_ns = max(step_ns, sample_ns)
    if period_ns < _CLOCK_SLACK * min_period_s * 1e9:
        width = round(min_period_s * 1e9)
        first, last = max(distinct[0], samples[0]), min(distinct[-1], samples[-1])
        # Only bins that hold a sample: one wrong time stamp must not span decades of empty ones.
        number = np.unique(-((first - samples) // width))
        edges = first + width * number[(number >= 1) & (number <= (last - first) // width)]
        return "bins", edges, edges - width
    clock, edges = ("samples", samples) if sample_ns >= step_ns else ("steps", distinct)
    starts = np.append(edges[0] - round(period_ns), edges[:-1])
    # After a hole the first interval is one median long: it must not average over the hole.
    after_hole = edges - starts > _GAP_INTERVALS * period_ns
    return clock, edges, np.where(after_hole, edges - round(period_ns), starts)


def _filled(inside: Mask, x: Floats, y: Floats, dropped: Counter[str]) -> Ints:
    """Return the indices of the usable intervals, and count the others by their first fault."""
    with_step, with_sample = np.isfinite(x), np.isfinite(y)
    dropped["intervals outside the time of the steps"] = int((~inside).sum())
    dropped["intervals without a step"] = int((inside & ~with_step).sum())
    dropped["intervals without a sample"] = int((inside & with_step & ~with_sample).sum())
    return np.flatnonzero(inside & with_step & with_sample)


def _segments(edges: Times) -> Ints:
    if edges.size < 2:
        return np.zeros(edges.size, dtype=np.int64)
    spacing = np.diff(edges)
    return np.append(0, np.cumsum(spacing > _GAP_INTERVALS * np.median(spacing))).astype(np.int64)


def _empty_grid(dropped: Counter[str]) -> CausalGrid:
    nothing, whole = np.empty(0), np.empty(0, dtype=np.int64)
    return CausalGrid(nothing, nothing.copy(), whole, whole.copy(), float("nan"), "none", dict(+dropped))
