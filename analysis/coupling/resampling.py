"""Correlation of two residual series over a window of lags, and how surprising its peak is.

Lag l > 0 pairs x at t with y at t + l: x leads and y follows.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.special
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.linear_algebra import orthonormal

_BLOCK_VALUES = 1_000_000  # resampled values held at a time: 8 MB
_BLOCK_ROWS = 250
_ENOUGH = 50  # peaks as large as the observed one: p is then known to a seventh of itself


@dataclass(frozen=True, slots=True, eq=False)
class LaggedPair:
    """Two residual series and the products that every lag needs."""

    x: Floats  # shape (m,): residuals of the leading series at lag > 0
    shifted: Floats  # shape (m, n_lags): y at t + lag for every lag, 0 where that lies outside t's segment
    basis: Floats  # shape (m, q): orthonormal nuisance columns of x
    y_norm: float  # Euclidean norm of the residuals of y

    @classmethod
    def build(cls, x: Floats, y: Floats, nuisance: Floats, segments: Ints, lags: Ints) -> "LaggedPair":
        """Line up y at every lag; segments are kept apart by more zeros than the longest lag."""
        reach = int(np.abs(lags).max())
        place = np.arange(x.size) + reach * (1 + np.unique(segments, return_inverse=True)[1])
        padded = np.zeros(place[-1] + reach + 1)
        padded[place] = y
        basis = orthonormal(nuisance)
        return cls(x, padded[place[:, None] + lags], basis, float(np.linalg.norm(y)))

    def profile(self) -> Floats:
        """Return r at every lag, shape (n_lags,)."""
        scale = float(np.linalg.norm(self.x)) * self.y_norm
        if not scale > 0.0:
            return np.zeros(self.shifted.shape[1])
        return self.x @ self.shifted / scale

    def at(self, columns: Ints) -> "LaggedPair":
        """Return the pair with only these of its lags."""
        return LaggedPair(self.x, np.ascontiguousarray(self.shifted[:, columns]), self.basis, self.y_norm)


def sidak_p(r: float, df: int, n_lags: int) -> float:
    """Return the p-value of the largest |r| over n_lags, as if the lags were independent."""
    t = abs(r) * np.sqrt(df / max(1.0 - r * r, 1e-300))
    single = 2.0 * scipy.special.stdtr(df, -t)
    return float(-np.expm1(n_lags * np.log1p(-min(single, 1.0 - 1e-16))))


def half_width(df: int, n_lags: int, level: float = 0.95) -> float:
    """Return the |r| that the peak over n_lags of an uncoupled pair stays below with this probability."""
    t = scipy.special.stdtrit(df, 1.0 - (-np.expm1(np.log(level) / n_lags)) / 2.0)
    return float(t / np.sqrt(df + t * t))


def permutation_p(pair: LaggedPair, repetitions: int, rng: np.random.Generator) -> float:
    """Return the p-value of the largest |r| under random orders of x, at most so many.

    Every reordered series is projected off the nuisance columns again; without that the test
    rejects 7 to 8 % instead of 5 % at 75 samples. No more orders are drawn than p needs (Besag & Clifford
    1991, Biometrika 78:301-304).
    """

    def draw(rows: int) -> Floats:
        return np.array([rng.permutation(pair.x) for _ in range(rows)])

    return _p_of_peak(pair, _resampled_profiles(pair, repetitions, draw, _new_columns(pair)))


def sign_flip_p(pair: LaggedPair, repetitions: int, rng: np.random.Generator) -> float:
    """Return the p-value of the largest |r| under random signs of x, at most so many.

    Signs leave every size where it was. So two series that merely get restless at the same time
    (an evaluation, a pause) are no surprise here, though they are under random orders.
    """
    return _p_of_peak(pair, sign_flipped_profiles(pair, repetitions, rng))


def sign_flip_p_of_many(pair: LaggedPair, repetitions: int, rng: np.random.Generator) -> float:
    """Return `sign_flip_p` of so many bins that the flipped sums of all lags are jointly normal.

    Their covariance given the data is known, so it is drawn from instead of flipping every bin: 20 s
    become 20 ms for a day of seconds (multiplier bootstrap of maxima, Chernozhukov, Chetverikov & Kato 2013,
    Ann. Stat. 41:2786-2819).
    """
    columns = pair.shifted - pair.basis @ (pair.basis.T @ pair.shifted)
    columns *= (pair.x / (float(np.linalg.norm(pair.x)) * pair.y_norm))[:, None]
    variances, directions = np.linalg.eigh(columns.T @ columns)
    draws = rng.standard_normal((repetitions, variances.size)) * np.sqrt(np.maximum(variances, 0.0))
    return _p_of_peak(pair, [draws @ directions.T])


def sign_flipped_profiles(pair: LaggedPair, repetitions: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield r at every lag under random signs of x, block by block, shape (rows, n_lags)."""

    def draw(rows: int) -> Floats:
        signs = rng.integers(0, 2, (rows, pair.x.size), dtype=np.int8).astype(np.float64)
        signs *= 2.0
        signs -= 1.0
        return signs

    # (signs * x) P = signs (x * P): the few columns are multiplied, not every flipped series.
    return _resampled_profiles(pair, repetitions, draw, pair.x[:, None] * _new_columns(pair))


def _p_of_peak(pair: LaggedPair, blocks: Iterable[Floats]) -> float:
    """Return p from resampled profiles, taking no more of them once enough peaks are as large."""
    observed = float(np.abs(pair.profile()).max()) * (1.0 - 1e-12)
    drawn = found = 0
    for block in blocks:
        as_large = np.flatnonzero(np.abs(block).max(axis=1) >= observed)
        if found + as_large.size >= _ENOUGH:
            return _ENOUGH / (drawn + int(as_large[_ENOUGH - found - 1]) + 1)
        drawn, found = drawn + len(block), found + as_large.size
    return (1 + found) / (drawn + 1)


def _new_columns(pair: LaggedPair) -> Floats:
    """Return the lag columns less what the basis spans of them, then the basis; shape (m, n_lags + q).

    (P - P Q Q') S = P (S - Q Q' S): so the lag columns are projected once, not every resampled series.
    """
    return np.hstack([pair.shifted - pair.basis @ (pair.basis.T @ pair.shifted), pair.basis])


def _resampled_profiles(
    pair: LaggedPair, repetitions: int, draw: Callable[[int], Floats], columns: Floats
) -> Iterator[Floats]:
    """Yield r at every lag of resampled series, block by block, shape (rows, n_lags)."""
    lags = pair.shifted.shape[1]
    square = float(pair.x @ pair.x)  # neither order nor signs change it
    block = max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // pair.x.size))
    for first in range(0, repetitions, block):
        products = draw(min(block, repetitions - first)) @ columns
        squares = square - (products[:, lags:] ** 2).sum(axis=1)
        norms = np.sqrt(np.maximum(squares, 1e-300)) * pair.y_norm
        yield products[:, :lags] / norms[:, None]
