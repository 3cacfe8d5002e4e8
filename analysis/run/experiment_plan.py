"""The plan of an experiment by a run: its probe, its first minutes, or all of an earlier training."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats, Mask
from thermograd.analysis.experiment.noise import FEWEST
from thermograd.analysis.experiment.plan import MINUTES, Plan, block_length_s, make_plan
from thermograd.analysis.run.readings.time_constants import time_constants_s
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.runs.catalogue import Run

_WARM_UP_STEPS = 20
_DUTY = 0.6  # of cool steps, where no probe has made any
_DESIGNS = ("duty", "cap", "burner")


def plan_for_run(
    run: Run,
    *,
    effect_sd: float = 0.3,
    power: float = 0.9,
    minutes: float | Sequence[float] | None = None,
    arm: str = "duty",
    duty: float = _DUTY,
) -> Plan:
    """Plan a switchback in such a training as a run was.

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
        What is done in cool blocks; share of the time in which the device is busy there.

    Raises
    ------
    NotEnoughDataError
        If the run has too few steps, nothing in it moves, or the arm's experiments are of pulses.
    """
    if arm not in _DESIGNS:
        raise NotEnoughDataError(f"experiments of arm {arm} are of pulses, which no plan is made for yet")
    data = load_series(run)
    probe = _probe(data)
    steps = _column(data, "step")
    inside = steps > _WARM_UP_STEPS if probe is None else steps >= probe[0]["first_step"]
    outcomes = {name: values[inside] for name, values in _outcomes(data).items()}
    known = max((int(np.isfinite(values).sum()) for values in outcomes.values()), default=0)
    if known < FEWEST:
        raise NotEnoughDataError(
            f"{run.run_id} has {known} steps with a loss or norm after its first; a plan needs {FEWEST}"
        )
    hot_s, cool_s = _step_times(data, steps, inside, probe, duty if arm == "duty" else 1.0)
    constants = {
        device.label: found[0].tau_s
        for device in data.devices.values()
        if (found := time_constants_s(data, device))
    }
    tau_s = max(constants.values(), default=None)
    given = MINUTES if minutes is None else [minutes] if isinstance(minutes, int | float) else minutes
    plan = make_plan(
        outcomes,
        (hot_s + cool_s) / 2.0,
        hot_step_s=hot_s,
        tau_s=tau_s,
        block_s=block_length_s(tau_s),
        effect_sd=effect_sd,
        power=power,
        minutes=given,
        arm=arm,
    )
    if plan is None:
        raise NotEnoughDataError(f"neither loss nor norm of {run.run_id} moves: there is no noise to plan by")
    return replace(plan, notes=_notes(data, constants, probe))


def _outcomes(data: RunSeries) -> dict[str, Floats]:
    """Return what heat may change, NaN where not known; those that have values."""
    norm, loss = data.training("grad_norm"), data.training("loss")
    log_norm = np.log(norm, out=np.full(norm.size, np.nan), where=norm > 0)
    named = {"log_grad_norm": log_norm, "loss": loss}
    finite = {name: np.where(np.isfinite(values), values, np.nan) for name, values in named.items()}
    return {name: values for name, values in finite.items() if np.isfinite(values).any()}


def _column(data: RunSeries, name: str) -> Floats:
    column = data.steps.column(name).cast("float64", safe=False).fill_null(float("nan"))
    return np.asarray(column, dtype=np.float64)


def _probe(data: RunSeries) -> list[dict[str, Any]] | None:
    """Return the stretches of the run's last probe, as its marks tell."""
    told = []
    for mark in data.marks:
        try:
            detail = json.loads(mark.get("detail") or "{}")
        except ValueError:  # somebody else's
            continue
        probe = detail.get("experiment_probe") if isinstance(detail, dict) else None
        if isinstance(probe, dict) and isinstance(probe.get("first_step"), int):
            told.append(probe)
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


def _notes(data: RunSeries, constants: dict[str, float], probe: list[dict[str, Any]] | None) -> list[str]:
    notes = []
    if not constants:
        notes.append("No step of the load shows the thermal time constant: blocks last a minute.")
    simulated = [device.label for device in data.devices.values() if device.simulated]
    if simulated and constants:
        notes.append(f"SIMULATED: the time constant is of {', '.join(sorted(simulated))}.")
    if probe is None:
        notes.append("Learnt from the run's steps as they were; a probe would show how long cool steps take.")
    return notes
