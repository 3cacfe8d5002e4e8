"""Marks that are too many to be seen one by one become a strip, which is darker where more happened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.report.data.panel import KIND_NAMES, Kind, Mark, Strip
from thermograd.store.telling.quantities import duration_text

MOST_MARKS = 40  # of a kind in a panel
STRETCHES = 120  # of a strip
_MOST_AT_VALUES = 8  # highest ones, which stay as marks beside their strip


@dataclass(frozen=True, eq=False)
class Counted:
    """How much happened in equal stretches of time; `start_s` and `count` of the n filled ones."""

    start_s: Floats
    width_s: float
    count: Ints
    members: list[Ints]  # of each stretch, which of those counted


def counted(time_s: Sequence[float], weight: Sequence[int], end_s: float) -> Counted:
    """Count what happened in each stretch between 0 and `end_s`.

    Examples
    --------
    >>> found = counted([0.0, 1.0, 119.0], [1, 2, 1], 240.0)
    >>> found.start_s.tolist(), found.width_s, found.count.tolist()
    ([0.0, 118.0], 2.0, [3, 1])
    """
    width_s = end_s / STRETCHES
    place = np.clip((np.asarray(time_s) / width_s).astype(np.int64), 0, STRETCHES - 1)
    order = np.argsort(place, kind="stable")
    filled, first = np.unique(place[order], return_index=True)
    members = np.split(order, first[1:])
    count = np.array([np.asarray(weight)[each].sum() for each in members], dtype=np.int64)
    return Counted(filled.astype(np.float64) * width_s, width_s, count, members)


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
    found = counted([mark.time_s for mark in marks], [mark.count for mark in marks], end_s)
    return Strip(kind, found.start_s, found.width_s, found.count)


def opacities(count: Ints) -> Floats:
    """Return how dark each stretch of a strip is: the fullest opaque, a single mark still to be seen."""
    shares: Floats = 0.25 + 0.75 * count / count.max()
    return shares


def strip_label(kind: Kind, count: int) -> str:
    """Return what a strip is called in a legend."""
    return f"{KIND_NAMES[kind]}: {count:,}, darker where more"


def counted_text(count: int, width_s: float) -> str:
    """Return how many within a stretch, for the pointer.

    Examples
    --------
    >>> counted_text(37, 720.0)
    '37 within 12 min'
    """
    return f"{count:,} within {duration_text(width_s)}"
