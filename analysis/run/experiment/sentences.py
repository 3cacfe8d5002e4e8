"""What an experiment says, in words: how large, which way, with what delay; or what was lacking."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from thermograd.analysis.display.numbers import seconds_text
from thermograd.analysis.experiment.result import Effect, ExperimentResult, Interval, Manipulation
from thermograd.analysis.run.wording.sentences import length_text
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import counted, few_of
from thermograd.store.text import printable

FEWEST = {"switchback": 6, "pulses": 10}  # units; of five pairs not even the most extreme draw has p <= .05
_UNITS = {"switchback": ("pair of blocks", "pairs of blocks"), "pulses": ("pulse", "pulses")}
_ARMS = {
    "duty": "idle gaps after each step",
    "shadow": "shadow steps",
    "burner": "a load beside the job",
    "cap": "a lower power limit",
    "lr": "pulses of the learning rate",
}
_CHECKS = ("temperature_c", "power_w", "sm_clock_mhz", "utilization_pct")
_LONGEST_FAULT = 240


def faults_sentence(faults: Sequence[str]) -> str:
    """Return why marks that are not what the seed draws support nothing."""
    more = f" (and {counted(len(faults) - 1, 'more fault')})" if len(faults) > 1 else ""
    first = printable(faults[0], _LONGEST_FAULT).rstrip(".")
    return f"INSUFFICIENT: the log does not hold the experiment as it was drawn: {first}{more}."


def too_few_sentence(design: str, units: int) -> str:
    """Return that too little of an experiment was completed."""
    fewest = FEWEST[design]
    return (
        f"INSUFFICIENT: {_units(design, units)} {'was' if units == 1 else 'were'} completed; with fewer than "
        f"{fewest} not even the largest effect can be told from chance."
    )


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
        text = _insufficient(result)
    return text + _simulated(result)


def named(effect: Effect) -> str:
    """Return what an outcome is called in a sentence."""
    if effect.outcome == "log_grad_norm":
        return "gradient norm"
    known = signal(effect.outcome).name
    known = f"{known} of {printable(effect.device, 60)}" if effect.device else known
    return f"{known} ({printable(effect.contrast, 60)})" if effect.contrast else known


def size_text(effect: Effect) -> str:
    """Return an effect with its interval, in sd and in the outcome's own unit."""
    told = f"{_signed(effect.effect_sd)} sd"
    if effect.interval_sd is not None:
        told += f" (95 %: {_ends(effect.interval_sd)})"
    own = own_unit_text(effect)
    return f"{told}, {own}" if own else told


def own_unit_text(effect: Effect) -> str:
    """Return an effect in the outcome's own unit: of a logarithm in percent; empty where it has none."""
    if effect.effect is None or not math.isfinite(effect.effect):
        return ""
    if effect.outcome.startswith("log_"):
        ends = (
            f" ({_percent(effect.interval[0])} to {_percent(effect.interval[1])})" if effect.interval else ""
        )
        return f"{_percent(effect.effect)} %{ends}"
    unit = f" {effect.unit}" if effect.unit else ""
    ends = f" ({_short(effect.interval[0])} to {_short(effect.interval[1])})" if effect.interval else ""
    return f"{_short(effect.effect)}{unit}{ends}"


def chance_text(effect: Effect) -> str:
    """Return p and e of an effect."""
    p = effect.p_family if effect.p_family is not None else effect.p
    parts = [] if p is None else [f"p = {p:.2g}"]
    if effect.e_value is not None:
        parts.append(f"e {'' if effect.e_value > 1e6 else '= '}{e_text(effect.e_value)}")
    return ", ".join(parts)


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
    cause, is_one = _cause(result)
    lead = f"EFFECT: {cause} change{'s' * is_one} the {named(first)}"
    delay = f", over about {seconds_text(first.delay_s)}" if first.delay_s else ""
    others = [named(effect) for effect in found[1:]]
    more = f" Changed too: {few_of(others)}." if others else ""
    return (
        f"{lead} by {size_text(first)}{delay} ({chance_text(first)}; {_done(result)}). The schedule was "
        "drawn "
        f"by chance, so this is an effect, no association.{more}"
    )


def _no_effect(result: ExperimentResult, asked: Sequence[Effect]) -> str:
    largest = max(asked, key=lambda effect: _reach(effect.interval_sd))
    cause, is_one = _cause(result)
    above = f" above {result.planned_sd:g} sd" if result.planned_sd is not None else ""
    return (
        f"NO EFFECT{above}: {cause} {'does' if is_one else 'do'} not change the {_all(asked)}; of the least "
        "sure, "
        f"{named(largest)}, the effect is {size_text(largest)} ({chance_text(largest)}; {_done(result)})."
    )


