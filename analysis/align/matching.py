"""Which sample belongs to which step, by time alone.

Plain arrays in, plain arrays out. Times are int64 nanoseconds (UTC epoch, or any one clock) and
are compared exactly, in integers: a float64 epoch in seconds resolves only about 0.2 microseconds.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

Times = NDArray[np.int64]
Floats = NDArray[np.float64]

_CHUNK = 4096  # steps handled at a time, so that all temporaries stay in the processor's cache
_BLOCK = 1 << 18  # samples taken apart at a time: likewise, and so that memory does not grow with the run


def nearest(step_time_ns: ArrayLike, sample_time_ns: ArrayLike, tolerance_ns: int) -> NDArray[np.int64]:
    """Match every step with its nearest sample.

    The rule, the same in SQL and in the stream: the smallest distance in time that is no more than
    the tolerance (inclusive); of two samples equally far the earlier one; of several at the same
    time the one logged last, which is the last in the array.

    Parameters
    ----------
    step_time_ns
        Shape (n_steps,), int64 nanoseconds, in any order.
    sample_time_ns
        Shape (n_samples,), int64 nanoseconds, ascending; a stable sort keeps the logged order of
        equal times.
    tolerance_ns
        Largest distance accepted, in nanoseconds.

    Returns
    -------
    ndarray of int64, shape (n_steps,)
        Index of the matched sample; -1 where no sample is near enough.

    Raises
    ------
    ValueError
        If the samples are not ascending, an array is not one-dimensional, or the tolerance is negative.
    TypeError
        If a time is not an integer.

    Examples
    --------
    >>> nearest([10, 20, 90], [12, 18, 22, 22], tolerance_ns=5).tolist()
    [0, 1, -1]
    """
    limit = _tolerance(tolerance_ns)
    return _matched(step_time_ns, sample_time_ns, lambda steps, samples: _nearest(steps, samples, limit))


def nearest_by(
    step_time_ns: ArrayLike,
    step_key: ArrayLike,
    sample_time_ns: ArrayLike,
    sample_key: ArrayLike,
    tolerance_ns: int,
) -> NDArray[np.int64]:
    """Match every step with the nearest sample of the same key: one table of several devices, as logged.

    Parameters
    ----------
    step_time_ns, sample_time_ns, tolerance_ns
        As for `nearest`; the samples ascend as a whole.
    step_key, sample_key
        Shapes (n_steps,) and (n_samples,), integers: the device of each, such as its dictionary index.

    Returns
    -------
    ndarray of int64, shape (n_steps,)
        Index into all samples of the matched one; -1 where no sample of the key is near enough.

    Raises
    ------
    ValueError
        As `nearest`; also if times and keys differ in shape.
    TypeError
        If a time or a key is not an integer.

    Examples
    --------
    >>> nearest_by([10, 11], [0, 1], [9, 10, 14], [1, 1, 0], tolerance_ns=5).tolist()
    [2, 1]
    """
    limit = _tolerance(tolerance_ns)
    steps, samples = time_array(step_time_ns, "step_time_ns"), time_array(sample_time_ns, "sample_time_ns")
    step_keys = _keys(step_key, steps, "step_key")
    sample_keys = _keys(sample_key, samples, "sample_key")
    _require_ascending(samples)
    result = np.full(steps.size, -1, dtype=np.int64)
    order = np.argsort(steps, kind="stable") if (steps[1:] < steps[:-1]).any() else None
    if order is not None:
        steps, step_keys = steps[order], step_keys[order]
    for mine, near in _blocks(steps, samples, int(tolerance_ns)):
        result[mine] = _by_key(steps[mine], step_keys[mine], samples[near], sample_keys[near], limit)
        result[mine][result[mine] >= 0] += near.start
    if order is not None:
        result[order] = result.copy()
    return result


def asof(
    step_time_ns: ArrayLike, sample_time_ns: ArrayLike, tolerance_ns: int | None = None
) -> NDArray[np.int64]:
    """Match every step with the last sample at or before it.

    Parameters
    ----------
    step_time_ns, sample_time_ns
        As for `nearest`.
    tolerance_ns
        Oldest sample accepted, in nanoseconds before the step (inclusive); None accepts any age.

    Returns
    -------
    ndarray of int64, shape (n_steps,)
        Index of the matched sample (of several at the same time the last); -1 where there is none.

    Raises
    ------
    ValueError
        If the samples are not ascending, an array is not one-dimensional, or the tolerance is negative.
    TypeError
        If a time is not an integer.

    Examples
    --------
    >>> asof([10, 20, 90], [12, 18, 22, 22]).tolist()
    [-1, 1, 3]
    """
    limit = None if tolerance_ns is None else _tolerance(tolerance_ns)
    return _matched(step_time_ns, sample_time_ns, lambda steps, samples: _asof(steps, samples, limit))


def interval_mean(
    start_ns: ArrayLike, end_ns: ArrayLike, sample_time_ns: ArrayLike, values: ArrayLike
) -> NDArray[np.float64]:
    """Average the finite samples inside every interval (start, end].

    Parameters
    ----------
    start_ns, end_ns
        Shape (n,), int64 nanoseconds; intervals may overlap and come in any order.
    sample_time_ns
        Shape (n_samples,), int64 nanoseconds, ascending.
    values
        Shape (n_samples,), in any unit; values that are not finite are left out.

    Returns
    -------
    ndarray of float64, shape (n,)
        In the unit of `values`; NaN where an interval holds no finite sample.

    Raises
    ------
    ValueError
        If the samples are not ascending or the shapes do not agree.
    TypeError
        If a time is not an integer.

    Examples
    --------
    >>> interval_mean([0, 10], [10, 20], [0, 5, 10, 30], [1.0, 2.0, 4.0, 8.0]).tolist()
    [3.0, nan]
    """
    starts, ends = time_array(start_ns, "start_ns"), time_array(end_ns, "end_ns")
    times, numbers = time_array(sample_time_ns, "sample_time_ns"), np.asarray(values, dtype=np.float64)
    if starts.shape != ends.shape or times.shape != numbers.shape:
        raise ValueError(
            f"start_ns {starts.shape} and end_ns {ends.shape}, sample_time_ns {times.shape} and "
            f"values {numbers.shape} must have the same shapes, pair by pair"
        )
    _require_ascending(times)
    finite = np.isfinite(numbers)
    order = np.argsort(starts, kind="stable")
    result = np.empty(starts.size)
    result[order] = _means(starts[order], ends[order], times[finite], numbers[finite])
    return result


def time_array(values: ArrayLike, name: str) -> Times:
    """Return one-dimensional integer or datetime64 times as contiguous int64 nanoseconds."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; expected one dimension")
    if array.size and array.dtype.kind not in "iuM":
        raise TypeError(f"{name} is {array.dtype}; expected integer nanoseconds")
    if array.dtype.kind == "M":
        array = array.astype("datetime64[ns]")
    return np.ascontiguousarray(array.astype(np.int64, copy=False))


