"""Rhythms that nobody has logged: cycles of one length that a series follows, found in its residuals.

A data loader that deals the same batches every epoch and a fan that ticks are both regular. Two regular
series of one length correlate at some lag or other for as long as one looks, without knowing of each other.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.special
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.lattice import Lattice
from thermograd.analysis.remembered import plainly

_SHORTEST, _FEWEST_TURNS = 4, 6
_SURE = 1e-5  # p, after correction for all lengths, from which a cycle is one
_MOST_SHARE = 0.25  # of the rows, that cycles may cost in columns
_MOST_LENGTH = 120
_REFINED, _DIVISORS, _STEPS = 4, 4, 20  # candidates looked at closely, what they may be multiples of
_DRIFT = 0.01  # of a turn over the whole run that a length may be wrong by


def found_cycles(
    residuals: Sequence[Floats], nuisance: Floats, lattice: Lattice, call: Callable[..., Any] = plainly
) -> tuple[tuple[float, ...], Floats]:
    """Return the lengths in bins of cycles in any of the residuals, and columns that take them out.

    A cycle shows where the means of the bins at one phase of it differ from those at another (an F test for
    every length; the best are refined to fractions of a bin). Residuals are NaN where a row was left out.
    Columns have shape (n, k). `call` may remember what it was asked (see `remembered`).
    """
    room = int(_MOST_SHARE * lattice.at.size) - nuisance.shape[1] // 2
    found: list[float] = []
    for values in residuals:
        length = call(_strongest, values, lattice)
        is_new = length is not None and all(abs(length - other) > 0.5 for other in found)
        if length is not None and is_new and round(length) - 1 <= room:
            found.append(length)
            room -= round(length) - 1
    columns = [_phase_columns(lattice.at, length) for length in found]
    return tuple(found), np.hstack(columns) if columns else np.empty((lattice.at.size, 0))


def _strongest(values: Floats, lattice: Lattice) -> float | None:
    known = np.isfinite(values)
    at, z = lattice.at[known], values[known]
    lengths = range(_SHORTEST, min(z.size // _FEWEST_TURNS, _MOST_LENGTH) + 1)
    if not lengths:
        return None
    whole = np.zeros((2, lattice.size + _MOST_LENGTH))
    whole[0, at], whole[1, at] = z, 1.0
    series = _Series(at.astype(np.float64), z, float(z.sum()), float(z @ z))
    p = np.array([_p_of_means(series, *_folded(whole, lattice.size, length)) for length in lengths])
    best = np.argsort(p, kind="stable")[:_REFINED]
    if p[best[0]] * p.size > _SURE * 1e3:  # a length that is no whole number of bins shows less clearly
        return None
    tried = [(float(p[k]), float(lengths[k])) for k in best]
    for k in best:
        for divisor in range(1, _DIVISORS + 1):
            tried += _near(series, lengths[k] / divisor, 0.5 / divisor)
    length, reach = min(tried)[1], 0.5 / _STEPS
    while reach > _DRIFT * length * length / lattice.size:  # else it drifts off over the run
        tried += _near(series, length, reach)
        length, reach = min(tried)[1], 2.0 * reach / _STEPS
    least, length = min(tried)
    return length if least * (p.size + len(tried)) <= _SURE else None


class _Series(NamedTuple):
    """Residuals that are known: their bins, and the values with their sum and sum of squares."""

    at: Floats
    z: Floats
    total: float
    square: float


def _near(series: _Series, length: float, reach: float) -> list[tuple[float, float]]:
    """Return p and length of cycles at most so much longer or shorter."""
    lengths = length + reach * np.arange(-_STEPS, _STEPS + 1) / _STEPS
    return [(_p_of_cycle(series, each), each) for each in lengths.tolist() if each >= _SHORTEST]


def _phases(at: Ints | Floats, length: float) -> Ints:
    """Return the phase of every bin in a cycle, as one of as many parts as it has whole bins."""
    parts = round(length)
    number = np.floor(at * (parts / length)).astype(np.int64)
    return np.asarray(number - number // parts * parts)  # a division by one number is quick, a modulus is not


def _folded(whole: Floats, bins: int, length: int) -> Floats:
    """Return sums and counts of the bins at every phase of a cycle of whole bins; shape (2, length).

    Behind the bins come zeros, enough for the last turn.
    """
    turns = -(-bins // length)
    return np.asarray(whole[:, : turns * length].reshape(2, turns, length).sum(axis=1))


def _p_of_cycle(series: _Series, length: float) -> float:
    phase, parts = _phases(series.at, length), round(length)
    sums = np.bincount(phase, weights=series.z, minlength=parts).astype(np.float64)
    counts = np.bincount(phase, minlength=parts).astype(np.float64)
    return _p_of_means(series, sums, counts)


def _p_of_means(series: _Series, sums: Floats, counts: Floats) -> float:
    """Return p of an F test of the means at the phases."""
    parts, common = sums.size, series.total**2 / series.z.size
    between = float((sums * sums / np.maximum(counts, 1.0)).sum()) - common
    within = series.square - common - between
    free = series.z.size - parts
    if within <= 0 or free < 1:
        return 1.0
    return float(scipy.special.fdtrc(parts - 1, free, between / (parts - 1) / (within / free)))


def _phase_columns(at: Ints, length: float) -> Floats:
    """Return a column for every part of the cycle but the last; each of mean 0 in it."""
    phase, parts = _phases(at, length), round(length)
    columns = np.equal.outer(phase, np.arange(parts - 1)).astype(np.float64)
    return np.asarray(columns - (phase == parts - 1).astype(np.float64)[:, None])
