"""How slowly a device's temperature follows its load, where a step of the load shows it.

A heat sink answers a step of the power with an exponential approach. Where the load steps (training starts
or ends, an evaluation pauses it, a throttled clock lowers it), the time constant of that approach is fitted.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from thermograd.analysis.align.sensors import fineness
from thermograd.analysis.arrays import Floats, Ints, Mask
from thermograd.analysis.coupling.linear_algebra import decaying_sums
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.align.matching import interval_mean

_LEAST_PERIOD_S = 1.0
_LEVEL_S = 8.0  # a load's level before and after a step is a median over so long
_BEFORE_S, _AFTER_S = 20.0, 900.0  # of a step that are fitted, at most
_MOST_STEPS = 8  # the largest
_OF_RANGE = 0.3  # a step is at least this share of the load's range
_OF_NOISE = 6.0  # and so many times its noise from sample to sample
_FASTEST_S = 2.0
_CONSTANTS = 3.0  # how many time constants a stretch must hold
_FITTED = 0.9  # least share of the temperature's variance that the response tells
_ABOVE_NOISE = 4.0  # size of the response, in standard deviations of what is left or in steps of the sensor
_WIDEST = 3.0  # end of the interval over its beginning
_NEAR_S = 15.0  # a step so near to an event is that event's
_TRIED = 48
_F_95 = 3.84


@dataclass(frozen=True, slots=True)
class TimeConstant:
    """How slowly a temperature follows the load."""

    # tau_s, low_s, high_s: the time constant and its 95 % interval, in seconds
    tau_s: float
    low_s: float
    high_s: float
    source: str  # which step of the load shows it: "start of training", "evaluation", ...
    n: int  # samples fitted


@dataclass(frozen=True, slots=True, eq=False)
class _Course:
    """Load and temperature on even times; NaN where not known."""

    begin_s: float
    period_s: float
    load: Floats
    heat: Floats


def time_constants_s(
    data: RunSeries, device: Device, temperature: str = "temperature_c"
) -> list[TimeConstant]:
    """Estimate the time constants of a device's temperature from steps of its load.

    The temperature is fitted as a share of the load that acts at once and one that acts through an
    exponential memory, from 20 s before a step to 15 minutes after it or the next one. A constant counts
    where the stretch is at least three times as long, the fit tells 90 % of the variance, and the response
    is well above the sensor's noise and resolution. Constants whose intervals overlap are one.

    Parameters
    ----------
    data, device
        The run, and one of its devices; its load is the power, else the utilisation, else whether steps
        are being made.
    temperature
        The signal that answers.

    Returns
    -------
    list of TimeConstant
        The best known first; mostly one, and empty where no step shows any.
    """
    values = device.signal(temperature)
    course = None if values is None else _course(data, device, values)
    if course is None or np.isfinite(course.heat).sum() < 30:
        return []
    finest = fineness(values if values is not None else []).resolution
    fitted = [
        found
        for step, stop in _steps(course)
        if (found := _fitted(data, device, course, step, stop, finest)) is not None
    ]
    return _merged(fitted)


def _course(data: RunSeries, device: Device, values: Floats) -> _Course | None:
    times = device.time_ns
    if times.size < 30 or times[-1] - times[0] > 10**9 * 3_000_000:
        return None
    period_s = max(_LEAST_PERIOD_S, float(np.median(np.diff(times))) / 1e9)
    period_ns = round(period_s * 1e9)
    ends = times[0] + period_ns * np.arange(1, (times[-1] - times[0]) // period_ns + 1)
    load, heat = (
        _without_small_holes(interval_mean(ends - period_ns, ends, times, signal))
        for signal in (_load(data, device), values)
    )
    return _Course(float(times[0]) / 1e9, period_s, load, heat) if ends.size >= 30 else None


def _load(data: RunSeries, device: Device) -> Floats:
    throttled = device.signal("throttled_ratio")
    cooled = throttled is not None and bool((np.nan_to_num(throttled) > 0).any())
    for name in ("power_w", "utilization_pct"):
        values = device.signal(name)
        if name == "utilization_pct" and cooled:
            break  # the clock answers the temperature, and only power shows it
        if values is not None and np.isfinite(values).mean() > 0.9 and np.nanstd(values) > 0:
            return values
    steps = data.step_time_ns
    if not steps.size:
        return np.zeros(device.time_ns.size)
    training: Mask = (device.time_ns > steps[0]) & (device.time_ns <= steps[-1])
    return training.astype(np.float64)


def _without_small_holes(values: Floats, most: int = 3) -> Floats:
    known = np.flatnonzero(np.isfinite(values))
    if known.size < 2:
        return values
    filled = np.interp(np.arange(values.size), known, values[known])
    before = np.searchsorted(known, np.arange(values.size), side="right") - 1
    hole = np.diff(known, append=known[-1])[np.clip(before, 0, None)]
    return np.where(np.isfinite(values) | (hole <= most + 1), filled, np.nan)


def _steps(course: _Course) -> Iterator[tuple[int, int]]:
    """Yield the places of the largest steps of the load, each with where its stretch ends."""
    places = _step_places(course)
    after = round(_AFTER_S / course.period_s)
    for place, following in zip(places, np.append(places, course.load.size)[1:], strict=True):
        yield int(place), int(min(following, place + after, course.load.size))


def _step_places(course: _Course) -> Ints:
    width = max(3, round(_LEVEL_S / course.period_s))
    load = np.nan_to_num(course.load, nan=float(np.nanmedian(course.load)))
    if load.size < 4 * width:
        return np.empty(0, dtype=np.int64)
    level = np.median(sliding_window_view(load, width), axis=-1)
    change = np.abs(level[width:] - level[:-width])  # between the window before place + width and after it
    low, high = np.quantile(load, (0.02, 0.98))
    noise = 1.4826 * float(np.median(np.abs(np.diff(load)))) / math.sqrt(2)
    least = max(_OF_RANGE * float(high - low), _OF_NOISE * noise, 1e-9)
    found: list[int] = []
    for place in np.argsort(-change, kind="stable"):
        if change[place] < least or len(found) == _MOST_STEPS:
            break
        if all(abs(place - other) > width for other in found):
            found.append(int(place))
    return np.sort(np.array(found, dtype=np.int64)) + width


def _fitted(
    data: RunSeries, device: Device, course: _Course, step: int, stop: int, resolution: float
) -> TimeConstant | None:
    """Fit the response to one step of the load; None where it does not tell a time constant."""
    begin = max(0, step - round(_BEFORE_S / course.period_s))
    load, heat = course.load[begin:stop], course.heat[begin:stop]
    length_s = (stop - step) * course.period_s
    if not (np.isfinite(load).all() and np.isfinite(heat).all()) or heat.size < 12 or np.ptp(heat) == 0:
        return None
    if length_s < _CONSTANTS * _FASTEST_S:
        return None
    tried = np.geomspace(max(_FASTEST_S, course.period_s), 2 * length_s / _CONSTANTS, _TRIED)
    left = np.array([_left(load, heat, tau / course.period_s)[0] for tau in tried])
    best = int(np.argmin(left))
    if best in (0, tried.size - 1) or tried[best] > length_s / _CONSTANTS:
        return None
    squares, size, rest = _left(load, heat, tried[best] / course.period_s)
    told = min(_told(rest, heat), _told(rest[step - begin :], heat[step - begin :]))
    noise = max(float(np.std(rest)), resolution if math.isfinite(resolution) else 0.0)
    if told < _FITTED or size < _ABOVE_NOISE * noise:
        return None
    independent = _independent(rest)
    inside = tried[left <= squares * (1.0 + _F_95 / max(independent - 5.0, 1.0))]
    spacing = tried[1] / tried[0]
    low_s, high_s = inside.min() / spacing, inside.max() * spacing
    if high_s > _WIDEST * low_s or inside.max() == tried[-1]:
        return None
    source = _source(data, device, course.begin_s + step * course.period_s)
    return TimeConstant(float(tried[best]), float(low_s), float(high_s), source, heat.size)


def _left(load: Floats, heat: Floats, tau: float) -> tuple[float, float, Floats]:
    """Return the squares that a memory of tau bins leaves, how far it moves the temperature, and the rest."""
    kept = math.exp(-1.0 / tau)
    scaled = (load - load.mean()) / max(float(np.std(load)), 1e-12)
    slow = decaying_sums((1.0 - kept) * scaled, kept)
    columns = np.column_stack([np.ones(load.size), scaled, slow, kept ** np.arange(load.size)])
    weights = np.linalg.lstsq(columns, heat, rcond=None)[0]
    rest = heat - columns @ weights
    moved = float(np.ptp(columns[:, 2:] @ weights[2:]))
    return float(rest @ rest), moved if weights[2] > 0 else 0.0, rest


def _told(rest: Floats, heat: Floats) -> float:
    """Return the share of a temperature's variance that a fit tells."""
    variance = float(np.var(heat))
    return 1.0 - float(np.mean(np.square(rest))) / variance if variance > 0 else 0.0


