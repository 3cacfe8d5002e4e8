"""How strong a coupling must be to be found, and how many bins that takes."""

import math

import scipy.special
from thermograd.analysis.coupling.cleaning.residuals import trend_columns

_ESTIMATED = 0.3  # what a test loses to parameters that are estimated too, in units of Fisher's z


def smallest_detectable(
    n: int,
    *,
    columns: int | None = None,
    lags: int = 15,
    power: float = 0.9,
    alpha: float = 0.05,
    inflation: float = 1.0,
) -> float:
    """Return the smallest residual correlation that this many bins would detect.

    Fisher's z is taken as normal with variance 1 / (df - 1), df = n - columns - lags - 1, and the peak
    over the lags is tested at the Sidak level. What that leaves out (autocorrelation and trend are
    estimated too, and all three tests have to agree) shifts the peak by 0.3, a figure fitted to
    simulations; how well it holds is measured in `benchmarks/CALIBRATION.md`.

    Parameters
    ----------
    n
        Bins.
    columns
        Trend and driver columns; None takes a trend without drivers.
    lags
        How many looks the search is worth: the lags, and two for all slow responses (see `Coupling`).
    power, alpha
        Probability of detection, and level of the test.
    inflation
        By how much restlessness and memory of both multiply the variance (see `Coupling`).

    Returns
    -------
    float
        |rho| between 0 and 1, of what the sensor shows; NaN where n is too small to detect anything.

    Examples
    --------
    >>> round(smallest_detectable(400), 2)
    0.23
    """
    df = n - (trend_columns(n) if columns is None else columns) - lags - 1
    free = df / inflation - 1
    return math.tanh(_quantiles(lags, power, alpha) / math.sqrt(free)) if free > 0 else math.nan


def samples_needed(
    rho: float, *, columns: int | None = None, lags: int = 15, power: float = 0.9, alpha: float = 0.05
) -> int:
    """Return how many bins a run needs to detect this residual correlation.

    The inverse of `smallest_detectable`, with the same parameters and approximation.

    Raises
    ------
    ValueError
        If |rho| is not between 0 and 1 (both exclusive).

    Examples
    --------
    >>> samples_needed(0.3)
    236
    """
    _require_correlation(rho)
    df = (_quantiles(lags, power, alpha) / math.atanh(abs(rho))) ** 2 + 1
    return _bins_for(df + lags - 1, columns)


def samples_to_exclude(
    rho0: float, *, columns: int | None = None, lags: int = 15, power: float = 0.9, alpha: float = 0.05
) -> int:
    """Return how many bins an uncoupled run needs to end as "no coupling above rho0".

    The largest |r| of noise over the lags must stay below rho0 minus the half-width, with
    probability `power`; both are taken as normal with variance 1 / df.

    Raises
    ------
    ValueError
        If |rho0| is not between 0 and 1 (both exclusive).
    """
    _require_correlation(rho0)
    peaks = _peak_quantile(lags, 1 - power) + _peak_quantile(lags, alpha)
    return _bins_for((peaks / abs(rho0)) ** 2, columns)


def _quantiles(lags: int, power: float, alpha: float) -> float:
    return _peak_quantile(lags, alpha) + float(scipy.special.ndtri(power)) + _ESTIMATED


def _peak_quantile(lags: int, level: float) -> float:
    single = -math.expm1(math.log1p(-level) / lags)
    return -float(scipy.special.ndtri(single / 2))


def _bins_for(df: float, columns: int | None) -> int:
    # The trend takes more columns the longer the run is; they are at most 22, and never shrink.
    n = math.ceil(df) + 2
    while columns is None and n < math.ceil(df) + 2 + trend_columns(n):
        n += 1
    return n if columns is None else n + columns


def _require_correlation(rho: float) -> None:
    if not 0 < abs(rho) < 1:
        raise ValueError(f"rho is {rho!r}; expected a correlation between 0 and 1, neither included")
