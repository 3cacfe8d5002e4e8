"""What an experiment says, in words: how large, which way, with what delay; or what was lacking."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from thermograd.analysis.display.numbers import seconds_text, shown_number
from thermograd.analysis.experiment.result import (
    FEWEST_UNITS,
    Effect,
    ExperimentResult,
    Interval,
    Manipulation,
)
from thermograd.analysis.run.wording.experiment_causes import (
    ARMS,
    NOT_AS_DRAWN,
    cause,
    idleness_sentence,
    is_heat,
    not_cooler,
    outcome_name,
    steps_sentence,
    why_not_moved,
)
from thermograd.analysis.run.wording.sentences import length_text
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import counted, few_of
from thermograd.store.text import printable

_UNITS = {"switchback": ("pair of blocks", "pairs of blocks"), "pulses": ("pulse", "pulses")}
_LONGEST_FAULT = 240


def faults_sentence(faults: Sequence[str]) -> str:
    """Return why marks that are not what the seed draws support nothing."""
    more = f" (and {counted(len(faults) - 1, 'more fault')})" if len(faults) > 1 else ""
    first = printable(faults[0], _LONGEST_FAULT).rstrip(".")
    return f"INSUFFICIENT: {NOT_AS_DRAWN}: {first}{more}."


def too_few_sentence(design: str, units: int) -> str:
    """Return that too little of an experiment was completed."""
    fewest = FEWEST_UNITS[design]
    return (
        f"INSUFFICIENT: {_units(design, units)} {'was' if units == 1 else 'were'} completed; with fewer than "
        f"{fewest} not even the largest effect can be told from chance."
    )


def no_steps_sentence(result: ExperimentResult) -> str:
    """Return that the log has no step of what was completed: steps are logged too rarely, or were lost."""
    done = _units(result.design, result.units)
    return f"INSUFFICIENT: the log has no step of the {done} that were completed.{_simulated(result)}"


def experiment_sentence(result: ExperimentResult, span_s: float) -> str:
    """Return the verdict of an experiment in words; `span_s`: how long its completed units took."""
    asked = [effect for effect in result.effects if not effect.is_control and effect.p is not None]
    if result.verdict == "effect":
        text = _effect(result, asked)
    elif result.verdict == "no_effect":
        text = _no_effect(result, asked)
    elif result.verdict == "inconclusive":
        text = _inconclusive(result, asked, span_s)
    else:
        return _insufficient(result) + _simulated(result)
    return text + idleness_sentence(result) + steps_sentence(result) + _simulated(result)


def named(effect: Effect) -> str:
    """Return what an outcome is called in a sentence."""
    known = outcome_name(effect)
    return f"{known} ({printable(effect.contrast, 60)})" if effect.contrast else known


def size_text(effect: Effect) -> str:
    """Return an effect with its interval, in sd and in the outcome's own unit."""
    told = f"{sd_text(effect.effect_sd)} sd"
    if effect.interval_sd is not None:
        told += f" (95 %: {ends_text(effect.interval_sd)})"
    own = own_unit_text(effect)
    return f"{told}, {own}" if own else told


def own_unit_text(effect: Effect) -> str:
    """Return an effect in the outcome's own unit: of a logarithm in percent; empty where it has none."""
    if effect.effect is None or not math.isfinite(effect.effect):
        return ""
    is_log = effect.outcome.startswith("log_")
    unit = "%" if is_log else effect.unit
    low, high = effect.interval or (math.nan, math.nan)
    told, *ends = (
        short_text(100 * math.expm1(value) if is_log else value) for value in (effect.effect, low, high)
    )
    between = f" ({' to '.join(ends)})" if effect.interval else ""
    return f"{told}{f' {unit}' if unit else ''}{between}"


def chance_text(effect: Effect) -> str:
    """Return p and e of an effect, and which p it is."""
    parts = []
    if effect.p_family is not None:
        parts.append(f"p = {effect.p_family:.2g} with all outcomes taken into account")
    elif effect.p is not None:
        parts.append(f"p = {effect.p:.2g}")
    if effect.e_value is not None:
        parts.append(f"e {'' if effect.e_value > 1e6 else '= '}{e_text(effect.e_value)}")
    return ", ".join(parts)


def delay_text(effect: Effect, is_heat: bool) -> str:
    """Return over what time an effect shows best, of the times that are tried; empty without an effect."""
    if not effect.delay_s or effect.verdict != "effect":
        return ""
    known = seconds_text(effect.delay_s)
    return f"clearest over about {known}" if is_heat else f"largest after {known}"


