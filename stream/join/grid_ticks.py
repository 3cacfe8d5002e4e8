"""Steps and samples on one grid of whole seconds, whatever the order in which they were delivered.

Tick k covers the time from k seconds (excluded) to k + 1 seconds (included). Its x is the mean of
log(grad_norm) over the steps in it, its sensors are those of a device's last sample in it: nothing of a
later time enters. A tick is released for a device once that device's watermark has passed its end; what
is within it is sorted by time before it is added up, so the result does not depend on the delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import frexp, isfinite, nan
from operator import itemgetter
from typing import Any, NamedTuple

from thermograd.stream.join.lateness import EVERY_DEVICE

SENSORS = ("temperature_c", "power_w", "sm_clock_mhz", "throttled_s")
DRIVERS = ("learning_rate", "step_time_s", "utilization_pct")

_TICK_NS = 1_000_000_000
_SQRT_HALF = 0.7071067811865476
_SERIES = tuple(1.0 / odd for odd in range(21, 1, -2))
_LN_2 = 0.6931471805599453
_Key = tuple[int, int, str]  # time_ns, seq, writer


@dataclass(slots=True)
class Tick:
    """One second of one device: NaN is what is not known.

    `x` is the mean of log(grad_norm), `sensors` and `drivers` are the values of `SENSORS` and `DRIVERS`,
    `step` is the number of the last step in it, `epoch` how far that was: 1.25 is a quarter of the second.
    `second` is its beginning, UTC epoch s.
    `cause` holds the values of its last sample, or of its last step if it has none; None if it has neither.
    """

    device: str
    x: float
    sensors: tuple[float, ...]
    drivers: tuple[float, ...]
    cause: Mapping[str, Any] | None
    step: int | None
    epoch: float = nan
    second: int | None = None


class Ticks:
    """Gathers steps and each device's samples second by second.

    x is the logarithm of the steps' column `metric`. Seconds without any step or sample are told as empty
    ticks, at most `most_empty` in a row; the next is then the one in which something happened.
    """

    def __init__(self, metric: str = "grad_norm", most_empty: int = 32) -> None:
        self._metric, self._most_empty = metric, most_empty
        self._steps: dict[int, list[_Step]] = {}
        # of a tick with so many steps; None where one was too late for some device
        self._means: tuple[int, int, _Means | None] = (0, 0, None)
        self._forgotten: int | None = None
        self._devices: dict[str, _Device] = {}

    def step(self, key: _Key, values: Mapping[str, Any], refused: frozenset[str]) -> None:
        """Take in a step that was not too late, except for the devices in `refused`."""
        if EVERY_DEVICE not in refused:
            norm = _number(values.get(self._metric))
            x = natural_log(norm) if isfinite(norm) and norm > 0.0 else nan
            self._steps.setdefault(_tick(key[0]), []).append(_Step(key, values, refused, x))

    def sample(self, key: _Key, values: Mapping[str, Any]) -> int:
        """Take in a sample that was not too late; return the watermark from which on `release` tells more."""
        device = self._devices.get(values["device"])
        if device is None:
            device = self._devices[values["device"]] = _Device(values["device"])
        tick, samples = (key[0] - 1) // _TICK_NS, device.samples
        kept = samples.get(tick)
        if kept is None or key > kept[0]:
            samples[tick] = (key, values)
        return device.due_ns

    def release(self, device: str, watermark_ns: int | None) -> list[Tick]:
        """Return the device's ticks that are over for certain, in order."""
        state = self._devices.get(device)
        if state is None or watermark_ns is None:
            return []
        last = _last_tick(watermark_ns)
        return [] if state.told is not None and last <= state.told else self._until(last, state)

    def _until(self, last: int, state: "_Device") -> list[Tick]:
        ticks: list[Tick] = []
        for tick in sorted(self._steps.keys() | state.samples.keys()):
            if tick > last:
                break
            if state.told is None and tick not in state.samples:
                continue  # nothing to compare with yet
            if state.told is not None:
                if tick <= state.told:
                    continue
                for _ in range(min(tick - state.told - 1, self._most_empty)):
                    ticks.append(Tick(state.name, nan, _UNKNOWN_SENSORS, _UNKNOWN_DRIVERS, None, None))
            state.told, state.due_ns = tick, (tick + 2) * _TICK_NS
            ticks.append(self._fill(state, tick))
        return ticks

    def told(self, device: str, second: int) -> bool:
        """Return whether a device has told of a second, or has not begun to tell anything."""
        state = self._devices.get(device)
        return state is None or state.told is None or state.told >= second

    def has_told(self, key: _Key, watermark_ns: int | None) -> bool:
        """Return whether a step adds no tick that is over: it is in a later one, and `forget` got as far."""
        last = _last_tick(watermark_ns)
        return last == self._forgotten and _tick(key[0]) > last

    def forget(self, watermark_ns: int | None) -> None:
        """Drop the steps that no device asks for any more: all are past this event time."""
        last = _last_tick(watermark_ns)
        if last != self._forgotten:
            self._forgotten, self._means = last, (0, 0, None)
            for tick in [tick for tick in self._steps if tick <= last]:
                del self._steps[tick]

    def _fill(self, state: "_Device", tick: int) -> Tick:
        of_steps = self._of_steps(state.name, tick)
        sample = state.samples.pop(tick, None)
        reading = sample[1] if sample else {}
        drivers = (*of_steps.drivers, _number(reading.get("utilization_pct")))
        cause, sensors = reading or of_steps.last, state.read(reading)
        return Tick(state.name, of_steps.x, sensors, drivers, cause, of_steps.step, of_steps.epoch, tick)

    def _of_steps(self, device: str, tick: int) -> "_Means":
        """Return what a tick's steps say to a device: the same to all, unless one was too late for some."""
        steps = self._steps.get(tick, [])
        of_tick, count, means = self._means
        if of_tick != tick or count != len(steps):
            means = None if any(step.refused for step in steps) else _means(steps)
            self._means = tick, len(steps), means
        return means or _means([step for step in steps if device not in step.refused])


