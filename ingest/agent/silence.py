"""Which devices have fallen silent: judged where they are read, by what their reader does.

A device is silent when no reading of it came for three of its usual periods (never less than the sampling's)
while its reader was asked: it is still waiting for the driver, or has come back without the device twice. A
lost GPU is told at once. Time in which this process itself did not run (stopped, starved, the machine asleep)
is nobody's silence. What falls silent at the same time is told once.
"""

import json
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from thermograd.store.telling.devices import device_labels
from thermograd.store.telling.episodes import ended_mark
from thermograd.store.telling.quantities import duration_text, few_of
from thermograd.store.telling.silences import (
    PERIODS,
    QUIET_S,
    Silence,
    UsualPeriod,
    headline,
    pause_mark,
    reading_text,
)
from thermograd.store.text import printable

Marks = list[dict[str, Any]]

_LEAST_MISSES = 2  # readings without the device: one may be a failure in passing
_UNKNOWN_S = 5.0  # of a device of which too few readings are known
_LEAST_NS = (
    250_000_000  # two and a half periods of the fastest sampling; a thread may wait so long for its turn
)
_ANEW_NS = 500_000_000  # of which no one knows when it began
_PAUSE_NS = 1_000_000_000  # what is shorter is a busy machine
_OFF_THE_BUS = 79  # XID
_HALF = 0.5  # it is told half a period before the last that it has


class SilenceLimits:
    """After how many usual periods something is silent, and for how long it has to be back.

    The agent begins with the defaults; who has read the configuration sets them.
    """

    def __init__(self, periods: float = PERIODS, quiet_s: float = QUIET_S) -> None:
        self.periods, self.quiet_s = periods, quiet_s

    def definition(self, alert: str) -> str:
        """Return name, version and parameters of the rule of an alert."""
        return f"{alert}/1(periods={self.periods!r},quiet_s={self.quiet_s!r})"


@dataclass(eq=False)
class _Episode:
    """Devices that fell silent together."""

    onset_time_ns: int
    device: str | None
    members: "list[_Device]"
    is_for_good: bool = False


@dataclass(eq=False)
class _Device:
    """One device as its readings tell: the last one, how far apart they are, since when it is back."""

    name: str
    reader: Hashable
    usual: UsualPeriod
    reading: Mapping[str, Any] = field(default_factory=dict)
    time_ns: int = 0
    read_ns: int = 0
    slept_ns: int = 0
    misses: int = 0
    episode: _Episode | None = None
    back_ns: int | None = None
    back_time_ns: int = 0


