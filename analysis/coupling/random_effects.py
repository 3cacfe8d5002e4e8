"""One effect from several runs: each run's correlation at a lag that the other runs chose, pooled.

A run's own peak is the largest of many numbers; averaged over runs, such peaks are large where nothing is
coupled. At a lag chosen on other data a run's correlation is an honest estimate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.special
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.pair_residuals import Paired, paired_residuals


@dataclass(frozen=True, eq=False, kw_only=True)
class Pooled:
    """A random-effects mean of correlations, and what it is made of; NaN with fewer than 2 runs."""

    # r, r_low, r_high: pooled residual correlation and its 95 % interval (Hartung-Knapp-Sidik-Jonkman),
    # simultaneous over the lags: the runs share most of the others that chose their lag, so a single lag's
    # interval would be too short
    r: float = float("nan")
    lag: int = 0  # lag of the largest mean t statistic, in bins; lag > 0: x leads and y follows
    r_low: float = float("nan")
    r_high: float = float("nan")
    # new_low, new_high: between what the true r of a further run is expected, 95 %, simultaneous as above
    new_low: float = float("nan")
    new_high: float = float("nan")
    i_squared: float = float("nan")  # share of the runs' variance that is not sampling error, 0 to 1
    # run_r, run_low, run_high, run_lag: shape (k,): each run's correlation at the lag that the others chose,
    # its own 95 % interval (Fisher's z), and that lag in bins
    run_r: Floats = field(default_factory=lambda: np.empty(0))
    run_low: Floats = field(default_factory=lambda: np.empty(0))
    run_high: Floats = field(default_factory=lambda: np.empty(0))
    run_lag: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def usable_runs(
    xs: Sequence[ArrayLike],
    ys: Sequence[ArrayLike],
    drivers: Sequence[ArrayLike | None] | None,
    driver_lags: int,
    shortest: int,
    unlagged: Sequence[ArrayLike | None] | None = None,
) -> tuple[list[Paired], list[int], list[str]]:
    """Clean each run's pair of series, and leave out runs that are too short or repeat another's x.

    Their residuals, their places among those given, and sentences on those left out are returned.

    Raises
    ------
    ValueError
        If the numbers of series differ, or the shapes within a run.
    """
    each = [None] * len(xs) if drivers is None else list(drivers)
    waves = [None] * len(xs) if unlagged is None else list(unlagged)
    if not len(xs) == len(ys) == len(each) == len(waves):
        raise ValueError(f"{len(xs)} series x, {len(ys)} y and {len(each)} drivers; expected one each a run")
    runs: list[Paired] = []
    index, reasons, seen = list[int](), list[str](), dict[bytes, int]()
    for number, (x, y, driver, wave) in enumerate(zip(xs, ys, each, waves, strict=True)):
        pair = paired_residuals(x, y, driver, unlagged=wave, driver_lags=driver_lags, shortest=shortest)
        first = seen.setdefault(np.asarray(x, dtype=np.float64).tobytes(), number)
        if first != number:
            reasons.append(f"Run {number} repeats the training series of run {first} and was left out.")
        elif pair.reason:
            reasons.append(f"Run {number} was left out: {pair.reason}.")
        else:
            runs.append(pair)
            index.append(number)
    return runs, index, reasons


def pool(r: Floats, df: Floats, lags: Ints) -> Pooled:
    """Pool correlations by random effects, each at the lag that the other runs chose.

    `r`, shape (k, n_lags) with k >= 2, is each run's residual correlation at every lag (in bins); `df`, shape
    (k,) and above 1, the degrees of freedom of a run's single lag.

    References
    ----------
    Paule & Mandel (1982), J. Res. NBS 87:377 (variance between runs); IntHout et al. (2014), BMC Med.
    Res. Methodol. 14:25 (Hartung-Knapp-Sidik-Jonkman interval); IntHout et al. (2016), BMJ Open 6:e010247
    (prediction interval).
    """
    t = as_t(r, df[:, None])
    others = (t.sum(axis=0) - t) / (len(t) - 1)
    places = np.argmax(np.abs(others), axis=1)
    z = np.arctanh(np.clip(r[np.arange(len(r)), places], -1 + 1e-12, 1 - 1e-12))
    variance = 1.0 / (df - 1.0)
    mean, error, between, i_squared = _random_effects(z, variance)
    level = (1.0 + 0.95 ** (1.0 / lags.size)) / 2.0
    width = float(scipy.special.stdtrit(z.size - 1, level)) * error
    new = float(scipy.special.stdtrit(max(z.size - 2, 1), level)) * float(np.hypot(error, np.sqrt(between)))
    reach = scipy.special.ndtri(0.975) * np.sqrt(variance)
    return Pooled(
        r=float(np.tanh(mean)),
        r_low=float(np.tanh(mean - width)),
        r_high=float(np.tanh(mean + width)),
        new_low=float(np.tanh(mean - new)),
        new_high=float(np.tanh(mean + new)),
        i_squared=i_squared,
        lag=int(lags[np.argmax(np.abs(t.mean(axis=0)))]),
        run_r=np.tanh(z),
        run_low=np.tanh(z - reach),
        run_high=np.tanh(z + reach),
        run_lag=lags[places],
    )


def as_t(r: Floats, df: Floats | float) -> Floats:
    """Return the t statistic of correlations, shape as `r`."""
    return r * np.sqrt(df / np.maximum(1.0 - r**2, 1e-12))


def _random_effects(z: Floats, variance: Floats) -> tuple[float, float, float, float]:
    """Pool by Paule and Mandel's variance between runs; return the mean, its error, this variance and I²."""

    def spread(between: float) -> float:
        weights = 1.0 / (variance + between)
        return float(weights @ (z - weights @ z / weights.sum()) ** 2)

    excess = spread(0.0)
    upper = float(np.var(z)) * z.size + 1.0
    between = 0.0
    if excess > z.size - 1:
        import scipy.optimize  # takes longer than all the rest

        between = float(scipy.optimize.brentq(lambda value: spread(value) - (z.size - 1), 0.0, upper))
    weights = 1.0 / (variance + between)
    mean = float(weights @ z / weights.sum())
    error = float(np.sqrt(max(spread(between), 0.0) / ((z.size - 1) * weights.sum())))
    i_squared = max(0.0, 1.0 - (z.size - 1) / excess) if excess > 0 else 0.0
    return mean, error, between, i_squared