def e_text(e_value: float | None) -> str:
    """Return an e-value, whose digits say little; empty where it is not known.

    Examples
    --------
    >>> e_text(0.2361), e_text(3190.4), e_text(1e73), e_text(None)
    ('0.24', '3,190', 'above a million', '')
    """
    if e_value is None:
        return ""
    return "above a million" if e_value > 1e6 else f"{e_value:,.0f}" if e_value >= 20 else f"{e_value:.2g}"


def _effect(result: ExperimentResult, asked: Sequence[Effect]) -> str:
    found = sorted((e for e in asked if e.verdict == "effect"), key=lambda effect: effect.p_family or 0.0)
    first = found[0]
    name, is_one = cause(result)
    lead = f"EFFECT: {name} change{'s' * is_one} the {named(first)}"
    when = delay_text(first, is_heat(result))
    others = [named(effect) for effect in found[1:]]
    more = f" Changed too: {few_of(others)}." if others else ""
    return (
        f"{lead} by {size_text(first)}{f', {when}' * bool(when)} ({chance_text(first)}; {_done(result)}). "
        f"The schedule was drawn by chance, so this is an effect, no association.{more}"
    )


def _no_effect(result: ExperimentResult, asked: Sequence[Effect]) -> str:
    largest = max(asked, key=lambda effect: _reach(effect.interval_sd))
    name, is_one = cause(result)
    above = f" above {result.planned_sd:g} sd" if result.planned_sd is not None else ""
    return (
        f"NO EFFECT{above}: {name} {'does' if is_one else 'do'} not change the {_all(asked)} by that much; "
        f"of the least sure, {named(largest)}, the effect is {size_text(largest)} ({chance_text(largest)}; "
        f"{_done(result)}). Smaller effects are not ruled out."
    )


def _inconclusive(result: ExperimentResult, asked: Sequence[Effect], span_s: float) -> str:
    size = f"one of {result.planned_sd:g} sd" if result.planned_sd is not None else "one that matters"
    lead = (
        f"CANNOT TELL (inconclusive): no effect of {cause(result)[0]} was shown, and {size} is not excluded"
    )
    known = [each for each in asked if each.interval_sd is not None and each.verdict != "no_effect"]
    if not known:
        none = "no outcome that is left open has an interval"
        return f"{lead}: {none} ({_done(result)}).{_planned(result, span_s)}"
    worst = max(known, key=lambda effect: _reach(effect.interval_sd))
    return (
        f"{lead}. Of {named(worst)}, the least sure, it is {size_text(worst)} ({chance_text(worst)}; "
        f"{_done(result)}): {_excluded(worst)} excluded.{_planned(result, span_s)}"
    )


def _excluded(effect: Effect) -> str:
    """Return what an interval leaves out."""
    assert effect.interval_sd is not None
    low, high = effect.interval_sd
    ends = [f"below {sd_text(low)} sd"] * math.isfinite(low) + [f"above {sd_text(high)} sd"] * math.isfinite(
        high
    )
    return f"what is {' or '.join(ends)} is" if ends else "nothing is"


def _planned(result: ExperimentResult, span_s: float) -> str:
    """Return what the plan of the experiment says of its length, where it was run shorter."""
    needed = needed_s(result)
    if needed is None or needed <= span_s:
        return ""
    run = length_text(span_s)
    return f" By its plan {result.planned_sd:g} sd takes {length_text(needed)}; it was run for {run}."


def needed_s(result: ExperimentResult) -> float | None:
    """Return how long the plan of an experiment says that its size takes; None where it says nothing."""
    plan = result.plan or {}
    minutes = plan.get("needed_minutes")
    if not isinstance(minutes, dict) or plan.get("effect_sd") != result.planned_sd:
        return None
    known = [
        each
        for each in minutes.values()
        if isinstance(each, int | float) and not isinstance(each, bool) and each > 0
    ]
    return 60.0 * max(known) if known and len(known) == len(minutes) else None


def _insufficient(result: ExperimentResult) -> str:
    if result.units < FEWEST_UNITS[result.design]:
        return too_few_sentence(result.design, result.units)
    if result.design == "switchback" and not result.moved:
        return f"INSUFFICIENT: {_not_moved(result)}"
    return "INSUFFICIENT: no outcome could be tested: each is missing or never changes."


def _not_moved(result: ExperimentResult) -> str:
    why, _, then = why_not_moved(result)
    return f"{not_cooler(result)}: {why}. That is no statement about the training. What helps: {then}."


def _all(effects: Sequence[Effect]) -> str:
    names = list(dict.fromkeys(map(named, effects)))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _done(result: ExperimentResult) -> str:
    return f"{_units(result.design, result.units)}, {ARMS.get(result.arm, result.arm)}"


