"""A trace for Perfetto's page (Chrome's JSON form): steps, alerts and marks as slices, sensors as counters.

Times are microseconds since the first of them, which `metadata` names. Counters have no value that is not
finite: where one came, a slice of no length says so.
"""

import math
from collections.abc import Iterator
from typing import IO, Any

import pyarrow.compute as pc
from thermograd.store.events import COMMON, KINDS
from thermograd.store.log.reader import iterate_events, read_kind
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.export.readings import title
from thermograd.store.telling.devices import device_labels, device_order
from thermograd.store.telling.episodes import ENDED_MARK, ends_of, onset_ns
from thermograd.store.text import strict_json

_ALERTS, _MARKS, _FIRST_RANK, _FIRST_DEVICE = 1, 2, 1000, 1_000_000
_STEPS = 1  # the thread of a rank that holds its steps
_STEP_COUNTERS = ("loss", "grad_norm", "learning_rate", "step_time_s", "tokens")
_SENSORS = tuple(c.name for c in KINDS["sample"] if c.name not in ("device", "read_us", "reported_collapse"))
_STEP_ARGS = ("loss", "grad_norm", "epoch", "skipped")
_COMMON = {column.name for column in COMMON}


def write(run: Run, file: IO[bytes]) -> None:
    """Write the trace, an event a line."""
    trace = _Trace(run)
    head = {"run": title(run), "run_id": run.run_id, "began": str(trace.began_ns)}
    file.write(b'{"displayTimeUnit":"ms","metadata":' + strict_json(head).encode() + b',"traceEvents":[\n')
    for number, event in enumerate(trace.events()):
        file.write(b",\n" * (number > 0) + strict_json(event).encode())
    file.write(b"\n]}\n")


class _Trace:
    """The trace events of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        devices = run.facts.get("devices") or {}
        self._labels = device_labels(devices)
        self._numbers = {name: _FIRST_DEVICE + n for n, name in enumerate(device_order(devices))}
        marks = read_kind(run.path, "mark").to_pylist()
        self._ends = ends_of(mark for mark in marks if mark["mark"] == ENDED_MARK)
        self.began_ns = _first_ns(run)
        self._named: set[tuple[int, int]] = set()
        self._until: dict[int, int] = {}  # of each rank's last slice
        self._alerts = 0

    def events(self) -> Iterator[dict[str, Any]]:
        for event in iterate_events(self._run.path, ("step", "sample", "alert", "mark", "metric")):
            yield from getattr(self, f"_{event.kind}")(event.values)

    def _step(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        rank = values["rank"] or 0
        number = _FIRST_RANK + rank
        yield from self._name(number, f"training, rank {rank}" if values["rank"] is not None else "training")
        yield from self._name(number, "steps", _STEPS)
        end_ns = values["time_ns"]
        if values["step_time_s"] is None:
            yield self._instant(number, f"step {values['step']}", end_ns, _step_args(values))
            yield from self._counters(number, {name: values[name] for name in _STEP_COUNTERS}, end_ns)
            return
        lasted_ns = round(values["step_time_s"] * 1e9)
        begin_ns = max(end_ns - lasted_ns, min(self._until.get(rank, end_ns - lasted_ns), end_ns))
        self._until[rank] = end_ns
        told = _step_args(values)
        shown = {"ph": "X", "pid": number, "tid": _STEPS, "name": f"step {values['step']}", "args": told}
        yield shown | {"ts": self._us(begin_ns), "dur": (end_ns - begin_ns) / 1e3}
        yield from self._counters(number, {name: values[name] for name in _STEP_COUNTERS}, end_ns)

    def _sample(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        device = values["device"]
        number = self._numbers.setdefault(device, _FIRST_DEVICE + len(self._numbers))
        yield from self._name(number, self._labels.get(device, device))
        yield from self._counters(number, {name: values[name] for name in _SENSORS}, values["time_ns"])

    def _metric(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        number = _FIRST_RANK + (values["rank"] or 0)
        yield from self._counters(number, {str(values["name"]): values["value"]}, values["time_ns"])

    def _alert(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        begin_ns = onset_ns(values)
        end_ns = self._ends.get(
            (values["alert"], values["device"], values["onset_time_ns"]), values["time_ns"]
        )
        yield from self._name(_ALERTS, "alerts")
        self._alerts += 1
        both = {"pid": _ALERTS, "tid": 1, "cat": "alert", "id": self._alerts, "name": values["alert"]}
        yield {"ph": "b", "ts": self._us(begin_ns), "args": _told(values), **both}
        yield {"ph": "e", "ts": self._us(max(end_ns, begin_ns)), **both}

    def _mark(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from self._name(_MARKS, "marks")
        yield self._instant(_MARKS, str(values["mark"]), values["time_ns"], _told(values))

    def _counters(self, process: int, values: dict[str, Any], time_ns: int) -> Iterator[dict[str, Any]]:
        for name, value in values.items():
            if value is None:
                continue
            if math.isfinite(value):
                shown = {"ph": "C", "pid": process, "name": name, "args": {name: value}}
                yield shown | {"ts": self._us(time_ns)}
            else:
                yield self._instant(process, f"{name} is {value}", time_ns, {})

    def _instant(self, process: int, name: str, time_ns: int, args: dict[str, str]) -> dict[str, Any]:
        where = {"pid": process, "tid": 1, "name": name}
        return {"ph": "i", "s": "t", "ts": self._us(time_ns), "args": args, **where}

    def _name(self, process: int, name: str, thread: int = 0) -> Iterator[dict[str, Any]]:
        """Name a process, or one of its threads, once."""
        if (process, thread) not in self._named:
            self._named.add((process, thread))
            what = "thread_name" if thread else "process_name"
            yield {"ph": "M", "pid": process, "tid": thread, "name": what, "args": {"name": name}}

    def _us(self, time_ns: int) -> float:
        return (time_ns - self.began_ns) / 1e3


def _first_ns(run: Run) -> int:
    """Return when the first of all slices begins: viewers drop what is before zero."""
    steps, alerts = read_kind(run.path, "step"), read_kind(run.path, "alert")
    lasted = pc.fill_null(pc.multiply(steps["step_time_s"], 1e9), 0.0)
    known = [pc.min(pc.subtract(steps["time_ns"], pc.cast(lasted, "int64", safe=False))).as_py()]
    known += [pc.min(alerts["onset_time_ns"]).as_py(), run.facts.get("started_time_ns")]
    known += [pc.min(read_kind(run.path, kind)["time_ns"]).as_py() for kind in ("sample", "mark", "metric")]
    return min((ns for ns in known if ns is not None), default=0)


def _step_args(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(values[name]) for name in _STEP_ARGS if values[name] is not None}


def _told(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None and name not in _COMMON}