def _tolerance(tolerance_ns: int) -> np.uint64:
    if tolerance_ns < 0:
        raise ValueError(f"tolerance_ns is {tolerance_ns!r}; expected nanoseconds >= 0")
    return np.uint64(tolerance_ns)


def _require_ascending(samples: Times) -> None:
    # In blocks: one comparison over ten million times would push a temporary through memory.
    for first in range(0, samples.size - 1, 65536):
        block = samples[first : first + 65537]
        falls = block[1:] < block[:-1]
        if falls.any():
            at = first + int(np.argmax(falls)) + 1
            raise ValueError(
                f"sample_time_ns must ascend, but index {at} ({samples[at]}) is before index {at - 1} "
                f"({samples[at - 1]}); sort by time first, with a stable sort"
            )


def _matched(
    step_time_ns: ArrayLike, sample_time_ns: ArrayLike, match: Callable[[Times, Times], NDArray[np.int64]]
) -> NDArray[np.int64]:
    steps, samples = time_array(step_time_ns, "step_time_ns"), time_array(sample_time_ns, "sample_time_ns")
    _require_ascending(samples)
    if not steps.size or not samples.size:
        return np.full(steps.size, -1, dtype=np.int64)
    if not (steps[1:] < steps[:-1]).any():
        return match(steps, samples)
    order = np.argsort(steps, kind="stable")
    result = np.empty(steps.size, dtype=np.int64)
    result[order] = match(steps[order], samples)
    return result


def _keys(keys: ArrayLike, times: Times, name: str) -> NDArray[np.integer]:
    array = np.ascontiguousarray(keys)
    if array.shape != times.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected that of the times, {times.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} is {array.dtype}; expected integers")
    return array.astype(np.int64) if not array.size else array


def _blocks(steps: Times, samples: Times, tolerance: int) -> Iterator[tuple[slice, slice]]:
    """Yield stretches of ascending steps, each with all the samples that any of its steps may match."""
    first, size, ends = 0, _BLOCK, np.iinfo(np.int64)
    while first < steps.size and samples.size:
        at = int(samples.searchsorted(steps[first])) + size
        stop = int(steps.searchsorted(samples[at])) if at < samples.size else steps.size
        mine = slice(first, max(stop, first + 1))
        low = max(int(steps[mine.start]) - tolerance, ends.min)
        high = min(int(steps[mine.stop - 1]) + tolerance, ends.max)
        near = slice(
            int(samples.searchsorted(np.int64(low))), int(samples.searchsorted(np.int64(high), side="right"))
        )
        if near.stop - near.start > 4 * size:  # a tolerance longer than a block: longer blocks
            size *= 2
            continue
        if near.stop > near.start:
            yield mine, near
        first = mine.stop


