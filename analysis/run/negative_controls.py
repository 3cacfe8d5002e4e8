"""What speaks for or against taking a correlation at its face: controls and warnings."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from thermograd.analysis.align.sensed_grid import sensed_grid
from thermograd.analysis.arrays import Floats, Ints, Times
from thermograd.analysis.coupling.cross_correlation import naive_pearson, residual_cross_correlation
from thermograd.analysis.run.series import Device, RunSeries, one_by_one

_LAGS_S = 12.0
_SIGNALS = ("temperature_c", "power_w", "sm_clock_mhz", "reported_rle")


def control_correlations(
    data: RunSeries, devices: list[Device], aligned: dict[str, Ints], others: Sequence[RunSeries] = ()
) -> dict[str, Any]:
    """Correlate each hardware signal with what cannot be coupling.

    By device and signal, naive Pearson r of the hardware with ``time``, with ``learning_rate``, and
    ``grad_norm_after_training``: the same gradient norms against the hardware of the window right
    after training, where there is one. An r of ``grad_norm`` that is no larger is a trend.
    ``residual_after_training`` and ``residual_after_training_p`` are the residual correlation and
    Sidak's p with that window, and ``other_runs`` has, by run id, ``grad_norm``, ``residual`` and
    ``residual_p`` with the hardware of other runs from the beginning of their training.
    """
    controls: dict[str, Any] = {}
    for device in one_by_one(devices):
        matched = aligned[device.name] >= 0
        index = aligned[device.name][matched]
        if not index.size:
            continue
        training = {
            "time": (data.step_time_ns - data.step_time_ns[0])[matched] / 1e9,
            "learning_rate": data.training("learning_rate")[matched],
            "grad_norm": data.training("grad_norm")[matched],
        }
        signals = {name: values for name in _SIGNALS if (values := device.signal(name)) is not None}
        for name, values in signals.items():
            controls.setdefault(device.name, {})[name] = {
                **{given: naive_pearson(x, values[index]) for given, x in training.items()},
                **_after_training(data, device, values),
                "other_runs": _with_other_runs(data, device, name, others),
            }
    return controls


def _after_training(data: RunSeries, device: Device, values: Floats) -> dict[str, float]:
    """Correlate the gradient norms with the hardware one training's length later."""
    first, last = data.step_time_ns[0], data.step_time_ns[-1]
    shift = int(last - first)
    found = dict.fromkeys(("grad_norm", "residual", "residual_p"), math.nan)
    if device.time_ns.size and device.time_ns[-1] >= last + shift // 2:
        found = _borrowed(data, device.time_ns, values, shift)
    names = "grad_norm_after_training", "residual_after_training", "residual_after_training_p"
    return dict(zip(names, found.values(), strict=True))


def _with_other_runs(
    data: RunSeries, device: Device, name: str, others: Sequence[RunSeries]
) -> dict[str, dict[str, float]]:
    role = next((role for role, own in data.roles.items() if own is device), device.name)
    found = {}
    for other in others:
        theirs = other.roles.get(role)
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
    grid = sensed_grid((at, data.tested("grad_norm")), (time_ns, values))
    max_lag = max(1, round(_LAGS_S / grid.period_s)) if grid.x.size else 1
    found = residual_cross_correlation(
        grid.x, grid.y, max_lag=max_lag, permutations=0, segments=grid.segment, bins=grid.bin
    )
    return {"grad_norm": naive_pearson(norms, later), "residual": found.r, "residual_p": found.p}
