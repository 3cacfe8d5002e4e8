"""The plan of an experiment by a run: its probe, its first minutes, or all of an earlier training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats, Ints, Mask
from thermograd.analysis.experiment.noise import FEWEST
from thermograd.analysis.experiment.plan import MINUTES, Plan, block_length_s, make_plan, taken_together
from thermograd.analysis.experiment.pulse_plan import make_pulse_plan
from thermograd.analysis.run.experiment.heat_to_training import step_outcomes
from thermograd.analysis.run.experiment.training_to_hardware import SEPARATOR, hardware_outcomes
from thermograd.analysis.run.readings.time_constants import time_constants_s
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.experiment.marks import note_of
from thermograd.store.experiment.outcomes import QUESTIONS
from thermograd.store.experiment.schedules import PULSE_ARMS
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import counted

_WARM_UP_STEPS = 20
_DUTY = 0.6  # of cool steps, where no probe has made any


def plan_for_run(
    run: Run,
    *,
    effect_sd: float = 0.3,
    power: float = 0.9,
    minutes: float | Sequence[float] | None = None,
    arm: str = "duty",
    duty: float = _DUTY,
    block_s: float | None = None,
    bin_s: float = 1.0,
    stratum_bins: int = 20,
    lag_bins: int = 10,
    shapes: str = "zeros,noise",
) -> Plan:
    """Plan an experiment in such a training as a run was.

    Of a run with a probe its steps are what is learnt from, else all but the first.

    Parameters
    ----------
    run
        Live or ended.
    effect_sd, power
        Size that is planned for, in sd, and how surely it is to be found.
    minutes
        Lengths of which the smallest effect is told; the usual ones if not given.
    arm, duty
        What is done; share of the time in which the device is busy in a cool block.
    block_s
        Of a block of the user's own; by default as the device's time constant has it.
    bin_s, stratum_bins, lag_bins, shapes
        Of pulses (arms shadow and lr), as `ExperimentOptions` has them.

    Raises
    ------
    NotEnoughDataError
        If the run has too few steps, or nothing in it moves.
    """
    data = load_series(run)
    probe, steps = _probe(data), _column(data, "step")
    inside = steps > _WARM_UP_STEPS if probe is None else steps >= probe[0]["first_step"]
    hot_s, cool_s = _step_times(data, steps, inside, probe, duty if arm == "duty" else 1.0)
    given = MINUTES if minutes is None else [minutes] if isinstance(minutes, int | float) else minutes
    asked: dict[str, Any] = {"effect_sd": effect_sd, "power": power, "minutes": given, "arm": arm}
    if arm in PULSE_ARMS:
        kinds = shapes.split(",") if arm == "shadow" else ["pulse"]
        bin_steps = max(1, round(bin_s / hot_s))
        design: dict[str, Any] = {"bin_steps": bin_steps, "stratum_bins": stratum_bins, "lag_bins": lag_bins}
        return _of_pulses(run.run_id, data, np.flatnonzero(inside), hot_s, kinds, design, asked)
    constants = {
        device.label: found[0].tau_s
        for device in data.devices.values()
        if (found := time_constants_s(data, device))
    }
    tau_s = max(constants.values(), default=None)
    usual_s = block_length_s(tau_s)
    outcomes = {name: values[inside] for name, values in _outcomes(data).items()}
    _refuse_too_short(run.run_id, data.training_s, outcomes, round((block_s or usual_s) / hot_s))
    plan = make_plan(
        outcomes,
        (hot_s + cool_s) / 2.0,
        hot_step_s=hot_s,
        tau_s=tau_s,
        block_s=block_s or usual_s,
        **asked,
    )
    if plan is None:
        raise NotEnoughDataError(
            f"neither loss nor norm of {run.run_id} moves and is known in every block: there is no noise to "
            "plan by"
        )
    notes = _notes(data, constants, probe, block_s)
    if block_s is not None and tau_s is not None and block_s < tau_s:
        notes.append(
            f"Blocks of {block_s:g} s, as asked for, are shorter than the thermal time constant of "
            f"{tau_s:.0f} s: the heat of one lasts into the next. The plan's own would be of {usual_s:g} s."
        )
    return replace(plan, notes=notes)


def _refuse_too_short(run_id: str, training_s: float, outcomes: dict[str, Floats], block_steps: int) -> None:
    """Refuse a run of too few steps, or of many in too little time."""
    counts = [
        (int(np.isfinite(values).sum()), FEWEST * taken_together(values, block_steps))
        for values in outcomes.values()
    ]
    known, needed = max(counts, key=lambda told: told[0] / told[1], default=(0, FEWEST))
    if known < needed:
        during = f" in {training_s:.0f} s" if needed > FEWEST else ""
        raise NotEnoughDataError(
            f"{run_id} has {known} steps with a loss or norm after its first{during}; a plan needs {needed}"
        )


def _of_pulses(
    run_id: str,
    data: RunSeries,
    rows: Ints,
    step_s: float,
    kinds: list[str],
    design: dict[str, Any],
    asked: dict[str, Any],
) -> Plan:
    """Return the plan of pulses, by each signal of the first device that has it."""
    edges = data.step_time_ns[rows][:: design["bin_steps"]]
    if edges.size <= FEWEST:
        raise NotEnoughDataError(
            f"{run_id} has {max(edges.size - 1, 0)} bins of {design['bin_steps'] * step_s:.2g} s after its "
            f"first steps; a plan needs {FEWEST}"
        )
    found = hardware_outcomes(data, edges)
    devices: dict[str, str] = {}
    for key in found:
        name, _, device = key.partition(SEPARATOR)
        devices.setdefault(name, device)
    plan = make_pulse_plan(
        {name: found[f"{name}{SEPARATOR}{device}"] for name, device in devices.items()},
        step_s,
        **design,
        kinds=len(kinds),
        family=len(found),
        units={name: signal(name).unit for name in devices},
        **asked,
    )
    if plan is None:
        raise NotEnoughDataError(
            f"no sensor of temperature, power, clock or utilisation of {run_id} moves: there is no noise to "
            "plan by"
        )
    used = sorted({data.devices[device].label for device in devices.values()})
    notes = [f"Learnt from {', '.join(used)}, of {counted(len(data.devices), 'device')}."]
    if len(kinds) == 2:
        notes.append(f"Asked is what {kinds[1]} does more than {kinds[0]}.")
    if any(data.devices[device].simulated for device in devices.values()):
        notes.append("SIMULATED: the noise is of a simulated device.")
    return replace(plan, notes=notes)


def _outcomes(data: RunSeries) -> dict[str, Floats]:
    """Return what heat may change, NaN where not known; those that have values."""
    found = step_outcomes(data)
    return {name: found[name] for name in QUESTIONS if np.isfinite(found[name]).any()}


def _column(data: RunSeries, name: str) -> Floats:
    column = data.steps.column(name).cast("float64", safe=False).fill_null(float("nan"))
    return np.asarray(column, dtype=np.float64)


def _probe(data: RunSeries) -> list[dict[str, Any]] | None:
    """Return the stretches of the run's last probe, as its marks tell."""
    noted = (note_of(mark, "experiment_probe").get("experiment_probe") for mark in data.marks)
    told = [each for each in noted if isinstance(each, dict) and isinstance(each.get("first_step"), int)]
    return told[-2:] if len(told) > 1 else None


