"""`residual_cross_correlation` for thousands of pairs: what shows nothing at a glance is not resampled.

The glance is Sidak's p of each family of lags, which never exceeds the p of the full test, for that is the
largest of several of which it is one. So a pair that is let through has the p that the full test gives, and
one that is not let through could not have had a smaller one than it was screened out with: screening makes
no p smaller than the full test's.

Among many tests a p has to be smaller than random orders and signs can tell. Where not one of them came up
to the peak, a bound goes on from there: sums of independent signs reach t no more often than 3.18 times as
often as a normal variable (Bentkus & Dzindzalieta 2015, Bernoulli 21:1231-1237), whatever the sizes of what
is summed, and over lags these add up. That inequality is exact. Approximate is what it is applied to: news
that are independent and as often up as down only as far as own past and nuisance could be taken out, and by
estimates; what signs leave of a series that is cleaned once more, of which a share by a rule is taken off;
and the p of random orders, which goes on by the tail of signs. How often it errs is therefore measured
(benchmarks/fleet_false_discoveries.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.special
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.cleaning.pair_residuals import Paired
from thermograd.analysis.coupling.cross_correlation import (
    FAMILIES,
    Family,
    SearchedFamily,
    family_tested,
    searched_family,
    whole_profile,
)
from thermograd.analysis.coupling.evidence.resampling import sidak_p
from thermograd.analysis.coupling.responses import LaggedPair

LET_THROUGH = 0.02  # Sidak's p of a family; times the three families more than any level of significance
_ALPHA = 0.05
_TAIL = 2 * 3.18  # of the two-sided tail of a normal variable
_FEWEST_FREE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What a pair of series shows in its most surprising family of lags."""

    n: int
    df: int = 0
    family: Family = "forward"
    r: float = math.nan  # residual correlation at the family's peak
    lag: int = 0  # in bins, of the largest |r| at a single lag; above 0: x leads
    memory: float | None = None  # in bins, where the peak is a slow response
    p: float = math.nan  # of all three families together; 1.0 at most
    is_resampled: bool = False  # whether the glance let it through
    guard_p: float | None = None  # p without the most influential second
    gate_p: float | None = None  # share of other shifts with as large a peak
    profile: Floats = field(default_factory=lambda: np.empty(0))  # r at -max_lag..max_lag bins
    reason: str | None = None


def screened(
    held: Paired,
    free: Callable[[], Paired] | None,
    max_lag: int,
    memories: Floats,
    permutations: int,
    seed: Callable[[Family], int],
) -> Screened:
    """Test a cleaned pair of series in the three families of lags.

    Parameters
    ----------
    held, free
        The pair; and, where drivers were taken out that both sides may themselves move, the pair with those
        left in: what is found must show in both.
    max_lag, memories
        Lags and slow responses that are searched, in bins.
    permutations
        Random orders, and signs, at most.
    seed
        Of the resampling, by family.
    """
    if held.reason:
        return Screened(n=held.rows.size, reason=held.reason)
    look = _Look(held, free, permutations, seed)
    found = [look.at(name, searched_family(name, max_lag, memories, held.rows.size)) for name in FAMILIES]
    best = min(found, key=lambda each: (each["p"], -abs(each["r"])))
    best["p"] = min(1.0, len(FAMILIES) * best["p"])
    return Screened(n=held.rows.size, df=look.df, profile=whole_profile(held, max_lag), **best)


class _Look:
    """Looks at one pair family by family, first at a glance."""

    def __init__(
        self,
        held: Paired,
        free: Callable[[], Paired] | None,
        permutations: int,
        seed: Callable[[Family], int],
    ) -> None:
        self._held, self._free, self._permutations, self._seed = held, free, permutations, seed
        self.df = _df(held)

    def at(self, name: Family, family: SearchedFamily) -> dict[str, Any]:
        """Return what one family shows: the fields of `Screened`, p of the family alone."""
        pair = self._held.oriented(family.y_leads).pair(family.looked)
        profile, effects = pair.profile(), pair.effects()
        at, lags = int(np.argmax(np.abs(profile))), family.looked.lags
        sign = -1 if family.y_leads else 1
        shown: dict[str, Any] = {
            "family": name,
            "r": float(effects[at]),
            "lag": sign * int(lags[np.argmax(np.abs(effects[: lags.size]))]),
            "memory": float(family.looked.memories[at - lags.size]) if at >= lags.size else None,
            "p": sidak_p(float(np.abs(profile[at])), self.df, family.looked.alternatives),
        }
        if shown["p"] > LET_THROUGH:
            return shown
        tested = self._tested(self._held, name, family)
        if self._free is not None and tested["p"] <= _ALPHA:
            free = self._free()
            without = {} if free.reason else self._tested(free, name, family)
            tested = {key: _larger(value, without.get(key)) for key, value in tested.items()}
        return shown | tested | {"is_resampled": True}

    def _tested(self, cleaned: Paired, name: Family, family: SearchedFamily) -> dict[str, Any]:
        _, found = family_tested(cleaned, family, _df(cleaned), self._permutations, self._seed(name), _ALPHA)
        p = _with_tail(found, cleaned, family, 1 / (self._permutations + 1))
        return {"p": p, "guard_p": found["guard_p"], "gate_p": found["gate_p"]}


def _df(cleaned: Paired) -> int:
    return int(cleaned.rows.size - cleaned.basis_x.width - 2)


def _with_tail(found: dict[str, Any], cleaned: Paired, family: SearchedFamily, smallest: float) -> float:
    """Return the largest of the four p-values, those that resampling cannot tell any more by their tail."""
    known = [found["p_sidak"], found["p_memory"]]
    for p in (found["p_permutation"], found["p_sign_flip"]):
        if p is not None:
            at_the_end = p <= smallest * (1 + 1e-9) and found["p_sign_flip"] is not None
            known.append(min(p, _sign_tail(cleaned, family)) if at_the_end else p)
    return float(max(known))


def _sign_tail(cleaned: Paired, family: SearchedFamily) -> float:
    """Bound the p of random signs of either side, summed over all responses."""
    oriented = cleaned.oriented(family.y_leads)
    pair = oriented.pair(family.looked)
    return max(_tail(pair), _tail(oriented.mirrored(pair.follower, family.looked)))


def _tail(pair: LaggedPair) -> float:
    square = pair.follower * pair.follower
    spread = np.sqrt(square @ (pair.columns * pair.columns))
    # Signs leave less of the series once it is free of the nuisance columns again: so much, or a little more.
    left = max(_FEWEST_FREE, 1.0 - 2.0 * pair.basis.width / pair.follower.size)
    peak = float(np.abs(pair.follower @ pair.columns).max()) * math.sqrt(left)
    return min(1.0, float((_TAIL * scipy.special.ndtr(-peak / np.maximum(spread, 1e-300))).sum()))


def _larger(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)
