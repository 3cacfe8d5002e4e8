"""The part of a run's log that its page draws, in memory: read once, then grown as the log grows.

Only columns that are drawn are kept. Nothing is written and no lock is taken.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from thermograd.analysis.arrays import Floats, Times
from thermograd.analysis.run.series import Device, RunSeries, set_alerts_right, set_right
from thermograd.analysis.serve.live.columns import Grown, Smoothed, give_back_memory, part_of
from thermograd.store.clocks.hosts import RunClocks, run_clocks
from thermograd.store.events import Event
from thermograd.store.log.following.follower import Follower
from thermograd.store.log.reader import writers_parts
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.own_values.metrics import Metric, read_metrics
from thermograd.store.telling.devices import device_labels
from thermograd.store.telling.episodes import ENDED_MARK
from thermograd.store.throttling.reasons import COUNTERS

KINDS = ("step", "sample", "alert", "mark", "metric")
_STEP = ("time_ns", "step", "loss", "grad_norm", "max_grad_norm", "learning_rate", "step_time_s", "tokens")
_SAMPLE = (
    *("time_ns", "temperature_c", "power_w", "sm_clock_mhz", "utilization_pct", "memory_used_bytes"),
    *("memory_temperature_c", "clock_event_mask", "reported_rle", "reported_collapse", *COUNTERS.values()),
)
_KEPT_MARKS = ("injection", ENDED_MARK, "note")
_FIRST_S, _SLICE_S = 0.1, 0.05  # of efficiency that is worked out between two looks at the log
_METRICS_S = 10.0


@dataclass(frozen=True, eq=False)
class _Device(Device):
    """A device whose efficiency has been worked out already."""

    smoothed: Floats | None = None

    def signal(self, name: str) -> Floats | None:
        """Return a signal as `Device.signal` does."""
        if name == "rle_smoothed":
            return self.smoothed if super()._has("power_w") and super()._has("utilization_pct") else None
        return super().signal(name)


@dataclass(frozen=True, eq=False)
class _Series(RunSeries):
    """A run, or a part of it, whose own values have been read already."""

    own: dict[str, Metric] = field(default_factory=dict)

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """What the script logged of its own."""
        return self.own


@dataclass(frozen=True)
class News:
    """What a look at the log has found: how much, from when on, and whether all is to be drawn anew."""

    events: int = 0
    first_ns: int = 0
    again: bool = False


class Recording:
    """A run as its page draws it; not for several threads at once.

    `newest_ns` is the time of the latest event, None for none; `version` counts the looks that found any.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.version = 0
        self._read()

    def _read(self) -> None:
        run = self.run = type(self.run)(self.run.path)
        self._clocks: RunClocks | None = run_clocks(run)
        self.devices: dict[str, Any] = run.facts.get("devices", {})
        self._steps = Grown("step", _STEP)
        self._samples: dict[str, Grown] = {}
        self._smoothed: dict[str, Smoothed] = {}
        self.alerts: list[dict[str, Any]] = []
        self.marks: list[dict[str, Any]] = []
        self.ranks: set[int] = set()
        self.newest_ns: int | None = None
        self.last: dict[str, Mapping[str, Any]] = {}
        self._next: dict[tuple[str, str], int] = {}
        self._metrics: dict[str, Metric] = {}
        self._metrics_due_s: float | None = 0.0
        self._is_smooth = True
        self._read_steps()
        self._read_samples()
        for kind in ("alert", "mark"):
            for writer, part in self._parts(kind):
                self._take_told(kind, [row | {"writer": writer} for row in part.to_pylist()])
        self._follower = Follower(run.path, KINDS, after=self._next)
        self._smooth(_FIRST_S)
        give_back_memory()

    def _parts(self, kind: str, names: Collection[str] | None = None) -> Iterable[tuple[str, pa.Table]]:
        for writer, part in writers_parts(self.run.path, kind, names):
            if len(part):
                key, last = (writer, kind), int(np.asarray(part.column("seq")).max())
                self._next[key] = max(self._next.get(key, 0), last + 1)
                yield writer, part if self._clocks is None else set_right(part, writer, self._clocks)

    def _read_steps(self) -> None:
        """Read the steps, of several ranks those of the lowest: where a lower one comes later, anew."""
        lowest: int | None = None
        for _, part in self._parts("step", (*_STEP, "rank")):
            self.ranks |= {rank for rank in part.column("rank").unique().to_pylist() if rank is not None}
            if lowest is not None and min(self.ranks) < lowest:
                self._steps = Grown("step", _STEP)
            lowest = min(self.ranks, default=None)
            if len(self.ranks) > 1:
                part = part.filter(pa.compute.equal(part.column("rank"), lowest))
            self._steps.add(part)
            self._see(part)

    def _read_samples(self) -> None:
        for _, part in self._parts("sample", (*_SAMPLE, "device")):
            for name in part.column("device").unique().to_pylist():
                if name:
                    self._add_samples(name, part.filter(pa.compute.equal(part.column("device"), name)))
        for name, grown in self._samples.items():
            self.last[name] = grown.table().slice(len(grown.table()) - 1).to_pylist()[0]

    def _add_samples(self, name: str, part: pa.Table) -> None:
        grown = self._samples.setdefault(name, Grown("sample", _SAMPLE))
        grown.add(part)
        if not grown.is_sorted and name in self._smoothed:
            self._smoothed[name].begin()
        self._see(part)

    def _see(self, part: pa.Table) -> None:
        if len(part):
            newest = int(np.asarray(part.column("time_ns")).max())
            self.newest_ns = newest if self.newest_ns is None else max(self.newest_ns, newest)

    # -- what is new -----------------------------------------------------------------------------------

    def look(self) -> News:
        """Read what has been logged since the last look."""
        events = self._follower.poll()
        if not events:
            return News(again=self._go_on())
        self.version += 1
        by_kind: dict[str, list[Event]] = {}
        for event in events:
            by_kind.setdefault(event.kind, []).append(event)
        if self._is_another_run(by_kind):
            self._read()
            return News(len(events), again=True)
        first_ns = min(
            (
                *self._take_steps(by_kind.get("step", [])),
                *self._take_samples(by_kind.get("sample", [])),
            ),
            default=self.newest_ns or 0,
        )
        again = [
            self._take_told(
                kind, [dict(event.values, writer=event.writer) for event in by_kind.get(kind, [])]
            )
            for kind in ("alert", "mark")
        ]
        if "metric" in by_kind and self._metrics_due_s is None:
            self._metrics_due_s = time.monotonic() + _METRICS_S
        return News(len(events), first_ns, self._go_on() or any(again))

    def _go_on(self) -> bool:
        """Work out what is left to be; return whether that changes what was drawn."""
        was_smooth = self._is_smooth
        self._smooth()
        return self._is_smooth and not was_smooth

    def _is_another_run(self, by_kind: Mapping[str, list[Event]]) -> bool:
        """Return whether there is a lower rank, or another host's clock, than all was read with."""
        told = (event.values.get("rank") for event in by_kind.get("step", []))
        ranks = {int(rank) for rank in told if rank is not None}
        lower = bool(ranks and self.ranks and min(ranks) < min(self.ranks))
        writers = {event.writer for events in by_kind.values() for event in events}
        known = {writer for writer, _ in self._next}
        self._next |= {(writer, ""): 0 for writer in writers}
        another = bool(writers - known) and run_hosts(self.run) > 1
        return lower or another

    def _take_steps(self, events: list[Event]) -> list[int]:
        self.ranks |= {event.values["rank"] for event in events if event.values.get("rank") is not None}
        lowest = min(self.ranks, default=None)
        kept = [event for event in events if event.values.get("rank") in (None, lowest)]
        times = []
        for writer, rows in _by_writer(kept).items():
            table = self._steps.rows(self._right(writer, rows))
            self._steps.add(table)
            self._see(table)
            times.append(int(np.asarray(table.column("time_ns")).min()))
        return times

    def _take_samples(self, events: list[Event]) -> list[int]:
        times = []
        for writer, rows in _by_writer([e for e in events if e.values.get("device")]).items():
            by_device: dict[str, list[Mapping[str, Any]]] = {}
            for row in self._right(writer, rows):
                by_device.setdefault(str(row["device"]), []).append(row)
            for name, of_device in by_device.items():
                grown = self._samples.setdefault(name, Grown("sample", _SAMPLE))
                table = grown.rows(of_device)
                self._add_samples(name, table)
                self.last[name] = max(of_device, key=lambda row: int(row["time_ns"]))
                times.append(int(np.asarray(table.column("time_ns")).min()))
        return times

    def _right(self, writer: str, rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        if self._clocks is None or self._clocks.host_of(writer) is None:
            return rows
        names = ("time_ns", "monotonic_ns")
        given = (np.array([row[name] for row in rows], dtype=np.int64) for name in names)
        times = self._clocks.set_right(writer, *given).tolist()
        return [dict(row, time_ns=time_ns) for row, time_ns in zip(rows, times, strict=True)]

    def _take_told(self, kind: str, rows: list[dict[str, Any]]) -> bool:
        """Take in alerts, or those marks that are drawn; return whether there are any."""
        if kind == "alert":
            if self._clocks is not None:
                set_alerts_right(rows, self._clocks)
            self.alerts += rows
            return bool(rows)
        kept = [row for row in rows if row.get("mark") in _KEPT_MARKS]
        self.marks += kept
        return any(row["mark"] != "note" for row in kept)

    def _smooth(self, for_s: float = _SLICE_S) -> None:
        until_s = time.monotonic() + for_s
        done = []
        for name, grown in self._samples.items():
            facts = self.devices.get(name, {})
            smoothed = self._smoothed.setdefault(name, Smoothed(facts))
            done.append(smoothed.advance(grown.table(), until_s))
        self._is_smooth = all(done)

    @property
    def is_complete(self) -> bool:
        """Whether the efficiency of all samples has been worked out."""
        return self._is_smooth

    # -- the whole, and parts of it --------------------------------------------------------------------

    def describe(self) -> bool:
        """Read the run's facts again; return whether they tell of devices that were not known."""
        self.run = type(self.run)(self.run.path)
        devices = self.run.facts.get("devices", {})
        changed = bool(devices.keys() - self.devices.keys())
        for name in devices.keys() - self.devices.keys():
            self._smoothed.pop(name, None)
        self.devices = devices
        return changed

    def labels(self) -> dict[str, str]:
        """Return what each device that gave a sample is called, in the order for people."""
        told = {name: self.devices.get(name, {}) for name in {**self.devices, **self._samples}}
        return {name: label for name, label in device_labels(told).items() if name in self._samples}

    def span_ns(self) -> tuple[int, int]:
        """Return the times of the first and the last event that is drawn; both 0 for none."""
        known = (grown.span_ns() for grown in (self._steps, *self._samples.values()))
        ends = [span for span in known if span is not None]
        if not ends:
            return 0, 0
        return min(first for first, _ in ends), max(last for _, last in ends)

    def step_times_ns(self, most: int) -> Times:
        """Return when the latest steps ended, at most so many."""
        table = self._steps.table()
        return np.asarray(table.slice(max(0, len(table) - most)).column("time_ns"), dtype=np.int64)

    def last_step(self) -> Mapping[str, Any] | None:
        """Return the latest step; None before the first."""
        table = self._steps.table()
        found: list[dict[str, Any]] = table.slice(max(0, len(table) - 1)).to_pylist()
        return found[0] if found else None

    def steps(self) -> int:
        """Return how many steps are drawn."""
        return len(self._steps.table())

    def series(self, from_ns: int | None = None, to_ns: int | None = None) -> RunSeries:
        """Return the run, or what of it lies between two times and the events next to them."""
        self._renew_metrics()
        devices: dict[str, Device] = {}
        for name, label in self.labels().items():
            table = self._samples[name].table()
            part = self._samples[name].between(from_ns, to_ns)
            smoothed = self._smoothed[name].of(len(table))[part] if name in self._smoothed else None
            facts = self.devices.get(name, {})
            rows = table.slice(part.start, part.stop - part.start)
            devices[name] = _Device(name, facts, rows, label, smoothed=smoothed)
        steps = self._steps.table()
        chosen = self._steps.between(from_ns, to_ns)
        return _Series(
            self.run,
            steps.slice(chosen.start, chosen.stop - chosen.start),
            devices,
            [alert for alert in self.alerts if _lies_between(alert, from_ns, to_ns)],
            [
                mark
                for mark in self.marks
                if mark["mark"] == ENDED_MARK or _lies_between(mark, from_ns, to_ns)
            ],
            ranks=max(1, len(self.ranks)),
            clocks=self._clocks,
            own=self._part_of_metrics(from_ns, to_ns),
        )

    def _renew_metrics(self) -> None:
        if self._metrics_due_s is not None and time.monotonic() >= self._metrics_due_s:
            self._metrics, self._metrics_due_s = read_metrics(self.run), None

    def _part_of_metrics(self, from_ns: int | None, to_ns: int | None) -> dict[str, Metric]:
        parts = {}
        for name, metric in self._metrics.items():
            part = part_of(metric.time_ns, from_ns, to_ns)
            parts[name] = Metric(name, metric.time_ns[part], metric.step[part], metric.value[part])
        return parts


def run_hosts(run: Run) -> int:
    """Return by how many clocks a run's writers went."""
    return len({str(facts.get("boot_id") or facts.get("host") or "") for facts in run.writers()})


def _by_writer(events: Iterable[Event]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        found.setdefault(event.writer, []).append(event.values)
    return found


def _lies_between(told: Mapping[str, Any], from_ns: int | None, to_ns: int | None) -> bool:
    onset = told.get("onset_time_ns")
    time_ns = int(told["time_ns"] if onset is None else onset)
    return (from_ns is None or time_ns >= from_ns) and (to_ns is None or time_ns <= to_ns)
