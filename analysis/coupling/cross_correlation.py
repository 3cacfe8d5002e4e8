"""Whether two series are coupled beyond a shared trend and their own habits.

Residual cross-correlation: both series are cleaned of trend, drivers, rhythms and own past, then compared
over a window of lags and slow responses, with a p-value that counts the search and survives heavy tails,
shared restlessness and what memory is left. It measures association; only a randomised intervention could
show more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.pair_residuals import Paired, paired_residuals
from thermograd.analysis.coupling.evidence.leftover import spread_of
from thermograd.analysis.coupling.evidence.not_excluded import Open, Widened, not_excluded
from thermograd.analysis.coupling.evidence.resampling import spread_width
from thermograd.analysis.coupling.evidence.significance import gate_p, peak_of, without_one_event
from thermograd.analysis.coupling.linear_algebra import cosine
from thermograd.analysis.coupling.responses import MEMORIES, Searched, searched
from thermograd.analysis.display.lag_plot import Slow, lag_profile
from thermograd.analysis.display.markup import element
from thermograd.analysis.display.numbers import bound_text, shown_number
from thermograd.analysis.display.table import Table

Family = Literal["forward", "simultaneous", "reverse"]
_LEAST_SHARE = 1e-6  # of bins that have a partner; a lag without any excludes nothing
FAMILIES: tuple[Family, ...] = ("forward", "simultaneous", "reverse")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Coupling:
    """What `residual_cross_correlation` found for one pair of series.

    Attributes
    ----------
    r
        Residual correlation at the peak, of a lag or of a slow response; NaN if `reason` is set.
    lag
        Lag of the largest |r| of the profile in the family, in bins; lag > 0: x leads and y follows.
    memory
        Bins in which the answer fades to 1/e, where the peak is a slow response; None where it is one lag.
    p
        The largest of the p-values below that were computed; NaN if `reason` is set.
    half_width, slow_half_width
        Simultaneous 95 % half-widths: |r| of an uncoupled pair stays below the first at every lag of the
        family, below the second for every slow response. Shared restlessness and memory widen them.
    lag_bound, slow_bound
        The largest |r| that is not excluded, of any lag of the family, and of any slow response.
    n, df
        Bins whose residuals entered; degrees of freedom of a single response.
    lags, profile
        Shape (2 * max_lag + 1,): -max_lag..max_lag in bins, and r at each, over the bins that have a partner.
    family, memories, slow_profile
        Lags the peak was searched in, shape (n_lags,); memories of the slow responses that were searched
        with them, in bins, and r of each, shape (n_memories,).
    alternatives, inflation
        How many independent looks the search is worth; by how much restlessness and memory that both share
        multiply the variance of r.
    p_sidak, p_memory, p_permutation, p_sign_flip
        The four tests; None where not run (see `significance.Peak`). Signs are flipped of x and of y.
    guard_p
        p without the most influential second; None where p was not below alpha.
    gate_p
        Share of other shifts with as large a peak; None where no rhythm or memory is suspected in both.
    cycles
        Lengths in bins of rhythms that were found in a residual and taken out of both.
    not_excluded
        What is seen besides lags and slow responses (see `not_excluded.Open`).
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
    memories: Floats = field(default_factory=lambda: np.empty(0))
    slow_profile: Floats = field(default_factory=lambda: np.empty(0))
    memory: float | None = None
    slow_half_width: float = float("nan")
    lag_bound: float = float("nan")
    slow_bound: float = float("nan")
    alternatives: int = 0
    inflation: float = float("nan")
    not_excluded: list[Open] = field(default_factory=list)
    gate_p: float | None = None
    cycles: tuple[float, ...] = ()
    p_sidak: float = float("nan")
    p_memory: float = float("nan")
    p_permutation: float | None = None
    p_sign_flip: float | None = None
    guard_p: float | None = None
    residual_x: Floats
    residual_y: Floats
    order_x: int
    order_y: int
    n_dropped: dict[str, int]
    reason: str | None = None

    @property
    def bound(self) -> float:
        """The largest |r| that is not excluded, of any lag and any slow response."""
        return float(np.fmax(self.lag_bound, self.slow_bound))

    def _repr_html_(self) -> str:
        if self.reason:
            return element("p", f"No correlation: {self.reason}.")
        answer = f"{self.lag:+d}" if self.memory is None else f"memory {self.memory:.3g}"
        half_width = self.half_width if self.memory is None else self.slow_half_width
        numbers = shown_number(self.r, "+.2f"), answer, shown_number(self.p, ".2g")
        row = (f"{self.n:,}", *numbers, bound_text(half_width))
        own = set(self.family.tolist())
        slow = Slow(self.memories.tolist(), self.slow_profile.tolist(), self.slow_half_width)
        profile = self.lags.tolist(), self.profile.tolist(), self.half_width
        drawing = lag_profile(*profile, own, "bins", "x", slow)
        columns = dict.fromkeys(("n", "r", "Lag or memory, bins", "p", "95 % bound"), "n")
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
    bins: ArrayLike | None = None,
    driver_lags: int = 3,
    memories: ArrayLike = MEMORIES,
    alpha: float = 0.05,
) -> Coupling:
    """Test whether two series are associated beyond trends, drivers and their own past.

    Parameters
    ----------
    x, y
        Shape (n,): training and hardware signal on one regular grid (see `causal_grid`), any units;
        give grad_norm as its logarithm. In a bin where a value is not finite nothing is known; more than 5
        such bins in a row begin a new segment.
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
    bins
        Shape (n,): number of the bin that every value is of, ascending; None: one after the other. A lag is
        so many bins, whether or not all of them are there.
    driver_lags
        In bins.
    memories
        Slow responses searched beside the lags: bins in which each fades to 1/e. Only those of at most an
        eighth of the series, in series of 150 bins or more.
    alpha
        p at or below which the one-event guard runs.

    Returns
    -------
    Coupling
        With NaN for r and p and a `reason` where a series is too short, constant or fully predicted.

    Raises
    ------
    ValueError
        If shapes do not agree, the family is unknown, max_lag does not fit it, or a memory is not above 0.

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
    family_lags(family, max_lag)  # refuses what is not known before anything is worked out
    cleaned = paired_residuals(
        x,
        y,
        drivers,
        segments,
        bins=bins,
        unlagged=unlagged,
        driver_lags=driver_lags,
        shortest=shortest_series(max_lag),
    )
    looked = searched_family(family, max_lag, memories, cleaned.rows.size)
    return couplings_of(cleaned, [looked], max_lag, permutations, seed, [alpha])[0]


def shortest_series(max_lag: int) -> int:
    """Return the fewest bins that are tested over so many lags."""
    return max(20, 2 * (max_lag + 1))


def couplings_of(
    cleaned: Paired,
    families: Sequence["SearchedFamily"],
    max_lag: int,
    permutations: int,
    seed: int,
    alphas: Sequence[float],
    *,
    is_brief: bool = False,
) -> list[Coupling]:
    """Return what is found in each family of a cleaned pair of series; one of alpha 0 is not resampled.

    `is_brief`: without the whole profile, and without what is no lag and no slow response.
    """
    lags = np.arange(-max_lag, max_lag + 1)
    common: dict[str, Any] = {
        "n": cleaned.rows.size,
        "lags": lags,
        "residual_x": cleaned.full(cleaned.x),
        "residual_y": cleaned.full(cleaned.y),
        "order_x": cleaned.order_x,
        "order_y": cleaned.order_y,
        "n_dropped": cleaned.n_dropped,
        "cycles": cleaned.cycles,
    }
    if cleaned.reason:
        common |= {"profile": np.full(lags.size, np.nan), "reason": cleaned.reason}
        return [Coupling(family=np.empty(0, dtype=np.int64), **common) for _ in families]
    df = cleaned.rows.size - cleaned.basis_x.width - 2
    widened = None if is_brief else Widened()
    tested = [
        family_tested(cleaned, looked, df, permutations if alpha else 0, seed, alpha, widened)
        for looked, alpha in zip(families, alphas, strict=True)
    ]
    profile = np.full(lags.size, np.nan) if is_brief else _joined_profile(families, tested, lags)
    common |= {"profile": whole_profile(cleaned, max_lag) if profile is None else profile, "df": df}
    return [Coupling(**common, **found) for _, found in tested]


def _joined_profile(
    families: Sequence["SearchedFamily"], tested: Sequence[tuple[Floats, dict[str, Any]]], lags: Ints
) -> Floats | None:
    """Return r at every lag from what was found in the families; None where these do not hold all lags."""
    r: dict[int, float] = {}
    for (y_leads, looked), (effects, _) in zip(families, tested, strict=True):
        r |= zip((-looked.lags if y_leads else looked.lags).tolist(), effects.tolist(), strict=False)
    every = lags.tolist()
    return np.array([r[lag] for lag in every]) if all(lag in r for lag in every) else None


def whole_profile(cleaned: Paired, max_lag: int) -> Floats:
    """Return r at every lag from -max_lag to max_lag."""
    ahead = cleaned.oriented(y_leads=False).pair(Searched(np.arange(max_lag + 1), np.empty(0))).effects()
    if not max_lag:
        return ahead
    lags = np.arange(1, max_lag + 1)
    behind = cleaned.oriented(y_leads=True).pair(Searched(lags, np.empty(0))).effects()
    return np.append(behind[::-1], ahead)


def family_tested(
    cleaned: Paired,
    family: "SearchedFamily",
    df: int,
    permutations: int,
    seed: int,
    alpha: float,
    widened: Widened | None = None,
) -> tuple[Floats, dict[str, Any]]:
    """Return r of each response of one family, and what is found; `widened`: and what is no such response."""
    looked, oriented = family.looked, cleaned.oriented(family.y_leads)
    pair, rng = oriented.pair(looked), np.random.default_rng(seed)
    spread = spread_of(pair, cleaned.place, looked.lags.size)
    peak, guard_p = peak_of(oriented, pair, spread, looked, df, permutations, rng), None
    if peak.p <= alpha:
        rest = without_one_event(oriented, pair, looked, peak.at)
        guard_p = peak_of(rest, rest.pair(looked), spread, looked, df, permutations, rng).p
    effects, count = pair.effects(), looked.lags.size
    wide = spread_width(df, looked.alternatives) * spread.deviation / np.maximum(pair.share, _LEAST_SHARE)
    widths = np.minimum(wide, 1.0)  # no correlation is larger
    excluded = np.minimum(np.abs(effects) + widths, 1.0)
    sign = -1 if family.y_leads else 1
    return effects, {
        "family": sign * looked.lags[::sign],
        "memories": looked.memories,
        "slow_profile": effects[count:],
        "r": float(effects[peak.at]),
        "lag": sign * int(looked.lags[np.argmax(np.abs(effects[:count]))]),
        "memory": float(looked.memories[peak.at - count]) if peak.at >= count else None,
        "half_width": float(widths[:count].max()),
        "slow_half_width": float(widths[count:].max()) if widths.size > count else float("nan"),
        "lag_bound": float(excluded[:count].max()),
        "slow_bound": float(excluded[count:].max(initial=0.0)),
        "alternatives": looked.alternatives,
        "inflation": max(1.0, float(np.mean(spread.deviation[:count] ** 2)) * cleaned.rows.size),
        "not_excluded": []
        if widened is None
        else not_excluded(oriented, looked, df, y_leads=family.y_leads, widened=widened),
        "gate_p": gate_p(oriented, spread, looked, peak.at >= count) if peak.p <= alpha else None,
        "guard_p": guard_p,
        **{
            name: getattr(peak, name) for name in ("p", "p_sidak", "p_memory", "p_permutation", "p_sign_flip")
        },
    }


class SearchedFamily(NamedTuple):
    """Which of the two leads, and by what."""

    y_leads: bool
    looked: Searched


def searched_family(name: Family | None, max_lag: int, memories: ArrayLike, bins: int) -> SearchedFamily:
    """Return what is searched in a family of lags of a series of so many bins."""
    lags = family_lags(name, max_lag)
    slow = np.asarray(memories, dtype=np.float64)
    if (slow <= 0).any():
        raise ValueError(f"memories are {memories!r}; expected bins, more than 0 each")
    return SearchedFamily(name == "reverse", searched(np.sort(np.abs(lags)), slow, bins))


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
    if not isinstance(max_lag, int | np.integer):
        raise ValueError(f"max_lag is {max_lag!r}; expected a whole number of bins")
    first, last = known[family]
    if max_lag < 0 or last < first:
        raise ValueError(f"max_lag is {max_lag!r}; expected at least {1 if family else 0} bins")
    return np.arange(first, last + 1)
