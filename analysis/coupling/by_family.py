"""One pair of series in all three families of lags: cleaned once, resampled where it can matter, both ways.

A driver that is taken out must come before both series. Step time may come after both: long sequences slow
the steps, and so does a hot device. At one step time the one then makes up for the other (a collider, Berkson
1946, Biom. Bull. 2:47), so that taking step time out makes a coupling; leaving it in calls one what merely
runs through it, or comes from it. The data do not tell the two apart: a coupling has to show both ways.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.coupling.cleaning.pair_residuals import paired_residuals
from thermograd.analysis.coupling.cross_correlation import (
    FAMILIES,
    Coupling,
    Family,
    couplings_of,
    family_tested,
    searched_family,
    shortest_series,
)
from thermograd.analysis.coupling.responses import MEMORIES
from thermograd.analysis.remembered import Remembered

_ALPHA = 0.05


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
    bins: ArrayLike | None = None,
    memories: ArrayLike = MEMORIES,
    resampled: Collection[Family] = FAMILIES,
    known: Mapping[Family, Coupling] | None = None,
    only_resampled: bool = False,
    remembered: Remembered | None = None,
) -> dict[Family, Coupling]:
    """Return `residual_cross_correlation` of each family of lags; the series are cleaned only once.

    A family that is not `resampled` has the larger of Sidak's p and that with memory alone, which the full
    test never goes below, and neither guard nor gate. What is `known` of the same pair without resampling
    stands but for what resampling adds. With `only_resampled` the others are left out, and so are the whole
    profile and what is no lag and no slow response. What was `remembered` is not worked out again.
    """
    cleaned = paired_residuals(
        x,
        y,
        drivers,
        segments,
        bins=bins,
        unlagged=unlagged,
        shortest=shortest_series(max_lag),
        remembered=remembered,
    )
    looked = {
        family: searched_family(family, max_lag, memories, cleaned.rows.size)
        for family in (resampled if only_resampled else FAMILIES)
    }
    if known is None:
        alphas = [_ALPHA if family in resampled else 0.0 for family in looked]
        searched = cleaned, list(looked.values()), max_lag
        tested = couplings_of(*searched, permutations, seed, alphas, is_brief=only_resampled)
        return dict(zip(looked, tested, strict=True))
    found = dict(known)
    for family in resampled if not cleaned.reason else ():
        before = known[family]
        _, anew = family_tested(cleaned, looked[family], before.df, permutations, seed, _ALPHA)
        found[family] = replace(before, **anew | {"not_excluded": before.not_excluded})
    return found


def shown_both_ways(
    held: Mapping[Family, Coupling], free: Callable[[], Mapping[Family, Coupling]]
) -> dict[Family, Coupling]:
    """Return what holds with and without drivers that both sides may move.

    `held` is what was found with them; without them is tested only where that is significant. Of the two
    results each p is the larger (an intersection-union test, Berger 1982, Technometrics 24:295); all else is
    of `held`.
    """
    if not any(result.p <= _ALPHA for result in held.values()):
        return dict(held)
    without = free()
    return {family: _less_surprising(result, without[family]) for family, result in held.items()}


def _less_surprising(held: Coupling, free: Coupling) -> Coupling:
    if held.reason or free.reason:
        return held
    larger = {name: _larger(getattr(held, name), getattr(free, name)) for name in ("p", "guard_p", "gate_p")}
    return replace(held, **larger)  # type: ignore[arg-type]


def _larger(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None and not np.isnan(value)]
    return max(known) if known else one
