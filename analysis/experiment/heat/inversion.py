"""How large an effect is: sizes that the redraws do not exclude, and the smallest that they would show.

An effect of another size is taken out of the scores, and the coins are drawn again. The cleaning of the
outcome stays as it was.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from thermograd.analysis.arrays import Floats
from thermograd.analysis.experiment.family import randomisation_p
from thermograd.analysis.experiment.result import Interval

_MOST_DOUBLINGS = 40
_HALVINGS = 12
_POWER = 0.9
_MOST_POWER_DRAWS = 500


def combined(scores: Floats) -> Floats:
    """Return pairs' scores, shape (..., memories, pairs), as one score a pair, of length 1 over pairs.

    Each memory has the same weight: its scores are divided by their length, which no coin moves.
    """
    alike = scores / _length(scores)
    summed = alike.sum(axis=-2)
    return np.asarray(summed / _length(summed))


def _length(scores: Floats) -> Floats:
    return np.asarray(np.maximum(np.linalg.norm(scores, axis=-1, keepdims=True), np.finfo(float).tiny))


def estimate(scores: Floats, answer: Floats) -> float:
    """Return the effect without which as much speaks for hot as for cool.

    Parameters
    ----------
    scores
        Shape (memories, pairs), as drawn.
    answer
        The same shape: what an effect of 1 adds.
    """
    first = _least_squares(scores, answer)
    reach = _reach(scores, answer)

    def balance(size: float) -> float:
        return float(combined(scores - size * answer).sum())

    for _ in range(_MOST_DOUBLINGS):
        low, high = first - reach, first + reach
        if balance(low) * balance(high) <= 0:
            return float(brentq(balance, low, high, xtol=1e-6 * reach))
        reach *= 2.0
    return first


def _least_squares(scores: Floats, answer: Floats) -> float:
    return float(scores.sum() / answer.sum())


def _reach(scores: Floats, answer: Floats) -> float:
    """Return about one standard error."""
    return float(np.linalg.norm(scores.sum(axis=0)) / abs(answer.sum()))


def interval(scores: Floats, answer: Floats, size: float, coins: Floats, alpha: float) -> Interval | None:
    """Return the sizes around `size` that the redraws do not exclude; None where they exclude none.

    Parameters
    ----------
    scores, answer
        As in `estimate`.
    coins
        Shape (1 + r, pairs), as observed first.
    """

    def excluded(each: float) -> bool:
        statistics = np.abs(coins @ combined(scores - each * answer))
        return randomisation_p(statistics[0], statistics[1:]) <= alpha

    low, high = (_end(excluded, size, sign * _reach(scores, answer)) for sign in (-1.0, 1.0))
    return None if low is None or high is None else (low, high)


def _end(excluded: Callable[[float], bool], size: float, reach: float) -> float | None:
    inside, outside = size, size + reach
    for _ in range(_MOST_DOUBLINGS):
        if excluded(outside):
            break
        inside, outside = outside, size + 2.0 * (outside - size)
    else:
        return None
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2.0
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside


def detectable(noise: Floats, answer: Floats, coins: Floats, alpha: float) -> float | None:
    """Return the smallest effect that the same noise under other draws would have shown with power .9.

    Parameters
    ----------
    noise
        Shape (memories, pairs): scores without the estimated effect.
    answer, coins
        As in `interval`.
    """
    pairs = noise.shape[-1]
    some = coins[:: max(1, len(coins) // _MOST_POWER_DRAWS)]
    drawn = np.vstack([some, -some])[:, None, :] * noise * np.sqrt(pairs / (pairs - 1))
    limit = float(np.quantile(np.abs(coins @ combined(noise)), 1.0 - alpha))

    def power(size: float) -> float:
        return float(np.mean(np.abs(combined(drawn + size * answer).sum(axis=-1)) > limit))

    low, high = 0.0, _reach(noise, answer)
    for _ in range(_MOST_DOUBLINGS):
        if power(high) >= _POWER:
            break
        low, high = high, 2.0 * high
    else:
        return None
    for _ in range(_HALVINGS // 2):
        middle = (low + high) / 2.0
        low, high = (low, middle) if power(middle) >= _POWER else (middle, high)
    return high
