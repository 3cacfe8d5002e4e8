"""An experiment of a run, held against its steps and samples, and judged in words."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from thermograd.analysis.experiment.manipulation import heat_moved
from thermograd.analysis.experiment.result import (
    FEWEST_UNITS,
    Effect,
    ExperimentResult,
    ExperimentVerdict,
    Manipulation,
)
from thermograd.analysis.run.experiment.exposure import Exposure
from thermograd.analysis.run.experiment.heat_to_training import (
    heat_to_training,
    manipulation,
    manipulation_warnings,
    training_outcomes,
)
from thermograd.analysis.run.experiment.sentences import (
    competition_told,
    experiment_sentence,
    faults_sentence,
    named,
    no_steps_sentence,
)
from thermograd.analysis.run.experiment.training_to_hardware import training_to_hardware
from thermograd.analysis.run.readings.time_constants import time_constants_s
from thermograd.analysis.run.series import RunSeries
from thermograd.store.experiment.marks import note_of
from thermograd.store.experiment.schedules import Switchback
from thermograd.store.files import read_json
from thermograd.store.runs.describe import lost_events
from thermograd.store.telling.quantities import counted, few_of

PLAN_FILE = "experiment_plan.json"
_PLANNED_SD = 0.3  # unless the schedule or a plan says otherwise
_MOST_SHOWN = 2000  # stretches that a figure gets


def result_of(exposure: Exposure) -> ExperimentResult:
    """Return what an experiment shows, from what it did to the run and what followed."""
    recorded, schedule = exposure.recorded, exposure.schedule
    is_switchback = isinstance(schedule.design, Switchback)
    plan = _plan(exposure.data)
    planned_sd = _planned_sd(schedule.options, plan)
    completed = exposure.units >= FEWEST_UNITS[schedule.design.name]
    logged = bool(exposure.step[exposure.counted].size)
    enough = not recorded.faults and completed and logged
    checks: list[Manipulation] = []
    effects: list[Effect] = []
    if enough:
        if is_switchback:
            checks, effects = heat_to_training(exposure, planned_sd, _tau_s(exposure.data, plan))
        else:
            checks, effects = training_to_hardware(exposure, planned_sd)
        effects = _with_typical(exposure, effects)
    elif is_switchback and exposure.units and not recorded.faults:
        checks = manipulation(exposure)
    moved = heat_moved(checks)
    result = ExperimentResult(
        arm=schedule.arm,
        design=schedule.design.name,
        seed=schedule.seed,
        options=dict(schedule.options),
        question="heat to training" if is_switchback else "training to hardware",
        units=exposure.units,
        assigned=len(recorded.assigned),
        applied=exposure.applied(),
        not_applied=exposure.not_applied(),
        manipulation=checks,
        effects=effects,
        verdict=_verdict(moved, effects, is_switchback) if enough else "insufficient",
        sentence="",
        planned_sd=planned_sd,
        plan=plan,
        simulated=[device.name for device in exposure.data.devices.values() if device.simulated],
        warnings=[
            *_warnings(exposure),
            *manipulation_warnings(checks),
            *_untested(effects),
            *competition_told(effects),
        ],
        schedule=[each.shown for each in exposure.stretches[:_MOST_SHOWN]],
        moved=moved,
    )
    if recorded.faults:
        result.sentence = faults_sentence(recorded.faults)
    elif completed and not logged:
        result.sentence = no_steps_sentence(result)
    else:
        result.sentence = experiment_sentence(result, _span_s(exposure))
    return result


def _verdict(moved: list[str], effects: list[Effect], has_to_move: bool) -> ExperimentVerdict:
    """Return the verdict of all tested outcomes that are no control; none where blocks moved no device."""
    said = {effect.verdict for effect in effects if not effect.is_control and effect.p is not None}
    if said <= {"insufficient"} or (has_to_move and not moved):
        return "insufficient"
    if "effect" in said:
        return "effect"
    return "no_effect" if said == {"no_effect"} else "inconclusive"


def _untested(effects: list[Effect]) -> list[str]:
    """Return that nothing is said of outcomes that could not be tested."""
    names = [named(effect) for effect in effects if not effect.is_control and effect.p is None]
    if not names:
        return []
    were = "was" if len(names) == 1 else "were"
    return [f"Not tested {were} {few_of(names)}: missing in too many blocks, or never changing."]


def _with_typical(exposure: Exposure, effects: list[Effect]) -> list[Effect]:
    """Return effects with the median of the outcome where it is one of the training's."""
    values = training_outcomes(exposure)
    known = {name: values[name][np.isfinite(values[name])] for name in values}
    return [
        replace(effect, typical=float(np.median(known[effect.outcome])))
        if effect.device is None and known.get(effect.outcome, np.zeros(0)).size
        else effect
        for effect in effects
    ]


def _warnings(exposure: Exposure) -> list[str]:
    told = []
    if exposure.again:
        steps = counted(exposure.again, "step")
        were = "was" if exposure.again == 1 else "were"
        told.append(f"{steps} of the experiment {were} done again after a restart; the last time counts.")
    missing = exposure.last_index + 1 - len(exposure.recorded.assigned)
    if missing:
        told.append(
            f"{counted(missing, 'assignment')} of the experiment {'has' if missing == 1 else 'have'} no mark "
            "in the log; analysed as the seed draws them."
        )
    if lost := _lost_events(exposure):
        told.append(
            f"{counted(lost, 'event')} could not be written since the experiment began: marks of it and "
            "steps may be among them."
        )
    left_out = len(exposure.stretches) - exposure.units * exposure.blocks_per_unit
    if left_out:
        what = ("block", "blocks") if exposure.blocks_per_unit == 2 else ("stratum", "strata")
        told.append(f"The incomplete end of the experiment is left out: {counted(left_out, *what)}.")
    if exposure.schedule.arm == "lr":
        told.append("Learning pulses change the training: this run is not what it would have been.")
    return told


def _lost_events(exposure: Exposure) -> int:
    """Return how many events its processes told as lost, from the experiment's first mark on."""
    begun_ns = min((each.time_ns for each in exposure.recorded.assigned.values()), default=0)
    gaps = (mark for mark in exposure.data.marks if mark.get("mark") == "gap")
    return sum(lost_events(gap.get("detail")) for gap in gaps if gap["time_ns"] >= begun_ns)


def _span_s(exposure: Exposure) -> float:
    times = exposure.step_time_ns[exposure.counted]
    return (int(times[-1]) - int(times[0])) / 1e9 if times.size > 1 else 0.0


def _planned_sd(options: Mapping[str, Any], plan: Mapping[str, Any] | None) -> float:
    for source in (options, plan or {}):
        value = source.get("effect_sd")
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 100:
            return float(value)
    return _PLANNED_SD


def _tau_s(data: RunSeries, plan: Mapping[str, Any] | None) -> float | None:
    """Return the devices' longest thermal time constant, as a plan or the run tells; None: not known."""
    value = (plan or {}).get("tau_s")
    if isinstance(value, int | float) and not isinstance(value, bool) and 1.0 <= value <= 3600.0:
        return float(value)
    known = [time_constants_s(data, device) for device in data.devices.values()]
    return max((found[0].tau_s for found in known if found), default=None)


def _plan(data: RunSeries) -> dict[str, Any] | None:
    """Return what was planned: from the run's directory, else from a note in the log."""
    written = read_json(data.run.path / PLAN_FILE)
    if written:
        return written
    noted = (note_of(mark, "experiment_plan").get("experiment_plan") for mark in data.marks)
    return next((plan for plan in noted if isinstance(plan, dict)), None)
