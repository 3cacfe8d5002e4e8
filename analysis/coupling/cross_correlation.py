"""Whether two series are coupled beyond a shared trend and their own habits.

Residual cross-correlation: both series are cleaned of trend, drivers and own past, then compared
over a window of lags, with a p-value that counts the search over lags and survives heavy tails and
shared restlessness. It measures association; only a randomised intervention could show more.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from thermograd.analysis.coupling.pair_residuals import Paired, paired_residuals
from thermograd.analysis.coupling.resampling import LaggedPair, half_width
from thermograd.analysis.coupling.significance import most_influential, peak_of
from thermograd.analysis.display.markup import element, table
from thermograd.analysis.display.numbers import bound_text, shown_number
from thermograd.analysis.display.profile import lag_profile

Family = Literal["forward", "simultaneous", "reverse"]
FAMILIES: tuple[Family, ...] = ("forward", "simultaneous", "reverse")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
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
        The three tests; None where not run (see `peak.Peak`). Signs are flipped of x and of y.
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

    r: float
    lag: int
    p: float
    half_width: float
    n: int
    df: int
    lags: Ints
    profile: Floats
    family: Ints
    p_sidak: float
    p_permutation: float | None
    p_sign_flip: float | None
    guard_p: float | None
    residual_x: Floats
    residual_y: Floats
    order_x: int
    order_y: int
    n_dropped: dict[str, int]
    reason: str | None = None

    def _repr_html_(self) -> str:
        pass

        return coupling_html(self)


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
    searched = _family_lags(family, max_lag)
    shortest = max(20, 2 * (max_lag + 1))
    cleaned = paired_residuals(
        x, y, drivers, segments, unlagged=unlagged, driver_lags=driver_lags, shortest=shortest
    )
    every_lag = _every_lag(cleaned, max_lag)
    return _coupling(cleaned, every_lag, searched, max_lag, permutations, seed, alpha)


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
    shortest = max(20, 2 * (max_lag + 1))
    cleaned = paired_residuals(x, y, drivers, segments, unlagged=unlagged, shortest=shortest)
    every_lag = _every_lag(cleaned, max_lag)
    return {
        family: _coupling(
            cleaned, every_lag, _family_lags(family, max_lag), max_lag, permutations, seed, 0.05
        )
        for family in FAMILIES
    }


def _every_lag(cleaned: Paired, max_lag: int) -> LaggedPair | None:
    if cleaned.reason:
        return None
    lags = np.arange(-max_lag, max_lag + 1)
    return LaggedPair.build(cleaned.x, cleaned.y, cleaned.nuisance, cleaned.segments, lags)


def _coupling(
    cleaned: Paired,
    every_lag: LaggedPair | None,
    searched: Ints,
    max_lag: int,
    permutations: int,
    seed: int,
    alpha: float,
) -> Coupling:
    if every_lag is None:
        return _no_result(searched, max_lag, cleaned)
    df = cleaned.rows.size - cleaned.nuisance.shape[1] - 2
    pair = every_lag.at(searched + max_lag)
    rng = np.random.default_rng(seed)
    tested = peak_of(cleaned, pair, searched, df, permutations, rng)
    guard_p = None
    if tested.p <= alpha:
        rest = pair.without(most_influential(pair, searched, tested.lag))
        guard_p = peak_of(cleaned, rest, searched, df, permutations, rng).p
    return Coupling(
        r=tested.r,
        lag=tested.lag,
        p=tested.p,
        half_width=half_width(df, searched.size),
        n=cleaned.rows.size,
        df=df,
        lags=np.arange(-max_lag, max_lag + 1),
        profile=every_lag.profile(),
        family=searched,
        p_sidak=tested.p_sidak,
        p_permutation=tested.p_permutation,
        p_sign_flip=tested.p_sign_flip,
        guard_p=guard_p,
        residual_x=cleaned.full(cleaned.x),
        residual_y=cleaned.full(cleaned.y),
        order_x=cleaned.order_x,
        order_y=cleaned.order_y,
        n_dropped=cleaned.n_dropped,
    )


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
    first, second = (first - first.mean()) / np.ptp(first), (second - second.mean()) / np.ptp(second)
    scale = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return float(np.clip(first @ second / scale, -1.0, 1.0))


def _family_lags(family: Family | None, max_lag: int) -> Ints:
    known = {
        None: (0, max_lag),
        "forward": (1, max_lag),
        "simultaneous": (0, 0),
        "reverse": (-max_lag, -1),
    }
    if family not in known:
        names = ", ".join(repr(name) for name in known)
        raise ValueError(f"family is {family!r}; expected one of {names}")
    first, last = known[family]
    if max_lag < 0 or last < first:
        raise ValueError(f"max_lag is {max_lag!r}; expected at least {1 if family else 0} bins")
    return np.arange(first, last + 1)


def _no_result(searched: Ints, max_lag: int, cleaned: Paired) -> Coupling:
    nothing, lags = float("nan"), np.arange(-max_lag, max_lag + 1)
    return Coupling(
        r=nothing,
        lag=0,
        p=nothing,
        half_width=nothing,
        n=cleaned.rows.size,
        df=0,
        lags=lags,
        profile=np.full(lags.size, np.nan),
        family=searched,
        p_sidak=nothing,
        p_permutation=None,
        p_sign_flip=None,
        guard_p=None,
        residual_x=cleaned.full(cleaned.x),
        residual_y=cleaned.full(cleaned.y),
        order_x=0,
        order_y=0,
        n_dropped=cleaned.n_dropped,
        reason=cleaned.reason,
    )


def coupling_html(coupling: "Coupling") -> str:
    """Return the numbers of one residual cross-correlation of two arrays, and its profile."""
    if coupling.reason:
        return element("p", f"No correlation: {coupling.reason}.")
    header = ("n", "r", "Lag, bins", "p", "95 % bound")
    row = (
        f"{coupling.n:,}",
        shown_number(coupling.r, "+.2f"),
        f"{coupling.lag:+d}",
        shown_number(coupling.p, ".2g"),
        bound_text(coupling.half_width),
    )
    own = {int(lag) for lag in coupling.family}
    drawing = lag_profile(
        coupling.lags.tolist(), coupling.profile.tolist(), coupling.half_width, own, "bins", "x"
    )
    return element("div", table(header, [row], "nnnnn", "Residual cross-correlation"), drawing)
