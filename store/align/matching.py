"""Which sample belongs to which step, by time alone.

Plain arrays in, plain arrays out. Times are int64 nanoseconds (UTC epoch, or any one clock) and
are compared exactly, in integers: a float64 epoch in seconds resolves only about 0.2 microseconds.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Times = NDArray[np.int64]  # nanoseconds
_Side = Literal["left", "right"]

_CHUNK = 49152  # steps handled at a time: few calls of numpy, and temporaries that stay in the cache
_STEPS_A_BUCKET = 16  # so many share a search; more would be more rounds below it
_OTHER: dict[_Side, _Side] = {"left": "right", "right": "left"}
_FEW = 1024  # steps below which the rounds cost more than searching each


def nearest(step_time_ns: ArrayLike, sample_time_ns: ArrayLike, tolerance_ns: int) -> Ints:
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
    limit = _limit(tolerance_ns)
    return _matched(step_time_ns, sample_time_ns, lambda steps, samples: _nearest(steps, samples, limit))


def asof(step_time_ns: ArrayLike, sample_time_ns: ArrayLike, tolerance_ns: int | None = None) -> Ints:
    """Match every step with the last sample at or before it; of several at the same time the last.

    As `nearest`, but `tolerance_ns` is the greatest age accepted; None accepts any.

    Examples
    --------
    >>> asof([10, 20, 90], [12, 18, 22, 22]).tolist()
    [-1, 1, 3]
    """
    limit = None if tolerance_ns is None else _limit(tolerance_ns)
    return _matched(step_time_ns, sample_time_ns, lambda steps, samples: _asof(steps, samples, limit))


def interval_mean(
    start_ns: ArrayLike, end_ns: ArrayLike, sample_time_ns: ArrayLike, values: ArrayLike
) -> Floats:
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


def _limit(tolerance_ns: int) -> np.uint64:
    if tolerance_ns < 0:
        raise ValueError(f"tolerance_ns is {tolerance_ns!r}; expected nanoseconds >= 0")
    return np.uint64(tolerance_ns)


def _require_ascending(samples: Times, first: int = 0, stop: int | None = None) -> None:
    """Refuse samples that do not ascend from index `first` to `stop`."""
    # In blocks: one comparison over ten million times would push a temporary through memory.
    last = (samples.size if stop is None else min(stop + 1, samples.size)) - 1
    for at in range(first, last, 65536):
        block = samples[at : min(at + 65536, last) + 1]
        falls = block[1:] < block[:-1]
        if falls.any():
            at += int(np.argmax(falls)) + 1
            raise ValueError(
                f"sample_time_ns must ascend, but index {at} ({samples[at]}) is before index {at - 1} "
                f"({samples[at - 1]}); sort by time first, with a stable sort"
            )


def _matched(
    step_time_ns: ArrayLike, sample_time_ns: ArrayLike, match: Callable[[Times, Times], Ints]
) -> Ints:
    steps, samples = time_array(step_time_ns, "step_time_ns"), time_array(sample_time_ns, "sample_time_ns")
    if not steps.size or not samples.size:
        _require_ascending(samples)
        return np.full(steps.size, -1, dtype=np.int64)
    if not (steps[1:] < steps[:-1]).any():
        return match(steps, samples)
    order = np.argsort(steps, kind="stable")
    result = np.empty(steps.size, dtype=np.int64)
    result[order] = match(steps[order], samples)
    return result


def _last_at_or_before(steps: Times, samples: Times) -> Ints:
    found, width = _buckets(steps, samples)
    for _ in _descended(steps, samples, found, width, _room(steps)):
        pass
    return found


def _room(steps: Times) -> Ints:
    """Return the memory that a block of the steps needs, taken once: what is new has to be paged in."""
    return np.empty((3, min(steps.size, _CHUNK)), dtype=np.int64)


def _buckets(steps: Times, samples: Times, side: _Side = "right") -> tuple[Ints, int]:
    """Return the first index of each ascending step's bucket of samples, -1 before all, and their width."""
    # A search of each step would guess wrongly, in the processor, at every other probe. So the samples are
    # cut into buckets, each with some steps; the buckets' first samples are looked up among the steps, which
    # are fewer searches, and all steps descend in their buckets together, without branches.
    if steps.size < _FEW:
        return samples.searchsorted(steps, side) - 1, 1
    width = 1 << min(_STEPS_A_BUCKET * samples.size // steps.size, samples.size).bit_length() >> 1 or 1
    firsts = np.ascontiguousarray(samples[::width])
    if (firsts[1:] < firsts[:-1]).any():
        _require_ascending(samples)
    begins = np.concatenate(([0], _ranks(firsts, steps, _OTHER[side]), [steps.size]))
    found = np.repeat(np.arange(-width, samples.size, width), np.diff(begins))
    found[: begins[1]] = -1
    return found, width


def _ranks(steps: Times, samples: Times, side: _Side) -> Ints:
    """Return what `samples.searchsorted(steps, side)` does, where both ascend."""
    found, width = _buckets(steps, samples, side)
    room = _room(steps)
    for first in range(0, steps.size, _CHUNK):
        block = slice(first, first + _CHUNK)
        _descend(steps[block], samples, found[block], width, room, side)
    return np.add(found, 1, found)


def _descended(steps: Times, samples: Times, found: Ints, width: int, room: Ints) -> Iterator[slice]:
    """Move each index on to the last at or before its step; yield each block of steps when it is done.

    By the end all samples are proved to ascend: each block's just before they are searched, for reading
    them in order brings them into the processor's cache.
    """
    proved = 0
    for first in range(0, steps.size, _CHUNK):
        block = slice(first, min(first + _CHUNK, steps.size))
        needed = max(proved, int(found[block.stop - 1]) + width)
        _require_ascending(samples, proved, needed)
        proved = needed
        _descend(steps[block], samples, found[block], width, room)
        yield block
    _require_ascending(samples, proved)


def _descend(
    steps: Times, samples: Times, found: Ints, width: int, room: Ints, side: _Side = "right"
) -> None:
    """Move each index on to the last in its bucket that is (left: before, right: at or before) its step."""
    times, marks = room[0, : steps.size], room[1].view(np.uint8)[: steps.size]
    reached, reaches = marks.view(np.bool_), np.less_equal if side == "right" else np.less
    while width := width >> 1:
        samples[width:].take(found, out=times, mode="clip")
        reaches(times, steps, reached)
        # in bytes where they suffice: a fraction of the memory
        further = np.multiply(marks, width, marks) if width < 256 else np.multiply(reached, width, times)
        np.add(found, further, found)
    if found[-1] >= samples.size:  # beyond the end each comparison was with the last, to which they belong
        np.minimum(found, samples.size - 1, out=found)


def _distance(later: Times, earlier: Times) -> NDArray[np.uint64]:
    # Differences of int64 fit uint64 exactly, however far apart the times are.
    return np.subtract(later, earlier).view(np.uint64)


def _nearest(steps: Times, samples: Times, limit: np.uint64) -> Ints:
    before, width = _buckets(steps, samples)
    inner, room = slice(steps.searchsorted(samples[0]), steps.searchsorted(samples[-1])), _room(steps)
    # Each block to its end, while its samples are in the cache.
    for each in _descended(steps, samples, before, width, room):
        block = slice(max(each.start, inner.start), min(each.stop, inner.stop))
        if block.start < block.stop:
            _choose_side(steps[block], samples, before[block], limit, room)
    # Steps before the first sample or after the last have one side only.
    ahead = samples.searchsorted(samples[0], side="right") - 1
    head, tail = slice(inner.start), slice(inner.stop, None)
    before[head] = np.where(_distance(samples[:1], steps[head]) > limit, -1, ahead)
    before[tail][_distance(steps[tail], samples[-1:]) > limit] = -1
    return before


def _choose_side(steps: Times, samples: Times, before: Ints, limit: np.uint64, room: Ints) -> None:
    """Turn the last index at or before each step into the index of its match, in place."""
    following, (times, ahead, past) = samples[1:], room[:, : steps.size]
    np.subtract(steps, samples.take(before, out=past, mode="clip"), past)
    np.subtract(following.take(before, out=times, mode="clip"), steps, ahead)
    distance = past.view(np.uint64)
    later = ahead.view(np.uint64) < distance
    np.minimum(distance, ahead.view(np.uint64), out=distance)
    np.add(before, later, before)
    later &= np.equal(following.take(before, out=ahead, mode="clip"), times)
    (repeated,) = later.nonzero()
    if repeated.size:
        _move_to_last(before, repeated, samples)
    np.copyto(before, -1, where=distance > limit)


def _move_to_last(found: Ints, places: Ints, samples: Times) -> None:
    """Move some indices on to the last sample of the same time, in place."""
    index = np.minimum(found.take(places) + 1, samples.size - 1)  # mostly there are two
    more = samples[1:].take(index, mode="clip") == samples.take(index)
    if more.any():
        index[more] = samples.searchsorted(samples.take(index[more]), side="right") - 1
    found[places] = index


def _asof(steps: Times, samples: Times, limit: np.uint64 | None) -> Ints:
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