class DeviceSilence:
    """Takes in what each reader does; `look` returns the marks of what has fallen silent, or is back.

    Times are monotonic ns; it may be told from several threads. `period_ns` is that of the sampling.

    Examples
    --------
    >>> silence = DeviceSilence(1_000_000_000)
    >>> for second in range(4):
    ...     silence.begins("NVML", second * 10**9)
    ...     silence.ends("NVML", second * 10**9, [{"device": "gpu", "temperature_c": 66.0}])
    >>> silence.begins("NVML", 4 * 10**9)
    >>> [len(silence.look(round(second * 1e9))) for second in (4.0, 5.4, 5.6, 60.0)]
    [0, 0, 1, 0]
    """

    def __init__(
        self,
        period_ns: int,
        limits: SilenceLimits | None = None,
        facts: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._period_ns, self.limits = period_ns, limits or SilenceLimits()
        self._facts = dict(facts or {})
        self._lock = threading.Lock()
        self._devices: dict[str, _Device] = {}
        self._asked: dict[Hashable, int | None] = {}
        self._errors: dict[Hashable, str] = {}
        self._slept_ns = 0

    # -- what happens ------------------------------------------------------------------------------

    def begins(self, reader: Hashable, now_ns: int) -> None:
        """Note that a reader begins to read."""
        with self._lock:
            self._asked[reader] = now_ns

    def ends(
        self,
        reader: Hashable,
        now_ns: int,
        samples: Iterable[Mapping[str, Any]],
        error: object = None,
        time_ns: int | None = None,
    ) -> None:
        """Note that it has read, and what; or with which error it failed."""
        time_ns = time.time_ns() if time_ns is None else time_ns
        with self._lock:
            self._asked[reader] = None
            self._errors[reader] = "" if error is None else f"{type(error).__name__}: {error}"
            read = {str(sample["device"]): sample for sample in samples if sample.get("device") is not None}
            for name, sample in read.items():
                self._take(name, reader, sample, now_ns, time_ns)
            for device in self._devices.values():
                device.misses += device.reader == reader and device.name not in read

    def _take(
        self, name: str, reader: Hashable, sample: Mapping[str, Any], now_ns: int, time_ns: int
    ) -> None:
        device = self._devices.get(name)
        if device is None:
            device = self._devices[name] = _Device(name, reader, UsualPeriod(self._period_ns))
        elif device.episode is None:
            device.usual.add(now_ns - device.read_ns)
        elif device.back_ns is None:
            device.back_ns, device.back_time_ns = now_ns, time_ns
        device.reading, device.time_ns, device.read_ns = sample, time_ns, now_ns
        device.slept_ns, device.misses = self._slept_ns, 0

    def slept(self, for_ns: int, now_ns: int) -> None:
        """Note that this process did not run for a while; after a long one every reader has its time anew."""
        with self._lock:
            self._slept_ns += for_ns
            if for_ns >= _ANEW_NS:
                for device in self._devices.values():
                    device.slept_ns = self._slept_ns - (now_ns - device.read_ns)

    def lost(self, mark: Mapping[str, Any], now_ns: int) -> Marks:
        """Return the mark of a device that another mark tells to be lost; nothing where it does not."""
        name, why = _lost_device(mark)
        with self._lock:
            device = self._devices.get(name) if name is not None else None
            if device is None or (device.episode is not None and device.episode.is_for_good):
                return []
            if device.episode is not None:
                device.episode.members.remove(device)
            device.episode = _Episode(device.time_ns, name, [device], is_for_good=True)
            device.back_ns = None
            text = f"{self._labels([device])}: lost ({why}); no more readings of it"
            return [self._silence([device], name, "critical", None).mark(f"{text}; {_last(device)}")]

    # -- what is to be told ------------------------------------------------------------------------

    def due_ns(self, now_ns: int) -> int:
        """Return when the next look is of use, at the latest."""
        with self._lock:
            waits = [
                self._limit_ns(device) - self._waited_ns(device, now_ns)
                for device in self._devices.values()
                if device.episode is None
            ]
        return now_ns + max(self._period_ns // 4, min(waits, default=self._period_ns))

    def look(self, now_ns: int, reading: Mapping[Hashable, str | None] | None = None) -> Marks:
        """Return the marks that are to be written now.

        `reading` is, by reader, the device that it is reading, where it knows.
        """
        with self._lock:
            silent = [device for device in self._devices.values() if self._is_silent(device, now_ns)]
            for device in silent:
                device.back_ns = None  # within the same episode
            new = [device for device in silent if device.episode is None]
            told = [self._tell(new, now_ns, reading or {})] if new else []
            return told + self._ended(now_ns, round(self.limits.quiet_s * 1e9))

    def close(self, now_ns: int) -> Marks:
        """Return the marks of what is back, at the end."""
        with self._lock:
            return self._ended(now_ns, 0)

    def _is_silent(self, device: _Device, now_ns: int) -> bool:
        is_asked = self._asked.get(device.reader) is not None or device.misses >= _LEAST_MISSES
        is_lost = device.episode is not None and device.episode.is_for_good
        return is_asked and not is_lost and self._waited_ns(device, now_ns) > self._limit_ns(device)

    def _waited_ns(self, device: _Device, now_ns: int) -> int:
        return now_ns - device.read_ns - (self._slept_ns - device.slept_ns)

    def _limit_ns(self, device: _Device) -> int:
        if (usual_ns := device.usual.ns) is None:
            return max(round(_UNKNOWN_S * 1e9), self._limit_of(self._period_ns))
        return self._limit_of(usual_ns)

    def _limit_of(self, usual_ns: int) -> int:
        return max(_LEAST_NS, round((self.limits.periods - _HALF) * usual_ns))

    def _tell(
        self, new: list[_Device], now_ns: int, reading: Mapping[Hashable, str | None]
    ) -> dict[str, Any]:
        names = [device.name for device in new]
        hangs = next((name for name in map(reading.get, {d.reader for d in new}) if name in names), None)
        first = next((device for device in new if device.name == hangs), new[0])
        named = hangs if len(new) > 1 else names[0]
        episode = _Episode(min(device.time_ns for device in new), named, new)
        for device in new:
            device.episode = episode
        waited_s = max(self._waited_ns(device, now_ns) for device in new) / 1e9
        every_s = (first.usual.ns or self._period_ns) / 1e9
        text = (
            f"{self._labels(new)}: no reading for {duration_text(waited_s)}{self._why(first, hangs)}; "
            f"they come every {duration_text(every_s)}; {_last(first)}"
        )
        return self._silence(new, named, "warning", self._limit_ns(first) / 1e9).mark(text)

    def _why(self, device: _Device, hangs: str | None) -> str:
        if self._asked.get(device.reader) is not None:
            where = f" of {self._label(hangs)}" if hangs is not None else ""
            return f", the driver{where} does not answer"
        error = self._errors.get(device.reader)
        return f" ({printable(error, 200)})" if error else ", the driver gives none"

    def _silence(
        self, devices: list[_Device], named: str | None, severity: Any, threshold_s: float | None
    ) -> Silence:
        last = next((device for device in devices if device.name == named), devices[0])
        metric, value = headline(last.reading) or (None, None)
        return Silence(
            "silent.device",
            severity,
            min(device.time_ns for device in devices),
            self.limits.definition("silent.device"),
            devices=tuple(device.name for device in devices),
            device=named,
            metric=metric,
            value=value,
            threshold=threshold_s,
        )

    def _labels(self, devices: list[_Device]) -> str:
        names = [self._label(device.name) for device in devices]
        return names[0] if len(names) == 1 else f"{few_of(names)} ({len(names)} devices)"

    def _label(self, name: str) -> str:
        return device_labels({**self._facts, name: self._facts.get(name, {})})[name]

    def _ended(self, now_ns: int, quiet_ns: int) -> Marks:
        """End the episodes of which every device has been back for a while."""
        marks = []
        for episode in {id(d.episode): d.episode for d in self._devices.values() if d.episode}.values():
            backs = [device.back_ns for device in episode.members]
            if episode.is_for_good or any(back is None or now_ns - back < quiet_ns for back in backs):
                continue
            end_ns = max(device.back_time_ns for device in episode.members)
            for device in episode.members:
                device.episode = device.back_ns = None
            at = {"time_ns": time.time_ns(), "monotonic_ns": now_ns}
            marks.append(ended_mark(at, "silent.device", episode.device, episode.onset_time_ns, end_ns))
        return marks


def _last(device: _Device) -> str:
    return reading_text(device.reading, device.time_ns)


def _lost_device(mark: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the device that a mark tells to be lost, and why."""
    if mark.get("mark") != "error":
        return None, ""
    try:
        detail = json.loads(mark.get("detail") or "{}")
    except ValueError:
        return None, ""
    if detail.get("error"):  # as a reader says it of a device that it does not read any more
        return str(detail.get("device")), str(detail["error"])
    if detail.get("xid") == _OFF_THE_BUS:
        return str(detail.get("device")), f"XID {_OFF_THE_BUS}"
    return None, ""


class OwnTime:
    """Notices that this process did not run: stopped or starved; `tell` takes each stretch's mark, once.

    Each thread says until when it waits. One that wakes up much later, or that comes back from its driver and
    finds another one overdue, has not been run, and says so before anything else is written.

    Examples
    --------
    >>> own = OwnTime(lambda mark: print(mark["text"]))
    >>> own.waits("gpu", 200_000_000)
    >>> own.waits("watch", 1_000_000_000)
    >>> own.woke("watch", 8_400_000_000)
    the agent did not run for 8.2 s: stopped, paused or starved, perhaps with all else here; no samples
    >>> own.woke("gpu", 8_400_100_000)
    """

    def __init__(self, tell: Callable[[dict[str, Any]], object]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._waits: dict[Hashable, int] = {}
        self._told_ns = 0

    def waits(self, thread: Hashable, until_ns: int) -> None:
        """Note that a thread waits, until then at most."""
        with self._lock:
            self._waits[thread] = until_ns

    def woke(self, thread: Hashable, now_ns: int) -> None:
        """Note that it waits no more."""
        with self._lock:
            self._look(now_ns)
            self._waits.pop(thread, None)

    def look(self, now_ns: int) -> None:
        """Tell where a thread that waits should have been awake for long."""
        with self._lock:
            self._look(now_ns)

    def _look(self, now_ns: int) -> None:
        from_ns = max(self._told_ns, min(self._waits.values(), default=now_ns))
        if now_ns - from_ns >= _PAUSE_NS:
            self._told_ns = now_ns
            self._tell(pause_mark(from_ns, now_ns))  # in the lock: no sample may come before it
