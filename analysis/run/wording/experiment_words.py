"""The first screen of a run with a randomised experiment in it: its verdict leads, observation follows."""

from collections.abc import Sequence

from thermograd.analysis.experiment.result import Effect, ExperimentResult
from thermograd.analysis.run.wording.experiment_causes import (
    NOT_AS_DRAWN,
    cause,
    idleness_sentence,
    is_heat,
    not_cooler,
    only_idleness,
    outcome_name,
    steps_sentence,
    why_not_moved,
)
from thermograd.store.telling.columns import signal
from thermograd.store.text import printable

_BEST_FIRST = ("effect", "no_effect", "inconclusive", "insufficient")
_LONGEST_NAME = 60


def leading(experiments: Sequence[ExperimentResult]) -> ExperimentResult:
    """Return the experiment whose verdict says most; of equals the one with more units."""
    return min(experiments, key=lambda each: (_BEST_FIRST.index(each.verdict), -each.units))


def plain_experiment(result: ExperimentResult, observed: str) -> tuple[str, str, str, str]:
    """Return its verdict in a sentence, how sure it is, how long it would take, and what to do next.

    `observed` is the verdict of the same run by watching alone.
    """
    if result.verdict == "no_effect":
        return _no_effect(result, observed)
    said = {"effect": _effect, "inconclusive": _inconclusive}
    return said.get(result.verdict, _insufficient)(result)


def told_beside(sentence: str, result: ExperimentResult, observed: str) -> str:
    """Return the sentence of the observation as what it is beside an experiment: association only."""
    if observed == "coupled" and result.verdict == "no_effect":
        reading = f"association only; by the experiment {_not_by(result)}"
    elif observed == "coupled":
        reading = "association only, and the intervention itself may be in it"
    elif observed == "no_coupling" and result.verdict == "effect":
        reading = "which does not see what the experiment shows; the intervention itself may be in it"
    else:
        reading = "the intervention itself may be in it"
    return f"By watching alone ({reading}): {sentence}"


def _not_by(result: ExperimentResult) -> str:
    """Return what a coupling is not made by where no effect was found, and what remains."""
    size = (
        " of at least the planned size"
        if result.planned_sd is None
        else f" of {result.planned_sd:g} sd or more"
    )
    if is_heat(result):
        return (
            f"not by {cause(result)[0]} with an effect{size}; that the training moves the hardware, or that "
            "something drives both, remains"
        )
    return (
        f"not by the pulses with an effect{size}; that the hardware moves the training, that something else "
        "of the training moves the hardware, or that something drives both, remains"
    )


def _effect(result: ExperimentResult) -> tuple[str, str, str, str]:
    found = [effect for effect in result.effects if effect.verdict == "effect" and not effect.is_control]
    first = min(found, key=lambda effect: 1.0 if effect.p_family is None else effect.p_family)
    if not is_heat(result):
        sentence = f"What the training does reaches the hardware: {_pulsed(first)}."
        drawn = "What kind of pulse came" if first.contrast else "When a pulse came"
    elif only_idleness(result):
        name, is_one = cause(result)
        sentence = (
            f"{name[:1].upper()}{name[1:]} change{'s' * is_one} the training: in hot blocks, "
            f"which have none, {_changed(first)}."
            if result.arm != "burner"
            else f"A load beside the job changes the training: beside it {_changed(first)}."
        )
        drawn = "Which blocks were hot"
    else:
        sentence = f"Heat changes the training: while the device is hot, {_changed(first)}."
        drawn = "When the device was hot"
    return (
        sentence + idleness_sentence(result) + steps_sentence(result),
        f"{drawn} was drawn by chance. Without an effect, so large a difference comes in at most 1 of 20 "
        "experiments.",
        "This experiment was long enough to show it.",
        "Repeat it with another seed, and on another machine: one run is one case.",
    )


def _no_effect(result: ExperimentResult, observed: str) -> tuple[str, str, str, str]:
    size = f"{result.planned_sd:g} sd or more" if result.planned_sd is not None else "the planned size"
    name, is_one = cause(result)
    name = f"{name[:1].upper()}{name[1:]}" if is_heat(result) else "What was pulsed"
    has = "has" if is_one or not is_heat(result) else "have"
    what = "of the training" if is_heat(result) else "of the hardware"
    beside = f" Watching sees the two move together: {_not_by(result)}." if observed == "coupled" else ""
    return (
        f"{name} {has} no effect of {size} on what was tested {what} (sd: its own scatter).{beside}"
        + idleness_sentence(result)
        + steps_sentence(result),
        "An effect of that size, lasting as the interventions did, would be missed in at most one such "
        "experiment in twenty.",
        "Long enough for the size that was planned (effect_sd, a setting); smaller effects stay open.",
        "If smaller ones matter, plan a longer run: thermograd experiment --plan.",
    )


def _inconclusive(result: ExperimentResult) -> tuple[str, str, str, str]:
    name, is_one = cause(result)
    what = f"{name} change{'s' * is_one} the training" if is_heat(result) else "the pulses reach the hardware"
    size = f" of {result.planned_sd:g} sd" if result.planned_sd is not None else ""
    restless = "the training" if is_heat(result) else "the hardware"
    return (
        f"Cannot tell whether {what}: this experiment was too short, or {restless} too restless, "
        f"to show or to rule out the planned effect{size}."
        + idleness_sentence(result)
        + steps_sentence(result),
        "Not sure either way: not found is not the same as not there. What is ruled out stands in "
        "the numbers below.",
        "Longer than this: thermograd experiment --plan with this run's name says how long.",
        "Run it that long, with another seed.",
    )


def _insufficient(result: ExperimentResult) -> tuple[str, str, str, str]:
    unknown = "Nothing is known either way"
    if NOT_AS_DRAWN in result.sentence:
        return (
            f"The experiment shows nothing: {NOT_AS_DRAWN}.",
            f"{unknown}: what was done is not what chance decided.",
            "No length helps.",
            "Find out what changed the log, or wrote into it: the numbers below name the first fault.",
        )
    tried = bool(result.effects) and is_heat(result)
    if tried and not result.moved:
        why, length, then = why_not_moved(result)
        return (
            f"The experiment shows nothing: {not_cooler(result)}: {why}.",
            f"{unknown}: what was to be tried did not happen, or was not seen.",
            f"{length[:1].upper()}{length[1:]}.",
            f"{then[:1].upper()}{then[1:]}.",
        )
    return (
        "The experiment shows nothing yet: too little of it was done, or recorded.",
        f"{unknown}.",
        "Until enough pairs or pulses are done: thermograd experiment --plan says how long that takes.",
        "Run it longer.",
    )


def _changed(effect: Effect) -> str:
    return f"the {outcome_name(effect)} is {_way(effect)}"


def _way(effect: Effect) -> str:
    return "larger" if (effect.effect_sd or 0.0) > 0 else "smaller"


def _pulsed(effect: Effect) -> str:
    """Return what a pulse does to a signal, or one kind of pulse against another."""
    device = printable(effect.device or "the device", _LONGEST_NAME)
    one, less, other = printable(effect.contrast, _LONGEST_NAME).partition(" less ")
    if not less:
        return f"after a pulse {_changed(effect)}"
    more = "more" if (effect.effect_sd or 0.0) > 0 else "less"
    if effect.outcome == "temperature_c":
        return f"{one} pulses warm {device} {more} than {other} do"
    name = signal(effect.outcome).name
    return f"after {one} pulses the {name} of {device} is {_way(effect)} than after {other} pulses"
