"""Whether heat changes the training: outcomes held against hot and cool blocks, and against all other draws.

Under the sharp null of no effect every step's outcome would have been the same under every draw of the coins.
All that is computed from the outcome is computed without the schedule; so what a draw would have given is a
sum over pairs with other signs, and the p-value is exact. The schedule acts through a thermal memory that is
counted in steps of one nominal duration, the same for every draw: a real cool step takes longer, but how long
the steps take is itself the draw's doing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.experiment.family import family_p, randomisation_p
from thermograd.analysis.experiment.heat.blocks import blocks_of
from thermograd.analysis.experiment.heat.coins import redrawn_coins
from thermograd.analysis.experiment.heat.inversion import (
    combined,
    detectable,
    estimate,
    family_limit,
    interval_over,
)
from thermograd.analysis.experiment.heat.response import response_to_heat
from thermograd.analysis.experiment.heat.scored import Scored, scored
from thermograd.analysis.experiment.result import FEWEST_UNITS, Effect, untested

MEMORIES_S = (5.0, 20.0, 60.0)
_ALPHA = 0.05


def analyze_switchback(
    outcomes: Mapping[str, Floats],
    time_s: Floats,
    hot: Floats,
    pair: Ints,
    *,
    controls: Collection[str] = (),
    units: Mapping[str, str] | None = None,
    memories_s: Sequence[float] = MEMORIES_S,
    tau_s: float | None = None,
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
        Thermal memories that heat may act through, s: those that the test looks through. Sizes are looked for
        through more, between them and beyond.
    tau_s
        The device's thermal time constant, s, where it is known: the smallest effect that would have been
        shown is then of that memory, else of the worst one.
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
        was cool for long; `delay_s` the memory that explains most of the outcome. An outcome
        that is not known in both blocks of enough pairs is insufficient. The e-values, which may be
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
    found = {name: scored(values, blocks, memories_s, tau_s) for name, values in outcomes.items()}
    tested = {
        name: one
        for name, one in found.items()
        if one is not None and one.blocks.pairs >= FEWEST_UNITS["switchback"]
    }
    draws = {name: _statistics(one.said, coins[:, one.pairs]) for name, one in tested.items()}
    families = [[name for name in tested if (name in controls) is asked] for asked in (False, True)]
    p = {name: each for family in families for name, each in _tested(family, draws).items()}
    acting = {name: one.acting(tau_s, p[name][1] <= _ALPHA) for name, one in tested.items()}
    best = {name: one.best(acting[name]) for name, one in tested.items()}
    noise = {name: _noise(one, best[name]) for name, one in tested.items()} if sizes else {}
    result = []
    for name, values in outcomes.items():
        told = (name, name in controls, (units or {}).get(name, ""))
        if name not in tested:
            n = int(np.sum(np.isfinite(values) & (blocks.place >= 0)))
            result.append(untested(name, told[2], told[1], n, "insufficient"))
            continue
        one = tested[name]
        effect = _effect(told, one, best[name], draws[name], p[name])
        if sizes:
            family = next(each for each in families if name in each)
            limit = family_limit([_statistics(noise[n], coins[:, tested[n].pairs]) for n in family], _ALPHA)
            sized = _sized(effect, one, acting[name], best[name], coins[:, one.pairs])
            shown = _shown(one, noise[name], coins[:, one.pairs], limit, tau_s)
            sd = one.sd_without(effect.effect or 0.0, best[name])
            effect = _judged(replace(sized, detectable_sd=shown and shown / sd), planned_sd)
        result.append(effect)
    return result


def _check(arrays: Sequence[Floats | Ints], memories_s: Sequence[float]) -> None:
    shapes = {np.shape(each) for each in arrays}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1:
        raise ValueError(f"time, hot, pair and outcomes have shapes {sorted(shapes)}; allowed: one, (steps,)")
    if not memories_s or min(memories_s) <= 0:
        raise ValueError(f"the memories are {tuple(memories_s)}; allowed: one or more numbers of s above 0")


def _statistics(scores: Floats, coins: Floats) -> Floats:
    """Return the statistic of every draw, as observed first; above 0 where hot is larger."""
    return np.asarray(coins @ combined(scores))


def _noise(one: Scored, best: int) -> Floats:
    """Return what pairs say without the estimated effect."""
    answer = one.answered[best]
    return np.asarray(one.said - estimate(one.said, answer) * answer)


def _tested(family: Sequence[str], draws: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """Return p, and p with the family taken into account, of each of its outcomes."""
    sizes = [np.abs(draws[name]) for name in family]
    observed, redrawn = [float(each[0]) for each in sizes], [each[1:] for each in sizes]
    alone = map(randomisation_p, observed, redrawn)
    return dict(zip(family, zip(alone, family_p(observed, redrawn), strict=True), strict=True))


def _effect(
    told: tuple[str, bool, str], one: Scored, best: int, draws: Floats, p: tuple[float, float]
) -> Effect:
    """Return whether there is an effect, and about how large."""
    name, is_control, unit = told
    size = estimate(one.said, one.answered[best])
    sd = one.sd_without(size, best)
    return Effect(
        outcome=name,
        device=None,
        unit=unit,
        is_control=is_control,
        n=int(np.sum(one.blocks.place[one.clean.rows] >= 0)),
        p=p[0],
        p_family=p[1],
        statistic=float(draws[0]),
        redrawn=draws[1:],
        effect_sd=size / sd,
        interval_sd=None,
        effect=size,
        interval=None,
        delay_s=float(one.memories_s[best]),
        e_value=None,
        e_largest=None,
        detectable_sd=None,
        verdict="effect" if p[1] <= _ALPHA else "inconclusive",
    )


def _sized(effect: Effect, one: Scored, acting: Ints, best: int, coins: Floats) -> Effect:
    """Return an effect with its interval and the response."""
    sd = one.sd_without(effect.effect or 0.0, best)
    place = int(np.searchsorted(acting, best))
    ends = interval_over(one.said, one.answered[acting], place, coins, _ALPHA)
    return replace(
        effect,
        interval_sd=None if ends is None else (ends[0] / sd, ends[1] / sd),
        interval=ends,
        response=response_to_heat(one.clean, one.blocks, coins, effect.unit, sd),
    )


def _shown(one: Scored, noise: Floats, coins: Floats, limit: float, tau_s: float | None) -> float | None:
    """Return the smallest effect that would have been shown; None where no size would."""
    acting = one.tested if tau_s is None else [int(np.searchsorted(one.memories_s, tau_s))]
    sizes = [detectable(noise, one.answered[place], coins, limit) for place in acting]
    known = [each for each in sizes if each is not None]
    return max(known) if len(known) == len(sizes) else None


def _judged(effect: Effect, planned_sd: float) -> Effect:
    """Return an effect with "no_effect" where all sizes that are not excluded are smaller than planned."""
    ends = effect.interval_sd
    is_small = ends is not None and -planned_sd < ends[0] and ends[1] < planned_sd
    return replace(effect, verdict="no_effect") if is_small and effect.verdict != "effect" else effect
