"""`nearest` on one table of several devices, as polars' `join_asof(by=...)` has it; no command needs it."""

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray
from thermograd.store.align.matching import nearest, time_array

__all__ = ["nearest_by"]

Times = NDArray[np.int64]

_BLOCK = 1 << 19  # samples taken apart at a time, so that memory does not grow with the run


def nearest_by(
    step_time_ns: ArrayLike,
    step_key: ArrayLike,
    sample_time_ns: ArrayLike,
    sample_key: ArrayLike,
    tolerance_ns: int,
) -> NDArray[np.int64]:
    """Match every step with the nearest sample of the same key (an integer): as `nearest`.

    Examples
    --------
    >>> nearest_by([10, 11], [0, 1], [9, 10, 14], [1, 1, 0], tolerance_ns=5).tolist()
    [2, 1]
    """
    steps, samples = time_array(step_time_ns, "step_time_ns"), time_array(sample_time_ns, "sample_time_ns")
    step_keys, sample_keys = _keys(step_key, steps, "step_key"), _keys(sample_key, samples, "sample_key")
    result = np.full(steps.size, -1, dtype=np.int64)
    order = np.argsort(steps, kind="stable") if (steps[1:] < steps[:-1]).any() else None
    if order is not None:
        steps, step_keys = steps[order], step_keys[order]
    for mine, near in _blocks(steps, samples, int(tolerance_ns)):
        found = _by_key(steps[mine], step_keys[mine], samples[near], sample_keys[near], tolerance_ns)
        result[mine] = np.where(found >= 0, found + near.start, -1)
    if order is not None:
        result[order] = result.copy()
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
    tolerance_ns: int,
) -> NDArray[np.int64]:
    result = np.full(steps.size, -1, dtype=np.int64)
    step_groups, sample_groups = _grouped(step_keys), _grouped(sample_keys)
    for key, mine in step_groups.items():
        theirs = sample_groups.get(key)
        if theirs is not None:
            found = nearest(steps.take(mine), samples.take(theirs), tolerance_ns)
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
