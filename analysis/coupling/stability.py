"""Whether a coupling stays the same over a run."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.special
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import shifted
from thermograd.analysis.coupling.linear_algebra import cosine

_BLOCKS = 4
_SHORTEST_S = 120.0


@dataclass(frozen=True, slots=True)
class Change:
    """Residual correlation at one lag in the quarters of a run, and whether they differ."""

    r: list[float]  # one value per block, in order of time; empty if `reason` is set
    n: list[int]  # pairs of bins in each block
    # q, p: Cochran's Q of Fisher's z and its chi-squared p, 3 degrees of freedom; NaN if `reason` is set
    q: float
    p: float
    reason: str | None = None  # why the blocks cannot be compared; None otherwise


def coupling_over_time(
    residual_x: ArrayLike, residual_y: ArrayLike, lag: int, period_s: float = 1.0
) -> Change:
    """Compare the correlation at a lag in 4 blocks of equally many bins, each of at least 120 s.

    The residuals are as in `Coupling`; `lag` in bins, lag > 0: x leads. The test describes a coupling that
    was found; it does not find one.

    Examples
    --------
    >>> x, noise = np.random.default_rng(0).standard_normal((2, 800))
    >>> strength = np.repeat([0.9, 0.0], 400)
    >>> change = coupling_over_time(x, strength * x + noise, lag=0)
    >>> change.p < 0.001, min(change.r[:2]) > 0.5, max(abs(r) for r in change.r[2:]) < 0.2
    (True, True, True)

    References
    ----------
    Cochran (1954), Biometrics 10:101-129 (Q).
    """
    x, y = np.asarray(residual_x, dtype=np.float64), np.asarray(residual_y, dtype=np.float64)
    moved = shifted(y, lag)
    both = np.flatnonzero(np.isfinite(x) & np.isfinite(moved))
    if both.size * period_s < _BLOCKS * _SHORTEST_S:
        reason = f"{both.size * period_s:.0f} s; {_BLOCKS} blocks of {_SHORTEST_S:.0f} s are needed"
        return Change([], [], math.nan, math.nan, reason)
    blocks = np.array_split(both, _BLOCKS)
    r = np.array([cosine(*(part - part.mean() for part in (x[block], moved[block]))) for block in blocks])
    n = np.array([block.size for block in blocks])
    if (n < 8).any():
        return Change([], [], math.nan, math.nan, f"{n.min()} bins in a block; at least 8 are needed")
    z, weight = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), n - 3.0
    q = float((weight * (z - np.average(z, weights=weight)) ** 2).sum())
    p = float(scipy.special.chdtrc(_BLOCKS - 1, q))
    return Change(r.tolist(), n.tolist(), q, p)
