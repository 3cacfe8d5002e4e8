"""What is left of a series once its trend, its drivers and its own past are taken out.

Two series that only share a trend, or that each drift slowly, correlate strongly without any
association. What neither its own past nor the known drivers could predict may be compared.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.linear_algebra import orthonormal, remainder, residual_squares

_BINS_PER_COSINE = 60  # one high-pass cosine per this many bins, as in SPM for fMRI
_MAX_ORDER = 10
_VARIANCE_ROUNDS = 2
_ROUNDING = 1e-13
_NOTHING = 1e-9  # what remains of a perfectly predicted series is rounding error, not a residual
_INDEPENDENT = 1e-4  # less than this share of a driver is the edge of its lagged copy, or rounding


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Standardised innovations of one series."""

    # shape (n,), dimensionless (divided by their slowly varying scale); NaN where a row has too short a past
    # in its segment
    values: Floats
    # shape (n, q): trend and driver columns, divided by the same scale; `values` is orthogonal to them
    nuisance: Floats
    order: int  # number of own lags used, in bins


def trend_order(n: int) -> int:
    """Return the number of cosines that stand for the slow trend of n bins (2 to 20)."""
    return int(np.clip(round(n / _BINS_PER_COSINE), 2, 20))


def trend_basis(n: int, cosines: int, segments: Ints | None = None) -> Floats:
    """Return the columns of a slow trend, of size about 1: level, line and the slowest cosines.

    Cosine j has j half waves over the n bins. Every segment (numbered from 0, shape (n,)) gets its own
    level: shape (n, levels + 1 + cosines).

    References
    ----------
    Friston et al. (2000), NeuroImage 12:196 (discrete cosine high-pass as regressors).
    """
    middle = (np.arange(n) + 0.5) / n
    slow = [2.0 * middle - 1.0, *(np.cos(np.pi * j * middle) for j in range(1, cosines + 1))]
    if segments is None:
        return np.column_stack([np.ones(n), *slow])
    levels = np.equal.outer(segments, np.unique(segments)).astype(np.float64)
    return np.column_stack([levels, *slow])


def with_driver_lags(drivers: Floats, driver_lags: int, position: Ints) -> Floats:
    """Append to every driver, shape (n, k), its own past: lag 0 of all drivers, then lag 1, and so on.

    `position` is the place of every bin in its segment, from 0; before a segment's first bin its first
    value is assumed. Shape (n, k * (driver_lags + 1)).
    """
    rows = np.arange(len(drivers))
    return np.hstack([drivers[rows - np.minimum(lag, position)] for lag in range(driver_lags + 1)])


def own_residuals(z: Floats, nuisance: Floats, position: Ints, cosines: int) -> Residuals | None:
    """Regress a series on nuisance columns and its own past, and weight by its volatility.

    One least-squares fit z ~ nuisance + own lags 1..p, with p chosen by BIC among 0..min(10, n/10);
    then twice a fit of the slow course of log|residual| and a refit weighted by it (with
    max(0, cosines // 2 - 1) cosines). The weighting is skipped for a series of two values, whose
    residuals have no scale of their own. None if the series is constant or predicted without remainder.

    The nuisance columns, shape (n, q), are of full column rank (see `full_rank`); `position`, shape (n,),
    is the place of every bin in its segment, from 0.

    References
    ----------
    Haugh (1976), J. Am. Stat. Assoc. 71:378-385 (cross-correlation of own innovations).
    """
    scaled = _standardised(z)
    if scaled is None:
        return None
    z = scaled
    past = _own_past(z, min(_MAX_ORDER, z.size // 10), position)
    order = _order_by_bic(z, nuisance, past, position)
    rows = position >= order
    columns = np.hstack([nuisance, past[:, :order]])[rows]
    scale = np.ones(columns.shape[0])
    residual = remainder(z[rows], columns)
    if np.linalg.norm(residual) < _NOTHING * np.linalg.norm(z):
        return None
    if np.unique(z).size > 2:
        volatility = trend_basis(z.size, max(0, cosines // 2 - 1))[rows]
        for _ in range(_VARIANCE_ROUNDS):
            scale = _slow_scale(residual, volatility)
            residual = scale * remainder(z[rows] / scale, columns / scale[:, None])
    values, weighted = np.full(z.size, np.nan), np.zeros_like(nuisance)
    values[rows] = residual / scale
    weighted[rows] = nuisance[rows] / scale[:, None]
    return Residuals(values, weighted, order)


def full_rank(columns: Floats, always: int) -> Floats:
    """Leave out columns that the others already span; constant or repeated drivers are common.

    The first `always` columns, which are independent, are kept; they are followed by what the rest adds
    to them, as orthogonal columns of size about 1.
    """
    kept, rest = columns[:, :always], columns[:, always:]
    if not rest.shape[1]:
        return kept
    moving = [scaled for scaled in map(_standardised, rest.T) if scaled is not None]
    if not moving:
        return kept
    rest = np.column_stack(moving) / np.sqrt(len(columns))
    basis = orthonormal(kept)
    new = rest - basis @ (basis.T @ rest)
    directions, triangle, _ = scipy.linalg.qr(new, mode="economic", pivoting=True)
    independent = np.abs(np.diag(triangle)) > _INDEPENDENT
    return np.hstack([kept, directions[:, : independent.size][:, independent] * np.sqrt(len(columns))])


def _standardised(z: Floats) -> Floats | None:
    """Return z with mean 0 and standard deviation 1; None where it is constant to rounding."""
    size = float(np.abs(z).max(initial=0.0))
    if size == 0.0:
        return None
    z = z / size  # first, so that no square overflows or underflows
    spread = float(np.std(z))
    return (z - z.mean()) / spread if spread > _ROUNDING else None


def _own_past(z: Floats, orders: int, position: Ints) -> Floats:
    past = np.zeros((z.size, orders))
    for lag in range(1, orders + 1):
        past[lag:, lag - 1] = z[:-lag]
    past[np.arange(1, orders + 1) > position[:, None]] = 0.0
    return past


def _order_by_bic(z: Floats, nuisance: Floats, past: Floats, position: Ints) -> int:
    rows = position >= past.shape[1]
    n, q = int(rows.sum()), nuisance.shape[1]
    if n <= q + past.shape[1] + 1:
        return 0
    # One decomposition of [nuisance, lags] holds the residual sum of squares of every order.
    squares, new = residual_squares(z[rows], np.hstack([nuisance, past])[rows])
    left = squares[q:]
    bic = n * np.log(np.maximum(left, 1e-15 * squares[0])) + np.arange(left.size) * np.log(n)
    dependent = new[q:] < 1e-7 * np.sqrt(n)
    usable = int(np.argmax(dependent)) if dependent.any() else past.shape[1]
    return int(np.argmin(bic[: usable + 1]))


def _slow_scale(residual: Floats, basis: Floats) -> Floats:
    size = np.abs(residual)
    floor = 0.05 * float(np.median(size))
    if floor < _NOTHING:
        return np.ones_like(residual)
    logarithm = np.log(size + floor)
    return np.exp(logarithm - remainder(logarithm, basis))