def _inconclusive(result: ExperimentResult, asked: Sequence[Effect], span_s: float) -> str:
    known = [effect for effect in asked if effect.detectable_sd is not None]
    lead = f"CANNOT TELL (inconclusive): no effect of {_cause(result)[0]} was shown, and none is excluded"
    if not known:
        return f"{lead} ({_done(result)})."
    worst = max(known, key=lambda effect: effect.detectable_sd or 0.0)
    could = (
        f"{lead}. Of {named(worst)} this experiment would have shown {worst.detectable_sd:.2g} sd nine times "
        "in "
        f"ten; it is {size_text(worst)} ({chance_text(worst)}; {_done(result)})."
    )
    needed = needed_s(result, worst, span_s)
    return could + (f" For {result.planned_sd:g} sd run {length_text(needed)} or longer." if needed else "")


def needed_s(result: ExperimentResult, effect: Effect, span_s: float) -> float | None:
    """Return how long an experiment for the planned effect would be; None where that is not known."""
    planned, detectable = result.planned_sd, effect.detectable_sd
    if not planned or not detectable or span_s <= 0 or not math.isfinite(detectable):
        return None
    return float(span_s * max(1.1, (detectable / planned) ** 2))


def _insufficient(result: ExperimentResult) -> str:
    if result.units < FEWEST[result.design]:
        return too_few_sentence(result.design, result.units)
    checked = [check for check in result.manipulation if check.difference is not None]
    if result.design == "switchback" and not result.moved:
        return f"INSUFFICIENT: {_not_moved(result, checked)}"
    return "INSUFFICIENT: no outcome could be tested: each is missing or never changes."


def _not_moved(result: ExperimentResult, checked: Sequence[Manipulation]) -> str:
    if not checked:
        return (
            "whether the device got cooler was not measured: it has no sensor of temperature, power or clock."
        )
    first = min(checked, key=lambda check: _CHECKS.index(check.outcome) if check.outcome in _CHECKS else 9)
    what = "the device did not get cooler" if result.design == "switchback" else "the device did not answer"
    if (first.difference or 0.0) <= -first.needed < 0 and first.outcome != "sm_clock_mhz":
        return (
            f"{what} in cool blocks but the reverse: {signal(first.outcome).name} was "
            f"{_short(first.difference)} {first.unit} in hot ones. That is no statement about the training."
        )
    return (
        f"{what}: {signal(first.outcome).name} was {_short(first.difference)} {first.unit} apart, of at "
        "least "
        f"{first.needed:.3g} {first.unit} needed. That is no statement about the training."
    )


def _cause(result: ExperimentResult) -> tuple[str, bool]:
    """Return what acts, and whether it is one thing."""
    is_heat = result.question == "heat to training"
    return ("heat" if is_heat else _ARMS.get(result.arm, result.arm)), is_heat


def _all(effects: Sequence[Effect]) -> str:
    names = list(dict.fromkeys(map(named, effects)))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _done(result: ExperimentResult) -> str:
    return f"{_units(result.design, result.units)}, {_ARMS.get(result.arm, result.arm)}"


def _units(design: str, count: int) -> str:
    return counted(count, *_UNITS[design])


def _simulated(result: ExperimentResult) -> str:
    return " The hardware is SIMULATED." if result.simulated else ""


def _reach(interval: Interval | None) -> float:
    return math.inf if interval is None else max(map(abs, interval))


def _signed(value: float | None) -> str:
    return "?" if value is None or not math.isfinite(value) else f"{value:+.2f}".replace("-", "−")


def _ends(interval: Interval) -> str:
    return " to ".join(map(_signed, interval))


def _short(value: float | None) -> str:
    return "?" if value is None or not math.isfinite(value) else f"{value:+.3g}".replace("-", "−")


def _percent(log_change: float) -> str:
    return _short(100 * math.expm1(log_change))


def role_of(effect: Effect) -> str:
    """Return what an effect is in its experiment."""
    if effect.is_competition:
        return "competition"
    return "control" if effect.is_control else "outcome"


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
    lines += [outcome_text(effect) for effect in result.effects]
    lines += result.warnings
    lines += [plan] if (plan := plan_text(result.plan or {})) else []
    return lines + result.not_applied


def check_text(check: Manipulation) -> str:
    """Return a check of the manipulation as a line."""
    name = signal(check.outcome).name + (f" of {printable(check.device, 60)}" if check.device else "")
    if check.difference is None:
        return f"check: {name} is not measured."
    said = "moved" if check.passed else "did not move enough"
    p = f", p = {check.p:.2g}" if check.p is not None else ""
    moved = f"{_short(check.difference)} {check.unit} (at least {check.needed:.3g} needed{p})"
    return f"check: {name} {said}: {moved}."


def outcome_text(effect: Effect) -> str:
    """Return what was found of an outcome as a line."""
    chance = chance_text(effect)
    told = f"{role_of(effect)}: {named(effect)}: {effect.verdict.replace('_', ' ')}"
    return (
        told if effect.effect_sd is None else f"{told}, {size_text(effect)}{f' ({chance})' * bool(chance)}."
    )
