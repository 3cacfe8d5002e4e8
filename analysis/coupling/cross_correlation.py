"""Whether two series are coupled beyond a shared trend and their own habits.

Residual cross-correlation: both series are cleaned of trend, drivers and own past, then compared
over a window of lags, with a p-value that counts the search over lags and survives heavy tails and
shared restlessness. It measures association; only a randomised intervention could show more.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.linear_algebra import cosine
from thermograd.analysis.coupling.pair_residuals import Paired, paired_residuals
from thermograd.analysis.coupling.resampling import LaggedPair, half_width
from thermograd.analysis.coupling.significance import most_influential, peak_of
from thermograd.analysis.display.lag_plot import lag_profile
from thermograd.analysis.display.markup import element
from thermograd.analysis.display.numbers import bound_text, shown_number
from thermograd.analysis.display.table import Table

Family = Literal["forward", "simultaneous", "reverse"]
FAMILIES: tuple[Family, ...] = ("forward", "simultaneous", "reverse")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Coupling:
    """What `residual_cross_correlation` found for one pair of series.

    Attributes
    ----------
    r
        Residual correlation at the peak lag; NaN if `reason` is set.
    lag
        Peak lag in bins; lag > 0: x leads and y follows.
    p
        The largest of the p-values below that were computed; NaN if `reason` is set.
    half_width
        Simultaneous 95 % half-width of the whole profile: |r| of an uncoupled pair stays below it
        at every lag of the family.
    n, df
        Bins whose residuals entered; degrees of freedom of a single lag.
    lags, profile
        Shape (2 * max_lag + 1,): -max_lag..max_lag in bins, and r at each.
    family
        Lags the peak was searched in, shape (n_lags,).
    p_sidak, p_permutation, p_sign_flip
        The three tests; None where not run (see `significance.Peak`). Signs are flipped of x and of y.
    guard_p
        p without the most influential second; None where p was not below alpha.
    residual_x, residual_y
        Shape as the input: standardised residuals, NaN where a bin was left out.
    order_x, order_y
        Own lags regressed out.
    n_dropped
        Bins left out, by reason.
    reason
        Why no statistic could be computed; None otherwise.
    """

    r: float = float("nan")
    lag: int = 0
    p: float = float("nan")
    half_width: float = float("nan")
    n: int
    df: int = 0
    lags: Ints
    profile: Floats
    family: Ints
    p_sidak: float = float("nan")
    p_permutation: float | None = None
    p_sign_flip: float | None = None
    guard_p: float | None = None
    residual_x: Floats
    residual_y: Floats
    order_x: int
    order_y: int
    n_dropped: dict[str, int]
    reason: str | None = None

    def _repr_html_(self) -> str:
        if self.reason:
            return element("p", f"No correlation: {self.reason}.")
        numbers = shown_number(self.r, "+.2f"), f"{self.lag:+d}", shown_number(self.p, ".2g")
        row = (f"{self.n:,}", *numbers, bound_text(self.half_width))
        own = set(self.family.tolist())
        drawing = lag_profile(self.lags.tolist(), self.profile.tolist(), self.half_width, own, "bins", "x")
        columns = dict.fromkeys(("n", "r", "Lag, bins", "p", "95 % bound"), "n")
        return element("div", Table(columns, [row], "Residual cross-correlation"), drawing)


def residual_cross_correlation(
    x: ArrayLike,
    y: ArrayLike,
    drivers: ArrayLike | None = None,
    max_lag: int = 12,
    permutations: int = 999,
    seed: int = 0,
    *,
    family: Family | None = None,
    segments: ArrayLike | None = None,
    unlagged: ArrayLike | None = None,
    driver_lags: int = 3,
    alpha: float = 0.05,
) -> Coupling:
    """Test whether two series are associated beyond trends, drivers and their own past.

    Parameters
    ----------
    x, y
        Shape (n,): training and hardware signal on one regular grid (see `causal_grid`), any units;
        give grad_norm as its logarithm. Bins where a value is not finite are left out; up to 5 in a
        row count as no gap, more begin a new segment.
    drivers
        Shape (n,) or (n, k): observed common drivers that are not on the way from x to y
        (utilisation, learning rate); each also acts through its last `driver_lags` bins. Leave power
        out when y is temperature: power is the way.
    max_lag
        Largest lag, in bins.
    permutations
        Number of random orders and, again, of random signs, at most: 50 peaks as large as the observed
        one are enough (Besag & Clifford 1991). 0 gives the Sidak p alone.
    seed
        Seed of the resampling; the same seed gives the same p.
    family
        Lags searched: None 0..max_lag, "forward" 1..max_lag, "simultaneous" 0, "reverse" -max_lag..-1.
    segments
        Shape (n,): number of the gap-free stretch of every bin, ascending; None is one stretch.
    unlagged
        As drivers, for those that act in their own bin only: sine and cosine of a known period.
    driver_lags
        In bins.
    alpha
        p at or below which the one-event guard runs.

    Returns
    -------
    Coupling
        With NaN for r and p and a `reason` where a series is too short, constant or fully predicted.

    Raises
    ------
    ValueError
        If shapes do not agree, the family is unknown, or max_lag does not fit it.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> x, noise = rng.standard_normal((2, 400))
    >>> result = residual_cross_correlation(x, 0.5 * np.roll(x, 4) + noise)
    >>> result.lag, result.p < 0.01
    (4, True)

    References
    ----------
    Haugh (1976), J. Am. Stat. Assoc. 71:378-385; Freedman & Lane (1983), J. Bus. Econ. Stat. 1:292-298
    (permuting residuals); Winkler et al. (2014), NeuroImage 92:381-397 (sign flips).
    """
    searched = family_lags(family, max_lag)
    cleaned = paired_residuals(
        x, y, drivers, segments, unlagged=unlagged, driver_lags=driver_lags, shortest=shortest_series(max_lag)
    )
    return _couplings(cleaned, [searched], max_lag, permutations, seed, alpha)[0]


def couplings_by_family(
    x: ArrayLike,
    y: ArrayLike,
    drivers: ArrayLike | None = None,
    max_lag: int = 12,
    permutations: int = 999,
    seed: int = 0,
    *,
    segments: ArrayLike | None = None,
    unlagged: ArrayLike | None = None,
) -> dict[Family, Coupling]:
    """Return `residual_cross_correlation` of each family of lags; the series are cleaned only once."""
    cleaned = paired_residuals(x, y, drivers, segments, unlagged=unlagged, shortest=shortest_series(max_lag))
    searched = [family_lags(family, max_lag) for family in FAMILIES]
    found = _couplings(cleaned, searched, max_lag, permutations, seed, 0.05)
    return dict(zip(FAMILIES, found, strict=True))


def shortest_series(max_lag: int) -> int:
    """Return the fewest bins that are tested over so many lags."""
    return max(20, 2 * (max_lag + 1))


def _couplings(
    cleaned: Paired, families: Sequence[Ints], max_lag: int, permutations: int, seed: int, alpha: float
) -> list[Coupling]:
    lags = np.arange(-max_lag, max_lag + 1)
    common: dict[str, Any] = {
        "n": cleaned.rows.size,
        "lags": lags,
        "residual_x": cleaned.full(cleaned.x),
        "residual_y": cleaned.full(cleaned.y),
        "order_x": cleaned.order_x,
        "order_y": cleaned.order_y,
        "n_dropped": cleaned.n_dropped,
    }
    if cleaned.reason:
        common |= {"profile": np.full(lags.size, np.nan), "reason": cleaned.reason}
        return [Coupling(family=family, **common) for family in families]
    every_lag = LaggedPair.build(cleaned.x, cleaned.y, cleaned.nuisance, cleaned.segments, lags)
    df = cleaned.rows.size - cleaned.nuisance.shape[1] - 2
    common |= {"profile": every_lag.profile(), "df": df}
    found = []
    for family in families:
        pair, rng = every_lag.at(family + max_lag), np.random.default_rng(seed)
        peak, guard_p = peak_of(cleaned, pair, family, df, permutations, rng), None
        if peak.p <= alpha:
            rest = pair.x.copy()
            rest[most_influential(pair, family, peak.lag)] = 0.0
            guard_p = peak_of(cleaned, replace(pair, x=rest), family, df, permutations, rng).p
        width = half_width(df, family.size)
        found.append(Coupling(**asdict(peak), **common, family=family, half_width=width, guard_p=guard_p))
    return found


def naive_pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Return the plain Pearson correlation of the pairs where both are finite.

    For comparison only: on two independent series with trends its p-value is below 5 % in every run.

    Parameters
    ----------
    x, y
        Shape (n,), any units.

    Returns
    -------
    float
        NaN with fewer than 3 finite pairs or a constant series.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> round(naive_pearson([1.0, 2.0, 3.0], [2.0, 4.0, 7.0]), 4)
    0.9934
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"x has shape {first.shape} and y {second.shape}; expected one equal dimension")
    finite = np.isfinite(first) & np.isfinite(second)
    first, second = first[finite], second[finite]
    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    scaled = ((values - values.mean()) / np.ptp(values) for values in (first, second))
    return float(np.clip(cosine(*scaled), -1.0, 1.0))


def family_lags(family: Family | None, max_lag: int) -> Ints:
    """Return the lags of a family, in bins."""
    known = {None: (0, max_lag), "forward": (1, max_lag), "simultaneous": (0, 0), "reverse": (-max_lag, -1)}
    if family not in known:
        names = ", ".join(repr(name) for name in known)
        raise ValueError(f"family is {family!r}; expected one of {names}")
    first, last = known[family]
    if max_lag < 0 or last < first:
        raise ValueError(f"max_lag is {max_lag!r}; expected at least {1 if family else 0} bins")
    return np.arange(first, last + 1)
