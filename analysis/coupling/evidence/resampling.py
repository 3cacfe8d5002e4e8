"""Correlation of two residual series under several responses, and how surprising its peak is."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import scipy.special
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.responses import LaggedPair

_BLOCK_VALUES = 1_000_000  # resampled values held at a time: 8 MB
_BLOCK_ROWS = 250
_ENOUGH = 50  # peaks as large as the observed one: p is then known to a seventh of itself


def sidak_p(r: float, df: int, n_lags: int) -> float:
    """Return the p-value of the largest |r| over n_lags, as if the lags were independent."""
    t = abs(r) * np.sqrt(df / max(1.0 - r * r, 1e-300))
    single = 2.0 * scipy.special.stdtr(df, -t)
    return float(-np.expm1(n_lags * np.log1p(-min(single, 1.0 - 1e-16))))


def spread_width(df: int, alternatives: int, level: float = 0.95) -> float:
    """Return how many standard deviations the peak of an uncoupled pair stays within, so probably."""
    return float(scipy.special.stdtrit(df, 1.0 - (-np.expm1(np.log(level) / alternatives)) / 2.0))


def permutation_p(pair: LaggedPair, peak: float, repetitions: int, rng: np.random.Generator) -> float:
    """Return the p-value of a largest |r| under random orders of the follower, at most so many.

    Every reordered series is projected off the nuisance columns again; without that the test
    rejects 7 to 8 % instead of 5 % at 75 samples. No more orders are drawn than p needs (Besag & Clifford
    1991, Biometrika 78:301-304).
    """

    def draw(rows: int) -> Floats:
        return np.array([rng.permutation(pair.follower) for _ in range(rows)])

    return _p_of_peak(peak, _resampled_profiles(pair, repetitions, draw, None))


def sign_flip_p(pair: LaggedPair, peak: float, repetitions: int, rng: np.random.Generator) -> float:
    """Return the p-value of a largest |r| under random signs of the follower, at most so many.

    Signs leave every size where it was. So two series that merely get restless at the same time
    (an evaluation, a pause) are no surprise here, though they are under random orders.
    """
    return _p_of_peak(peak, sign_flipped_profiles(pair, repetitions, rng))


def sign_flip_p_of_many(pair: LaggedPair, peak: float, repetitions: int, rng: np.random.Generator) -> float:
    """Return `sign_flip_p` of so many bins that the flipped sums of all lags are jointly normal.

    Their covariance given the data is known, so it is drawn from instead of flipping every bin: 20 s
    become 20 ms for a day of seconds (multiplier bootstrap of maxima, Chernozhukov, Chetverikov & Kato 2013,
    Ann. Stat. 41:2786-2819).
    """
    columns = pair.columns * (pair.follower / float(np.linalg.norm(pair.follower)))[:, None]
    variances, directions = np.linalg.eigh(columns.T @ columns)
    draws = rng.standard_normal((repetitions, variances.size)) * np.sqrt(np.maximum(variances, 0.0))
    return _p_of_peak(peak, [draws @ directions.T])


def sign_flipped_profiles(pair: LaggedPair, repetitions: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield r at every lag under random signs of x, block by block, shape (rows, n_lags)."""

    def draw(rows: int) -> Floats:
        signs = rng.integers(0, 2, (rows, pair.follower.size), dtype=np.int8).astype(np.float64)
        signs *= 2.0
        signs -= 1.0
        return signs

    # (signs * x) P = signs (x * P): the few columns are multiplied, not every flipped series.
    return _resampled_profiles(pair, repetitions, draw, pair.follower)


def _p_of_peak(peak: float, blocks: Iterable[Floats]) -> float:
    """Return p from resampled profiles, taking no more of them once enough peaks are as large."""
    observed = peak * (1.0 - 1e-12)
    drawn = found = 0
    for block in blocks:
        as_large = np.flatnonzero(np.abs(block).max(axis=1) >= observed)
        if found + as_large.size >= _ENOUGH:
            return _ENOUGH / (drawn + int(as_large[_ENOUGH - found - 1]) + 1)
        drawn, found = drawn + len(block), found + as_large.size
    return (1 + found) / (drawn + 1)


def _resampled_profiles(
    pair: LaggedPair, repetitions: int, draw: Callable[[int], Floats], weight: Floats | None
) -> Iterator[Floats]:
    """Yield r at every lag of resampled series times a weight, block by block, shape (rows, n_lags).

    The basis spans nothing of the response columns: (P - P Q Q') S = P (S - Q Q' S), so these are projected
    once, not every resampled series.
    """
    square = float(pair.follower @ pair.follower)  # neither order nor signs change it
    columns = pair.columns if weight is None else pair.columns * weight[:, None]
    told = pair.basis.told_of(weight)
    block = max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // pair.follower.size))
    for first in range(0, repetitions, block):
        drawn = draw(min(block, repetitions - first))
        norms = np.sqrt(np.maximum(square - told(drawn), 1e-300))
        yield drawn @ columns / norms[:, None]
