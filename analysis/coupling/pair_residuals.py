"""Two series cleaned of the same trend and drivers, on the bins where both residuals exist."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Ints, Mask
from thermograd.analysis.coupling.residuals import (
    full_rank,
    own_residuals,
    trend_basis,
    trend_order,
    with_driver_lags,
)

_ADJACENT_BINS = 5  # a hole of more missing bins than this ends a segment, as in `causal_grid`
_FEWEST_DF = 10


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Residuals of two series on the rows they share."""

    length: int  # bins given
    rows: Ints  # shape (m,): indices of the bins used, ascending
    n_dropped: dict[str, int]  # bins left out, by reason
    # x, y: shape (m,): standardised residuals; empty if `reason` is set
    x: Floats = field(default_factory=lambda: np.empty(0))
    y: Floats = field(default_factory=lambda: np.empty(0))
    # nuisance, nuisance_y: shape (m, q): trend and driver columns in the scale of x, and of y
    nuisance: Floats = field(default_factory=lambda: np.empty((0, 0)))
    nuisance_y: Floats = field(default_factory=lambda: np.empty((0, 0)))
    # shape (m,): gap-free stretch of every row
    segments: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    # order_x, order_y: own lags regressed out, in bins
    order_x: int = 0
    order_y: int = 0
    binary_y: bool = False  # whether y takes at most two values
    reason: str | None = None  # why there are no residuals; None otherwise

    def full(self, values: Floats) -> Floats:
        """Put residuals back on all bins given, NaN where a bin was left out; shape (length,)."""
        result = np.full(self.length, np.nan)
        if values.size:
            result[self.rows] = values
        return result


def paired_residuals(
    x: ArrayLike,
    y: ArrayLike,
    drivers: ArrayLike | None = None,
    segments: ArrayLike | None = None,
    *,
    unlagged: ArrayLike | None = None,
    driver_lags: int = 3,
    shortest: int = 20,
) -> Paired:
    """Clean two series of trend, drivers and own past.

    The series, in any units, and the segments (ascending numbers of the gap-free stretches; None is one)
    have shape (n,). Bins where a value is not finite are left out; up to 5 in a row count as no gap, more
    begin a new segment. Drivers, shape (n,) or (n, k), act through up to `driver_lags` past bins too,
    unlagged ones (sine and cosine of a known period) do not. With fewer than `shortest` finite bins, or too
    little to go by, there is a `reason` instead of residuals.

    Raises
    ------
    ValueError
        If shapes do not agree or segments descend.
    """
    first, second, stretch = _validated(x, y, segments)
    columns, waves = (_columns(given, first.size) for given in (drivers, unlagged))
    finite: Mask = np.all(np.isfinite(np.column_stack([first, second, columns, waves])), axis=1)
    rows = np.flatnonzero(finite)
    missing = finite.size - rows.size
    none = Paired(finite.size, rows, {"bins without a finite value": missing} if missing else {})
    if rows.size < shortest:
        return replace(none, reason=f"too short: {rows.size} finite bins, at least {shortest} are needed")
    stretch, position = _stretches(rows, stretch)
    lagged = with_driver_lags(columns[rows], driver_lags, position)
    cosines = trend_order(rows.size)
    trend = trend_basis(rows.size, cosines, stretch)
    nuisance = full_rank(np.hstack([trend, lagged, waves[rows]]), trend.shape[1])
    if rows.size < 2 * nuisance.shape[1] + _FEWEST_DF:
        reason = f"too short: {rows.size} bins for {nuisance.shape[1]} trend and driver columns"
        return replace(none, reason=reason)
    clean = [own_residuals(series[rows], nuisance, position, cosines) for series in (first, second)]
    if clean[0] is None or clean[1] is None:
        name = "x" if clean[0] is None else "y"
        return replace(none, reason=f"{name} is constant or fully predicted by its trend and drivers")
    used = np.isfinite(clean[0].values) & np.isfinite(clean[1].values)
    return replace(
        none,
        rows=rows[used],
        x=clean[0].values[used],
        y=clean[1].values[used],
        nuisance=clean[0].nuisance[used],
        nuisance_y=clean[1].nuisance[used],
        segments=stretch[used],
        order_x=clean[0].order,
        order_y=clean[1].order,
        binary_y=np.unique(second[rows]).size <= 2,
    )


def _validated(x: ArrayLike, y: ArrayLike, segments: ArrayLike | None) -> tuple[Floats, Floats, Ints]:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"x has shape {first.shape} and y {second.shape}; expected one equal dimension")
    n = first.size
    stretch = np.zeros(n, dtype=np.int64) if segments is None else np.asarray(segments, dtype=np.int64)
    if stretch.shape != (n,) or (stretch[1:] < stretch[:-1]).any():
        raise ValueError(f"segments has shape {stretch.shape}; expected ({n},) ascending numbers")
    return first, second, stretch


def _columns(drivers: ArrayLike | None, n: int) -> Floats:
    columns = np.empty((n, 0)) if drivers is None else np.asarray(drivers, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or columns.shape[0] != n:
        raise ValueError(f"drivers has shape {columns.shape}; expected ({n}, k)")
    return columns


def _stretches(rows: Ints, segments: Ints) -> tuple[Ints, Ints]:
    """Renumber the segments of the kept rows from 0, split at long holes; and place rows in them."""
    begins = (np.diff(rows) > _ADJACENT_BINS + 1) | (np.diff(segments[rows]) != 0)
    stretch = np.append(0, np.cumsum(begins)).astype(np.int64)
    position = np.arange(rows.size) - np.append(0, np.flatnonzero(begins) + 1)[stretch]
    return stretch, position
