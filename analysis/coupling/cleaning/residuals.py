"""What is left of a series once its trend, its drivers and its own past are taken out.

Two series that only share a trend, or that each drift slowly, correlate strongly without any
association. What neither its own past nor the known drivers could predict may be compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.lattice import Lattice, rows_of
from thermograd.analysis.coupling.cleaning.own_past import past_and_order
from thermograd.analysis.coupling.linear_algebra import (
    MANY_ROWS,
    fit,
    independent_directions,
    orthonormal,
)
from thermograd.analysis.coupling.normal_equations import (
    Span,
    independent_of,
    products,
    remembered_basis,
    scaled_basis,
    solved,
)
from thermograd.analysis.remembered import plainly

_BINS_PER_COSINE = 60  # one high-pass cosine per this many bins, as in SPM for fMRI
# From so many cosines on: exponential approaches, as shares of the length, for a start where cosines ring.
_COSINES_AND_DECAYS, _DECAYS = 5, (0.03, 0.09, 0.27)
_MOST_MEMORY = 0.9995  # sum of the weights of the past
_VARIANCE_ROUNDS = 2
_FEWEST_BEHIND = 10  # rows behind gaps of a kind that tell how well they are predicted
_ROUNDING = 1e-13
_NOTHING = 1e-9  # what remains of a perfectly predicted series is rounding error, not a residual
_INDEPENDENT = 1e-4  # less than this share of a driver is the edge of its lagged copy, or rounding


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Standardised innovations of one series."""

    # shape (n,), dimensionless (divided by their slowly varying scale); NaN where a row has too short a past
    # in its segment
    values: Floats
    # shape (n,): that scale, 1 where a row has too short a past; `values` is orthogonal to trend and driver
    # columns that are divided by it
    scale: Floats
    order: int  # number of own lags used, in bins


def trend_order(n: int) -> int:
    """Return the number of cosines that stand for the slow trend of n bins (2 to 20)."""
    return int(np.clip(round(n / _BINS_PER_COSINE), 2, 20))


def trend_columns(n: int) -> int:
    """Return the number of columns that stand for the slow trend of n bins in one stretch."""
    order = trend_order(n)
    return 2 + order + (len(_DECAYS) if order >= _COSINES_AND_DECAYS else 0)


def trend_basis(n: int, cosines: int, segments: Ints | None = None) -> Floats:
    """Return the columns of a slow trend, of size about 1: level, line, the slowest cosines, and decays.

    A loss falls and a device heats up most steeply at the beginning, where cosines ring; in longer series
    exponential approaches of .03, .09 and .27 of the length stand beside them.

    Cosine j has j half waves over the n bins. Every segment (numbered from 0, shape (n,)) gets its own
    level: shape (n, levels + 1 + cosines), and 3 more from 5 cosines on.

    References
    ----------
    Friston et al. (2000), NeuroImage 12:196 (discrete cosine high-pass as regressors).
    """
    middle = (np.arange(n) + 0.5) / n
    slow = line_and_cosines(middle, cosines)
    if cosines >= _COSINES_AND_DECAYS:
        slow += [np.exp(-middle / share) for share in _DECAYS]
    if segments is None:
        return np.column_stack([np.ones(n), *slow])
    levels = np.equal.outer(segments, np.unique(segments)).astype(np.float64)
    return np.column_stack([levels, *slow])


def line_and_cosines(place: Floats, cosines: int) -> list[Floats]:
    """Return a line and the slowest cosines at places that go from 0 to 1; shape of the places, each."""
    return [2.0 * place - 1.0, *(np.cos(np.pi * j * place) for j in range(1, cosines + 1))]


def slow_columns(n: int, cosines: int, segments: Ints) -> Floats:
    """Return `trend_basis` as it is fitted: of many bins as orthogonal columns of size about 1.

    Line, cosines and decays nearly span each other; normal equations of many rows need them apart.
    """
    basis = trend_basis(n, cosines, segments)
    return basis if n < MANY_ROWS else orthonormal(basis) * np.sqrt(n)


