"""How large an effect is: sizes that the redraws do not exclude, and the smallest that they would show.

An effect of another size is taken out of the scores, and the coins are drawn again. The cleaning of the
outcome stays as it was.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq
from thermograd.analysis.arrays import Floats
from thermograd.analysis.experiment.family import randomisation_p
from thermograd.analysis.experiment.result import Interval
from thermograd.analysis.experiment.searching import smallest_shown

_MOST_DOUBLINGS = 40
_POWER, _POWER_HALVINGS = 0.9, 6
_MOST_POWER_DRAWS = 500
_REFUTED = 0.005
_FITTED = 2  # pairs' worth that size and memory have taken from the noise


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
    away = smallest_shown(lambda reaches: float(excluded(size + reaches * reach)), 1.0, 1.0)
    return None if away is None else size + away * reach


def interval_over(scores: Floats, answers: Floats, best: int, coins: Floats, alpha: float) -> Interval | None:
    """Return the sizes that the redraws do not exclude, through whichever memory; None where one has no end.

    The outcome does not tell by itself through which memory heat acts, so the interval is the union over all
    of them: but for those that leave in the scores what the redraws have in one of 200 only, unless they are
    the best or beside it.

    Parameters
    ----------
    scores, coins
        As in `interval`.
    answers
        Shape (all memories, memories, pairs).
    best
        The memory that explains most.
    """
    ends = []
    for place, answer in enumerate(answers):
        size = estimate(scores, answer)
        if abs(place - best) > 1 and _is_refuted(scores - size * answer, coins):
            continue
        found = interval(scores, answer, size, coins, alpha)
        if found is None:
            return None
        ends.append(found)
    return min(low for low, _ in ends), max(high for _, high in ends)


def _is_refuted(rest: Floats, coins: Floats) -> bool:
    largest = np.max(np.abs(coins @ (rest / _length(rest)).T), axis=1)
    return randomisation_p(float(largest[0]), largest[1:]) <= _REFUTED


def family_limit(draws: Sequence[Floats], alpha: float) -> float:
    """Return what an outcome's statistic has to exceed, with all of a family's outcomes taken into account.

    `draws`: shape (1 + r,) each, what the noise of an outcome gives under every draw.
    """
    largest = np.max(np.abs(np.stack(draws)), axis=0)
    return float(np.quantile(largest, 1.0 - alpha, method="higher"))


def detectable(noise: Floats, answer: Floats, coins: Floats, limit: float) -> float | None:
    """Return the smallest effect that the same noise under other draws would have shown with power .9.

    Parameters
    ----------
    noise
        Shape (memories, pairs): scores without the estimated effect.
    answer, coins
        As in `interval`.
    limit
        What the statistic has to exceed: `family_limit`.

    Notes
    -----
    The size of the noise is known from so many pairs only: it may be larger, or smaller, than it looks.
    """
    pairs = noise.shape[-1]
    some = coins[:: max(1, len(coins) // _MOST_POWER_DRAWS)]
    left = max(pairs - _FITTED, 1)
    spread = np.random.default_rng(0).chisquare(left, (2 * len(some), 1, 1))
    drawn = np.vstack([some, -some])[:, None, :] * noise * np.sqrt(pairs / spread)

    def power(size: float) -> float:
        return float(np.mean(np.abs(combined(drawn + size * answer).sum(axis=-1)) > limit))

    return smallest_shown(power, _reach(noise, answer), _POWER, _POWER_HALVINGS)