def _units(design: str, count: int) -> str:
    return counted(count, *_UNITS[design])


def _simulated(result: ExperimentResult) -> str:
    return " The hardware is SIMULATED." if result.simulated else ""


def _reach(interval: Interval | None) -> float:
    return math.inf if interval is None else max(map(abs, interval))


def sd_text(value: float | None) -> str:
    """Return an effect in sd; one that rounds to nothing has no sign.

    Examples
    --------
    >>> sd_text(-0.104), sd_text(-0.001), sd_text(None)
    ('−0.10', '0.00', '?')
    """
    return "?" if value is None or not math.isfinite(value) else shown_number(value, "+.2f")


def ends_text(interval: Interval) -> str:
    """Return both ends of an interval in sd."""
    return " to ".join(map(sd_text, interval))


def short_text(value: float | None) -> str:
    """Return an effect in its own unit, three digits of it and no powers of ten.

    Examples
    --------
    >>> short_text(-0.0000279), short_text(26.13), short_text(1234.5), short_text(0.0)
    ('−0.000028', '+26.1', '+1,234', '0')
    """
    if value is None or not math.isfinite(value):
        return "?"
    size = abs(value)
    if size >= 1000:
        return shown_number(value, "+,.0f")
    if size >= 0.001 or not size:
        return shown_number(value, "+.3g")
    return shown_number(value, f"+.{min(9, 1 - math.floor(math.log10(size)))}f")


def role_of(effect: Effect) -> str:
    """Return what an effect is in its experiment."""
    if effect.is_competition:
        return "competition"
    return "control" if effect.is_control else "outcome"


def labelled(effect: Effect) -> str:
    """Return what an outcome is called in a table or chart: with its role, unless it is what was asked."""
    return named(effect) + f" ({role_of(effect)})" * effect.is_control


def competition_told(effects: Sequence[Effect]) -> list[str]:
    """Return in a sentence what a load that competes for the machine did; empty where none does."""
    found = [effect for effect in effects if effect.is_competition]
    told = [
        f"the {named(effect)} differs by {size_text(effect)}"
        for effect in found
        if effect.effect_sd is not None
    ]
    if not found:
        return []
    return [
        "The load competes with the training for its machine"
        + (f": in hot blocks {'; '.join(told)}. That" if told else ": that steps take longer")
        + " is expected, and says nothing for or against heat."
    ]


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return what the plan of an experiment had said, as a line; empty where it has no such thing."""
    needed, size = plan.get("needed_minutes"), plan.get("effect_sd")
    if not isinstance(needed, Mapping) or not isinstance(size, int | float):
        return ""
    told = [
        f"{printable(str(name).replace('log_grad_norm', 'gradient norm'), 60)} "
        + (f"{minutes:.0f} minutes" if isinstance(minutes, int | float) else "more than two days")
        for name, minutes in needed.items()
    ]
    return f"plan: {size:g} sd would take of {', '.join(told)}." if told else ""


def result_facts(result: ExperimentResult) -> list[str]:
    """Return what an experiment rests on, a line each: assigned and applied, checks, each outcome."""
    lines = [
        f"{result.arm} ({result.design}, seed {result.seed}): {_units(result.design, result.units)} "
        "completed; "
        f"{result.assigned} assigned, {result.applied} applied as a whole."
    ]
    lines += [check_text(check) for check in result.manipulation]
    lines += [outcome_text(effect, result.verdict != "insufficient") for effect in result.effects]
    lines += result.warnings
    lines += [plan] if (plan := plan_text(result.plan or {})) else []
    return lines + result.not_applied


def check_text(check: Manipulation) -> str:
    """Return a check of the manipulation as a line."""
    name = signal(check.outcome).name + (f" of {printable(check.device, 60)}" if check.device else "")
    if check.difference is None:
        return f"check: {name} is not measured."
    said = "moved" if check.passed else "did not move enough"
    p = ""
    if check.p_family is not None:
        p = f"; p = {check.p_family:.2g} with all signals taken into account"
    moved = f"{short_text(check.difference)} {check.unit} (at least {check.needed:.3g} needed{p})"
    return f"check: {name} {said}: {moved}."


def outcome_text(effect: Effect, is_tried: bool) -> str:
    """Return what was found of an outcome as a line, without a verdict where what was to be tried was not."""
    chance = chance_text(effect)
    said = effect.verdict.replace("_", " ") if is_tried else "no verdict"
    told = f"{role_of(effect)}: {named(effect)}: {said}"
    return (
        told if effect.effect_sd is None else f"{told}, {size_text(effect)}{f' ({chance})' * bool(chance)}."
    )
