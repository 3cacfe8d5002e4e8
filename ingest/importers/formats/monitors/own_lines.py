"""Reading the line protocol that ``export --format influx`` writes: each value as it was, to the bit.

Alerts and marks stay behind: an import has its own.
"""

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.formats.monitors.line_protocol import Point, point_of, text_of
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.stores.runs import StoredRun, chosen_run
from thermograd.ingest.importers.stores.told import ToldOfRun
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.events import KINDS, Column
from thermograd.store.telling.quantities import counted

_RUN = re.compile(r"thermograd_(?:step|sample|metric|alert|mark),run=((?:[^\\,= ]|\\.)*)")
_PREFIX = "thermograd_"
_NAME = "the line protocol of a run of thermograd"
_WHOLE = re.compile(r"(-?\d{1,20})[iu]", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_RANGES = {"int64": (-(2**63), 2**63), "uint64": (0, 2**64)}
_AT_LEAST_0 = ("step", "rank")
_LEFT_OUT = {
    "alert": "an alert of the run: an import has those alone that are found in it",
    "mark": "a mark of the run: an import has marks of its own",
}
_FEW_LINES = 50


class _OwnLines:
    """Lines while they are read."""

    def __init__(self, paths: tuple[Path, ...], hints: Hints) -> None:
        self._run = chosen_run(paths[0], _runs(paths[0]), hints.run).id
        self.steps = Recording(paths, "step", _NAME, hints=hints)
        self.samples = Recording(paths, "sample", _NAME, hints=hints)
        self.steps.told = ToldOfRun(by="thermograd", id=self._run)
        self.steps.notes["steps"] = {}  # one without steps has none: no name is to be said
        self._unknown: set[str] = set()

    def read(self) -> list[Recording]:
        """Read every line."""
        for recording in (self.steps, self.samples):
            recording.clock = "the timestamp of each line"
        for number, line in text_lines(self.steps.path):
            if line.strip() and not line.startswith("#"):
                is_sample = line.startswith(f"{_PREFIX}sample,")
                recording = self.samples if is_sample else self.steps
                with recording.row(number, line):
                    self._row(recording, number, line)
        self.steps.ignored += of_no_use("field", self._unknown)
        return [self.steps, self.samples]

    def _row(self, recording: Recording, number: int, line: str) -> None:
        point = point_of(line)
        kind = point.measurement.removeprefix(_PREFIX) if point is not None else ""
        if point is None or kind not in KINDS or point.time is None:
            raise LeftOutError("torn row: no line that thermograd writes")
        require_whole(line)
        if point.tags.get("run") != self._run:
            raise LeftOutError("a line of another run")
        if kind in _LEFT_OUT:
            raise LeftOutError(_LEFT_OUT[kind])
        recording.require_new(line)
        self._give(kind, recording, number, point)

    def _give(self, kind: str, recording: Recording, number: int, point: Point) -> None:
        values = self._values(kind, point)
        moment = Moment(point.time or 0, naive=False)
        if kind == "metric":
            name = values.pop("name", None)
            if not name:
                raise LeftOutError("torn row: a metric without a name")
            recording.add_metric(number, moment, name, **values)
            return
        if kind == "sample" and not values.get("device"):
            raise LeftOutError("torn row: no device")
        recording.add(number, moment, values)

    def _values(self, kind: str, point: Point) -> dict[str, Any]:
        known = {column.name for column in KINDS[kind]}
        ours = {f"{name}{end}" for name in known for end in ("", "_nonfinite", "_json")} | {"seq"}
        self._unknown.update(f"{point.measurement}.{field}" for field in point.fields.keys() - ours)
        values = {column.name: _value(column, point) for column in KINDS[kind]}
        return {name: value for name, value in values.items() if value is not None}


def _value(column: Column, point: Point) -> Any:
    """Return what a line says of a column; None where it says nothing."""
    name, fields = column.name, point.fields
    if f"{name}_json" in fields:
        return _exact_text(name, fields[f"{name}_json"])
    text = point.tags.get(name)
    if column.type == "string":
        return text if text is not None else text_of(fields[name]) if name in fields else None
    if f"{name}_nonfinite" in fields:
        return _require(name, _NOT_FINITE.get(text_of(fields[f"{name}_nonfinite"]) or ""), fields)
    if text is not None:  # a whole number
        return _require(name, _whole(column, f"{text}i"), text)
    if name not in fields:
        return None
    return _require(name, _parsed(column, fields[name]), fields[name])


def _parsed(column: Column, text: str) -> Any:
    if column.type == "bool":
        return {"true": True, "false": False}.get(text)
    if column.type == "float64":
        return float(text) if _NUMBER.fullmatch(text) else None
    return _whole(column, text)


def _whole(column: Column, text: str) -> int | None:
    match = _WHOLE.fullmatch(text)
    if match is None:
        return None
    low, high = (0, 2**63) if column.name in _AT_LEAST_0 else _RANGES[column.type]
    return int(match[1]) if low <= int(match[1]) < high else None


def _exact_text(name: str, field: str) -> str:
    try:
        text = json.loads(text_of(field) or "")
    except (ValueError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise LeftOutError(f"torn row: {name}_json is no text in JSON", field)
    return text.encode("utf-8", "replace").decode()


def _require(name: str, value: Any, shown: object) -> Any:
    if value is None:
        raise LeftOutError(f"torn row: {name} is no value of it", shown)
    return value


def _runs(path: Path) -> list[StoredRun]:
    """Return the runs of which a file has lines."""
    found: Counter[str] = Counter()
    for _, line in text_lines(path):
        match = _RUN.match(line)
        point = point_of(f"a,run={match[1]} b=1") if match is not None else None
        if point is not None:
            found[point.tags["run"]] += 1
    return [StoredRun(run, said=counted(lines, "line")) for run, lines in found.items()]


def _recognises(head: Head) -> bool:
    lines = [line for line in head.lines[:_FEW_LINES] if not line.startswith("#")]
    return sum(_RUN.match(line) is not None for line in lines) * 2 > len(lines)


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _OwnLines(paths, hints).read()


OWN_LINES = Format(_NAME, ("step", "sample"), _recognises, _read, hints=frozenset({"run"}), runs=_runs)
