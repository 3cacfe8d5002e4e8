"""Least squares on many rows and the same columns again and again: by the columns' products, in blocks.

A day of seconds has 86,400 rows and some sixty columns of trend and drivers, which are fitted to every series
with weights of its own. Neither weighted columns nor an orthonormal basis of them is ever held: rows are
weighted block by block while their products are summed, and these tell what is to be taken out of a series.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.linear_algebra import WORST_PIVOT, orthonormal, pivots_of, spanning

_BLOCK_ROWS = 1024  # so many weighted rows stay in the processor's cache
_WELL_APART = 0.03  # from this pivot on one round of projection is exact to 1e-12


def products(parts: Sequence[Floats], scale: Floats | None = None) -> Floats:
    """Return the products of all columns, side by side and divided by a scale per row; shape (k, k).

    A part has shape (n, j), or (n,) for one column.
    """
    parts = [part[:, None] if part.ndim == 1 else part for part in parts]
    if scale is None and len(parts) == 1:
        return np.asarray(parts[0].T @ parts[0])
    rows, width = len(parts[0]), sum(part.shape[1] for part in parts)
    weight = None if scale is None else 1.0 / scale
    block, summed = np.empty((min(_BLOCK_ROWS, rows), width)), np.zeros((width, width))
    for first in range(0, rows, _BLOCK_ROWS):
        inside = slice(first, min(first + _BLOCK_ROWS, rows))
        here, at = block[: inside.stop - first], 0
        for part in parts:
            own = here[:, at : at + part.shape[1]]
            if weight is None:
                own[:] = part[inside]
            else:
                np.multiply(part[inside], weight[inside, None], out=own)
            at += part.shape[1]
        summed += here.T @ here
    return summed


def solved(gram: Floats, wanted: Floats) -> Floats | None:
    """Return the weights of columns with these products; None where they are too much alike."""
    triangle = _triangle(gram)
    return None if triangle is None else np.asarray(scipy.linalg.cho_solve((triangle, False), wanted))


def _triangle(gram: Floats) -> Floats | None:
    try:
        triangle: Floats = scipy.linalg.cholesky(gram)
    except scipy.linalg.LinAlgError:
        return None
    return triangle if pivots_of(triangle, gram).min() > WORST_PIVOT else None


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """What orthonormal columns span, held as these."""

    columns: Floats  # shape (n, q)

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.columns.shape[1])

    def taken_out_of(self, values: Floats) -> Floats:
        """Return what the columns do not span of values, shape (n,) or (n, k)."""
        return np.asarray(values - self.columns @ (self.columns.T @ values))

    def told_of(self, weight: Floats | None) -> Callable[[Floats], Floats]:
        """Return a function from series, shape (k, n), to how much of each the columns span, shape (k,).

        It is a sum of squares, of the series times a weight per row.
        """
        columns = self.columns if weight is None else self.columns * weight[:, None]
        return lambda series: np.asarray(((series @ columns) ** 2).sum(axis=1))

    def turned(self) -> "Basis":
        """Return the same with the last row first."""
        return Basis(self.columns[::-1])


@dataclass(frozen=True, slots=True, eq=False)
class ScaledBasis:
    """What many rows of columns, divided by a scale, span; held as the columns, which others share."""

    columns: Floats  # shape (n, q)
    scale: Floats  # shape (n,)
    kept: Ints  # those of the columns that span all
    triangle: Floats  # R of R'R, the products of those that are kept, divided by the scale
    is_turned: bool = False  # whether the last row is given, and returned, first

    @property
    def width(self) -> int:
        """Number of columns, those that others span too."""
        return int(self.columns.shape[1])

    def taken_out_of(self, values: Floats) -> Floats:
        """Return what the columns do not span of values, shape (n,) or (n, k)."""
        left = values[::-1] if self.is_turned else values
        scale = self.scale if values.ndim == 1 else self.scale[:, None]
        closeness = np.diag(self.triangle) / np.linalg.norm(self.triangle, axis=0)
        for _ in range(1 if closeness.min() > _WELL_APART and values.ndim > 1 else 2):
            told = self.columns.T @ (left / scale)
            weights = np.zeros(told.shape)
            weights[self.kept] = scipy.linalg.cho_solve((self.triangle, False), told[self.kept])
            left = left - (self.columns @ weights) / scale
        return left[::-1] if self.is_turned else left

    def told_of(self, weight: Floats | None) -> Callable[[Floats], Floats]:
        """Return a function from series, shape (k, n), to how much of each the columns span, shape (k,).

        It is a sum of squares, of the series times a weight per row.
        """
        factor = (1.0 if weight is None else weight) / (self.scale[::-1] if self.is_turned else self.scale)

        def told(series: Floats) -> Floats:
            weighted = series * factor
            products = (weighted[:, ::-1] if self.is_turned else weighted) @ self.columns
            parts = scipy.linalg.solve_triangular(self.triangle, products[:, self.kept].T, trans="T")
            return np.asarray((parts**2).sum(axis=0))

        return told

    def turned(self) -> "ScaledBasis":
        """Return the same with the last row first."""
        return ScaledBasis(self.columns, self.scale, self.kept, self.triangle, not self.is_turned)


def scaled_basis(columns: Floats, scale: Floats, kept: Ints | None, gram: Floats | None = None) -> "Span":
    """Return what columns, shape (n, q), divided by a scale span; `kept`: those of many rows that span all.

    `gram`: the products of the columns divided by the scale, where they are known.
    """
    if kept is not None:
        known = products([columns], scale) if gram is None else gram
        triangle = _triangle(known[np.ix_(kept, kept)])
        if triangle is not None:
            return ScaledBasis(columns, scale, kept, triangle)
    return Basis(orthonormal(columns / scale[:, None]))


def remembered_basis(
    call: Callable[..., Any], columns: Floats, scale: Floats | None, rows: slice | Ints
) -> "Span":
    """Return `scaled_basis` in some rows; `call` may remember it, of many rows but what is no column.

    `columns` have to be known to `call`; a scale of None is 1.
    """
    kept = call(independent_of, columns, rows)
    triangle = None if kept is None else call(_triangle_in, columns, scale, rows, kept)
    if kept is None or triangle is None:
        basis: Basis = call(_dense_in, columns, scale, rows)
        return basis
    inside = columns[rows]
    return ScaledBasis(inside, np.ones(len(inside)) if scale is None else scale[rows], kept, triangle)


def independent_of(columns: Floats, rows: slice | Ints) -> Ints | None:
    """Return the places of columns that span all in some rows; None where rows are few."""
    return spanning(columns[rows])


def _triangle_in(columns: Floats, scale: Floats | None, rows: slice | Ints, kept: Ints) -> Floats | None:
    return _triangle(products([columns[rows]], None if scale is None else scale[rows])[np.ix_(kept, kept)])


def _dense_in(columns: Floats, scale: Floats | None, rows: slice | Ints) -> Basis:
    inside = columns[rows]
    return Basis(orthonormal(inside if scale is None else inside / scale[rows][:, None]))


Span = Basis | ScaledBasis