def _independent(rest: Floats) -> float:
    """Return what the residuals are worth as independent values."""
    power = float(rest @ rest)
    memory = float(np.clip(rest[1:] @ rest[:-1] / power, 0.0, 0.98)) if power > 0 else 0.0
    return rest.size * (1.0 - memory) / (1.0 + memory)


def _source(data: RunSeries, device: Device, at_s: float) -> str:
    """Return what happened at the time of a step of the load."""
    steps = data.step_time_ns / 1e9
    throttled = [data.onset_times_ns(kind, device.name) / 1e9 for kind in ("throttle.", "collapse.")]
    marks = [mark["time_ns"] / 1e9 for mark in data.marks if mark["mark"] == "evaluation"]
    for source, times in (
        ("start of training", steps[:1]),
        ("end of training", steps[-1:]),
        ("throttling", np.concatenate(throttled)),
        ("evaluation", np.array(marks)),
    ):
        if times.size and np.abs(times - at_s).min() < _NEAR_S:
            return source
    return "step of the load"


def _merged(found: list[TimeConstant]) -> list[TimeConstant]:
    """Make one of those whose intervals overlap; those that rest on most samples first."""
    groups: list[list[TimeConstant]] = []
    for each in sorted(found, key=lambda constant: -constant.n):
        for group in groups:
            if each.low_s <= group[0].high_s and each.high_s >= group[0].low_s:
                group.append(each)
                break
        else:
            groups.append([each])
    return [_one_of(group) for group in groups]


def _one_of(group: list[TimeConstant]) -> TimeConstant:
    weights = [each.n for each in group]
    return TimeConstant(
        tau_s=float(np.exp(np.average([math.log(each.tau_s) for each in group], weights=weights))),
        low_s=min(each.low_s for each in group),
        high_s=max(each.high_s for each in group),
        source=", ".join(dict.fromkeys(each.source for each in group)),
        n=sum(weights),
    )
