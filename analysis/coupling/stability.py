"""Whether a coupling stays the same over a run."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.special
from numpy.typing import ArrayLike, NDArray

_BLOCKS = 4
_SHORTEST_S = 120.0


@dataclass(frozen=True, slots=True)
class Change:
    """Residual correlation at one lag in the quarters of a run, and whether they differ.

    Attributes
    ----------
    r
        One value per block, in order of time; empty if `reason` is set.
    n
        Pairs of bins in each block.
    q, p
        Cochran's Q of Fisher's z and its chi-squared p, 3 degrees of freedom; NaN if `reason` is set.
    reason
        Why the blocks cannot be compared; None otherwise.
    """

    r: list[float]
    n: list[int]
    q: float
    p: float
    reason: str | None = None


def coupling_over_time(
    residual_x: ArrayLike, residual_y: ArrayLike, lag: int, period_s: float = 1.0
) -> Change:
    """Split a run into 4 blocks of equally many bins and compare the correlation at a lag.

    Parameters
    ----------
    residual_x, residual_y
        Shape (n,): residuals as in `Coupling`, NaN where a bin was left out.
    lag
        In bins; lag > 0: x leads.
    period_s
        Length of a bin; blocks have to be at least 120 s long.

    Returns
    -------
    Change
        The test describes a coupling that was found; it does not find one.

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
    moved = np.roll(y, -lag)
    if abs(lag) >= y.size:
        moved = np.full(y.size, np.nan)
    elif lag:
        moved[-lag if lag > 0 else 0 : None if lag > 0 else -lag] = np.nan
    both = np.flatnonzero(np.isfinite(x) & np.isfinite(moved))
    if both.size * period_s < _BLOCKS * _SHORTEST_S:
        reason = f"{both.size * period_s:.0f} s; {_BLOCKS} blocks of {_SHORTEST_S:.0f} s are needed"
        return Change([], [], math.nan, math.nan, reason)
    blocks = np.array_split(both, _BLOCKS)
    r = np.array([_r(x[block], moved[block]) for block in blocks])
    n = np.array([block.size for block in blocks])
    if (n < 8).any():
        return Change([], [], math.nan, math.nan, f"{n.min()} bins in a block; at least 8 are needed")
    z, weight = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), n - 3.0
    q = float((weight * (z - np.average(z, weights=weight)) ** 2).sum())
    p = float(scipy.special.chdtrc(_BLOCKS - 1, q))
    return Change([float(value) for value in r], [int(count) for count in n], q, p)


def _r(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.linalg.norm(x)) * float(np.linalg.norm(y))
    return float(x @ y) / scale if scale > 0 else 0.0
