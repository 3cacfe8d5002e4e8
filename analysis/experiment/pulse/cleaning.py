"""What of a sensor's series its slow course and its own past do not foretell, weighted by how sure it is.

The redraw of the schedule makes a test valid, whatever is done to the outcome alone; this is for its power.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from thermograd.analysis.arrays import Floats, Mask
from thermograd.analysis.coupling.cleaning.residuals import trend_basis, trend_order
from thermograd.analysis.coupling.linear_algebra import orthonormal

_MOST_PAST = 6  # bins of its own past
_BINS_PER_PAST = 20
_ROUNDS = 3  # of the memory, weighted by the volatility that the last one left
_VOLATILITY_BINS = 15  # sd of the window
_LEAST_VOLATILITY = 0.3  # share of the whole, for a sensor that stands still for a while
_LARGEST_SHOCK = 4.0  # of that volatility
_NOTHING = 1e-9
_FEWEST_BINS = 40  # for more of a trend than its level


@dataclass(frozen=True, slots=True, eq=False)
class Cleaned:
    """One outcome, cleaned.

    Attributes
    ----------
    residual
        Shape (n,): what trend and own past leave, in the outcome's unit.
    weight
        Shape (n,): how much each counts; 0 where the bin is missing. The score of a response g is
        sum g * weight * residual.
    past
        Shape (p,): weights of the bins before, nearest first.
    sd
        Of the outcome about its trend.
    """

    residual: Floats
    weight: Floats
    past: Floats
    sd: float

    def whitening(self, lags: int) -> Floats:
        """Return what the cleaning makes of one bin's shift, bin by bin after it; shape (lags, lags).

        Column k: of a shift of 1 in bin k.
        """
        one = np.zeros(lags)
        one[0] = 1.0
        kept = min(self.past.size, lags - 1)
        one[1 : kept + 1] = -self.past[:kept]
        at = np.subtract.outer(np.arange(lags), np.arange(lags))
        return np.where(at >= 0, one[at.clip(min=0)], 0.0)


def cleaned(values: Floats, basis: Floats, *, robust: bool = True) -> Cleaned | None:
    """Return a series, NaN where it is missing, cleaned; None where it never moves about its trend.

    Parameters
    ----------
    values, basis
        Shape (n,); `slow_course(n)`.
    robust
        Whether shocks beyond 4 local sd count as 4.
    """
    known = np.isfinite(values)
    if known.sum() < 2:
        return None
    filled = _filled(values, known)
    scale = float(np.abs(filled - filled[0]).max())
    moving = filled - basis @ (basis.T @ filled)
    sd = float(moving[known].std())
    if sd <= _NOTHING * scale or scale == 0.0:
        return None
    order = min(_MOST_PAST, values.size // _BINS_PER_PAST)
    past, residual, volatility = _without_past(moving, order)
    size = np.abs(residual) / volatility
    counted = np.minimum(1.0, _LARGEST_SHOCK / size.clip(min=_NOTHING)) if robust else 1.0
    return Cleaned(residual, np.where(known, counted / volatility**2, 0.0), past, sd)


def slow_course(n: int) -> Floats:
    """Return orthonormal columns of a slow trend, as the analysis of couplings has it; shape (n, k)."""
    if n < _FEWEST_BINS:
        return np.full((n, 1), 1.0 / np.sqrt(max(n, 1)))
    return orthonormal(trend_basis(n, trend_order(n)))


def _filled(values: Floats, known: Mask) -> Floats:
    if known.all():
        return values
    at = np.flatnonzero(known)
    return np.interp(np.arange(values.size), at, values[at])


def _without_past(z: Floats, order: int) -> tuple[Floats, Floats, Floats]:
    """Return the weights of the past, the residuals and their volatility."""
    n = z.size
    lagged = np.zeros((n, order))
    for lag in range(1, order + 1):
        lagged[lag:, lag - 1] = z[:-lag]
    ridge = _NOTHING * float(z @ z) * np.eye(order)
    volatility: Floats = np.ones(n)
    past: Floats = np.zeros(order)
    residual: Floats = z
    for _ in range(_ROUNDS):
        weighted = lagged / volatility[:, None] ** 2
        past = np.asarray(np.linalg.solve(weighted.T @ lagged + ridge, weighted.T @ z), np.float64)
        residual = z - lagged @ past
        volatility = _volatility(residual, float(np.sqrt(z @ z / n)))
    return past, residual, volatility


def _volatility(residual: Floats, sd: float) -> Floats:
    whole = max(float(np.sqrt(np.mean(residual**2))), _NOTHING * sd)
    size = np.minimum(np.abs(residual), _LARGEST_SHOCK * whole)
    local: Floats = np.sqrt(gaussian_filter1d(size**2, _VOLATILITY_BINS))
    return np.maximum(local, _LEAST_VOLATILITY * whole)
