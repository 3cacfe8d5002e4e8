"""Sampling on an absolute schedule: a thread a reader, so that a driver that hangs blinds no other device.

The k-th tick of every reader is due at ``first_due_monotonic_ns + k period_ns`` (in ``run.json``); a
sample's own time less ``read_us`` is when its reading began. The first reading comes at once and, beside the
schedule, a last one at the end, so that the shortest run has two. What the schedule was like as a whole is
in the account that the sampler writes every hour and at the end.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import psutil
from thermograd.ingest.agent.silence import DeviceSilence, OwnTime, SilenceLimits
from thermograd.ingest.devices.base import DeviceReader
from thermograd.ingest.devices.host import read_pressure
from thermograd.store.failures import Guard, warn
from thermograd.store.processes import clock_pair
from thermograd.store.telling.quantities import duration_text

_ACCOUNT_PERIOD_S = 3600.0
_WATCH_PERIOD_S = 1.0
_HANGING_READER_S = 2.0
_FIRST_READING_S = 1.0
_LEAST_READINGS = 2
_LEAST_APART_S = 0.1  # the last reading from the one before: meters that count need a while
_SLEPT_NS = 1_000_000_000
_LATE_S = 0.02  # that a wake-up is late on a busy machine; more of it this process did not run
_CLOCK_STEP_NS = 20_000_000  # more than clocks are slewed by in a second (0.5 ms), and than a pair is off


class Account:
    """How punctual the ticks were, and how long reading took."""

    def __init__(self) -> None:
        self.missed = 0
        self._late_ns: list[int] = []
        self._longest_read_ns = 0

    def tick(self, late_ns: int, read_ns: int, missed: int) -> None:
        """Count one tick: how late it began, how long it took, how many it made miss."""
        self._late_ns.append(late_ns)
        self._longest_read_ns = max(self._longest_read_ns, read_ns)
        self.missed += missed

    def close(self, failed: int = 0) -> dict[str, Any]:
        """Return the account: counts, and lateness in ms."""
        late = sorted(self._late_ns)
        counts = {"ticks": len(late), "missed_ticks": self.missed, "failed_reads": failed}
        if not late:
            return counts
        return counts | {
            "late_p50_ms": round(late[len(late) // 2] / 1e6, 3),
            "late_p95_ms": round(late[min(len(late) - 1, len(late) * 95 // 100)] / 1e6, 3),
            "late_max_ms": round(late[-1] / 1e6, 3),
            "longest_read_ms": round(self._longest_read_ns / 1e6, 3),
        }


def asleep_ns() -> int:
    """Return for how long this machine has been asleep since it started; 0 where the system does not tell."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class ClockWatch:
    """Notices when the wall clock is set: its distance to the monotonic clock jumps.

    A machine that sleeps stops the monotonic clock; `slept_ns` is for how long it did before the last check.
    """

    def __init__(self) -> None:
        self._last, self._asleep_ns = clock_pair(), asleep_ns()
        self.slept_ns = 0

    def check(self) -> dict[str, Any] | None:
        """Return the step in ns and the pair of readings after it, or None where the clock went on."""
        last, self._last = self._last, clock_pair()
        now = self._last
        before_ns, self._asleep_ns = self._asleep_ns, asleep_ns()
        self.slept_ns = self._asleep_ns - before_ns
        step_ns = (now["time_ns"] - now["monotonic_ns"]) - (last["time_ns"] - last["monotonic_ns"])
        step_ns -= self.slept_ns if self.slept_ns > _CLOCK_STEP_NS else 0
        unsure_ns = now["uncertainty_ns"] + last["uncertainty_ns"]
        return {"step_ns": step_ns} | now if abs(step_ns) > _CLOCK_STEP_NS + unsure_ns else None


class Watcher(Protocol):
    """Looks, once a second, whether something else than a device is silent."""

    def look(self, slept_s: float) -> list[dict[str, Any]]:
        """Return the marks to be written; for so long, since the last look, this process did not run."""


class Appending(Protocol):
    """What samples and marks are written to: an `EventWriter`, or several."""

    def append(self, kind: str, /, **values: Any) -> object:
        """Append one event; never raises."""


