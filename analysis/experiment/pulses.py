"""Does the training shake its hardware? Pulses at bins drawn by chance, against all that might have been."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats
from thermograd.analysis.experiment.family import family_p, randomisation_p
from thermograd.analysis.experiment.pulse.cleaning import cleaned, slow_course
from thermograd.analysis.experiment.pulse.evidence import evidence
from thermograd.analysis.experiment.pulse.response import Measured, answered, measured, searched, shapes
from thermograd.analysis.experiment.pulse.scores import Draw, Kinds, Places, complete_strata
from thermograd.analysis.experiment.result import Effect, Response, untested

_LEVEL = 0.95
_FEWEST_STRATA = 5  # for a size
_ROUNDS = 2  # of what both kinds do and what they differ in
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of all outcomes alike: of one draw, over one set of responses."""

    basis: Floats
    looked: Floats
    bin_s: float
    planned_sd: float
    units: Mapping[str, str]


def analyze_pulses(
    outcomes: Mapping[str, ArrayLike],
    stratum: ArrayLike,
    place: ArrayLike,
    kind: Sequence[str],
    *,
    places: int,
    lag_bins: int,
    bin_s: float,
    kinds: tuple[str, ...] = ("pulse",),
    controls: Collection[str] = (),
    units: Mapping[str, str] = MappingProxyType({}),
    planned_sd: float = 0.3,
    redraws: int = 1999,
    seed: int = 0,
) -> list[Effect]:
    """Return what pulses did to each outcome.

    Under "no effect" the outcome would have been the same wherever the pulses came, so the share of places,
    drawn anew, that fit it as well is an exact p-value, whatever trend, memory, burst or driver it holds.
    With two kinds of pulses each outcome is asked twice: whether a pulse does anything (a control: it is
    extra work), and whether the second kind does more than the first, by redrawing the kinds at the places
    that were drawn.

    Parameters
    ----------
    outcomes
        By name, shape (n,): the value in each bin, NaN where nothing was measured.
    stratum
        Shape (n,): the number of the stratum that a bin belongs to, -1 outside. Its bins follow each other.
    place, kind
        Shape (s,): for every stratum the pulse's bin in it, from 0, and its kind. A stratum whose bins are
        not all there, as the last, is left out; a pulse that failed stays in as it was drawn.
    places, lag_bins, bin_s
        Of the design: bins that a pulse may come at, lags of a response, length of a bin in s.
    kinds
        That are drawn among, with equal chances.
    controls, units
        Outcomes that are expected to answer; the unit of each.
    planned_sd
        "no_effect" is said where no response as large is left, by test and interval.

    Returns
    -------
    list of Effect
        In the outcomes' order; with two kinds first all contrasts, then the pulses as controls.

    Raises
    ------
    ValueError
        If shapes do not match, or a place or kind is not of the design.
    """
    numbers, drawn = np.asarray(stratum, np.int64), np.asarray(place, np.int64)
    series = {name: np.asarray(each, np.float64) for name, each in outcomes.items()}
    _check(series, numbers.size, drawn.size, kind, kinds)
    strata = complete_strata(numbers, drawn, places, lag_bins)
    question = _Question(slow_course(numbers.size), shapes(lag_bins + 1), bin_s, planned_sd, units)
    of_places = Places(strata, redraws, np.random.default_rng([seed, 0]))
    two = len(kinds) == 2
    presence = [
        _asked(name, values, of_places, question, is_control=two or name in controls)
        for name, values in series.items()
    ]
    effects = _in_family(presence)
    if not two:
        return effects
    signs = np.array([1.0 if kind[index] == kinds[1] else -1.0 for index in strata.index])
    of_kinds = Kinds(strata, signs, redraws, np.random.default_rng([seed, 1]))
    contrast = f"{kinds[1]} less {kinds[0]}"
    between = [
        _between(
            name, values, (of_places, of_kinds), question, is_control=name in controls, contrast=contrast
        )
        for name, values in series.items()
    ]
    return _in_family(between) + effects


