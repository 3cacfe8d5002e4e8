"""Which entries of a log are one row: those of a step, as long as none brings a column a second time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def first_places(
    steps: NDArray[np.signedinteger], masks: NDArray[np.signedinteger], may_merge: NDArray[np.bool_]
) -> NDArray[np.signedinteger]:
    """Return for each entry the place of the first entry of its row: its own, where it begins one.

    Parameters
    ----------
    steps
        The step of each entry.
    masks
        Which columns each entry has, a bit for each that a row has but once.
    may_merge
        Which entries have a step and a column; each of the others is a row of its own.

    Examples
    --------
    >>> first_places(np.array([1, 1, 1, 2]), np.array([1, 2, 1, 1]), np.ones(4, bool)).tolist()
    [0, 0, 2, 3]
    """
    first: NDArray[np.signedinteger] = np.arange(
        len(steps), dtype=np.int32 if len(steps) < 2**31 else np.int64
    )
    own: NDArray[np.signedinteger] = first if may_merge.all() else np.flatnonzero(may_merge)
    of_own = steps[own] if len(own) < len(steps) else steps
    if not len(own) or (of_own[1:] > of_own[:-1]).all():
        return first
    order = np.argsort(of_own, kind="stable")
    ordered, places = of_own[order], own[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    _merge(first, places, masks[places], np.append(begins, len(places)))
    return first


def _merge(
    first: NDArray[np.signedinteger],
    places: NDArray[np.signedinteger],
    masks: NDArray[np.signedinteger],
    edges: NDArray[np.int64],
) -> None:
    """Put the entries of each step together; where a column comes again (a restart), one by one."""
    begins = edges[:-1]
    every = np.bitwise_or.reduceat(masks.astype(np.int64), begins)
    is_one = np.add.reduceat(masks, begins, dtype=np.int64) == every
    first[places] = np.repeat(places[begins], np.diff(edges)).astype(first.dtype)
    for group in np.flatnonzero(~is_one).tolist():
        part = slice(int(edges[group]), int(edges[group + 1]))
        first[places[part]] = list(_row_by_row(places[part].tolist(), masks[part].tolist()))


def _row_by_row(places: list[int], masks: list[int]) -> Iterator[int]:
    begun, held = places[0], 0
    for place, mask in zip(places, masks, strict=True):
        if mask & held:
            begun, held = place, 0
        held |= mask
        yield begun
