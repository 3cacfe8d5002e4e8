"""Couplings that neither a lag nor a slow response describes: looked for, so that none of them is denied.

That something is there shows here; what it is, or how strong, does not. Outliers are drawn in, so that a
handful decides nothing. Sizes keep a memory that residuals have lost, so its part in the spread is taken off.
Why these are no verdicts of their own: a size has no sign that could be flipped, so one large value of either
series that lies near one of the other (a learning rate drop, a fan step) passes for a pattern in up to .10 of
uncoupled runs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.pair_residuals import Oriented
from thermograd.analysis.coupling.evidence.leftover import inflation_of
from thermograd.analysis.coupling.evidence.resampling import sidak_p
from thermograd.analysis.coupling.linear_algebra import decaying_sums
from thermograd.analysis.coupling.responses import Searched

_PARTS, _FEWEST_IN_PART = (4, 8), 60
_FARTHER = 5  # times the largest lag
_MOST_DEVIATIONS = 3.0
_LOST = 1e-6  # a smaller share of a sum of squares is lost in the rounding of the whole
_NO_MEMORIES = np.empty(0)


@dataclass(frozen=True, slots=True)
class Open:
    """Something that was seen and is no lag and no slow response."""

    kind: str  # "size", "restlessness", "part" or "later"
    p: float  # after correction for all looks


class Widened:
    """By how much memory in both of a pair widens a correlation, with either side or its size; asked once."""

    def __init__(self) -> None:
        self._known: dict[tuple[bool, bool, bool], float] = {}

    def by(self, leader: Floats, follower: Floats, place: Ints, which: tuple[bool, bool, bool]) -> float:
        """Return `inflation_of` the two; `which`: whether y leads, and whether either is a size."""
        if which not in self._known:
            self._known[which] = inflation_of(leader, follower, place)
        return self._known[which]


def not_excluded(
    oriented: Oriented,
    looked: Searched,
    df: int,
    alpha: float = 0.05,
    *,
    y_leads: bool = False,
    widened: Widened | None = None,
) -> list[Open]:
    """Return what is seen besides single lags and slow responses, each with its p; mostly nothing.

    `widened` knows what was asked of the same pair before; the noise that is taken off is the leader's.
    """
    leader, follower = _bounded(oriented.leader), _bounded(oriented.follower)
    sized = _centred(np.abs(leader)), _centred(np.abs(follower))
    place, known = oriented.place, Widened() if widened is None else widened
    looks: dict[str, Callable[[], tuple[float, int]]] = {
        "size": lambda: _largest(sized[0], follower, place, looked),
        "restlessness": lambda: _largest(leader, sized[1], place, looked),
        "part": lambda: _largest_in_a_part(leader, follower, place, looked.lags),
        "later": lambda: _largest(leader, follower, place, _farther(looked.lags)),
    }
    found = []
    for kind, look in looks.items():
        of = kind == "size", kind == "restlessness"
        sides = sized[0] if of[0] else leader, sized[1] if of[1] else follower
        inflation = known.by(*sides, place, (y_leads, *of))
        r, alternatives = look()
        surprise = sidak_p(r / np.sqrt(inflation), df, alternatives) if alternatives else 1.0
        p = min(1.0, len(looks) * surprise)
        if p <= alpha:
            found.append(Open(kind, p))
    return found


def _bounded(values: Floats) -> Floats:
    """Return standardised values, outliers drawn in."""
    most = _MOST_DEVIATIONS * float(np.std(values))
    return _centred(np.clip(values, -most, most))


def _centred(values: Floats) -> Floats:
    return np.asarray(values - values.mean())


def _farther(lags: Ints) -> Searched:
    last = int(lags[-1])
    return Searched(np.arange(last + 1, _FARTHER * max(last, 1) + 1), _NO_MEMORIES)


def _largest(leader: Floats, follower: Floats, place: Ints, looked: Searched) -> tuple[float, int]:
    """Return the largest |r|, and how many looks it is the largest of."""
    first, whole = _on_bins(leader, place), _on_bins(follower, place)
    size, sums = float(np.linalg.norm(follower)), _sums_of_squares(first)
    peak = 0.0
    for lag in looked.lags.tolist():
        kept = max(first.size - lag, 0)  # bins that have a partner
        peak = max(peak, _alike(whole[lag:], first[:kept], size, math.sqrt(sums[kept])))
    begin = int(looked.lags[0])
    for memory in looked.memories:
        slow = decaying_sums(first, np.exp(-1.0 / memory))[: first.size - begin]
        peak = max(peak, _alike(whole[begin:], slow, size, float(np.linalg.norm(slow))))
    return peak, looked.alternatives


def _sums_of_squares(values: Floats) -> Floats:
    """Return the sum of the squares of the first 0..n values, shape (n + 1,)."""
    return np.append(0.0, np.cumsum(values * values))


def _on_bins(values: Floats, place: Ints) -> Floats:
    whole = np.zeros(int(place[-1] - place[0]) + 1)
    whole[place - place[0]] = values
    return whole


def _alike(follower: Floats, leader: Floats, size: float, length: float) -> float:
    """Return |r| of two series of these lengths; of a short overlap it is not larger than of the whole."""
    return abs(float(follower @ leader)) / max(size * length, 1e-300)


def _largest_in_a_part(leader: Floats, follower: Floats, place: Ints, lags: Ints) -> tuple[float, int]:
    """Return the |r| of a part of the run that the whole run would need for the same surprise."""
    first, whole = _on_bins(leader, place), _on_bins(follower, place)
    sums, peak, looks = _sums_of_squares(first), 0.0, 0
    for parts in _PARTS:
        if follower.size < parts * _FEWEST_IN_PART:
            break
        for rows in np.array_split(np.arange(whole.size), parts):
            size, end = float(np.linalg.norm(whole[rows])), int(rows[-1]) + 1
            for lag in lags.tolist():
                begin, r = max(int(rows[0]), lag), 0.0
                if end > begin:
                    inside = first[begin - lag : end - lag]
                    square = sums[end - lag] - sums[begin - lag]
                    if square < _LOST * sums[end - lag]:  # next to nothing moves in it
                        square = inside @ inside
                    r = _alike(whole[begin:end], inside, size, math.sqrt(square))
                peak, looks = max(peak, r / math.sqrt(parts)), looks + 1
    return peak, looks
