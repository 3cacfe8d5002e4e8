"""Whether heat changes the training: outcomes held against hot and cool blocks, and against all other draws.

Under the sharp null of no effect every step's outcome would have been the same under every draw of the coins.
All that is computed from the outcome is computed without the schedule; so what a draw would have given is a
sum over pairs with other signs, and the p-value is exact. The schedule acts through a thermal memory that is
counted in steps of one nominal duration, the same for every draw: a real cool step takes longer, but how long
the steps take is itself the draw's doing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.experiment.family import family_p, randomisation_p
from thermograd.analysis.experiment.heat.blocks import Blocks, blocks_of
from thermograd.analysis.experiment.heat.coins import redrawn_coins
from thermograd.analysis.experiment.heat.inversion import combined, detectable, estimate, interval
from thermograd.analysis.experiment.heat.response import response_to_heat
from thermograd.analysis.experiment.heat.whitening import Whitened, whitened
from thermograd.analysis.experiment.result import Effect

MEMORIES_S = (5.0, 20.0, 60.0)
FEWEST_PAIRS = 6  # of five, not even the rarest draw has p <= .05
_ALPHA = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One outcome beside the schedule.

    Attributes
    ----------
    clean
        The outcome's innovations.
    scores
        Shape (memories, pairs): what each pair says for an effect, as drawn; turned around, the negative.
    answers
        Shape (memories, memories, pairs): [i] what an effect of 1 at a block's end through memory i adds to
        the scores.
    """

    clean: Whitened
    scores: Floats
    answers: Floats


def analyze_switchback(
    outcomes: Mapping[str, Floats],
    time_s: Floats,
    hot: Floats,
    pair: Ints,
    *,
    controls: Collection[str] = (),
    units: Mapping[str, str] | None = None,
    memories_s: Sequence[float] = MEMORIES_S,
    planned_sd: float = 0.3,
    redraws: int = 1999,
    seed: int = 0,
    sizes: bool = True,
) -> list[Effect]:
    """Test what hot and cool blocks did to each outcome.

    Parameters
    ----------
    outcomes
        By name, shape (steps,) each, NaN or infinite where not known; a heavy-tailed one as its logarithm.
    time_s
        Shape (steps,): when each step ended, s.
    hot
        Shape (steps,): 1 hot, 0 cool, NaN outside the experiment.
    pair
        Shape (steps,): the pair of blocks that a step is of, -1 outside. A pair whose blocks are not whole
        is left out: when a run ends may be the draw's doing.
    controls
        Outcomes that are expected to answer; a family of their own.
    units
        Of the outcomes.
    memories_s
        Thermal memories that heat may act through, s.
    planned_sd
        The size that the experiment was planned for: "no_effect" where the interval is within it.
    redraws
        Of the coins; of up to 12 pairs all draws are looked at.
    seed
        Of the redraws.
    sizes
        False leaves out interval, smallest effect and response, which take most of the time; for simulations.

    Returns
    -------
    list of Effect
        One an outcome, in their order. `effect` is what a whole hot block makes at its end, on a device that
        was cool for long; `delay_s` the memory that it is most visible through. The e-values, which may be
        looked at pair by pair, are of the log: `thermograd.store.experiment.outcomes`.

    Raises
    ------
    ValueError
        If the shapes do not agree, or a memory is not above 0.

    References
    ----------
    Bojinov, Simchi-Levi and Zhao (2023), Design and analysis of switchback experiments, Management Science.
    """
    _check([time_s, hot, pair, *outcomes.values()], memories_s)
    blocks = blocks_of(time_s, hot, pair)
    coins = redrawn_coins(blocks.pairs, redraws, seed)
    scored = {name: _scored(values, blocks, memories_s) for name, values in outcomes.items()}
    draws = {name: _statistics(one.scores, coins) for name, one in scored.items() if one is not None}
    p = _tested({name: each for name, each in draws.items() if name in controls})
    p |= _tested({name: each for name, each in draws.items() if name not in controls})
    result = []
    for name, one in scored.items():
        told = (name, name in controls, (units or {}).get(name, ""))
        if one is None or blocks.pairs < FEWEST_PAIRS:
            result.append(_insufficient(told, outcomes[name], blocks))
        else:
            effect = _effect(told, one, blocks, memories_s, draws[name], p[name])
            result.append(_sized(effect, one, blocks, memories_s, coins, planned_sd) if sizes else effect)
    return result


def _check(arrays: Sequence[Floats | Ints], memories_s: Sequence[float]) -> None:
    shapes = {np.shape(each) for each in arrays}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1:
        raise ValueError(f"time, hot, pair and outcomes have shapes {sorted(shapes)}; allowed: one, (steps,)")
    if not memories_s or min(memories_s) <= 0:
        raise ValueError(f"the memories are {tuple(memories_s)}; allowed: one or more numbers of s above 0")


