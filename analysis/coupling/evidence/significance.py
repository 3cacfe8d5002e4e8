"""How surprising the largest |r| over all responses searched is: four p-values, of which the largest counts.

Sidak's p alone is wrong for heavy tails and flags, random orders alone for shared restlessness, random
signs alone for very few bins, and all three where both residuals have kept some memory; a pair has to pass
all four.
"""

from dataclasses import dataclass, replace

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.cleaning.pair_residuals import Oriented
from thermograd.analysis.coupling.evidence.leftover import Spread
from thermograd.analysis.coupling.evidence.resampling import (
    permutation_p,
    sidak_p,
    sign_flip_p,
    sign_flip_p_of_many,
)
from thermograd.analysis.coupling.evidence.shift_gate import can_decide, shift_p
from thermograd.analysis.coupling.responses import LaggedPair, Searched

_RESAMPLE_BELOW = 0.1  # Sidak p above which resampling could not turn the verdict
_MANY_BINS = 5000  # from here sums of random signs are normal, and need not be drawn
# standard deviations of memory in both from which the peak is compared with other shifts
_SUSPECT_IF_SLOW, _SUSPECT, _STRONGLY_SUSPECT = 0.7, 2.0, 4.0
_NORMAL_BELOW = 0.01  # kurtosis product per bin below which sums in random orders are normal too


@dataclass(frozen=True, slots=True)
class Peak:
    """Largest |r| over the responses searched, and its p-values."""

    at: int  # column of the peak
    p: float  # the largest of the four
    # p_sidak, p_memory, p_permutation, p_sign_flip: None where not run: an earlier one above 0.1; a y of two
    # values (signs); a series so long and so little heavy-tailed that random orders would repeat Sidak's p
    # (orders)
    p_sidak: float
    p_memory: float
    p_permutation: float | None
    p_sign_flip: float | None


def peak_of(
    oriented: Oriented,
    pair: LaggedPair,
    spread: Spread,
    looked: Searched,
    df: int,
    repetitions: int,
    rng: np.random.Generator,
) -> Peak:
    """Find the peak of a pair's responses and test it.

    The pair's follower may lack rows (the guard's). `df` are the degrees of freedom of a single response; so
    many `repetitions` are made of random orders and, again, of random signs, 0 leaves them out.
    """
    profile = pair.profile()
    place = int(np.argmax(np.abs(profile)))
    peak = float(np.abs(profile[place]))
    sidak = sidak_p(peak, df, looked.alternatives)
    memory = sidak_p(float(np.abs(profile / np.sqrt(spread.inflation)).max()), df, looked.alternatives)
    order_p = flip_p = None
    if repetitions > 0 and max(sidak, memory) <= _RESAMPLE_BELOW:
        # A sum of products in random order of heavy-tailed series still differs from a normal one.
        kurtosis = _kurtosis(pair.follower) * _kurtosis(oriented.leader)
        if pair.follower.size < _MANY_BINS or kurtosis / pair.follower.size > _NORMAL_BELOW:
            order_p = permutation_p(pair, peak, repetitions, rng)
        if not oriented.is_binary:
            flip_p = _signs(oriented, pair, looked, repetitions, rng)
    p = max(value for value in (sidak, memory, order_p, flip_p) if value is not None)
    return Peak(place, p, sidak, memory, order_p, flip_p)


def _signs(
    oriented: Oriented, pair: LaggedPair, looked: Searched, repetitions: int, rng: np.random.Generator
) -> float:
    """Flip the signs of the follower, then of the leader: with few effective bins one alone rejects 6 %."""
    test = sign_flip_p if pair.follower.size < _MANY_BINS else sign_flip_p_of_many
    peak = float(np.abs(pair.profile()).max())
    p = test(pair, peak, repetitions, rng)
    if p > _RESAMPLE_BELOW:
        return p
    return max(p, test(oriented.mirrored(pair.follower, looked), peak, repetitions, rng))


def gate_p(oriented: Oriented, spread: Spread, looked: Searched, is_slow: bool) -> float | None:
    """Return how usual such a peak is at other shifts, where memory is suspected; None where it is not.

    A slow response is what a little memory in both looks like: less suspicion is enough to ask. A series too
    short to tell cannot clear a strong one: 1.
    """
    if can_decide(oriented.place, looked):
        asked = spread.suspicion > (_SUSPECT_IF_SLOW if is_slow else _SUSPECT)
        return shift_p(oriented.leader, oriented.follower, oriented.place, looked) if asked else None
    return 1.0 if spread.suspicion > _STRONGLY_SUSPECT else None


def _kurtosis(values: Floats) -> float:
    """Return the excess kurtosis, at least 1."""
    square = values * values
    return max(1.0, float(np.mean(square * square)) / max(float(np.mean(square)) ** 2, 1e-300) - 3.0)


def without_one_event(oriented: Oriented, pair: LaggedPair, looked: Searched, at: int) -> Oriented:
    """Leave out the one event that a peak owes most to: its second, and the neighbours, on either side.

    Of a slow response one second of the leader weighs in many of the follower.
    """
    seen = oriented.mirrored(pair.follower, looked.only(at))
    follower = _silenced(oriented.follower, np.abs(pair.follower * pair.columns[:, at]))
    leader = _silenced(oriented.leader, np.abs(seen.follower * seen.columns[:, -1])[::-1])
    return replace(oriented, leader=leader, follower=follower)


def _silenced(values: Floats, weight: Floats) -> Floats:
    centre = int(np.argmax(weight))
    rest = values.copy()
    rest[max(centre - 1, 0) : centre + 2] = 0.0
    return rest
