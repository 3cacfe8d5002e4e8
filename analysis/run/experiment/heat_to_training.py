"""What hot and cool blocks did to the device, and to each outcome of the training."""

from dataclasses import replace

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.experiment.manipulation import (
    Measured,
    check_manipulations,
    heat_moved,
    moved_devices,
)
from thermograd.analysis.experiment.result import OF_HEAT, Effect, Manipulation
from thermograd.analysis.experiment.switchback import analyze_switchback
from thermograd.analysis.run.experiment.exposure import SIGNALS, Exposure
from thermograd.analysis.run.series import RunSeries, logarithm
from thermograd.store.experiment.outcomes import COLUMNS, CONTROLS, OUTCOMES, outcome_evidence
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import few_of
from thermograd.store.text import printable

_TO_RISE = ("temperature_c", "power_w", "utilization_pct")
_UNITS = {"step_time_s": "s"}


def heat_to_training(
    exposure: Exposure, planned_sd: float, tau_s: float | None = None
) -> tuple[list[Manipulation], list[Effect]]:
    """Return the checks of the manipulation, a device and signal each, and the effect on each outcome.

    `tau_s`: the device's thermal time constant, where it is known.
    """
    counted = exposure.counted
    outcomes = {name: values[counted] for name, values in training_outcomes(exposure).items()}
    steps, times = exposure.step[counted], exposure.step_time_ns[counted]
    block = (steps - exposure.schedule.start_step) // exposure.schedule.design.stretch_steps
    effects = analyze_switchback(
        outcomes,
        (times - times[0]) / 1e9,
        is_hot(exposure)[block],
        block // 2,
        controls=CONTROLS,
        units=_UNITS,
        planned_sd=planned_sd,
        tau_s=tau_s,
    )
    return manipulation(exposure), _with_evidence(exposure, effects)


def manipulation(exposure: Exposure) -> list[Manipulation]:
    """Return whether the blocks moved each device, a signal each that it measures."""
    measured = []
    for device in exposure.data.devices.values():
        block = exposure.block_of(device.time_ns)
        hot = np.append(is_hot(exposure), np.nan)[block]  # of no block NaN, the last
        pair = np.where(block >= 0, block // 2, -1)
        for name in SIGNALS:
            values = device.signal(name)
            if values is not None:
                measured.append(Measured(name, values, hot, pair, device.name, signal(name).unit))
    return check_manipulations(measured)


def manipulation_warnings(checks: list[Manipulation]) -> list[str]:
    """Return what the blocks did to the devices otherwise than they were to, a sentence each."""
    told = []
    for check in checks:
        away = -(check.difference or 0.0)
        if check.outcome in _TO_RISE and away >= check.needed > 0 and (check.p_family or 1.0) <= 0.05:
            told.append(
                f"{signal(check.outcome).name.capitalize()} of {printable(check.device or '', 60)} was "
                f"{away:.3g} {check.unit} higher in cool blocks than in hot ones: the opposite of what was "
                "assigned."
            )
    moved, devices = moved_devices(checks)
    if 0 < moved < devices:
        told.append(f"The blocks moved {moved} of {devices} devices.")
    signals = heat_moved(checks)
    if signals and not set(signals) & set(OF_HEAT):
        names = few_of([signal(name).name for name in signals])
        told.append(f"No device measures temperature or power: what moved is {names}, idleness and not heat.")
    return told


def is_hot(exposure: Exposure) -> Floats:
    """Return of each block of completed pairs, in order, 1 where it is hot and 0 where it is cool."""
    drawn = [exposure.schedule.assignment(index) for index in range(2 * exposure.units)]
    return np.array([each.level == "hot" for each in drawn], dtype=np.float64)


def training_outcomes(exposure: Exposure) -> dict[str, Floats]:
    """Return what heat may change, by name; shape (steps,) each, of the steps of the experiment."""
    found = {name: values[exposure.row] for name, values in step_outcomes(exposure.data).items()}
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def step_outcomes(data: RunSeries) -> dict[str, Floats]:
    """Return `OUTCOMES` of all steps of a run, by name; shape (steps,) each, NaN where not known."""
    columns = {name: data.training(name) for name in COLUMNS}
    columns["log_grad_norm"] = logarithm(columns.pop("grad_norm"))
    return {name: np.where(np.isfinite(columns[name]), columns[name], np.nan) for name in OUTCOMES}


def _with_evidence(exposure: Exposure, effects: list[Effect]) -> list[Effect]:
    """Return effects with the e-values that the stream layer comes to, to the bit, and what competes."""
    data = exposure.data
    order = np.argsort(data.step_time_ns, kind="stable")
    steps = data.steps.select(["step", *COLUMNS]).take(order).to_pylist()
    competes = exposure.schedule.options.get("step_time_is") == "outcome"
    told = []
    for effect in effects:
        effect = replace(effect, is_competition=competes and effect.is_control)
        if effect.verdict != "insufficient":
            known = outcome_evidence(exposure.schedule, effect.outcome, steps)
            effect = replace(effect, e_value=known.e_value, e_largest=known.largest)
        told.append(effect)
    return told