class Sampler:
    """Reads each device at each tick and appends what it says; marks what falls silent.

    Parameters
    ----------
    readers, writer
        One reader of each vendor; where samples and marks go.
    hz
        Ticks a second.
    limits, facts
        When a device is silent, and what is known of each, for its name.
    watchers
        Who else looks for silence.

    Attributes
    ----------
    written
        Samples appended.
    """

    def __init__(
        self,
        readers: list[DeviceReader],
        writer: Appending,
        hz: float,
        limits: SilenceLimits | None = None,
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._readers, self._writer = readers, writer
        self._period_ns = round(1e9 / hz)
        self._first_ns = time.monotonic_ns()
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []
        self._begun = threading.Semaphore(0)
        self._account = Account()
        self._lock = threading.Lock()
        again = "thermograd: %(place)s can read again, after %(count)d failures"
        self._guard = Guard("thermograd: %(place)s failed (%(error)s)", again=again)
        self._watching = Guard("thermograd: the look for silent ranks and hosts failed (%(error)r)")
        self._said: Counter[str] = Counter()
        self._pressure = read_pressure()
        self._end_ns: int | None = None
        self._silence = DeviceSilence(self._period_ns, limits, facts)
        self._watchers, self._slept_s = watchers, 0.0
        self._own_time = OwnTime(lambda mark: writer.append("mark", **mark))
        self.written = 0

    @property
    def schedule(self) -> dict[str, int]:
        """``first_due_monotonic_ns`` and ``period_ns``."""
        return {"first_due_monotonic_ns": self._first_ns, "period_ns": self._period_ns}

    def start(self, duration_s: float | None = None) -> None:
        """Begin to sample, for so long at most; wait a moment until each reader has been read once."""
        self._first_ns = time.monotonic_ns()
        self._end_ns = time.monotonic_ns() + round(duration_s * 1e9) if duration_s else None
        for reader in self._readers:
            thread = threading.Thread(target=self._sample, args=(reader,), daemon=True)
            self._threads.append(thread)
            thread.start()
        end_s = time.monotonic() + _FIRST_READING_S
        for _ in self._readers:
            self._begun.acquire(timeout=max(0.0, end_s - time.monotonic()))

    def run(self, stop: threading.Event) -> int:
        """Sample until `stop` is set or the time is up, close the readers; return the number of samples."""
        if not self._threads:
            self.start()
        self._watch(stop, self._end_ns)
        self._done.set()
        self._append_all(self._silence.close(time.monotonic_ns()))
        for thread, reader in zip(self._threads, self._readers, strict=True):
            thread.join(_HANGING_READER_S)
            if thread.is_alive():
                self._writer.append("mark", mark="gap", text=f"{_name(reader)} hangs in its driver")
            else:
                self._append_marks(reader)
                reader.close()
        self._write_account()
        for text, count in self._said.items():
            if count > 1:
                warn("thermograd: %s: %d times in all", text, count)
        return self.written

    def _watch(self, stop: threading.Event, end_ns: int | None) -> None:
        """Wait for the end; meanwhile watch clock and silence, and write the account every hour."""
        clock = ClockWatch()
        account_at_s = time.monotonic() + _ACCOUNT_PERIOD_S
        look_at_s = time.monotonic() + _WATCH_PERIOD_S
        while not self._waits(stop, end_ns, look_at_s):
            self._look_at_devices()
            if time.monotonic() < look_at_s:
                continue
            look_at_s = time.monotonic() + _WATCH_PERIOD_S
            self._look_around()
            self._note_clock(clock)
            if time.monotonic() >= account_at_s:
                account_at_s += _ACCOUNT_PERIOD_S
                self._write_account()

    def _note_clock(self, clock: ClockWatch) -> None:
        """Write that the wall clock was set, or that the machine was asleep, since the last time."""
        step = clock.check()
        if clock.slept_ns > _SLEPT_NS:
            text = f"this machine was asleep for {duration_text(clock.slept_ns / 1e9)}"
            self._writer.append("mark", mark="gap", text=text)
        if step is not None:
            text = f"the wall clock was set by {step['step_ns'] / 1e9:+.3f} s"
            self._writer.append("mark", mark="clock", text=text, detail=json.dumps(step))

    def _waits(self, stop: threading.Event, end_ns: int | None, until_s: float) -> bool:
        """Wait until somebody may have fallen silent, or so long at most; return whether the end has come."""
        now_ns = time.monotonic_ns()
        until_ns = min(round(until_s * 1e9), self._silence.due_ns(now_ns), end_ns or 1 << 63)
        self._own_time.waits("watch", until_ns)
        is_over = (end_ns is not None and now_ns > end_ns) or stop.wait(max(0, until_ns - now_ns) / 1e9)
        self._own_time.woke("watch", time.monotonic_ns())
        if is_over:
            return True
        woke_ns = time.monotonic_ns()
        late_s = (woke_ns - max(until_ns, now_ns)) / 1e9
        if late_s > _LATE_S:
            self._slept_s += late_s
            self._silence.slept(round(late_s * 1e9), woke_ns)
        return False

    def _look_at_devices(self) -> None:
        reading: dict[Hashable, str | None] = {
            id(reader): getattr(reader, "reading", None) for reader in self._readers
        }
        self._append_all(self._silence.look(time.monotonic_ns(), reading))

    def _look_around(self) -> None:
        slept_s, self._slept_s = self._slept_s, 0.0
        for watcher in self._watchers:
            with self._watching:
                self._append_all(watcher.look(slept_s))

    def _append_all(self, marks: Iterable[Mapping[str, Any]]) -> None:
        for mark in marks:
            self._writer.append("mark", **mark)

    def _sample(self, reader: DeviceReader) -> None:
        """Read one reader at once, at each tick, and at the end unless the last tick was just before it."""
        ticks, last_ns = self._follow_schedule(reader)
        self._done.wait()
        since_s = (time.monotonic_ns() - last_ns) / 1e9
        if ticks < _LEAST_READINGS or since_s >= _LEAST_APART_S:
            time.sleep(max(0.0, _LEAST_APART_S - since_s))
            self._read(reader, time.monotonic_ns())

    def _follow_schedule(self, reader: DeviceReader) -> tuple[int, int]:
        """Read at each tick; return how often and when last. A missed tick is skipped and counted."""
        due_ns = self._first_ns
        ticks = begun_ns = 0
        while not (self._waits_for(reader, due_ns) and ticks):
            begun_ns = time.monotonic_ns()
            self._read(reader, begun_ns)
            now_ns = time.monotonic_ns()
            missed = (now_ns - due_ns) // self._period_ns
            with self._lock:
                self._account.tick(begun_ns - due_ns, now_ns - begun_ns, missed)
            ticks += 1
            self._begun.release()
            due_ns += (missed + 1) * self._period_ns
            if self._end_ns is not None and due_ns > self._end_ns:
                break
        return ticks, begun_ns

    def _waits_for(self, reader: DeviceReader, due_ns: int) -> bool:
        """Wait for a tick; return whether the end has come."""
        self._own_time.waits(id(reader), due_ns)
        is_over = self._done.wait(max(0, due_ns - time.monotonic_ns()) / 1e9)
        self._own_time.woke(id(reader), time.monotonic_ns())
        return is_over

    def _read(self, reader: DeviceReader, begun_ns: int) -> None:
        self._silence.begins(id(reader), begun_ns)
        try:
            samples = reader.read()
            self._append_marks(reader)
        except Exception as error:  # noqa: BLE001 - one broken reader must not blind the others; logged, counted
            self._silence.ends(id(reader), time.monotonic_ns(), (), error)
            with self._lock:
                is_first = self._guard.count(error, _name(reader))
            if is_first:
                self._writer.append("mark", mark="gap", text=f"{_name(reader)} failed: {error}")
            return
        self._guard.works(_name(reader))
        read_ns = time.monotonic_ns()
        self._own_time.look(read_ns)  # it may have been read while nothing here ran
        for sample in samples:
            self._writer.append("sample", **(sample | {"read_us": (read_ns - begun_ns) / 1e3}))
        self._silence.ends(id(reader), read_ns, samples)
        with self._lock:
            self.written += len(samples)

    def _append_marks(self, reader: DeviceReader) -> None:
        for mark in reader.marks():
            text = str(mark.get("text"))
            self._said[text] += 1
            if self._said[text] == 1:  # every one is in the log
                warn("thermograd: %s", text)
            self._writer.append("mark", **mark)
            self._append_all(self._silence.lost(mark, time.monotonic_ns()))

    def _write_account(self) -> None:
        with self._lock:
            account, self._account = self._account, Account()
            failed = self._guard.take()
        failed += sum(reader.take_failures() for reader in self._readers)
        detail = account.close(failed) | {
            "cpu_s": round(time.process_time(), 2),
            "rss_mib": round(psutil.Process().memory_info().rss / 2**20, 1),
        }
        before, self._pressure = self._pressure, read_pressure()
        detail |= {name: round(s - before[name], 2) for name, s in self._pressure.items() if name in before}
        self._writer.append("mark", mark="note", text="the agent's own account", detail=json.dumps(detail))


def _name(reader: DeviceReader) -> str:
    return type(reader).__name__