class _Step(NamedTuple):
    key: _Key
    values: Mapping[str, Any]
    refused: frozenset[str]
    x: float


class _Means(NamedTuple):
    """What the steps of a tick say together: means, and the values, number and epoch of the last."""

    x: float
    drivers: tuple[float, float]
    last: Mapping[str, Any] | None
    step: int | None
    epoch: float


def _means(steps: list[_Step]) -> _Means:
    steps = sorted(steps, key=itemgetter(0))
    values = [step.values for step in steps]
    return _Means(
        _mean([step.x for step in steps if isfinite(step.x)]),
        (_mean(_numbers(values, "learning_rate")), _mean(_numbers(values, "step_time_s"))),
        values[-1] if values else None,
        next((each["step"] for each in reversed(values) if each.get("step") is not None), None),
        next(iter(reversed(_numbers(values, "epoch"))), nan),
    )


class _Device:
    """What one device has sent and not yet been told of."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.samples: dict[int, tuple[_Key, Mapping[str, Any]]] = {}
        self.told: int | None = None
        self.due_ns = -(2**63)  # the watermark at which the second after that is over
        self._throttled_ns: int | None = None

    def read(self, reading: Mapping[str, Any]) -> tuple[float, ...]:
        look = reading.get
        return (
            _number(look("temperature_c")),
            _number(look("power_w")),
            _number(look("sm_clock_mhz")),
            self._throttled_s(look("throttled_thermal_ns")),
        )

    def _throttled_s(self, counter: Any) -> float:
        """Return by how many seconds the counter has advanced since the last tick that had one."""
        before, self._throttled_ns = self._throttled_ns, None if counter is None else int(counter)
        if before is None or self._throttled_ns is None or self._throttled_ns < before:
            return nan
        return (self._throttled_ns - before) / 1e9


_UNKNOWN_SENSORS = (nan,) * len(SENSORS)
_UNKNOWN_DRIVERS = (nan,) * len(DRIVERS)


def natural_log(x: float) -> float:
    """Return ln(x) of a positive number by a series, the same bits on every machine."""
    mantissa, exponent = frexp(x)
    if mantissa < _SQRT_HALF:
        mantissa *= 2.0
        exponent -= 1
    y = (mantissa - 1.0) / (mantissa + 1.0)  # |y| < 0.172, so ten terms are all
    square = y * y
    series = 0.0
    for coefficient in _SERIES:
        series = (series + coefficient) * square
    return exponent * _LN_2 + 2.0 * y * (1.0 + series)


def _tick(time_ns: int) -> int:
    return (time_ns - 1) // _TICK_NS


def _last_tick(watermark_ns: int | None) -> int:
    """Return the last tick that is over, for its end has been reached."""
    return -1 if watermark_ns is None else watermark_ns // _TICK_NS - 1


def _number(value: Any) -> float:
    return nan if value is None else float(value)


def _numbers(values: list[Mapping[str, Any]], name: str) -> list[float]:
    return [number for each in values if isfinite(number := _number(each.get(name)))]


def _mean(numbers: list[float]) -> float:
    total = 0.0
    for number in numbers:
        total += number
    return total / len(numbers) if numbers else nan
