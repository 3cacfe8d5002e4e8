"""The hardware of two runs: how it was at one moment of each, and how much warmer the one was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.run.series import Device, RunSeries

_NEAR_NS = 5 * 10**9
_AT = ("temperature_c", "power_w", "sm_clock_mhz")
_COUNTED = ("ecc_corrected", "ecc_uncorrected")


@dataclass(frozen=True, slots=True)
class Moment:
    """What a device of a run measured nearest to a step, None where it did not.

    `dt_s`: how far the sample is from the step, s; `ecc_corrected`, `ecc_uncorrected`: memory errors counted
    since the run's first sample.
    """

    run_id: str
    device: str
    label: str
    dt_s: float | None
    temperature_c: float | None = None
    power_w: float | None = None
    sm_clock_mhz: float | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Warmth:
    """A device's temperature and power in both runs, medians over the training; None where not measured."""

    role: str
    first_c: float | None
    second_c: float | None
    first_w: float | None
    second_w: float | None
    simulated: bool = False


def moments(runs: Sequence[RunSeries], step: int) -> list[Moment]:
    """Return what every device of every run measured as a step ended, on the lowest rank."""
    found = []
    for data in runs:
        time_ns = _time_of(data, step)
        found += [_moment(data, device, time_ns) for device in data.devices.values() if time_ns is not None]
    return found


def _time_of(data: RunSeries, step: int) -> int | None:
    """Return when a step ended, by the clock of the lowest rank; of one logged twice the last."""
    places = np.flatnonzero(data.training("step") == step)
    return int(data.step_time_ns[places[-1]]) if places.size else None


def _moment(data: RunSeries, device: Device, time_ns: int) -> Moment:
    who = data.run.run_id, device.name, device.label
    times = device.time_ns
    if not times.size:
        return Moment(*who, None, simulated=device.simulated)
    place = int(np.argmin(np.abs(times - time_ns)))
    dt_s = (int(times[place]) - time_ns) / 1e9
    if abs(dt_s) > _NEAR_NS / 1e9:
        return Moment(*who, None, simulated=device.simulated)
    temperature_c, power_w, clock_mhz = (_at(device.signal(name), place) for name in _AT)
    corrected, uncorrected = (_since(device.signal(name), place) for name in _COUNTED)
    measured = (temperature_c, power_w, clock_mhz)
    return Moment(*who, dt_s, *measured, corrected, uncorrected, simulated=device.simulated)


def _at(values: Floats | None, place: int) -> float | None:
    return float(values[place]) if values is not None and np.isfinite(values[place]) else None


def _since(values: Floats | None, place: int) -> int | None:
    if values is None or not np.isfinite(values[place]):
        return None
    known = values[np.isfinite(values)]
    return int(values[place] - known[0])


def warmth(first: RunSeries, second: RunSeries) -> list[Warmth]:
    """Return how warm each role's device was in both runs while they trained, where both have it."""
    rows = []
    for role, device in first.roles.items():
        other = second.roles.get(role)
        if other is not None:
            pairs = ((first, device), (second, other))
            one_c, two_c, one_w, two_w = (
                _median(*pair, name) for name in ("temperature_c", "power_w") for pair in pairs
            )
            if any(value is not None for value in (one_c, two_c, one_w, two_w)):
                is_simulated = device.simulated or other.simulated
                rows.append(Warmth(role, one_c, two_c, one_w, two_w, is_simulated))
    return rows


def _median(data: RunSeries, device: Device, name: str) -> float | None:
    values, steps = device.signal(name), data.step_time_ns
    if values is None or not steps.size:
        return None
    inside = values[(device.time_ns >= steps[0]) & (device.time_ns <= steps[-1]) & np.isfinite(values)]
    return float(np.median(inside)) if inside.size else None
