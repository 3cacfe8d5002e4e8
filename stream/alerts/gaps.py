"""The alert ``sensor.gap``: samples that stopped for a while, and sensors that give no values any more."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from msgspec.structs import asdict
from thermograd.store.events import COMMON, columns
from thermograd.store.telling.episodes import ended_mark
from thermograd.store.telling.quantities import duration_text, few_of, moment_text
from thermograd.store.telling.silences import Silence, UsualPeriod
from thermograd.stream.alerts.alert import Alert, alert_from, as_float
from thermograd.stream.settings import SensorGapSettings, SilenceSettings

_NO_SENSORS = {"device", "read_us", "reported_rle", "reported_collapse", *(c.name for c in COMMON)}
_SENSORS = tuple(c.name for c in columns("sample") if c.name not in _NO_SENSORS)
_LATE = 0.9  # of a period: a reading may come a little early
_FEWEST = 3  # intervals
_REMEMBERED = 16  # holes of a sensor: two of a length among them are usual
_EVERY = 16  # readings in which the device's usual interval is worked out anew
_PAUSES = 64
_LONGEST = 1.5  # usual intervals of the device: of a longer one no more counts as silence of its sensors


class Pulse:
    """What the samples of all devices of one writer say together.

    `told_ns` is, by device, when its silence was told by a mark already, `newest_ns` when it was sampled
    last, in monotonic time; `hole` the last stretch of that in which no device at all was sampled, `pauses`
    those in which the writer itself did not run.
    """

    def __init__(self) -> None:
        self.told_ns: dict[str, int] = {}
        self.hole = (0, 0)
        self.pauses: deque[tuple[int, int]] = deque(maxlen=_PAUSES)
        self.newest_ns: dict[str, int] = {}

    def take(self, silence: Silence, time_ns: int) -> None:
        """Take in that the silence of some devices is told."""
        self.told_ns |= dict.fromkeys(silence.devices, time_ns)

    def others(self, device: str) -> list[int]:
        """Return when each other device was sampled last."""
        return [at_ns for name, at_ns in self.newest_ns.items() if name != device]

    def in_hole_ns(self, from_ns: int, to_ns: int) -> int:
        """Return how much of a stretch of time lies in the last hole."""
        return self.awake_ns(max(from_ns, self.hole[0]), min(to_ns, self.hole[1]))

    def awake_ns(self, from_ns: int, to_ns: int) -> int:
        """Return for how long of a stretch of time the writer ran."""
        pauses_ns = (max(0, min(to_ns, end) - max(from_ns, begin)) for begin, end in self.pauses)
        return max(0, to_ns - from_ns - sum(pauses_ns))


class GapRule:
    """Alert ``sensor.gap``: a device's samples stopped and came back, or some of its sensors give nothing.

    A gap is longer than ``least_s`` and than ``intervals`` times the median of the last ``median_of``
    intervals between the device's samples, by the host's monotonic clock. One that all devices of the writer
    share is told once, one of which ``silent.device`` has told not again, and time in which the writer itself
    did not run is none. `pulse` knows all that; without it, and
    without `silence`, only gaps of the device alone are told, as runs from before recorded them. When sensors
    are back, a mark that says so is added to `ended`.
    """

    def __init__(
        self,
        device: str,
        section: SensorGapSettings,
        label: str | None = None,
        pulse: Pulse | None = None,
        silence: SilenceSettings | None = None,
        ended: list[dict[str, Any]] | None = None,
    ) -> None:
        self.name = f"sensor.gap of {device}"
        given = ",".join(f"{name}={value!r}" for name, value in asdict(section).items())
        self.definition = f"sensor.gap/1({given})"
        self._device, self._label = device, label or device
        self._least_ns, self._times = round(section.least_s * 1e9), section.intervals
        self._clock = "time_ns" if silence is None else "monotonic_ns"
        self._last: Mapping[str, Any] | None = None
        self._last_ns = 0
        self._intervals_ns: deque[int] = deque(maxlen=section.median_of)
        self._pulse = pulse
        self._sensors = None if silence is None else _Sensors(device, self._label, silence, ended)

    def update(self, values: Mapping[str, Any]) -> list[Alert]:
        """Learn one sample."""
        now_ns, last, interval_ns = int(values[self._clock]), self._last, 0
        alerts: list[Alert] = []
        if last is not None:
            interval_ns = now_ns - self._last_ns
            if interval_ns <= 0:
                return []
            if interval_ns > self._least_ns:
                alerts = self._gap(values, last, interval_ns)
            self._intervals_ns.append(interval_ns)
        self._last, self._last_ns = values, now_ns
        if self._pulse is not None:
            self._pulse.newest_ns[self._device] = now_ns
        if self._sensors is not None and (silent := self._sensors.update(values, interval_ns)):
            alerts += silent
        return alerts

    def close(self) -> None:
        """Tell, at the end, which sensors were back."""
        if self._sensors is not None:
            self._sensors.close()

    def _gap(self, values: Mapping[str, Any], last: Mapping[str, Any], interval_ns: int) -> list[Alert]:
        """Return the alert of an interval that is not among those known yet, if it is longer than usual."""
        known = sorted(self._intervals_ns)
        if len(known) < _FEWEST:
            return []
        median_ns = known[len(known) // 2]
        limit_ns = max(self._least_ns, self._times * median_ns)
        if interval_ns <= limit_ns:
            return []
        return self._told(values, last, interval_ns, median_ns, limit_ns)

    def _told(
        self,
        values: Mapping[str, Any],
        last: Mapping[str, Any],
        interval_ns: int,
        median_ns: int,
        limit_ns: int,
    ) -> list[Alert]:
        whose, device = self._label, self._device
        named: str | None = device
        if (pulse := self._pulse) is not None:
            last_ns, now_ns = int(last[self._clock]), int(values[self._clock])
            told_ns = max(pulse.told_ns.get(device, 0), pulse.told_ns.get("", 0))
            if int(last["time_ns"]) <= told_ns <= int(values["time_ns"]):
                return []
            interval_ns = pulse.awake_ns(last_ns, now_ns)
            if interval_ns - pulse.in_hole_ns(last_ns, now_ns) <= limit_ns:
                return []
            others = pulse.others(device)
            if others and limit_ns < pulse.awake_ns(max(others), now_ns) <= interval_ns + median_ns:
                pulse.hole = (last_ns, now_ns)
                whose, named = f"all {len(others) + 1} devices", None
        return [self._to_alert(values, last, interval_ns, median_ns, whose, named)]

    def _to_alert(
        self,
        values: Mapping[str, Any],
        last: Mapping[str, Any],
        interval_ns: int,
        median_ns: int,
        whose: str,
        device: str | None,
    ) -> Alert:
        return alert_from(
            values,
            "sensor.gap",
            "warning",
            f"{whose}: no samples for {interval_ns / 1e9:.1f} s; they come every {median_ns / 1e9:.3g} s",
            device=device,
            metric="time_ns",
            value=interval_ns / 1e9,
            threshold=max(self._least_ns / 1e9, self._times * median_ns / 1e9),
            onset_time_ns=int(last["time_ns"]),
            definition=self.definition,
        )


@dataclass(slots=True)
class _Sensor:
    """One column of a device: what is known of it only where a reading of the device was without it."""

    first: int  # reading of the device that had it
    nulls: int = 0
    is_out: bool = False
    value: Any = None  # the last one, and when it was
    time_ns: int = 0
    read_ns: int = 0
    holes: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))  # ns between two values
    onset_ns: int | None = None  # of the silence that was told
    back_ns: int | None = None
    back_time_ns: int = 0

    def usual_ns(self, least_ns: int) -> int:
        """Return how far apart its values usually are: the second largest hole of late, or the device's."""
        return max(least_ns, sorted(self.holes)[-2]) if len(self.holes) > 1 else least_ns


