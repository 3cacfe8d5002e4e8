"""How surprising the largest |r| over a window of lags is: three p-values, of which the largest counts.

Sidak's p alone is wrong for heavy tails and flags, random orders alone for shared restlessness, random
signs alone for very few bins; a pair has to pass all three.
"""

from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.pair_residuals import Paired
from thermograd.analysis.coupling.resampling import (
    LaggedPair,
    permutation_p,
    sidak_p,
    sign_flip_p,
    sign_flip_p_of_many,
)

_RESAMPLE_BELOW = 0.1  # Sidak p above which resampling could not turn the verdict
_MANY_BINS = 5000  # from here sums of random signs are normal, and need not be drawn
_NORMAL_BELOW = 0.01  # kurtosis product per bin below which sums in random orders are normal too


@dataclass(frozen=True, slots=True)
class Peak:
    """Largest |r| over the lags searched, and its p-values."""

    # r, lag: residual correlation there, and the lag in bins
    r: float
    lag: int
    p: float  # the largest of the three
    # p_sidak, p_permutation, p_sign_flip: None where not run: Sidak p above 0.1; a y of two values (signs); a
    # series so long and so little heavy-tailed that random orders would repeat Sidak's p (orders)
    p_sidak: float
    p_permutation: float | None
    p_sign_flip: float | None


def peak_of(
    cleaned: Paired, pair: LaggedPair, lags: Ints, df: int, repetitions: int, rng: np.random.Generator
) -> Peak:
    """Find the peak of a pair's profile over these lags and test it.

    The pair is of these lags; its x may lack rows (the guard's). `df` are the degrees of freedom of a single
    lag; so many `repetitions` are made of random orders and, again, of random signs, 0 gives Sidak's p alone.
    """
    profile = pair.profile()
    place = int(np.argmax(np.abs(profile)))
    r, sidak = float(profile[place]), sidak_p(float(profile[place]), df, lags.size)
    order_p = flip_p = None
    if repetitions > 0 and sidak <= _RESAMPLE_BELOW:
        # A sum of products in random order of heavy-tailed series still differs from a normal one.
        heavy_tailed = _kurtosis(pair.x) * _kurtosis(cleaned.y) / pair.x.size > _NORMAL_BELOW
        if pair.x.size < _MANY_BINS or heavy_tailed:
            order_p = permutation_p(pair, repetitions, rng)
        if not cleaned.binary_y:
            flip_p = _signs(cleaned, pair, lags, repetitions, rng)
    p = max(value for value in (sidak, order_p, flip_p) if value is not None)
    return Peak(r, int(lags[place]), p, sidak, order_p, flip_p)


def _signs(
    cleaned: Paired, pair: LaggedPair, lags: Ints, repetitions: int, rng: np.random.Generator
) -> float:
    """Flip the signs of x, then of y: with few effective bins either alone rejects up to 6 %."""
    test = sign_flip_p if pair.x.size < _MANY_BINS else sign_flip_p_of_many
    p = test(pair, repetitions, rng)
    if p > _RESAMPLE_BELOW:
        return p
    mirrored = LaggedPair.build(cleaned.y, pair.x, cleaned.nuisance_y, cleaned.segments, -lags)
    return max(p, test(mirrored, repetitions, rng))


def _kurtosis(values: Floats) -> float:
    """Return the excess kurtosis, at least 1."""
    square = values * values
    return max(1.0, float(np.mean(square * square)) / max(float(np.mean(square)) ** 2, 1e-300) - 3.0)


def most_influential(pair: LaggedPair, lags: Ints, lag: int) -> Ints:
    """Return the row with the largest product at a lag, and its neighbours."""
    at_peak = pair.shifted[:, int(np.flatnonzero(lags == lag)[0])]
    centre = int(np.argmax(np.abs(pair.x * at_peak)))
    return np.arange(max(centre - 1, 0), min(centre + 2, pair.x.size))
