"""Two series cleaned of the same trend and drivers, on the bins where both residuals exist."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Ints, Mask
from thermograd.analysis.coupling.cleaning.lattice import Lattice, rows_of
from thermograd.analysis.coupling.cleaning.residuals import (
    full_rank,
    has_three_values,
    own_residuals,
    slow_columns,
    trend_order,
    with_driver_lags,
)
from thermograd.analysis.coupling.cleaning.rhythms import found_cycles
from thermograd.analysis.coupling.hindrance import Hindrance
from thermograd.analysis.coupling.normal_equations import Basis, Span, remembered_basis
from thermograd.analysis.coupling.responses import LaggedPair, Searched
from thermograd.analysis.remembered import Remembered, plainly

_ADJACENT_BINS = 5  # a hole of more missing bins than this ends a segment, as in `causal_grid`
_FEWEST_DF = 10
_APART = 320  # empty bins between stretches: farther than any response reaches


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Residuals of two series on the rows they share."""

    length: int  # bins given
    rows: Ints  # shape (m,): indices of the bins used, ascending
    n_dropped: dict[str, int]  # bins left out, by reason
    # x, y: shape (m,): standardised residuals; empty if `reason` is set
    x: Floats = field(default_factory=lambda: np.empty(0))
    y: Floats = field(default_factory=lambda: np.empty(0))
    # basis_x, basis_y: what trend and driver columns span in the scale of x, and of y, on m rows
    basis_x: Span = field(default_factory=lambda: Basis(np.empty((0, 0))))
    basis_y: Span = field(default_factory=lambda: Basis(np.empty((0, 0))))
    # shape (m,): place of every row in time, in bins; stretches lie farther apart than any lag
    place: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    # order_x, order_y: own lags regressed out, in bins
    order_x: int = 0
    order_y: int = 0
    cycles: tuple[float, ...] = ()  # lengths in bins of rhythms that were found and taken out
    binary_y: bool = False  # whether y takes at most two values
    reason: str | None = None  # why there are no residuals; None otherwise

    def oriented(self, y_leads: bool) -> "Oriented":
        """Return the two as leader and follower."""
        x, y = (self.x, self.basis_x), (self.y, self.basis_y)
        (leader, first), (follower, second) = (y, x) if y_leads else (x, y)
        return Oriented(leader, follower, first, second, self.place, self.binary_y)

    def full(self, values: Floats) -> Floats:
        """Put residuals back on all bins given, NaN where a bin was left out; shape (length,)."""
        result = np.full(self.length, np.nan)
        if values.size:
            result[self.rows] = values
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Oriented:
    """Two residual series, of which one may answer the other."""

    # leader, follower, place: shape (m,)
    leader: Floats
    follower: Floats
    basis_leader: Span
    basis_follower: Span
    place: Ints
    is_binary: bool  # whether the hardware takes at most two values

    def pair(self, looked: Searched) -> LaggedPair:
        """Return the follower beside the leader's responses."""
        return LaggedPair.build(self.leader, self.follower, self.basis_follower, self.place, looked)

    def mirrored(self, follower: Floats, looked: Searched) -> LaggedPair:
        """Return the leader beside what a follower says of it: the same products, seen from the past."""
        back = self.place[-1] - self.place[::-1]
        turned = LaggedPair.build(follower[::-1], self.leader[::-1], self.basis_leader.turned(), back, looked)
        return turned


