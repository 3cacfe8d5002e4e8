"""Least squares on many rows: by orthogonal columns where rows are few, by normal equations where not.

A day of seconds has 86,400 rows; there the normal equations of well-scaled columns are several times
faster, and two rounds of them as exact as an orthogonal decomposition.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.linalg
import scipy.linalg.blas
from thermograd.analysis.arrays import Floats, Ints

MANY_ROWS = 5000  # from here normal equations
WORST_PIVOT = 1e-5  # smaller pivots lose too many digits in the normal equations
_ROUNDING = 1e-11  # what is left of a column that the others span, as a share of it


def cosine(x: Floats, y: Floats) -> float:
    """Return the correlation of two centred series; 0 where one is constant."""
    scale = float(np.linalg.norm(x)) * float(np.linalg.norm(y))
    return float(x @ y) / scale if scale > 0 else 0.0


def decaying_sums(values: Floats, kept: float) -> Floats:
    """Return the sum of the values up to each, in which one counts `kept` times as much a place later.

    What ``scipy.signal.lfilter([1], [1, -kept], values)`` gives, whose import takes as long as an analysis of
    a short run: the solution of two diagonals, in the same order of the same operations.
    """
    diagonals = np.full((2, values.size), -kept, order="F")
    return np.asarray(scipy.linalg.blas.dtbsv(1, diagonals, values, lower=1, diag=1))


def fit(z: Floats, columns: Floats) -> Floats:
    """Return weights of least squares of z on the columns, shape (n, k); where they vary, any such."""
    triangle = _cholesky(columns)
    if triangle is None:
        kept = _spanning(columns)
        if kept is None:
            return np.asarray(scipy.linalg.lstsq(columns, z, lapack_driver="gelsy", check_finite=False)[0])
        weights = np.zeros(columns.shape[1])
        weights[kept] = fit(z, columns[:, kept])
        return weights
    return np.asarray(scipy.linalg.cho_solve((triangle, False), columns.T @ z))


def remainder(z: Floats, columns: Floats) -> Floats:
    """Return what least squares on the columns, shape (n, k), leaves of z."""
    triangle = _cholesky(columns)
    if triangle is None:
        kept = _spanning(columns)
        if kept is not None:
            return remainder(z, columns[:, kept])
        basis = np.linalg.qr(columns)[0]
        return z - basis @ (basis.T @ z)
    left = z
    for _ in range(2):
        left = left - columns @ scipy.linalg.cho_solve((triangle, False), columns.T @ left)
    return left


def orthonormal(columns: Floats) -> Floats:
    """Return orthonormal columns of the same span, shape (n, k).

    Of many rows, a column that the others span becomes 0.
    """
    for _ in range(2):
        triangle = _cholesky(columns)
        if triangle is None:
            kept = _spanning(columns)
            if kept is None:
                return np.linalg.qr(columns)[0]
            basis = np.zeros_like(columns)
            basis[:, kept] = orthonormal(columns[:, kept])
            return basis
        columns = scipy.linalg.solve_triangular(triangle, columns.T, trans="T").T
    return columns


def independent_directions(columns: Floats, least: float) -> Floats:
    """Return orthonormal columns for all that adds more than `least` to those before it, shape (n, k)."""
    if len(columns) < MANY_ROWS:
        directions, triangle, _ = scipy.linalg.qr(columns, mode="economic", pivoting=True)
        return np.asarray(directions[:, : triangle.shape[0]][:, np.abs(np.diag(triangle)) > least])
    triangle, pivots, rank, _ = scipy.linalg.lapack.dpstrf(columns.T @ columns, tol=least * least)
    triangle = np.triu(triangle)[:rank, :rank]
    chosen = columns[:, pivots[:rank] - 1]
    chosen = scipy.linalg.solve_triangular(triangle, chosen.T, trans="T").T
    return orthonormal(chosen)


def residual_squares(z: Floats, columns: Floats) -> tuple[Floats, Floats]:
    """Return the residual sums of squares of z on ever more of the columns.

    They have shape (k + 1,): on the first 0..k columns. With them, shape (k,), the length of each column's
    part that those before it do not span.
    """
    triangle = _cholesky(columns)
    if triangle is None:
        basis, triangle = np.linalg.qr(columns)
        explained = (basis.T @ z) ** 2
    else:
        explained = scipy.linalg.solve_triangular(triangle, columns.T @ z, trans="T") ** 2
    return float(z @ z) - np.append(0.0, np.cumsum(explained)), np.abs(np.diag(triangle))


def _cholesky(columns: Floats) -> Floats | None:
    """Return the upper triangle R of R'R = C'C; None where rows are few or columns too alike."""
    if len(columns) < MANY_ROWS or not columns.shape[1]:
        return None
    gram = columns.T @ columns
    try:
        triangle: Floats = scipy.linalg.cholesky(gram)
    except scipy.linalg.LinAlgError:
        return None
    return triangle if pivots_of(triangle, gram).min() > WORST_PIVOT else None


def pivots_of(triangle: Floats, gram: Floats) -> Floats:
    """Return the share of each column that those before it do not span; R of R'R, and R'R."""
    return np.asarray(np.diag(triangle) / np.sqrt(np.diag(gram)))


def spanning(columns: Floats) -> Ints | None:
    """Return the places of columns of many rows that span all; None where rows are few or none do."""
    if _cholesky(columns) is not None:
        return np.arange(columns.shape[1])
    return _spanning(columns)


def _spanning(columns: Floats) -> Ints | None:
    """Return the places of well-conditioned columns that span all; None where rows are few or none do.

    A driver's lagged copies differ at the edge alone: in rows without the edge some of them are combinations
    of the others, to rounding. An orthogonal decomposition would put an arbitrary direction in their place.
    """
    if len(columns) < MANY_ROWS or not columns.shape[1]:
        return None
    gram = columns.T @ columns
    sizes = np.sqrt(np.diag(gram))
    if not sizes.min() > 0:
        return None
    scaled = gram / np.outer(sizes, sizes)
    _, pivots, rank, _ = scipy.linalg.lapack.dpstrf(scaled, tol=WORST_PIVOT**2)
    kept, rest = np.sort(pivots[:rank] - 1), pivots[rank:] - 1
    if not rest.size or _cholesky(columns[:, kept]) is None:
        return None
    left = np.linalg.norm(remainder(columns[:, rest], columns[:, kept]), axis=0)
    return kept if (left <= _ROUNDING * sizes[rest]).all() else None


_limited = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have BLAS use one thread within, and as many as before afterwards; also a decorator.

    The number of BLAS threads is the process's. So it is set, and put back, by the outermost of nested
    calls, and by the first of calls that overlap in several threads; the others leave it alone, and what
    they still have to do after the first has ended is slower, not different.

    Examples
    --------
    >>> import numpy as np
    >>> with one_blas_thread():
    ...     float(np.ones(3) @ np.ones(3))
    3.0
    """
    if not _limited.acquire(blocking=False):
        yield
        return
    try:
        with _threadpoolctl().threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        _limited.release()


def _threadpoolctl() -> Any:
    """Return the package; the variable that it sets when it is imported is taken back."""
    was_set = "KMP_DUPLICATE_LIB_OK" in os.environ
    import threadpoolctl

    if not was_set:
        os.environ.pop("KMP_DUPLICATE_LIB_OK", None)
    return threadpoolctl