def _asked(
    name: str, values: Floats, draw: Draw, question: _Question, *, is_control: bool, contrast: str = ""
) -> Effect:
    """Return what the draw did to one outcome, its family aside."""
    effect = _tested(name, values, draw, question, is_control, contrast)
    if effect.p is None or draw.strata.size < _FEWEST_STRATA:
        return effect
    size = measured(draw, values, question.basis, question.looked, _LEVEL)
    return effect if size is None else _with_size(effect, size, question)


def _between(
    name: str,
    values: Floats,
    draws: tuple[Places, Kinds],
    question: _Question,
    *,
    is_control: bool,
    contrast: str,
) -> Effect:
    """Return what the second kind of pulses does more than the first, after what both do was taken out.

    For the test without looking at the kinds; for the size again without what they were found to differ in.
    """
    places, kinds = draws
    rest = values - answered(places, values, question.basis)
    effect = _tested(name, rest, kinds, question, is_control, contrast)
    if effect.p is None or kinds.strata.size < _FEWEST_STRATA:
        return effect
    for _ in range(_ROUNDS):
        same = values - answered(kinds, rest, question.basis)
        rest = values - answered(places, same, question.basis)
    size = measured(kinds, rest, question.basis, question.looked, _LEVEL)
    return effect if size is None else _with_size(effect, size, question)


def _tested(
    name: str, values: Floats, draw: Draw, question: _Question, is_control: bool, contrast: str
) -> Effect:
    """Return an effect with its p- and e-value, where the outcome moves."""
    n = int(np.isfinite(draw.strata.windows(values)).sum()) if draw.strata.size else 0
    effect = untested(name, question.units.get(name, ""), is_control, n, "inconclusive", contrast)
    clean = cleaned(values, question.basis)
    if clean is None or n == 0:
        return effect
    test = searched(draw, clean, question.looked)
    p = randomisation_p(test.statistic, test.redrawn)
    e_value, e_largest = evidence(draw, clean, question.looked)
    return replace(
        effect, p=p, statistic=test.statistic, redrawn=test.redrawn, e_value=e_value, e_largest=e_largest
    )


def _with_size(effect: Effect, size: Measured, question: _Question) -> Effect:
    sd, interval, planned = size.sd, size.interval, question.planned_sd * size.sd
    low, high = size.course - size.half_width, size.course + size.half_width
    lags_s: Floats = question.bin_s * np.arange(size.course.size, dtype=np.float64)
    return replace(
        effect,
        effect_sd=size.size / sd,
        interval_sd=(interval[0] / sd, interval[1] / sd),
        effect=size.size,
        interval=interval,
        delay_s=question.bin_s * size.lag,
        detectable_sd=size.detectable / sd if np.isfinite(size.detectable) else None,
        verdict="no_effect" if max(size.farthest, -interval[0], interval[1]) <= planned else "inconclusive",
        response=Response(lags_s, size.course / sd, low / sd, high / sd, effect.unit, sd, _LEVEL),
    )


def _in_family(effects: list[Effect]) -> list[Effect]:
    """Return them with the p-values of their families, the controls' and the others', and their verdicts."""
    found = list(effects)
    for is_control in (False, True):
        own = [at for at, each in enumerate(effects) if each.is_control is is_control and each.p is not None]
        statistics = [effects[at].statistic or 0.0 for at in own]
        for at, p in zip(own, family_p(statistics, [effects[at].redrawn for at in own]), strict=True):
            verdict = "effect" if p <= 1.0 - _LEVEL + _ROUNDING else effects[at].verdict
            found[at] = replace(effects[at], p_family=p, verdict=verdict)
    return found


def _check(
    series: Mapping[str, Floats], bins: int, strata: int, kind: Sequence[str], kinds: tuple[str, ...]
) -> None:
    for name, values in series.items():
        if values.shape != (bins,):
            raise ValueError(f"{name} has shape {values.shape}; one value a bin is {(bins,)}")
    if len(kind) != strata:
        raise ValueError(f"there are {len(kind)} kinds of pulses for {strata} strata")
    if unknown := sorted(set(kind) - set(kinds)):
        raise ValueError(f"pulses of kind {', '.join(unknown)}; of the design: {', '.join(kinds)}")
