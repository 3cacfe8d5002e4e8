"""Rhythms that nobody has logged: cycles of one length that a series follows, found in its residuals.

A data loader that deals the same batches every epoch and a fan that ticks are both regular. Two regular
series of one length correlate at some lag or other for as long as one looks, without knowing of each other.
"""

from collections.abc import Sequence

import numpy as np
import scipy.special
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.residuals import Lattice

_SHORTEST, _FEWEST_TURNS = 4, 6
_SURE = 1e-4  # p, after correction for all lengths, from which a cycle is one
_MOST_SHARE = 0.25  # of the rows, that cycles may cost in columns
_MOST_LENGTH = 120


def found_cycles(
    residuals: Sequence[Floats], nuisance: Floats, lattice: Lattice
) -> tuple[tuple[int, ...], Floats]:
    """Return the lengths in bins of cycles in any of the residuals, and columns that take them out.

    A cycle of P bins shows where the means of the bins k, k + P, k + 2P ... differ (an F test for every P).
    Residuals are NaN where a row was left out. Columns have shape (n, k).
    """
    room = int(_MOST_SHARE * lattice.at.size) - nuisance.shape[1] // 2
    found: list[int] = []
    for values in residuals:
        length = _strongest(values, lattice)
        if length is not None and length not in found and length - 1 <= room:
            found.append(length)
            room -= length - 1
    columns = [_phases(lattice.at, length) for length in found]
    return tuple(found), np.hstack(columns) if columns else np.empty((lattice.at.size, 0))


def _strongest(values: Floats, lattice: Lattice) -> int | None:
    known = np.isfinite(values)
    at, z = lattice.at[known], values[known]
    lengths = range(_SHORTEST, min(z.size // _FEWEST_TURNS, _MOST_LENGTH) + 1)
    if not lengths:
        return None
    p = [_p_of_cycle(z, at % length, length) for length in lengths]
    best = int(np.argmin(p))
    return lengths[best] if p[best] * len(p) <= _SURE else None


def _p_of_cycle(z: Floats, phase: Ints, length: int) -> float:
    counts = np.bincount(phase, minlength=length)
    sums = np.bincount(phase, weights=z, minlength=length)
    between = float((sums**2 / np.maximum(counts, 1)).sum() - z.sum() ** 2 / z.size)
    within = float(z @ z) - z.sum() ** 2 / z.size - between
    free = z.size - length
    if within <= 0 or free < 1:
        return 1.0
    return float(scipy.special.fdtrc(length - 1, free, between / (length - 1) / (within / free)))


def _phases(at: Ints, length: int) -> Floats:
    """Return a column for every place in the cycle but the last; each of mean 0 in it."""
    phase = at % length
    columns = np.equal.outer(phase, np.arange(length - 1)).astype(np.float64)
    return np.asarray(columns - (phase == length - 1).astype(np.float64)[:, None])
