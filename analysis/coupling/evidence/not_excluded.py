"""Couplings that neither a lag nor a slow response describes: looked for, so that none of them is denied.

That something is there shows here; what it is, or how strong, does not. Outliers are drawn in, so that a
handful decides nothing. Sizes keep a memory that residuals have lost, so its part in the spread is taken off.
Why these are no verdicts of their own: a size has no sign that could be flipped, so one large value of either
series that lies near one of the other (a learning rate drop, a fan step) passes for a pattern in up to .10 of
uncoupled runs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.pair_residuals import Oriented
from thermograd.analysis.coupling.evidence.leftover import inflation_of
from thermograd.analysis.coupling.evidence.resampling import sidak_p
from thermograd.analysis.coupling.responses import Searched, responses

_PARTS, _FEWEST_IN_PART = (4, 8), 60
_FARTHER = 5  # times the largest lag
_MOST_DEVIATIONS = 3.0
_NO_MEMORIES = np.empty(0)


@dataclass(frozen=True, slots=True)
class Open:
    """Something that was seen and is no lag and no slow response."""

    kind: str  # "size", "restlessness", "part" or "later"
    p: float  # after correction for all looks


def not_excluded(oriented: Oriented, looked: Searched, df: int, alpha: float = 0.05) -> list[Open]:
    """Return what is seen besides single lags and slow responses, each with its p; mostly nothing."""
    leader, follower = _bounded(oriented.leader), _bounded(oriented.follower)
    size = _centred(np.abs(leader)), _centred(np.abs(follower))
    place = oriented.place
    looks: dict[str, Callable[[], tuple[float, int, float]]] = {
        "size": lambda: _largest(size[0], follower, place, looked),
        "restlessness": lambda: _largest(leader, size[1], place, looked),
        "part": lambda: _largest_in_a_part(leader, follower, place, looked.lags),
        "later": lambda: _largest(leader, follower, place, _farther(looked.lags)),
    }
    found = []
    for kind, look in looks.items():
        r, alternatives, inflation = look()
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


def _largest(leader: Floats, follower: Floats, place: Ints, looked: Searched) -> tuple[float, int, float]:
    """Return the largest |r|, how many looks it is the largest of, and by what memory widens it."""
    columns = responses(leader, place, looked)
    columns = columns - columns.mean(axis=0)
    norms = np.linalg.norm(columns, axis=0) * np.linalg.norm(follower)
    peak = float(np.abs(follower @ columns / np.maximum(norms, 1e-300)).max())
    return peak, looked.alternatives, inflation_of(leader, follower, place)


def _largest_in_a_part(leader: Floats, follower: Floats, place: Ints, lags: Ints) -> tuple[float, int, float]:
    """Return the |r| of a part of the run that the whole run would need for the same surprise."""
    columns, peak, looks = responses(leader, place, Searched(lags, _NO_MEMORIES)), 0.0, 0
    for parts in _PARTS:
        if follower.size < parts * _FEWEST_IN_PART:
            break
        for rows in np.array_split(np.arange(follower.size), parts):
            norms = np.linalg.norm(columns[rows], axis=0) * np.linalg.norm(follower[rows])
            r = float(np.abs(follower[rows] @ columns[rows] / np.maximum(norms, 1e-300)).max())
            peak = max(peak, r / np.sqrt(parts))
            looks += lags.size
    return peak, looks, inflation_of(leader, follower, place)