class _Sensors:
    """The sensors of one device: each that had values, and gives none for `periods` of its usual periods.

    One that never had a value is missing, not silent. Time in which the device was not sampled does not
    count. Sensors that fall silent with the same reading are told together.
    """

    def __init__(
        self, device: str, label: str, section: SilenceSettings, ended: list[dict[str, Any]] | None
    ) -> None:
        given = ",".join(f"{name}={value!r}" for name, value in asdict(section).items())
        self._definition = f"sensor.gap/2({given})"
        self._device, self._label = device, label
        self._periods, self._quiet_ns = section.periods, round(section.quiet_s * 1e9)
        self._ended = [] if ended is None else ended
        self._sensors: dict[str, _Sensor] = {}
        self._unknown = frozenset(_SENSORS)  # those that never had a value
        self._known = _getter(())  # the values of the others
        self._is_any_out = False
        self._last: Mapping[str, Any] = {}
        self._usual, self._usual_ns = UsualPeriod(), 0
        self._reading = self._awake_ns = self._before_ns = 0
        self._is_told = False

    def update(self, values: Mapping[str, Any], interval_ns: int) -> list[Alert]:
        """Learn one sample, which came so long after the last one; 0 for the first."""
        self._go_on(interval_ns)
        if not self._is_any_out and self._is_as_usual(values):
            self._last = values
            if self._is_told:
                self._end(values, self._quiet_ns)
            return []
        silent, sensors = [], self._sensors
        for name in _SENSORS:
            sensor = sensors.get(name)
            if values.get(name) is None:
                if sensor is not None and self._is_silent(name, sensor):
                    silent.append(name)
            elif sensor is None:
                sensors[name] = _Sensor(self._reading)
            elif sensor.is_out:
                self._is_back(sensor, int(values["time_ns"]))
        self._unknown, self._known = frozenset(_SENSORS).difference(sensors), _getter(sensors)
        self._is_any_out = any(sensor.is_out for sensor in sensors.values())
        self._last = values
        if self._is_told:
            self._end(values, self._quiet_ns)
        return [self._to_alert(values, silent)] if silent else []

    def _is_as_usual(self, values: Mapping[str, Any]) -> bool:
        """Return whether all sensors that ever had a value have one, and no other has."""
        try:
            if None in self._known(values):
                return False
        except KeyError:  # a column that is not there is one without a value
            return False
        unknown = self._unknown
        return unknown.isdisjoint(values) or [*map(values.get, unknown)].count(None) == len(unknown)

    def close(self) -> None:
        """Tell of those that are back until when they were silent."""
        if self._is_told:
            self._end(self._last, 0)

    def _go_on(self, interval_ns: int) -> None:
        """Let time go on; a stretch in which the device was not sampled counts as little more than usual."""
        self._reading = reading = self._reading + 1
        self._before_ns = before_ns = self._awake_ns
        if reading > 1:
            longest_ns = _LONGEST * self._usual_ns
            if interval_ns > longest_ns or not reading % _EVERY:
                self._usual_ns = self._usual.ns or interval_ns
                longest_ns = _LONGEST * self._usual_ns
            self._usual.add(interval_ns)
            within = interval_ns < longest_ns
            self._awake_ns = before_ns + (interval_ns if within else min(interval_ns, round(longest_ns)))

    def _is_back(self, sensor: _Sensor, time_ns: int) -> None:
        sensor.is_out = False
        if sensor.onset_ns is not None and sensor.back_ns is None:
            sensor.back_ns, sensor.back_time_ns = self._awake_ns, time_ns
        else:  # a hole that was told is none of the usual ones
            sensor.holes.append(self._awake_ns - sensor.read_ns)

    def _is_silent(self, name: str, sensor: _Sensor) -> bool:
        """Return whether the silence of a sensor that gives nothing is to be told now."""
        if not sensor.is_out:
            sensor.is_out, sensor.read_ns = True, self._before_ns
            sensor.value, sensor.time_ns = self._last[name], int(self._last["time_ns"])
        sensor.nulls += 1
        if self._reading - sensor.first - sensor.nulls < _FEWEST:
            return False
        usual_ns = sensor.usual_ns(self._usual_ns)
        if self._awake_ns - sensor.read_ns <= (self._periods - 1) * _LATE * usual_ns:
            return False
        sensor.back_ns, self._is_told = None, True
        if sensor.onset_ns is not None:
            return False
        sensor.onset_ns = sensor.time_ns
        return True

    def _end(self, values: Mapping[str, Any], quiet_ns: int) -> None:
        """End what has been back for a while; sensors that were told together end together."""
        told: dict[int, list[_Sensor]] = {}
        for sensor in self._sensors.values():
            if sensor.onset_ns is not None:
                told.setdefault(sensor.onset_ns, []).append(sensor)
        self._is_told = bool(told)
        for onset_ns, sensors in told.items():
            if any(s.back_ns is None or self._awake_ns - s.back_ns < quiet_ns for s in sensors):
                continue
            end_ns = max(sensor.back_time_ns for sensor in sensors)
            for sensor in sensors:
                sensor.onset_ns = sensor.back_ns = None
            self._ended.append(ended_mark(values, "sensor.gap", self._device, onset_ns, end_ns))

    def _to_alert(self, values: Mapping[str, Any], names: Iterable[str]) -> Alert:
        names = list(names)
        first = self._sensors[names[0]]
        every_s = first.usual_ns(self._usual_ns) / 1e9
        silent_s = (self._awake_ns - first.read_ns) / 1e9
        last = f"{as_float(first.value):.4g} at {moment_text(first.time_ns, with_date=False)}"
        message = (
            f"{self._label}: no value of {few_of(names)} for {duration_text(silent_s)}, while the device is "
            f"read; it comes every {duration_text(every_s)}; the last {names[0]}: {last}"
        )
        return alert_from(
            values,
            "sensor.gap",
            "warning",
            message,
            device=self._device,
            metric=names[0],
            value=as_float(first.value),
            threshold=self._periods * every_s,
            onset_time_ns=first.time_ns,
            definition=self._definition,
        )


def _getter(names: Iterable[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return what gives the values of some columns; with two that are always there it gives a tuple."""
    return itemgetter("time_ns", "monotonic_ns", *names)