def with_driver_lags(drivers: Floats, driver_lags: int, lattice: Lattice) -> Floats:
    """Append to every driver, shape (n, k), its own past: lag 0 of all drivers, then lag 1, and so on.

    Before a stretch's first bin its first value is assumed, in a missing one the one before.
    Shape (n, k * (driver_lags + 1)).
    """
    carried, position, at = lattice.carried(), lattice.position()[lattice.at], lattice.at
    past = [carried[at - np.minimum(lag, position)] for lag in range(driver_lags + 1)]
    return np.hstack([drivers[rows] for rows in past])


def own_residuals(
    z: Floats,
    nuisance: Floats,
    lattice: Lattice,
    trend: Floats,
    cosines: int,
    call: Callable[..., Any] = plainly,
) -> Residuals | None:
    """Regress a series on nuisance columns and its own past, and weight by its volatility.

    One least-squares fit z ~ nuisance + own lags 1..p, with p among 0..min(10, n/10) and weights that may
    differ by parts of time (see `_chosen_past`), corrected for the trend (see `_OwnPast`); then twice a fit
    of the slow course of log|residual| and a refit weighted by it (with max(0, cosines // 2 - 1) cosines).
    The weighting is skipped for a series of two values, whose
    residuals have no scale of their own. None if the series is constant or predicted without remainder.

    A bin that is missing is predicted in turn and stands in the past of later ones; rows behind it, which
    are less well predicted, are weighted by what they are worth.

    The nuisance columns, shape (n, q), are of full column rank (see `full_rank`). The first of them are the
    `trend` of `cosines`, which is known in missing bins too, shape (bins, k). `call` may remember what it was
    asked (see `remembered`).

    References
    ----------
    Haugh (1976), J. Am. Stat. Assoc. 71:378-385 (cross-correlation of own innovations).
    """
    scaled = _standardised(z)
    if scaled is None:
        return None
    z = scaled
    past, order, parts = past_and_order(z, nuisance, lattice, trend, call)
    rows = rows_of(lattice.position()[lattice.at] >= order)
    own = _OwnPast(past[rows], order, parts, trend=trend.shape[1])
    columns, known = nuisance[rows], z[rows]
    kept = call(independent_of, nuisance, rows)
    scale = np.ones(known.size)
    residual = own.innovations(known, columns, kept, scale)
    if np.linalg.norm(residual) < _NOTHING * np.linalg.norm(z):
        return None
    if has_three_values(z):
        slow = call(trend_basis, z.size, max(0, cosines // 2 - 1))
        behind = _behind_gaps(lattice.gaps())
        slow = np.column_stack([slow, *behind]) if behind else slow
        steady = remembered_basis(call, slow, None, rows)
        for _ in range(_VARIANCE_ROUNDS):
            scale = _slow_scale(residual, steady)
            residual = own.innovations(known, columns, kept, scale)
    values, scales = np.full(z.size, np.nan), np.ones(z.size)
    values[rows], scales[rows] = residual / scale, scale
    return Residuals(values, scales, order)


def has_three_values(z: Floats) -> bool:
    """Return whether a series takes more than two values."""
    others = z[z != z[0]]
    return bool(others.size) and bool((others != others[0]).any())


@dataclass(frozen=True, slots=True, eq=False)
class _OwnPast:
    """The own past of a series, and how far its weights are to be trusted."""

    past: Floats  # shape (n, order * parts): lag 1 in every part of time, then lag 2 ...
    order: int
    parts: int
    trend: int  # number of slow columns that are taken out as well

    def innovations(self, z: Floats, nuisance: Floats, kept: Ints | None, scale: Floats) -> Floats:
        """Return what neither the nuisance columns nor the past explain, in a fit weighted by 1 / scale.

        Of many rows, the nuisance columns that are `kept` span the others.
        """
        known = None if kept is None else products([nuisance, self.past, z], scale)
        left = (
            z - self.past @ self._unbiased(self._weights(z, nuisance, kept, scale, known))
            if self.order
            else z
        )
        span = scaled_basis(
            nuisance, scale, kept, None if known is None else known[: nuisance.shape[1], : nuisance.shape[1]]
        )
        return scale * span.taken_out_of(left / scale)

    def _weights(
        self, z: Floats, nuisance: Floats, kept: Ints | None, scale: Floats, known: Floats | None
    ) -> Floats:
        """Return the weights of the past; `known`: the products of all columns and of z."""
        if known is not None and kept is not None:
            own = np.append(kept, np.arange(nuisance.shape[1], len(known) - 1))
            weights = solved(known[np.ix_(own, own)], known[own, -1])
            if weights is not None:
                return weights[kept.size :]
        columns = np.hstack([nuisance, self.past]) / scale[:, None]
        return fit(z / scale, columns)[nuisance.shape[1] :]

    def _unbiased(self, weights: Floats) -> Floats:
        """Return the weights of the past, which are too small where a slow trend is taken out as well.

        The sum of the weights, s, comes out too small by about (2 s + q (1 + s)) / n with q slow columns;
        what remains of the memory is slow itself, and in both series.

        References
        ----------
        Kendall (1954), Biometrika 41:403-404; Shaman & Stine (1988), J. Am. Stat. Assoc. 83:842-848.
        """
        own = weights.reshape(self.order, self.parts)
        total = own.sum(axis=0)
        quick = 1.0 + (np.arange(self.order)[:, None] * own).sum(axis=0)  # 1 less the weights of differences
        missing = (2.0 * total * self.parts + self.trend * (1.0 + total)) / len(self.past) * np.abs(quick)
        own = own.copy()
        own[0] += np.where(total > 0, np.clip(_MOST_MEMORY - total, 0.0, missing), 0.0)
        return own.ravel()


def _behind_gaps(gaps: Ints) -> list[Floats]:
    """Return a column for the rows behind one missing bin, and one for those behind more."""
    columns = [(gaps == 1).astype(np.float64), (gaps > 1).astype(np.float64)]
    return [column for column in columns if column.sum() >= _FEWEST_BEHIND]


def full_rank(columns: Floats, always: int) -> Floats:
    """Leave out columns that the others already span; constant or repeated drivers are common.

    The first `always` columns, which are independent, are kept; they are followed by what the rest adds
    to them, as orthogonal columns of size about 1.
    """
    kept, rest = columns[:, :always], columns[:, always:]
    if not rest.shape[1]:
        return kept
    moving = _moving(rest)
    if not moving.shape[1]:
        return kept
    moving /= np.sqrt(len(columns))
    new = remembered_basis(plainly, kept, None, slice(None)).taken_out_of(moving)
    del moving
    new = independent_directions(new, _INDEPENDENT)
    new *= np.sqrt(len(columns))
    return np.hstack([kept, new])


def _moving(columns: Floats) -> Floats:
    """Return the columns that are not constant, with mean 0 and standard deviation 1."""
    moving = [scaled for scaled in map(_standardised, columns.T) if scaled is not None]
    return np.column_stack([np.empty((len(columns), 0)), *moving])


def _standardised(z: Floats) -> Floats | None:
    """Return z with mean 0 and standard deviation 1; None where it is constant to rounding."""
    size = float(np.abs(z).max(initial=0.0))
    if size == 0.0:
        return None
    z = z / size  # first, so that no square overflows or underflows
    spread = float(np.std(z))
    return (z - z.mean()) / spread if spread > _ROUNDING else None


def _slow_scale(residual: Floats, steady: Span) -> Floats:
    size = np.abs(residual)
    floor = 0.05 * float(np.median(size))
    if floor < _NOTHING:
        return np.ones_like(residual)
    logarithm = np.log(size + floor)
    return np.exp(logarithm - steady.taken_out_of(logarithm))
