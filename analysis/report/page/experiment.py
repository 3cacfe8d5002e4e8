"""What a page tells of experiments beside their charts: the checks, the effects, what was not applied."""

from typing import Any

from thermograd.analysis.display.numbers import DASH, shown_number
from thermograd.analysis.display.table import Table
from thermograd.analysis.experiment.result import Effect, ExperimentResult, Manipulation
from thermograd.analysis.run.experiment.sentences import (
    e_text,
    ends_text,
    labelled,
    own_unit_text,
    plan_text,
)
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.wording.experiment_causes import ARMS, is_heat, only_idleness
from thermograd.analysis.run.wording.experiment_words import leading
from thermograd.store.telling.columns import signal
from thermograd.store.text import printable

_LONGEST = 80
_SHARES = ("duty", "load")
_BESIDE = {
    "duty": "idleness is not only coolness. The blocks also change clocks, caches and when each step happens",
    "burner": "the load also takes cores, caches and memory from the training",
    "cap": "a lower limit also lowers clocks, and steps take longer",
}
_OPTIONS = {
    "duty": "busy for {} of the time in cool blocks",
    "load": "loaded for {} of the time in hot blocks",
    "shapes": "kinds of pulse: {}",
    "power_w": "a limit of {} W in cool blocks",
    "factor": "the learning rate times {}",
}


def experiments_told(analysis: Analysis) -> dict[str, Any]:
    """Return the experiment whose verdict leads, with its tables, and the others; both empty for none."""
    if not analysis.experiments:
        return {"experiment": None, "other_experiments": []}
    first = leading(analysis.experiments)
    others = [f"{each.arm}: {each.sentence}" for each in analysis.experiments if each is not first]
    return {"experiment": _told(analysis, first), "other_experiments": others}


def _told(analysis: Analysis, result: ExperimentResult) -> dict[str, Any]:
    of_heat = is_heat(result)
    return {
        "result": result,
        "title": "Does heat change the training?" if of_heat else "Does the training reach the hardware?",
        "options": _options(result),
        "arm": printable(ARMS.get(result.arm, result.arm), _LONGEST),
        "beside": _BESIDE.get(result.arm, "")
        if result.verdict == "effect" and not only_idleness(result)
        else "",
        "is_unmoved": result.verdict == "insufficient",
        "plan": plan_text(result.plan or {}),
        "kinds": sorted({str(each.get("kind")) for each in result.schedule if each.get("kind")}),
        "checks": Table(
            {"Signal": "t", "Device": "i", "Hot": "n", "Cool": "n", "Apart": "n", "Needed": "n"}
            | {"p, all signals": "n", "Check said": "t"},
            [_check(analysis, each) for each in result.manipulation],
            "Was the device moved?",
        ),
        "effects": Table(
            {
                "Outcome": "i",
                "Effect (sd)": "n",
                "95 %": "n",
                "In its unit": "n",
                "Over" if of_heat else "After": "n",
            }
            | {"p": "n", "p, all outcomes": "n", "e": "n", "Would have shown": "n", "Verdict": "t"},
            [_effect(each, result) for each in result.effects],
            "Effects",
        ),
    }


def _options(result: ExperimentResult) -> str:
    """Return how the arm was set, in words; the planned size is told beside it."""
    told = []
    for name, value in result.options.items():
        if name not in ("effect_sd", "step_time_is"):
            words = _OPTIONS.get(name, name.replace("_", " ") + " {}")
            shown = f"{100 * value:g} %" if name in _SHARES and isinstance(value, int | float) else str(value)
            told.append(words.format(printable(shown.replace(",", " and "), 60)))
    return ", ".join(told)


def _check(analysis: Analysis, check: Manipulation) -> tuple[str, ...]:
    known = signal(check.outcome)
    device = analysis.called(check.device) if check.device else DASH
    values = (shown_number(value, ".4g") for value in (check.hot, check.cool))
    said = "passed" if check.passed else "not measured" if check.difference is None else "not enough"
    return (
        f"{known.title} ({known.symbol})" if known.symbol else known.title,
        device,
        *values,
        shown_number(check.difference, "+.3g"),
        shown_number(check.needed, ".3g"),
        shown_number(check.p_family, ".2g"),
        said,
    )


def _effect(effect: Effect, result: ExperimentResult) -> tuple[str, ...]:
    ends = effect.interval_sd
    return (
        labelled(effect),
        shown_number(effect.effect_sd, "+.2f"),
        ends_text(ends) if ends else DASH,
        own_unit_text(effect).replace("degC", "°C") or DASH,
        f"{effect.delay_s:.0f} s" if effect.delay_s is not None and effect.verdict == "effect" else DASH,
        shown_number(effect.p, ".2g"),
        shown_number(effect.p_family, ".2g"),
        e_text(effect.e_value) or DASH,
        f"{shown_number(effect.detectable_sd, '.2f')} sd" if effect.detectable_sd is not None else DASH,
        DASH if result.verdict == "insufficient" else effect.verdict.replace("_", " "),
    )
