"""One pair of series in all three families of lags: cleaned once, resampled where it can matter."""

from collections.abc import Collection

from numpy.typing import ArrayLike
from thermograd.analysis.coupling.cleaning.pair_residuals import paired_residuals
from thermograd.analysis.coupling.cleaning.remembered import Remembered
from thermograd.analysis.coupling.cross_correlation import (
    FAMILIES,
    Coupling,
    Family,
    couplings_of,
    searched_family,
    shortest_series,
)
from thermograd.analysis.coupling.responses import MEMORIES


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
    remembered: Remembered | None = None,
) -> dict[Family, Coupling]:
    """Return `residual_cross_correlation` of each family of lags; the series are cleaned only once.

    A family that is not `resampled` has the larger of Sidak's p and that with memory alone, which the full
    test never goes below, and neither guard nor gate. What was `remembered` is not worked out again.
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
    looked = {family: searched_family(family, max_lag, memories, cleaned.rows.size) for family in FAMILIES}
    found: dict[Family, Coupling] = {}
    for wanted, orders, alpha in ((True, permutations, 0.05), (False, 0, 0.0)):
        of = [family for family in FAMILIES if (family in resampled) == wanted]
        if of:
            tested = couplings_of(cleaned, [looked[each] for each in of], max_lag, orders, seed, alpha)
            found |= zip(of, tested, strict=True)
    return {family: found[family] for family in FAMILIES}
