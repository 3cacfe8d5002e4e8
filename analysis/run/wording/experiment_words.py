"""The first screen of a run with a randomised experiment in it: its verdict leads, observation follows."""

from collections.abc import Sequence

from thermograd.analysis.display.numbers import seconds_text
from thermograd.analysis.experiment.result import Effect, ExperimentResult, Manipulation
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
    said = {"effect": _effect, "no_effect": _no_effect, "inconclusive": _inconclusive}
    return said.get(result.verdict, _insufficient)(result, observed)


def told_beside(sentence: str, result: ExperimentResult, observed: str) -> str:
    """Return the sentence of the observation as what it is beside an experiment: association only."""
    if observed == "coupled" and result.verdict == "no_effect":
        reading = "association only; the experiment shows no effect, so it is a driver that nobody logged"
    elif observed == "coupled":
        reading = "association only, and the intervention itself may be in it"
    else:
        reading = "the intervention itself may be in it"
    return f"By watching alone ({reading}): {sentence}"


def _effect(result: ExperimentResult, observed: str) -> tuple[str, str, str, str]:
    found = [effect for effect in result.effects if effect.verdict == "effect" and not effect.is_control]
    first = min(found, key=lambda effect: 1.0 if effect.p_family is None else effect.p_family)
    way = "larger" if (first.effect_sd or 0.0) > 0 else "smaller"
    slowly = f", over about {seconds_text(first.delay_s)}" if first.delay_s else ""
    if _is_heat(result):
        sentence = f"Heat changes the training: while the device is hot, {_named(first)} is {way}{slowly}."
    else:
        sentence = (
            f"What the training does reaches the hardware: after a pulse {_named(first)} is {way}{slowly}."
        )
    return (
        sentence,
        f"When {'the device was hot' if _is_heat(result) else 'a pulse came'} was drawn by chance: nothing "
        "else "
        "in the run looks like this in more than one such experiment in twenty.",
        "This experiment was long enough; a second run with another seed shows whether it holds there too.",
        "Repeat it with another seed, and another machine: one run is one case.",
    )


def _no_effect(result: ExperimentResult, observed: str) -> tuple[str, str, str, str]:
    size = f" of {result.planned_sd:g} sd or more" if result.planned_sd is not None else ""
    what = (
        "Heat does nothing to the training" if _is_heat(result) else "The pulses do nothing to the hardware"
    )
    beside = " That the two move together must come from something that nobody logged."
    return (
        f"{what} that is large enough to matter: an effect{size} is ruled "
        f"out.{beside * (observed == 'coupled')}",
        "An effect of that size, lasting as the interventions did, would be missed in at most one such "
        "experiment in twenty.",
        "This experiment was long enough.",
        "Nothing needs doing; for a smaller effect plan a longer run: thermograd experiment --plan.",
    )


def _inconclusive(result: ExperimentResult, observed: str) -> tuple[str, str, str, str]:
    what = "heat changes the training" if _is_heat(result) else "the pulses reach the hardware"
    return (
        f"Cannot tell whether {what}: this experiment was too short, or the training too restless, to show "
        "or "
        "to rule out the effect that it was planned for.",
        "Not sure either way: not found is not the same as not there.",
        "Longer than this; the numbers below say by how much.",
        "Plan it by this run: thermograd experiment --plan; then run it that long.",
    )


def _insufficient(result: ExperimentResult, observed: str) -> tuple[str, str, str, str]:
    failed = [check for check in result.manipulation if not check.passed]
    tried = bool(result.effects) and result.design == "switchback"
    if tried and len(failed) == len(result.manipulation):
        return (
            f"The experiment shows nothing: {_not_moved(result, failed)}.",
            "Nothing is known either way: what was to be tried did not happen.",
            "No length helps; the intervention has to be stronger.",
            "Longer gaps (a smaller duty) or another arm: thermograd experiment --help.",
        )
    return (
        "The experiment shows nothing yet: too little of it was done, or recorded.",
        "Nothing is known either way.",
        "Until enough pairs or pulses are done: thermograd experiment --plan says how long that takes.",
        "Run it longer.",
    )


def _not_moved(result: ExperimentResult, failed: Sequence[Manipulation]) -> str:
    known = [check for check in failed if check.difference is not None]
    if not known:
        return "no sensor tells whether the device got cooler"
    if result.design != "switchback":
        return "the device did not answer the pulses"
    degrees = next((check for check in known if check.outcome == "temperature_c"), None)
    if degrees is None:
        return f"the device did not get cooler, as far as its {signal(known[0].outcome).name} tells"
    return f"the device did not get cooler ({degrees.difference:.1f} degrees between hot and cool)"


def _is_heat(result: ExperimentResult) -> bool:
    return result.question == "heat to training"


def _named(effect: Effect) -> str:
    if effect.outcome == "log_grad_norm":
        return "the gradient norm"
    known = signal(effect.outcome).name
    told = f"the {known} of {printable(effect.device, _LONGEST_NAME)}" if effect.device else f"the {known}"
    return f"{told} ({printable(effect.contrast, _LONGEST_NAME)})" if effect.contrast else told