def paired_residuals(
    x: ArrayLike,
    y: ArrayLike,
    drivers: ArrayLike | None = None,
    segments: ArrayLike | None = None,
    *,
    bins: ArrayLike | None = None,
    unlagged: ArrayLike | None = None,
    driver_lags: int = 3,
    shortest: int = 20,
    remembered: Remembered | None = None,
) -> Paired:
    """Clean two series of trend, drivers, rhythms and own past.

    The series, in any units, the segments (ascending numbers of the gap-free stretches; None is one) and the
    bins (ascending numbers of the bins that the values are of; None: one after the other) have shape (n,). A
    bin that is missing, or not finite, stays a bin in which nothing is known: it is predicted from what was
    known before. More than 5 in a row begin a new segment. Drivers, shape (n,) or (n, k), act through up to
    `driver_lags` past bins too, unlagged ones (sine and cosine of a known period) do not. With fewer than
    `shortest` finite bins, or too little to go by, there is a `reason` instead of residuals. What was
    `remembered` of pairs that share a side is not worked out again.

    Raises
    ------
    ValueError
        If shapes do not agree, or segments or bins descend.
    """
    call = remembered or plainly
    first, second, stretch, number = _validated(x, y, segments, bins)
    columns, waves = (_columns(given, first.size) for given in (drivers, unlagged))
    finite: Mask = np.all(np.isfinite(np.column_stack([first, second, columns, waves])), axis=1)
    rows = np.flatnonzero(finite)
    missing = finite.size - rows.size
    none = Paired(finite.size, rows, {"bins without a finite value": missing} if missing else {})
    if rows.size < shortest:
        return replace(
            none,
            reason=Hindrance(f"too short: {rows.size} finite bins, at least {shortest} are needed", "few"),
        )
    lattice = _lattice(number[rows], stretch[rows])
    cosines = trend_order(rows.size)
    in_time = call(slow_columns, lattice.size, cosines, lattice.stretch[lattice.carried()])
    nuisance = call(_nuisance, in_time, columns[rows], waves[rows], driver_lags, lattice)
    if rows.size < 2 * nuisance.shape[1] + _FEWEST_DF:
        reason = f"too short: {rows.size} bins for {nuisance.shape[1]} trend and driver columns"
        return replace(none, reason=Hindrance(reason, "few"))
    given = first[rows], second[rows]
    clean = [call(own_residuals, series, nuisance, lattice, in_time, cosines, call) for series in given]
    known = [each.values for each in clean if each is not None]
    lengths, rhythm = found_cycles(known, nuisance, lattice, call)
    if lengths:
        nuisance = call(_joined, nuisance, rhythm)
        clean = [call(own_residuals, series, nuisance, lattice, in_time, cosines, call) for series in given]
    if clean[0] is None or clean[1] is None:
        name = "x" if clean[0] is None else "y"
        reason = f"{name} is constant or fully predicted by its trend and drivers"
        return replace(none, reason=Hindrance(reason, "predicted"))
    used = rows_of(np.isfinite(clean[0].values) & np.isfinite(clean[1].values))
    return replace(
        none,
        rows=rows[used],
        x=clean[0].values[used],
        y=clean[1].values[used],
        basis_x=remembered_basis(call, nuisance, clean[0].scale, used),
        basis_y=remembered_basis(call, nuisance, clean[1].scale, used),
        place=(lattice.at + _APART * lattice.stretch)[used],
        order_x=clean[0].order,
        order_y=clean[1].order,
        cycles=lengths,
        binary_y=not has_three_values(second[rows]),
    )


def _nuisance(in_time: Floats, columns: Floats, waves: Floats, driver_lags: int, lattice: Lattice) -> Floats:
    """Return what is taken out of both series but their own past: trend, drivers with their lags, waves."""
    parts = in_time[lattice.at], with_driver_lags(columns, driver_lags, lattice), waves
    whole, trends = np.hstack(parts), in_time.shape[1]
    del parts  # of a long run each array is a tenth of a GiB with its like
    return full_rank(whole, trends)


def _joined(nuisance: Floats, rhythm: Floats) -> Floats:
    return full_rank(np.hstack([nuisance, rhythm]), nuisance.shape[1])


def _validated(
    x: ArrayLike, y: ArrayLike, segments: ArrayLike | None, bins: ArrayLike | None
) -> tuple[Floats, Floats, Ints, Ints]:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"x has shape {first.shape} and y {second.shape}; expected one equal dimension")
    n = first.size
    stretch = np.zeros(n, dtype=np.int64) if segments is None else np.asarray(segments, dtype=np.int64)
    if stretch.shape != (n,) or (stretch[1:] < stretch[:-1]).any():
        raise ValueError(f"segments has shape {stretch.shape}; expected ({n},) ascending numbers")
    number = np.arange(n) if bins is None else np.asarray(bins, dtype=np.int64)
    if number.shape != (n,) or (number[1:] <= number[:-1]).any():
        raise ValueError(f"bins has shape {number.shape}; expected ({n},) numbers, each above the one before")
    return first, second, stretch, number


def _columns(drivers: ArrayLike | None, n: int) -> Floats:
    columns = np.empty((n, 0)) if drivers is None else np.asarray(drivers, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or columns.shape[0] != n:
        raise ValueError(f"drivers has shape {columns.shape}; expected ({n}, k)")
    return columns


def _lattice(number: Ints, segments: Ints) -> Lattice:
    """Lay the rows on consecutive bins, missing ones included, but for the holes between stretches."""
    ahead = np.diff(number)
    begins = (ahead > _ADJACENT_BINS + 1) | (np.diff(segments) != 0)
    stretch = np.append(0, np.cumsum(begins)).astype(np.int64)
    at = np.append(0, np.cumsum(np.where(begins, 1, ahead))).astype(np.int64)
    return Lattice(at, stretch)
