"""What acts in an experiment, in words: heat or only idle gaps, what moved, and why nothing did."""

import math
from collections.abc import Sequence

from thermograd.analysis.display.numbers import seconds_text, shown_number
from thermograd.analysis.experiment.result import OF_HEAT, Effect, ExperimentResult, Manipulation
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import few_of
from thermograd.store.text import printable

ARMS = {
    "duty": "idle gaps after each step",
    "shadow": "shadow steps",
    "burner": "a load beside the job",
    "cap": "a lower power limit",
    "lr": "pulses of the learning rate",
}
NOT_AS_DRAWN = "the log does not hold the experiment as it was drawn"
_CAUSES = {"duty": "idle gaps", "burner": "a load beside the job", "cap": "a lower power limit"}
_BUSY_PCT = 85.0  # in cool blocks: somebody else's work
_SHORT_BLOCK_S = 30.0
_READABLE_BLOCK_S = 2.0  # a reading of utilisation is a mean over up to a second
_USUAL_BLOCK_S = 60
_LONGEST_NAME = 60


def is_heat(result: ExperimentResult) -> bool:
    """Return whether it asks what hot blocks do to the training."""
    return result.question == "heat to training"


def only_idleness(result: ExperimentResult) -> bool:
    """Return whether blocks moved how busy a device was, where no temperature or power is measured."""
    return is_heat(result) and bool(result.moved) and not set(result.moved) & set(OF_HEAT)


def cause(result: ExperimentResult) -> tuple[str, bool]:
    """Return what acts, and whether it is one thing."""
    if not is_heat(result):
        return ARMS.get(result.arm, result.arm), result.arm not in ("shadow", "lr", "duty")
    if not only_idleness(result):
        return "heat", True
    name = _CAUSES.get(result.arm, result.arm)
    return name, name != "idle gaps"


def idleness_sentence(result: ExperimentResult) -> str:
    """Return what moved where it was not heat, as a sentence with a space before it; empty elsewhere."""
    if not only_idleness(result):
        return ""
    names = few_of([signal(name).name for name in result.moved])
    measured = "No device measures temperature or power"
    return f" {measured}: what the blocks moved is {names}, so nothing is said of heat."


def steps_sentence(result: ExperimentResult) -> str:
    """Return that steps themselves took longer in some blocks, with a space before it; empty elsewhere."""
    found = next((each for each in result.effects if _slowed(each)), None)
    if found is None or not is_heat(result):
        return ""
    assert found.effect is not None
    where = "hot" if found.effect > 0 else "cool"
    by = f"{100 * abs(found.effect) / found.typical:.2g} % longer" if found.typical else "longer"
    why = (
        "a hot device clocks lower, or the load competes with the training"
        if where == "hot"
        else "after a gap caches are cold and clocks low"
    )
    return (
        f" The steps themselves took {by} in {where} blocks ({why}): what reaches the training may "
        "come by that."
    )


def _slowed(effect: Effect) -> bool:
    is_told = effect.effect is not None and math.isfinite(effect.effect) and effect.effect != 0
    is_asked = effect.is_control and not effect.is_competition  # what a load takes is told elsewhere
    return effect.outcome == "step_time_s" and is_asked and effect.verdict == "effect" and is_told


def outcome_name(effect: Effect) -> str:
    """Return what an outcome is called, with its device."""
    if effect.outcome == "log_grad_norm":
        return "gradient norm"
    known = signal(effect.outcome).name
    return f"{known} of {printable(effect.device, _LONGEST_NAME)}" if effect.device else known


def block_s(result: ExperimentResult) -> float | None:
    """Return how long its blocks were, s; None where no time is known."""
    lengths = sorted((each["last_time_ns"] - each["first_time_ns"]) / 1e9 for each in result.schedule[:-1])
    return lengths[len(lengths) // 2] if lengths else None


def not_cooler(result: ExperimentResult) -> str:
    """Return that no check passed, as far as sensors can say it: one of use alone says nothing of heat."""
    known = {check.outcome for check in result.manipulation if check.difference is not None}
    if known & set(OF_HEAT):
        return "the device did not get cooler"
    return (
        "that the device got cooler was not seen"
        if known
        else "whether the device got cooler was not measured"
    )


def why_not_moved(result: ExperimentResult) -> tuple[str, str, str]:
    """Return why no check passed, whether more of the same helps, and what does; none ends in a stop."""
    known = [check for check in result.manipulation if check.difference is not None]
    length = block_s(result)
    is_short = length is not None and length < max(_SHORT_BLOCK_S, _tau_s(result) or 0.0)
    longer = f"longer blocks: --block {max(_USUAL_BLOCK_S, round(_tau_s(result) or 0))}"
    short = (
        f"blocks of {seconds_text(length)} are shorter than a device needs to warm up and cool down"
        if length
        else ""
    )
    if not result.manipulation:
        return (
            "no sensor of temperature, power, clock or utilisation was recorded",
            "no length helps without a sensor",
            "see what this machine can measure: thermograd doctor",
        )
    if not known:
        few = "too few readings of its sensors fall into the blocks"
        what = f"{few}, which last {seconds_text(length)} each" if length else few
        return what, "longer blocks help, more of these do not", f"{longer}, or read sensors more often: --hz"
    closest = nearest(known)
    apart = f"{signal(closest.outcome).name} was {apart_text(closest)} apart"
    if (closest.difference or 0.0) <= -closest.needed < 0 and closest.outcome != "sm_clock_mhz":
        return (
            f"the reverse was seen: {apart.replace(' apart', '')} in hot blocks against cool ones",
            "no length helps before that is understood",
            "look at the picture of the blocks: what else ran in the cool ones",
        )
    can_read = length is None or length >= _READABLE_BLOCK_S
    if can_read and (busy := _busy(known)) is not None:
        return (
            f"the device was busy in cool blocks too (utilisation {busy.cool:.0f} %), "
            "so something else uses it",
            "no length helps while others use the device",
            "run it where nothing else runs",
        )
    if is_short:
        return f"{short}: {apart}", "longer blocks help, more of these do not", longer
    if closest.difference and abs(closest.difference) >= closest.needed:
        return (
            f"{apart}, which is enough, but not beyond chance in {result.units} pairs",
            "more pairs of blocks show whether it was chance",
            "run it longer",
        )
    return (
        f"{apart}, of at least {closest.needed:.3g}{_unit(closest)} needed",
        "no length helps; the intervention has to be stronger",
        "longer gaps (a smaller --duty) or another arm: thermograd experiment --help",
    )


def nearest(known: Sequence[Manipulation]) -> Manipulation:
    """Return of checks with a difference the temperature's, else the one that came closest to passing."""
    degrees = [check for check in known if check.outcome == "temperature_c"]
    return max(degrees or known, key=lambda check: abs(check.difference or 0.0) / (check.needed or 1.0))


def apart_text(check: Manipulation) -> str:
    """Return how far hot and cool blocks were apart."""
    return f"{shown_number(check.difference, '+.3g')}{_unit(check)}"


def _unit(check: Manipulation) -> str:
    return f" {check.unit}" if check.unit else ""


def _busy(known: Sequence[Manipulation]) -> Manipulation | None:
    found = [check for check in known if check.outcome == "utilization_pct"]
    busy = [check for check in found if (check.cool or 0.0) >= _BUSY_PCT]
    return busy[0] if busy and len(busy) == len(found) else None


def _tau_s(result: ExperimentResult) -> float | None:
    tau = (result.plan or {}).get("tau_s")
    is_number = isinstance(tau, int | float) and not isinstance(tau, bool) and 0 < tau < 3600
    return float(tau) if is_number and tau is not None else None
