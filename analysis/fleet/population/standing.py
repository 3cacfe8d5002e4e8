"""Where one device stands among others: its percentile with an exact interval, and what is unusual."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.special import betaincinv
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.verdict import holm

FEWEST_OTHERS = 5
ENOUGH_OTHERS = 20  # fewer have no percentiles to speak of: a rank among them is said
_CONFIDENCE = 0.95
_ALPHA = 0.05

_Name = TypeVar("_Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Standing:
    """A percentile: how many of `others` are below, with an exact 95 % interval for the population's share.

    Attributes
    ----------
    others
        Other devices that it is compared with.
    percentile, low, high
        In percent: the share of the population with a smaller value, and its interval (Clopper and Pearson).
    p
        Two-sided: how often a device like the others would stand as far out; exact by rank.
    """

    others: int
    percentile: float
    low: float
    high: float
    p: float


def standing(value: float, others: Floats) -> Standing:
    """Return where a value stands among other devices' values, at least one.

    Ties count half for the percentile; the interval holds either order of them.

    Examples
    --------
    >>> found = standing(4.5, np.arange(100.0))
    >>> found.percentile, round(found.low, 1), round(found.high, 1), round(found.p, 2)
    (5.0, 1.6, 11.3, 0.12)
    """
    below, ties = int((others < value).sum()), int((others == value).sum())
    return standing_by_count(below, ties, others.size)


def standing_by_count(below: int, ties: int, others: int) -> Standing:
    """Return where a device stands that has so many others below it and so many beside it."""
    low, _ = _share(below, others)
    _, high = _share(below + ties, others)
    above = others - below - ties
    tail = (1 + ties + min(below, above)) / (others + 1)
    middle = 100 * (below + ties / 2) / others
    return Standing(others, middle, 100 * low, 100 * high, min(1.0, 2 * tail))


def _share(count: int, of: int) -> tuple[float, float]:
    """Return Clopper and Pearson's interval for a share."""
    tail = (1 - _CONFIDENCE) / 2
    low = float(betaincinv(count, of - count + 1, tail)) if count > 0 else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - tail)) if count < of else 1.0
    return low, high


def unusual(p_values: Sequence[float]) -> tuple[list[bool], list[float]]:
    """Return which of all comparisons are unusual, and p corrected for their number (Holm).

    Whatever the devices and metrics have to do with each other, the chance that anything is called unusual
    among devices like the others is at most 5 %.
    """
    adjusted = holm(list(p_values)).tolist() if p_values else []
    return [p <= _ALPHA for p in adjusted], adjusted


def others_needed(tests: int) -> int:
    """Return how many other devices it takes before anything can stand out of so many comparisons."""
    return math.ceil(2 * tests / _ALPHA) - 1


def ordinal(percentile: float) -> str:
    """Return a percentile as it is said.

    >>> [ordinal(p) for p in (4.2, 0.3, 99.8, 50.0, 1.0, 22.0, 12.0)]
    ['4th', 'below the 1st', 'above the 99th', '50th', '1st', '22nd', '12th']
    """
    if percentile < 1:
        return "below the 1st"
    if percentile > 99:
        return "above the 99th"
    return _nth(round(percentile))


def _nth(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number // 10 != 1 else "th"
    return f"{number}{ending}"


def place_among(percentile: float, others: int) -> str:
    """Return where a device stands, as it is said: among few the rank, which says what few can say.

    >>> [place_among(0.0, 5), place_among(100.0, 5), place_among(40.0, 5), place_among(0.0, 400)]
    ['lowest of 6', 'highest of 6', '3rd lowest of 6', 'below the 1st percentile']
    """
    if others >= ENOUGH_OTHERS:
        return f"{ordinal(percentile)} percentile"
    below = percentile * others / 100  # a tie counts half
    rank = round(below + 0.01) + 1
    if rank == 1:
        return f"lowest of {others + 1}"
    return f"{'highest' if rank > others else f'{_nth(rank)} lowest'} of {others + 1}"


def medians(values: Floats, identity: Sequence[_Name]) -> dict[_Name, float]:
    """Return one value for each device: the median over its runs."""
    places = {name: place for place, name in enumerate(dict.fromkeys(identity))}
    place = np.array([places[name] for name in identity], dtype=np.int64)
    order = np.lexsort((values, place))
    counts = np.bincount(place, minlength=len(places))
    first = np.cumsum(counts) - counts
    low, high = values[order[first + (counts - 1) // 2]], values[order[first + counts // 2]]
    return dict(zip(places, ((low + high) / 2).tolist(), strict=True))
