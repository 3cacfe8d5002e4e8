"""What speaks for or against taking a correlation at its face: controls and warnings."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thermograd.analysis.align.grid import causal_grid
from thermograd.analysis.coupling.cross_correlation import naive_pearson, residual_cross_correlation
from thermograd.analysis.roles import device_by_role
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.runs.catalogue import list_runs

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

_LAGS_S = 12.0
_SIGNALS = ("temperature_c", "power_w", "sm_clock_mhz", "reported_rle")


def control_correlations(
    data: RunSeries,
    devices: list[Device],
    aligned: dict[str, NDArray[np.int64]],
    others: Sequence[RunSeries] = (),
) -> dict[str, Any]:
    """Correlate each hardware signal with what cannot be coupling.

    Returns
    -------
    dict
        By device and signal, naive Pearson r of the hardware with ``time``, with ``learning_rate``, and
        ``grad_norm_after_training``: the same gradient norms against the hardware of the window right
        after training, where there is one. An r of ``grad_norm`` that is no larger is a trend.
        ``residual_after_training`` and ``residual_after_training_p`` are the residual correlation and
        Sidak's p with that window, and ``other_runs`` has, by run id, ``grad_norm``, ``residual`` and
        ``residual_p`` with the hardware of other runs from the beginning of their training.
    """
    controls: dict[str, Any] = {}
    for device in devices:
        index = aligned[device.name]
        matched = index >= 0
        if not matched.any():
            continue
        seconds = (data.step_time_ns - data.step_time_ns[0]) / 1e9
        for name in _SIGNALS:
            values = device.signal(name)
            if values is None:
                continue
            hardware = values[index[matched]]
            controls.setdefault(device.name, {})[name] = {
                "time": naive_pearson(seconds[matched], hardware),
                "learning_rate": naive_pearson(data.training("learning_rate")[matched], hardware),
                "grad_norm": naive_pearson(data.training("grad_norm")[matched], hardware),
                **_after_training(data, device, values),
                "other_runs": _with_other_runs(data, device, name, others),
            }
    return controls


def _after_training(data: RunSeries, device: Device, values: Floats) -> dict[str, float]:
    """Correlate the gradient norms with the hardware one training's length later."""
    first, last = data.step_time_ns[0], data.step_time_ns[-1]
    shift = int(last - first)
    found = {"grad_norm": math.nan, "residual": math.nan, "residual_p": math.nan}
    if device.time_ns.size and device.time_ns[-1] >= last + shift // 2:
        found = _borrowed(data, device.time_ns, values, shift)
    return {
        "grad_norm_after_training": found["grad_norm"],
        "residual_after_training": found["residual"],
        "residual_after_training_p": found["residual_p"],
    }


def _with_other_runs(
    data: RunSeries, device: Device, name: str, others: Sequence[RunSeries]
) -> dict[str, dict[str, float]]:
    role = next((role for role, own in device_by_role(data).items() if own is device), device.name)
    found = {}
    for other in others:
        theirs = device_by_role(other).get(role)
        values = theirs.signal(name) if theirs else None
        if other.run.run_id == data.run.run_id or theirs is None or values is None:
            continue
        begin = other.step_time_ns[0] if other.step_time_ns.size else theirs.time_ns[0]
        shift = int(begin - data.step_time_ns[0])
        found[other.run.run_id] = _borrowed(data, theirs.time_ns, values, shift)
    return found


def _borrowed(data: RunSeries, time_ns: Times, values: Floats, shift_ns: int) -> dict[str, float]:
    """Correlate the gradient norms with hardware that cannot know of them, this much later."""
    norms, at = data.training("grad_norm"), data.step_time_ns + shift_ns
    later = np.interp(at, time_ns, values, left=math.nan, right=math.nan)
    grid = causal_grid(at, np.log(norms, out=np.full(norms.size, np.nan), where=norms > 0), time_ns, values)
    max_lag = max(1, round(_LAGS_S / grid.period_s)) if grid.x.size else 1
    found = residual_cross_correlation(grid.x, grid.y, max_lag=max_lag, permutations=0, segments=grid.segment)
    return {"grad_norm": naive_pearson(norms, later), "residual": found.r, "residual_p": found.p}


def same_training_as(data: RunSeries) -> list[str]:
    """Return other runs of the directory whose recorded step series is identical to this run's."""
    own = data.run.facts.get("import", {}).get("step_series_sha256")
    if not own:
        return []
    others = [run for run in list_runs(data.run.path.parent) if run.run_id != data.run.run_id]
    return [run.run_id for run in others if run.facts.get("import", {}).get("step_series_sha256") == own]


def warnings_for(data: RunSeries, devices: list[Device]) -> list[str]:
    """Say in sentences what is wrong with a run's data, whatever the statistics find."""
    warnings = []
    twins = same_training_as(data)
    if twins:
        warnings.append(
            f"The step series is identical to that of {', '.join(twins)}, to the last bit: "
            "one training, not a replication."
        )
    estimated = data.run.facts.get("import", {}).get("step_times_estimated")
    if estimated:
        warnings.append(f"The times of the steps are {estimated}. No lag is more exact than that.")
    for device in devices:
        warnings += [f"{device.name}: {text}" for text in _device_warnings(data, device)]
    if any(device.simulated for device in devices):
        names = ", ".join(device.name for device in devices if device.simulated)
        warnings.append(f"{names}: simulated; its numbers say nothing about real hardware.")
    return warnings


def _device_warnings(data: RunSeries, device: Device) -> list[str]:
    warnings = [f"{name}: {reason}." for name, reason in device.facts.get("suspect", {}).items()]
    warnings += _idle(data, device)
    temperature = device.signal("temperature_c")
    if temperature is None:
        return warnings
    known = temperature[np.isfinite(temperature)]
    levels = np.unique(known)
    if 1 < levels.size <= 12 and np.all(levels == np.round(levels)):
        text = f"temperature_c moves in steps of 1 degC ({levels.size} levels); this about halves the power."
        warnings.append(text)
    if data.step_time_ns.size and device.time_ns.size:
        at_steps = np.interp(data.step_time_ns, device.time_ns, temperature)
        trend = naive_pearson(data.step_time_ns.astype(np.float64) / 1e9, at_steps)
        if abs(trend) > 0.5:
            text = (
                f"temperature_c follows time alone with r = {trend:+.2f}: any other trend will seem coupled."
            )
            warnings.append(text)
    return warnings


def _idle(data: RunSeries, device: Device) -> list[str]:
    """Say whether the device's load did not differ between training and the minute around it."""
    if not data.step_time_ns.size:
        return []
    first, last = data.step_time_ns[0], data.step_time_ns[-1]
    during = (device.time_ns >= first) & (device.time_ns <= last)
    around = ~during & (np.abs(device.time_ns - (first + last) // 2) <= (last - first) // 2 + 60 * 10**9)
    parts = []
    for name, unit in (("power_w", "W"), ("utilization_pct", "%")):
        values = device.signal(name)
        if values is None or during.sum() < 10 or around.sum() < 10 or np.ptp(values) == 0:
            continue
        busy, rest = float(np.nanmedian(values[during])), float(np.nanmedian(values[around]))
        spread = float(np.nanstd(values))
        if busy - rest > max(0.5 * spread, 0.05 * abs(rest)):
            return []
        parts.append(f"{name} {busy:.3g} {unit} while training, {rest:.3g} {unit} before and after")
    return [f"it was not doing the training: {'; '.join(parts)}."] if parts else []
