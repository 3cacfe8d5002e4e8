"""What is left of a series once its trend, its drivers and its own past are taken out.

Two series that only share a trend, or that each drift slowly, correlate strongly without any
association. What neither its own past nor the known drivers could predict may be compared.
"""

from dataclasses import dataclass
from operator import mul

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.linear_algebra import (
    MANY_ROWS,
    fit,
    independent_directions,
    orthonormal,
    remainder,
    residual_squares,
    spanning,
)

_BINS_PER_COSINE = 60  # one high-pass cosine per this many bins, as in SPM for fMRI
# From so many cosines on: exponential approaches, as shares of the length, for a start where cosines ring.
_COSINES_AND_DECAYS, _DECAYS = 5, (0.03, 0.09, 0.27)
_MAX_ORDER, _MAX_ORDER_OF_PARTS = 10, 4
_MOST_MEMORY = 0.9995  # sum of the weights of the past
_PARTS, _BINS_PER_PART = (1, 2, 4, 8), 50  # of time, in each of which the memory may be another
_VARIANCE_ROUNDS = 2
_FILLS = 2  # rounds of predicting what is missing
_FEWEST_BEHIND = 10  # rows behind gaps of a kind that tell how well they are predicted
_ROUNDING = 1e-13
_NOTHING = 1e-9  # what remains of a perfectly predicted series is rounding error, not a residual
_INDEPENDENT = 1e-4  # less than this share of a driver is the edge of its lagged copy, or rounding


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Where the rows that are known lie on consecutive bins, of which some may be missing."""

    at: Ints  # shape (n,): bin of every row, from 0, ascending
    stretch: Ints  # shape (n,): number of its gap-free stretch, from 0

    @property
    def size(self) -> int:
        """Number of bins."""
        return int(self.at[-1]) + 1

    @property
    def is_whole(self) -> bool:
        """Whether no bin is missing."""
        return self.size == self.at.size

    def position(self) -> Ints:
        """Return the place of every bin in its stretch, from 0; shape (size,)."""
        begin = self.at[np.flatnonzero(np.diff(self.stretch, prepend=-1))]
        bins = np.arange(self.size)
        return bins - begin[np.searchsorted(begin, bins, side="right") - 1]

    def carried(self) -> Ints:
        """Return for every bin the row that is known there, or the last one before; shape (size,)."""
        return np.searchsorted(self.at, np.arange(self.size), side="right") - 1

    def gaps(self) -> Ints:
        """Return how many bins are missing just before every row of the same stretch; shape (n,)."""
        missing = np.diff(self.at, prepend=self.at[0] - 1) - 1
        return np.where(np.diff(self.stretch, prepend=0) == 0, missing, 0)


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
    z: Floats, nuisance: Floats, lattice: Lattice, trend: Floats, cosines: int
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
    `trend` of `cosines`, which is known in missing bins too, shape (bins, k).

    References
    ----------
    Haugh (1976), J. Am. Stat. Assoc. 71:378-385 (cross-correlation of own innovations).
    """
    scaled = _standardised(z)
    if scaled is None:
        return None
    z = scaled
    past, order, parts = _past_and_order(z, nuisance, lattice, trend)
    rows = lattice.position()[lattice.at] >= order
    own = _OwnPast(past[rows], order, parts, trend=trend.shape[1])
    columns, known = spanning(nuisance[rows]), z[rows]
    scale = np.ones(known.size)
    residual = own.innovations(known, columns, scale)
    if np.linalg.norm(residual) < _NOTHING * np.linalg.norm(z):
        return None
    if np.unique(z).size > 2:
        slow = trend_basis(z.size, max(0, cosines // 2 - 1))
        volatility = np.column_stack([slow, *_behind_gaps(lattice.gaps())])[rows]
        for _ in range(_VARIANCE_ROUNDS):
            scale = _slow_scale(residual, volatility)
            residual = own.innovations(known, columns, scale)
    values, scales = np.full(z.size, np.nan), np.ones(z.size)
    values[rows], scales[rows] = residual / scale, scale
    return Residuals(values, scales, order)


@dataclass(frozen=True, slots=True, eq=False)
class _OwnPast:
    """The own past of a series, and how far its weights are to be trusted."""

    past: Floats  # shape (n, order * parts): lag 1 in every part of time, then lag 2 ...
    order: int
    parts: int
    trend: int  # number of slow columns that are taken out as well

    def innovations(self, z: Floats, nuisance: Floats, scale: Floats) -> Floats:
        """Return what neither the nuisance columns nor the past explain, in a fit weighted by 1 / scale."""
        if not self.order:
            return scale * remainder(z / scale, nuisance / scale[:, None])
        columns = np.hstack([nuisance, self.past]) / scale[:, None]
        weights = fit(z / scale, columns)[nuisance.shape[1] :]
        left = z - self.past @ self._unbiased(weights)
        return scale * remainder(left / scale, nuisance / scale[:, None])

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


def _past_and_order(z: Floats, nuisance: Floats, lattice: Lattice, trend: Floats) -> tuple[Floats, int, int]:
    """Return the own past that tells anything of every row, how many lags it has, and parts of time."""
    whole = z[lattice.carried()]
    past, order, parts = _chosen_past(z, whole, nuisance, lattice)
    for _ in range(0 if lattice.is_whole else _FILLS):
        rows = lattice.position()[lattice.at] >= order
        weights = fit(z[rows], np.hstack([nuisance, past])[rows])
        there = np.hstack([trend, nuisance[lattice.carried(), trend.shape[1] :]])
        whole = _predicted(whole, there, lattice, weights, parts)
        past, order, parts = _chosen_past(z, whole, nuisance, lattice)
    return past, order, parts


def _chosen_past(z: Floats, whole: Floats, nuisance: Floats, lattice: Lattice) -> tuple[Floats, int, int]:
    """Return the own past of every row that tells anything, its order, and in how many parts it differs.

    A memory may change over a run, in both series at once: one that fits neither half leaves memory in both.
    How many parts is chosen by BIC, the order by AIC: what it leaves out stays in the residuals.
    """
    orders, position = min(_MAX_ORDER, z.size // 10), lattice.position()
    past, rows = _own_past(whole, orders, position)[lattice.at], position[lattice.at] >= orders
    basis = orthonormal(nuisance[rows])
    known = np.column_stack([z, past])[rows]
    known -= basis @ (basis.T @ known)
    best, chosen = np.inf, (0, 1)
    for parts in _PARTS:
        if parts > 1 and z.size < parts * _BINS_PER_PART:
            break
        most = orders if parts == 1 else min(orders, _MAX_ORDER_OF_PARTS)
        part = (lattice.at * parts // lattice.size)[rows]
        order, bic = _order(known[:, : most + 1], part, parts, nuisance.shape[1])
        if bic < best:
            best, chosen = bic, (order, parts)
    order, parts = chosen
    return _in_parts(past[:, :order], lattice, parts), order, parts


def _order(known: Floats, part: Ints, parts: int, columns: int) -> tuple[int, float]:
    """Return the number of own lags that AIC chooses, and BIC there; `known` holds the series and its past.

    Each part of time has weights of its own, so its lags are fitted by themselves.
    """
    n, most = len(known), known.shape[1] - 1
    if n <= columns + most * parts + 1:
        return 0, np.inf
    left, usable = np.zeros(most + 1), most
    for each in range(parts):
        inside = known[part == each]
        # One decomposition of the lags holds the residual sum of squares of every order.
        squares, new = residual_squares(inside[:, 0], inside[:, 1:])
        left += squares
        dependent = new < 1e-7 * np.sqrt(n)
        usable = min(usable, int(np.argmax(dependent))) if dependent.any() else usable
    fit_of = n * np.log(np.maximum(left, 1e-15 * left[0]))
    weights = parts * np.arange(most + 1)
    order = int(np.argmin((fit_of + 2.0 * weights)[: usable + 1]))
    return order, float((fit_of + np.log(n) * weights)[order])


def _in_parts(past: Floats, lattice: Lattice, parts: int) -> Floats:
    """Return the own past with a column for every part of time: those of lag 1, then those of lag 2 ..."""
    if parts == 1 or not past.shape[1]:
        return past
    inside = np.equal.outer(lattice.at * parts // lattice.size, np.arange(parts))
    return np.hstack([past[:, [lag]] * inside for lag in range(past.shape[1])])


def _predicted(whole: Floats, nuisance: Floats, lattice: Lattice, weights: Floats, parts: int) -> Floats:
    """Put into every missing bin what its past lets expect; the nuisance has shape (bins, q)."""
    size = nuisance.shape[1]
    expected = nuisance @ weights[:size]
    own = weights[size:].reshape(-1, parts).T[:, ::-1].tolist()  # of every part, the farthest lag first
    position, filled = lattice.position(), whole.tolist()
    missing = np.ones(whole.size, dtype=np.bool_)
    missing[lattice.at] = False
    for at in np.flatnonzero(missing).tolist():
        here = own[at * parts // whole.size]
        known = min(len(here), int(position[at]))
        past = filled[at - known : at]
        filled[at] = float(expected[at]) + sum(map(mul, here[len(here) - known :], past))
    return np.array(filled)


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
    moving = [scaled for scaled in map(_standardised, rest.T) if scaled is not None]
    if not moving:
        return kept
    rest = np.column_stack(moving) / np.sqrt(len(columns))
    basis = orthonormal(kept)
    new = rest - basis @ (basis.T @ rest)
    return np.hstack([kept, independent_directions(new, _INDEPENDENT) * np.sqrt(len(columns))])


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


def _slow_scale(residual: Floats, basis: Floats) -> Floats:
    size = np.abs(residual)
    floor = 0.05 * float(np.median(size))
    if floor < _NOTHING:
        return np.ones_like(residual)
    logarithm = np.log(size + floor)
    return np.exp(logarithm - remainder(logarithm, basis))
