"""Marks that are too many to be seen one by one become a strip, which is darker where more happened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.report.data.panel import KIND_NAMES, Kind, Mark, Strip

MOST_MARKS = 40  # of a kind in a panel
STRETCHES = 120  # of a strip
_MOST_AT_VALUES = 8  # highest ones, which stay as marks beside their strip


@dataclass(frozen=True, eq=False)
class Counted:
    """How much happened in n equal stretches of time: when each begins, how many, and which of those given.

    `share` is the part of it in which at least one lasted, None where an end is not known.
    """

    start_s: Floats
    width_s: float
    count: Ints
    members: list[Ints]
    share: Floats | None


def counted(
    time_s: Sequence[float], weight: Sequence[int], ends_s: Sequence[float | None], end_s: float
) -> Counted:
    """Count what happened in each stretch between 0 and `end_s`; those with nothing are left out.

    Examples
    --------
    >>> found = counted([0.0, 1.0, 119.0], [1, 2, 1], [1.0, 3.0, 119.0], 240.0)
    >>> found.start_s.tolist(), found.width_s, found.count.tolist(), found.share.tolist()
    ([0.0, 2.0, 118.0], 2.0, [3, 0, 1], [1.0, 0.5, 0.0])
    """
    width_s, starts = end_s / STRETCHES, np.asarray(time_s, dtype=np.float64)
    place = np.clip((starts / width_s).astype(np.int64), 0, STRETCHES - 1)
    order = np.argsort(place, kind="stable")
    members = np.split(order, np.searchsorted(place[order], np.arange(1, STRETCHES)))
    count = np.bincount(place, np.asarray(weight), STRETCHES).astype(np.int64)
    known = [end for end in ends_s if end is not None]
    share = None
    filled = count > 0
    if len(known) == starts.size:
        edges = np.arange(STRETCHES + 1, dtype=np.float64) * width_s
        share = np.minimum(np.diff(covered_s(starts, np.asarray(known), edges)) / width_s, 1.0)
        filled |= share > 0
        share = share[filled]
    first_s = np.flatnonzero(filled).astype(np.float64) * width_s
    return Counted(first_s, width_s, count[filled], [members[k] for k in np.flatnonzero(filled)], share)


def covered_s(starts_s: Floats, ends_s: Floats, until_s: Floats) -> Floats:
    """Return for how long, until each of some times, at least one of the spans lasted.

    Examples
    --------
    >>> covered_s(np.array([0.0, 1.0, 5.0]), np.array([2.0, 3.0, 6.0]), np.array([0.0, 2.5, 9.0])).tolist()
    [0.0, 2.5, 4.0]
    """
    order = np.argsort(starts_s, kind="stable")
    starts_s, reach_s = starts_s[order], np.maximum.accumulate(np.maximum(ends_s, starts_s)[order])
    begins = np.append(True, starts_s[1:] > reach_s[:-1])
    first_s, last_s = starts_s[begins], reach_s[np.append(np.flatnonzero(begins)[1:] - 1, starts_s.size - 1)]
    lasted_s = np.append(0.0, np.cumsum(last_s - first_s))
    place = np.searchsorted(first_s, until_s, side="right") - 1
    inside_s = np.minimum(until_s, last_s[place]) - first_s[place]
    covered: Floats = np.where(place >= 0, lasted_s[place] + inside_s, 0.0)
    return covered


def condensed(marks: Iterable[Mark], end_s: float) -> tuple[tuple[Mark, ...], tuple[Strip, ...]]:
    """Return a panel's marks, and strips of those kinds of which there are too many."""
    marks = list(marks)
    left: list[Mark] = []
    strips = []
    for kind in KIND_NAMES:
        chosen = [mark for mark in marks if mark.kind == kind]
        if len(chosen) <= MOST_MARKS:
            left += chosen
            continue
        strips.append(_strip(kind, chosen, end_s))
        at_value = [mark for mark in chosen if mark.value is not None]
        left += sorted(at_value, key=lambda mark: -abs(mark.value or 0.0))[:_MOST_AT_VALUES]
    return tuple(left), tuple(strips)


def _strip(kind: Kind, marks: list[Mark], end_s: float) -> Strip:
    times = [mark.time_s for mark in marks]
    found = counted(times, [mark.count for mark in marks], [mark.end_s for mark in marks], end_s)
    return Strip(kind, found.start_s, found.width_s, found.count, found.share)