def _by_key(
    steps: Times,
    step_keys: NDArray[np.integer],
    samples: Times,
    sample_keys: NDArray[np.integer],
    limit: np.uint64,
) -> NDArray[np.int64]:
    result = np.full(steps.size, -1, dtype=np.int64)
    step_groups, sample_groups = _grouped(step_keys), _grouped(sample_keys)
    for key, mine in step_groups.items():
        theirs = sample_groups.get(key)
        if theirs is not None:
            found = _nearest(steps.take(mine), samples.take(theirs), limit)
            result[mine] = np.where(found >= 0, theirs.take(found, mode="clip"), -1)
    return result


def _grouped(keys: NDArray[np.integer]) -> dict[int, NDArray[np.int64]]:
    """Return the places of each key, ascending."""
    # Arrow's stable sort counts where the keys are few: 4 ns a key, numpy's 30.
    order = pc.array_sort_indices(pa.array(keys)).to_numpy().view(np.int64)
    places, start = {}, 0
    while start < order.size:
        key = keys[order[start]]
        stop = bisect_right(order, key, start, key=keys.__getitem__)
        places[int(key)], start = order[start:stop], stop
    return places


def _last_at_or_before(steps: Times, samples: Times) -> NDArray[np.int64]:
    # Ascending steps: each block of them needs only its own short slice of the samples, which is
    # searched in cache; a search of the whole array misses the cache at most of its 23 probes.
    result = np.empty(steps.size, dtype=np.int64)
    heads = np.append(samples.searchsorted(steps[::_CHUNK], side="right"), samples.size)
    for block, first in enumerate(range(0, steps.size, _CHUNK)):
        low, high = heads[block], heads[block + 1]
        found = samples[low:high].searchsorted(steps[first : first + _CHUNK], side="right")
        np.add(found, low - 1, out=result[first : first + _CHUNK])
    return result


def _distance(later: Times, earlier: Times) -> NDArray[np.uint64]:
    # Differences of int64 fit uint64 exactly, however far apart the times are.
    return np.subtract(later, earlier).view(np.uint64)


def _nearest(steps: Times, samples: Times, limit: np.uint64) -> NDArray[np.int64]:
    before = _last_at_or_before(steps, samples)
    inner = slice(before.searchsorted(0), before.searchsorted(samples.size - 1))
    for first in range(inner.start, inner.stop, _CHUNK):
        block = slice(first, min(first + _CHUNK, inner.stop))
        _choose_side(steps[block], samples, before[block], limit)
    # Steps before the first sample or after the last have one side only.
    ahead = samples.searchsorted(samples[0], side="right") - 1
    head, tail = slice(inner.start), slice(inner.stop, None)
    before[head] = np.where(_distance(samples[:1], steps[head]) > limit, -1, ahead)
    before[tail][_distance(steps[tail], samples[-1:]) > limit] = -1
    return before


def _choose_side(steps: Times, samples: Times, before: NDArray[np.int64], limit: np.uint64) -> None:
    """Turn the last index at or before each step into the index of its match, in place."""
    past = _distance(steps, samples.take(before, mode="clip"))
    next_times = samples.take(before + 1, mode="clip")
    ahead = _distance(next_times, steps)
    later = ahead < past
    before += later
    _move_to_last_of_equal(before, later, next_times, samples)
    missed = np.minimum(past, ahead) > limit
    if missed.any():
        before[missed] = -1


def _move_to_last_of_equal(
    index: NDArray[np.int64], chosen: NDArray[np.bool_], times: Times, samples: Times
) -> None:
    repeated = chosen & (samples.take(index + 1, mode="clip") == times) & (index < samples.size - 1)
    if repeated.any():
        index[repeated] = samples.searchsorted(times[repeated], side="right") - 1


def _asof(steps: Times, samples: Times, limit: np.uint64 | None) -> NDArray[np.int64]:
    result = _last_at_or_before(steps, samples)
    if limit is not None:
        age = _distance(steps, samples.take(result, mode="clip"))
        result[(result >= 0) & (age > limit)] = -1
    return result


def _means(starts: Times, ends: Times, times: Times, values: Floats) -> Floats:
    first = times.searchsorted(starts, side="right")
    stop = times.searchsorted(ends, side="right")
    filled = stop > first
    result = np.full(starts.size, np.nan)
    if filled.any():
        bounds = np.column_stack([first[filled], stop[filled]]).ravel()
        # Sums of slices, not differences of one running sum, which would lose digits on long runs.
        sums = np.add.reduceat(np.append(values, 0.0), bounds)[::2]
        result[filled] = sums / (stop - first)[filled]
    return result