def _step_times(
    data: RunSeries, steps: Floats, inside: Mask, probe: list[dict[str, Any]] | None, duty: float
) -> tuple[float, float]:
    """Return how long a hot and a cool step take, s, gaps and all."""
    apart = np.diff(data.step_time_ns, prepend=data.step_time_ns[:1]) / 1e9

    def typical(which: Mask) -> float | None:
        found = apart[which & (apart > 0)]
        return float(np.median(found)) if found.size else None

    both: dict[str, float | None] = {}
    for stretch in probe or []:
        last = stretch.get("last_step")
        if isinstance(last, int):
            both[str(stretch.get("level"))] = typical((steps > stretch["first_step"]) & (steps <= last))
    hot_s = both.get("hot") or typical(inside) or 1.0
    return hot_s, both.get("cool") or hot_s / duty


def _notes(
    data: RunSeries, constants: dict[str, float], probe: list[dict[str, Any]] | None, block_s: float | None
) -> list[str]:
    notes = []
    if not constants:
        rest = (
            "blocks last a minute" if block_s is None else "whether the blocks are long enough is not known"
        )
        notes.append(f"No step of the load shows the thermal time constant: {rest}.")
    simulated = [device.label for device in data.devices.values() if device.simulated]
    if simulated and constants:
        notes.append(f"SIMULATED: the time constant is of {', '.join(sorted(simulated))}.")
    if probe is None:
        notes.append("Learnt from the run's steps as they were; a probe would show how long cool steps take.")
    return notes
