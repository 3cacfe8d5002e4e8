"""Searches by trying: the smallest size, and the fewest pairs or strata, that show with a power."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

_MOST_DOUBLINGS = 40
_HALVINGS = 12
_LONGER = 1.5  # a longer experiment that is tried


def smallest_shown(
    shows: Callable[[float], float], first: float, power: float, halvings: int = _HALVINGS
) -> float | None:
    """Return the smallest size that `shows` gives at least this power for; None: none.

    `first`: a size to begin with, of the right order; `halvings`: of what is left open.

    Examples
    --------
    >>> round(smallest_shown(lambda size: min(1.0, size / 10), 0.5, 0.9), 2)
    9.0
    """
    low, high = 0.0, first
    for _ in range(_MOST_DOUBLINGS):
        if shows(high) >= power:
            break
        low, high = high, 2.0 * high
    else:
        return None
    for _ in range(halvings):
        middle = (low + high) / 2.0
        low, high = (low, middle) if shows(middle) >= power else (middle, high)
    return high


def fewest_shown(shows: Callable[[int], float], fewest: int, most: int, power: float) -> int | None:
    """Return the least number, from `fewest` on, that `shows` gives this power for; None: above `most`.

    Examples
    --------
    >>> fewest_shown(lambda pairs: pairs / 100, 6, 1000, 0.5), fewest_shown(lambda pairs: 0.0, 6, 50, 0.5)
    (50, None)
    """
    low, high = fewest - 1, fewest
    while shows(high) < power:
        low, high = high, round(high * _LONGER)
        if high > most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) >= power else (middle, high)
    return high


class Tried(ABC):
    """Experiments on one outcome that were simulated: how long they are to be, and what they show.

    Attributes
    ----------
    fewest
        Units, pairs of blocks or strata, with less of which nothing is shown.
    sd
        Of the outcome about its trend, in its unit.
    power
        How surely an effect is to be found.
    """

    __slots__ = ()
    fewest: ClassVar[int]
    sd: float
    power: float

    @property
    @abstractmethod
    def scale(self) -> float:
        """About the size that one unit would show, to begin the search with."""

    @abstractmethod
    def shows(self, units: int, size: float) -> float:
        """Return how often an effect of this size, in the outcome's unit, is found."""

    def smallest(self, units: int) -> float | None:
        """Return the smallest effect that is found with the power asked for; None: none."""
        if units < self.fewest:
            return None
        return smallest_shown(lambda size: self.shows(units, size), self.scale / math.sqrt(units), self.power)

    def needed(self, size: float, most: int) -> int | None:
        """Return how many units show an effect of this size with that power; None: more than `most`."""
        return fewest_shown(lambda units: self.shows(units, size), self.fewest, most, self.power)
