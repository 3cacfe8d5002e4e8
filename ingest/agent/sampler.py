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
from typing import Any

import psutil
from thermograd.ingest.devices.base import DeviceReader
from thermograd.ingest.devices.host import read_pressure
from thermograd.store.failures import Guard, warn
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import clock_pair

_ACCOUNT_PERIOD_S = 3600.0
_WATCH_PERIOD_S = 1.0
_HANGING_READER_S = 2.0
_FIRST_READING_S = 1.0
_LEAST_READINGS = 2
_LEAST_APART_S = 0.1  # the last reading from the one before: meters that count need a while
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


class ClockWatch:
    """Notices when the wall clock is set: its distance to the monotonic clock jumps."""

    def __init__(self) -> None:
        self._last = clock_pair()

    def check(self) -> dict[str, Any] | None:
        """Return the step in ns and the pair of readings after it, or None where the clock went on."""
        last, self._last = self._last, clock_pair()
        now = self._last
        step_ns = (now["time_ns"] - now["monotonic_ns"]) - (last["time_ns"] - last["monotonic_ns"])
        unsure_ns = now["uncertainty_ns"] + last["uncertainty_ns"]
        return {"step_ns": step_ns} | now if abs(step_ns) > _CLOCK_STEP_NS + unsure_ns else None


class Sampler:
    """Reads each device at each tick and appends what it says.

    Parameters
    ----------
    readers, writer
        One reader of each vendor; where samples and marks go.
    hz
        Ticks a second.

    Attributes
    ----------
    written
        Samples appended.
    """

    def __init__(self, readers: list[DeviceReader], writer: EventWriter, hz: float) -> None:
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
        self._said: Counter[str] = Counter()
        self._pressure = read_pressure()
        self._end_ns: int | None = None
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
        """Wait for the end; meanwhile watch the clock and write the account every hour."""
        clock = ClockWatch()
        account_at_s = time.monotonic() + _ACCOUNT_PERIOD_S
        while True:
            left_s = _WATCH_PERIOD_S if end_ns is None else (end_ns - time.monotonic_ns()) / 1e9
            if left_s < 0 or stop.wait(min(left_s, _WATCH_PERIOD_S)):
                return
            step = clock.check()
            if step is not None:
                text = f"the wall clock was set by {step['step_ns'] / 1e9:+.3f} s"
                self._writer.append("mark", mark="clock", text=text, detail=json.dumps(step))
            if time.monotonic() >= account_at_s:
                account_at_s += _ACCOUNT_PERIOD_S
                self._write_account()

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
        while not (self._done.wait(max(0, due_ns - time.monotonic_ns()) / 1e9) and ticks):
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

    def _read(self, reader: DeviceReader, begun_ns: int) -> None:
        try:
            samples = reader.read()
            self._append_marks(reader)
        except Exception as error:  # noqa: BLE001 - one broken reader must not blind the others; logged, counted
            with self._lock:
                is_first = self._guard.count(error, _name(reader))
            if is_first:
                self._writer.append("mark", mark="gap", text=f"{_name(reader)} failed: {error}")
            return
        self._guard.works(_name(reader))
        read_us = (time.monotonic_ns() - begun_ns) / 1e3
        for sample in samples:
            self._writer.append("sample", **(sample | {"read_us": read_us}))
        with self._lock:
            self.written += len(samples)

    def _append_marks(self, reader: DeviceReader) -> None:
        for mark in reader.marks():
            text = str(mark.get("text"))
            self._said[text] += 1
            if self._said[text] == 1:  # every one is in the log
                warn("thermograd: %s", text)
            self._writer.append("mark", **mark)

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
