"""The own past of a series: how many lags of it tell anything, and in how many parts of time they differ."""

from collections.abc import Callable
from operator import mul
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.lattice import Lattice, rows_of
from thermograd.analysis.coupling.linear_algebra import fit, residual_squares
from thermograd.analysis.coupling.normal_equations import remembered_basis

_MAX_ORDER, _MAX_ORDER_OF_PARTS = 10, 4
_PARTS, _BINS_PER_PART = (1, 2, 4, 8), 50  # of time, in each of which the memory may be another
_FILLS = 2  # rounds of predicting what is missing


def past_and_order(
    z: Floats, nuisance: Floats, lattice: Lattice, trend: Floats, call: Callable[..., Any]
) -> tuple[Floats, int, int]:
    """Return the own past that tells anything of every row, how many lags it has, and parts of time."""
    whole = z[lattice.carried()]
    past, order, parts = _chosen_past(z, whole, nuisance, lattice, call)
    for _ in range(0 if lattice.is_whole else _FILLS):
        rows = lattice.position()[lattice.at] >= order
        weights = fit(z[rows], np.hstack([nuisance, past])[rows])
        there = np.hstack([trend, nuisance[lattice.carried(), trend.shape[1] :]])
        whole = _predicted(whole, there, lattice, weights, parts)
        past, order, parts = _chosen_past(z, whole, nuisance, lattice, call)
    return past, order, parts


def _chosen_past(
    z: Floats, whole: Floats, nuisance: Floats, lattice: Lattice, call: Callable[..., Any]
) -> tuple[Floats, int, int]:
    """Return the own past of every row that tells anything, its order, and in how many parts it differs.

    A memory may change over a run, in both series at once: one that fits neither half leaves memory in both.
    How many parts is chosen by BIC, the order by AIC: what it leaves out stays in the residuals.
    """
    orders, position = min(_MAX_ORDER, z.size // 10), lattice.position()
    past, rows = _own_past(whole, orders, position)[lattice.at], rows_of(position[lattice.at] >= orders)
    known = remembered_basis(call, nuisance, None, rows).taken_out_of(np.column_stack([z, past])[rows])
    best, chosen = np.inf, (0, 1)
    for parts in _PARTS:
        if parts > 1 and z.size < parts * _BINS_PER_PART:
            break
        most = orders if parts == 1 else min(orders, _MAX_ORDER_OF_PARTS)
        part = (lattice.at * parts // lattice.size)[rows]
        bounds = np.searchsorted(part, np.arange(parts + 1))
        order, bic = _order(known[:, : most + 1], bounds, nuisance.shape[1])
        if bic < best:
            best, chosen = bic, (order, parts)
    order, parts = chosen
    return _in_parts(past[:, :order], lattice, parts), order, parts


def _order(known: Floats, bounds: Ints, columns: int) -> tuple[int, float]:
    """Return the number of own lags that AIC chooses, and BIC there; `known` holds the series and its past.

    Each part of time, between two bounds, has weights of its own, so its lags are fitted by themselves.
    """
    n, most, parts = len(known), known.shape[1] - 1, bounds.size - 1
    if n <= columns + most * parts + 1:
        return 0, np.inf
    left, usable = np.zeros(most + 1), most
    for each in range(parts):
        inside = known[bounds[each] : bounds[each + 1]]
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


def _own_past(z: Floats, orders: int, position: Ints) -> Floats:
    past = np.zeros((z.size, orders))
    for lag in range(1, orders + 1):
        past[lag:, lag - 1] = z[:-lag]
    past[np.arange(1, orders + 1) > position[:, None]] = 0.0
    return past