def _scored(outcome: Floats, blocks: Blocks, memories_s: Sequence[float]) -> Scored | None:
    """Return an outcome beside the schedule; None where nothing can be said."""
    inside = np.flatnonzero(blocks.place >= 0)
    if not inside.size:
        return None
    known = np.full(outcome.size, np.nan)
    reach = slice(inside[0], inside[-1] + 1)
    known[reach] = outcome[reach]
    clean = whitened(known, blocks.pairs)
    if clean is None:
        return None
    weights = clean.weights(clean.innovations)
    scores = np.array([blocks.by_pair_through(memory_s, weights) for memory_s in memories_s])
    if not np.all(np.linalg.norm(scores, axis=1) > 0):
        return None
    answers = np.array([_answers(clean, blocks, memory_s, memories_s) for memory_s in memories_s])
    return Scored(clean, scores, answers)


def _answers(clean: Whitened, blocks: Blocks, memory_s: float, memories_s: Sequence[float]) -> Floats:
    expected = clean.kept * clean.of(blocks.through(memory_s)) / blocks.at_block_end(memory_s)
    weights = clean.weights(expected)
    return np.array([blocks.by_pair_through(each_s, weights) for each_s in memories_s])


def _statistics(scores: Floats, coins: Floats) -> Floats:
    """Return the statistic of every draw, as observed first; above 0 where hot is larger."""
    return np.asarray(coins @ combined(scores))


def _tested(draws: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """Return p, and p with the family taken into account, of each outcome."""
    sizes = [np.abs(each) for each in draws.values()]
    observed, redrawn = [float(each[0]) for each in sizes], [each[1:] for each in sizes]
    alone = map(randomisation_p, observed, redrawn)
    return dict(zip(draws, zip(alone, family_p(observed, redrawn), strict=True), strict=True))


def _insufficient(told: tuple[str, bool, str], outcome: Floats, blocks: Blocks) -> Effect:
    name, is_control, unit = told
    n = int(np.sum(np.isfinite(outcome) & (blocks.place >= 0)))
    return Effect(
        outcome=name,
        device=None,
        unit=unit,
        is_control=is_control,
        n=n,
        p=None,
        p_family=None,
        statistic=None,
        redrawn=np.zeros(0),
        effect_sd=None,
        interval_sd=None,
        effect=None,
        interval=None,
        delay_s=None,
        e_value=None,
        e_largest=None,
        detectable_sd=None,
        verdict="insufficient",
    )


def _effect(
    told: tuple[str, bool, str],
    one: Scored,
    blocks: Blocks,
    memories_s: Sequence[float],
    draws: Floats,
    p: tuple[float, float],
) -> Effect:
    """Return whether there is an effect, and about how large."""
    name, is_control, unit = told
    best = _best(one)
    size = estimate(one.scores, one.answers[best])
    return Effect(
        outcome=name,
        device=None,
        unit=unit,
        is_control=is_control,
        n=int(np.sum(blocks.place[one.clean.rows] >= 0)),
        p=p[0],
        p_family=p[1],
        statistic=float(draws[0]),
        redrawn=draws[1:],
        effect_sd=size / one.clean.sd,
        interval_sd=None,
        effect=size,
        interval=None,
        delay_s=float(memories_s[best]),
        e_value=None,
        e_largest=None,
        detectable_sd=None,
        verdict="effect" if p[1] <= _ALPHA else "inconclusive",
    )


def _best(one: Scored) -> int:
    """Return the memory that the outcome answers most clearly through."""
    return int(np.argmax(np.abs(one.scores.sum(axis=1)) / np.linalg.norm(one.scores, axis=1)))


def _sized(
    effect: Effect,
    one: Scored,
    blocks: Blocks,
    memories_s: Sequence[float],
    coins: Floats,
    planned_sd: float,
) -> Effect:
    """Return an effect with its interval, the smallest that would have been shown, and the response."""
    size, sd = effect.effect or 0.0, one.clean.sd
    answer, middle = one.answers[_best(one)], one.answers[len(memories_s) // 2]
    ends = interval(one.scores, answer, size, coins, _ALPHA)
    ends_sd = None if ends is None else (ends[0] / sd, ends[1] / sd)
    found = detectable(one.scores - size * answer, middle, coins, _ALPHA)
    is_small = ends_sd is not None and -planned_sd < ends_sd[0] and ends_sd[1] < planned_sd
    return replace(
        effect,
        interval_sd=ends_sd,
        interval=ends,
        detectable_sd=None if found is None else found / sd,
        verdict="no_effect" if is_small and effect.verdict != "effect" else effect.verdict,
        response=response_to_heat(one.clean, blocks, coins, effect.unit),
    )
