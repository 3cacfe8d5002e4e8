"""Steps and samples out of a table whose columns have our names, a trainer's, or those that a person says."""

import itertools
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.hints.given import NO_HINTS
from thermograd.ingest.importers.hints.units import COLUMNS
from thermograd.ingest.importers.recording import Hints, Kind, Recording, listed_names, of_no_use
from thermograd.ingest.importers.rows.seen import SeenKeys
from thermograd.ingest.importers.said_columns import said_columns
from thermograd.ingest.importers.steps.metric_names import STEP_TAGS, ColumnNames
from thermograd.ingest.importers.steps.step_clock import StepClock, command, since, started, step_clock
from thermograd.ingest.importers.steps.step_rows import StepRows
from thermograd.ingest.importers.tables.row import TableRow
from thermograd.ingest.importers.tables.time_column import NAMES, TimeColumn, as_number, is_absolute
from thermograd.ingest.importers.text_files import LeftOutError, whole_number
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.errors import ImportFormatError
from thermograd.store.telling.quantities import counted

_STEP = "step"
_COLUMN = "COLUMN"  # in a command that is suggested
_MOST_LAYOUTS = 256
_FIRST = 64  # rows by which the times are told how to be read
_DEVICE_NAMES = ("device", "gpu_uuid", "uuid", "gpu", "gpu_index", "gpu_id")
NOT_VALUES = (*_DEVICE_NAMES, "host", "hostname", "node", "name", "rank", "global_rank", "epoch")
_ONE_DEVICE = "the log names no device: all its rows are taken as one"
_OF_NO_USE = "a row without a value of a column that is known"
_REPEATED = (
    "the step of the row before once more, with other values; if that is of another process, --column "
    "rank=NAME says which column tells them apart"
)
_OUR_OWN = frozenset({"seq", "writer", "monotonic_ns", "run_id"})


class _Layout(NamedTuple):
    """What the columns of a row are."""

    sensors: dict[str, str]  # our column, by the log's name
    counters: list[str]  # of steps
    logged: list[str]  # all but a step's number, its time, its place, and what sensors read
    has_signal: bool
    has_more: bool  # than the rank among what is logged


class TableLog:
    """A table while it is read: a row may hold a step, a sample, or both."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        format: str,
        hints: Hints,
        kinds: tuple[Kind, ...] = ("step", "sample"),
        place: str = "line",
        every: Callable[[Path], Iterable[str]] | None = None,
    ) -> None:
        self.path, self._format, self._hints, self._every = paths[0], format, hints, every
        self.steps = Recording(paths, "step", format, place, hints=hints)
        self.samples = Recording(paths, "sample", format, place, hints=hints, of_any=True)
        self._recordings = [r for r in (self.steps, self.samples) if r.kind in kinds]
        self._names = ColumnNames(hints.columns, own_names=True)
        self._rows = StepRows(self.steps, self._names, self._names.step_tags(_STEP))
        self._said = {tag: name for name, tag in said_columns(hints).items()}
        self._sensors = sample_columns(hints)
        self._time: TimeColumn | None = None
        self._steps_clock: StepClock | None = None
        self._seen: set[str] = set()
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._told = SeenKeys()  # steps in rows of devices
        self._first: list[TableRow] = []
        self._place = 0  # of the row that is read

    def read(self, rows: Iterable[TableRow]) -> list[Recording]:
        """Read the rows: each is counted, and kept or left out with a reason."""
        rows = iter(rows)
        self._first = list(itertools.islice(rows, _FIRST))
        for row in itertools.chain(self._first, rows):
            self._place += 1
            with self._recordings[0].row(row.number, row.shown):
                self._put(row)
        self._finish()
        return self._recordings

    def _put(self, row: TableRow) -> None:
        values, layout = row.values, self._layout(row.values)
        counts = {t: count for t in layout.counters if (count := _whole(values[t])) is not None}
        if not self._is_step(layout, counts) and not layout.sensors:
            self._rows.unknown.update(layout.logged)
            raise LeftOutError(_OF_NO_USE)
        moment = self._moment(values, counts, layout.has_signal)
        layout = self._layout(values)  # of which the time is no part, by now
        if self._recordings == [self.samples]:
            self._rows.unknown.update(layout.logged)
            with self.samples.remember((repr(values),), row.number, moment):
                self._sample(row.number, moment, values, layout.sensors)
            return
        session = self._steps_clock.sessions if self._steps_clock is not None else 1
        self.steps.require_new((session, repr(values)), moment)
        if layout.sensors and self.samples in self._recordings:
            with self.samples.row(row.number, row.shown):
                self._sample(row.number, moment, values, layout.sensors)
        if self._is_step(layout, counts) and (counts or not layout.sensors):
            logged = {tag: values[tag] for tag in layout.logged}
            if layout.sensors and not self._told.is_new(hash((moment, *counts.items(), *logged.items()))):
                self.steps.account.merge()  # the step again, beside another device
                return
            self._step(row.number, moment, counts, logged)
        elif layout.sensors:
            self._rows.unknown.update(layout.logged)
            self.steps.account.leave_to_other()

    def _layout(self, values: Mapping[str, Any]) -> _Layout:
        """Return what the columns of a row are; rows have few sets of columns."""
        key = tuple(values)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._new_layout(key)
            if len(self._layouts) < _MOST_LAYOUTS:
                self._layouts[key] = layout
        return layout

    def _new_layout(self, names: tuple[str, ...]) -> _Layout:
        self._seen.update(names)
        sensors = {tag: name for tag in names if (name := self._sensors.get(tag)) and name != "device"}
        counters = [tag for tag in self._rows.step_tags if tag in names]
        logged = [
            tag
            for tag in names
            if tag not in self._sensors and tag not in counters and not self._is_place(tag)
        ]
        about = [column[0] if (column := self._names.column_of(tag)) else None for tag in logged]
        own = [name for name in about if name != "rank"]
        return _Layout(sensors, counters, logged, any(own), bool(own))

    def _is_step(self, layout: _Layout, counts: Mapping[str, int]) -> bool:
        """Whether a row is of a step, if only of its metrics."""
        return self.steps in self._recordings and (layout.has_signal or bool(counts and layout.has_more))

    def _step(self, number: int, moment: Moment, counts: dict[str, int], logged: Mapping[str, Any]) -> None:
        if not counts:
            raise LeftOutError("torn row: no step that is a whole number >= 0")
        self.steps.sources.setdefault("step", next(iter(counts)))
        self._rows.put(number, moment, counts, logged)

    def _sample(
        self, number: int, moment: Moment, values: Mapping[str, Any], sensors: Mapping[str, str]
    ) -> None:
        known: dict[str, Any] = {"device": self._device(values)}
        for tag, name in sensors.items():
            self.samples.columns.setdefault(name, tag)
            known[name] = self.samples.quantity(name, values[tag])
        self.samples.add(number, moment, known)

    def _device(self, values: Mapping[str, Any]) -> str:
        """Return the device of a row: as it is named there, else as a person says."""
        said = next((tag for tag, name in self._said.items() if name == "device"), None)
        if said is not None and said not in values:
            raise LeftOutError(f"torn row: no {said}")
        tag = said or next((name for name in _DEVICE_NAMES if name in values), None)
        if tag is None:
            if self._hints.device is None:
                self.samples.notes["gpu"] = {"device": _ONE_DEVICE}
            return self._hints.device or "gpu"
        self.samples.sources["device"] = tag
        text = str(values[tag]).strip()
        return f"gpu{text}" if text.isdecimal() else text

    def _is_place(self, tag: str) -> bool:
        """Whether a name says when or where something was."""
        time = self._time.name if self._time is not None else None
        return tag in (time, *_DEVICE_NAMES) or tag in self._said or tag in _OUR_OWN

    # -- times ---------------------------------------------------------------------------------

    def _moment(self, values: Mapping[str, Any], counts: Mapping[str, int], has_signal: bool) -> Moment:
        if self._time is None and self._steps_clock is None:
            self._begin(values, counts)
        if self._time is not None:
            moment = self._time.moment(values)
            self.steps.clock = self.samples.clock = self._time.name
            self.steps.times_read_as = self.samples.times_read_as = self._time.read_as
            self.steps.estimated = self.samples.estimated = self._time.estimated
            return moment
        if self._steps_clock is None:
            raise LeftOutError("torn row: no time")
        steps = next(iter(counts.values()), self._place)
        return self._steps_clock.after(steps) if has_signal else self._steps_clock.beside(steps)

    def _begin(self, values: Mapping[str, Any], counts: Mapping[str, int]) -> None:
        """Find by the first row that has a value of ours what its times are."""
        name = self._hints.time or next((n for n in time_names(values) if is_absolute(values[n])), None)
        if name is not None:
            self._time = TimeColumn(self.path, self._format, name, self._hints)
            firsts = (row.value(name) for row in self._first)
            self._time.learn([value for value in firsts if value is not None])
        elif counts:
            self._steps_clock = self._step_clock(values)
        else:
            self._steps_clock = self._sample_clock(values)
        self._layouts.clear()
        if self._steps_clock is not None:
            self.steps.clock = self.samples.clock = "--started-at"
            self.steps.estimated = self.samples.estimated = self._steps_clock.estimated

    def _step_clock(self, values: Mapping[str, Any]) -> StepClock:
        if self._hints.started_at is None:
            example = command(self.path, self._hints, "--started-at", "--step-time")
            raise ImportFormatError(
                f"{self._no_time('steps', values)}, or say when the training began and how many seconds a "
                f"step took: {example}"
            )
        return step_clock(self.path, self._format, self._hints)

    def _sample_clock(self, values: Mapping[str, Any]) -> StepClock:
        period_s = self._hints.sample_time_s
        if self._hints.started_at is None or period_s is None:
            raise ImportFormatError(
                f"{self._no_time('samples', values)}, or say when they began and how many seconds are "
                "between two rows, with --started-at and --sample-time"
            )
        began = since(started(self.path, self._format, self._hints), -period_s)
        told = f"estimated: --started-at {self._hints.started_at} plus {period_s:.6g} s a row (--sample-time)"
        return StepClock(began, period_s, told)

    def _no_time(self, what: str, values: Mapping[str, Any]) -> str:
        return (
            f"{self.path}: {self._format} has {what}, but none of its columns is known as their time; name "
            f"it with --time COLUMN (it has: {listed_names(values, most=40)})"
        )

    # -- the end -------------------------------------------------------------------------------

    def _finish(self) -> None:
        said = [*self._tags(), *((("--time", self._hints.time),) if self._hints.time else ())]
        for option, tag in said:
            if tag not in self._seen:
                is_there = self._every is not None and tag in self._every(self.path)
                why = "it holds no number, text or time in any row" if is_there else "no row has it"
                raise ImportFormatError(f"{self.path}: {option} names {tag}, but {why}; {self._has()}")
        self._require_counter()
        if self._time is None and self._steps_clock is None and self._seen:
            raise ImportFormatError(
                f"{self.path}: {self._format}; {unknown(self.path, self._seen, self._hints)}"
            )
        self._rows.unknown.discard(self._time.name if self._time is not None else "")
        self.samples.leave_out_repeats(lambda _: None)
        self._rows.finish()
        if self._rows.repeated:
            self.steps.notes["steps"] = {"step": f"{counted(self._rows.repeated, 'row')}: {_REPEATED}"}
        if self._recordings == [self.samples]:
            self.samples.ignored += of_no_use("column", self._rows.unknown)

    def _require_counter(self) -> None:
        """Refuse steps whose number nobody knows, where a column looks like it and there is nothing else."""
        unknown = self._seen.isdisjoint(self._rows.step_tags) and self.samples.is_empty
        alike = next((name for name in sorted(self._seen) if _plain(name) in STEP_TAGS), None)
        if unknown and alike is not None and any(map(self._names.column_of, self._seen)):
            raise ImportFormatError(
                f"{self.path}: its steps have no number; if that is {alike}, say so with --column "
                f"{shlex.quote(f'step={alike}')}"
            )

    def _has(self) -> str:
        return f"it has: {listed_names(self._seen, most=40) or '(nothing)'}"

    def _tags(self) -> list[tuple[str, str]]:
        return [(f"--column {name}={tag}", tag) for tag, name in self._said.items()]


def sample_columns(hints: Hints) -> dict[str, str]:
    """Return the column of each name that is a sensor's: ours, and what a person says."""
    said = said_columns(hints)
    own = {name: name for name in COLUMNS["sample"] if name not in said and name not in ("device", "read_us")}
    return own | {tag: name for name, tag in said.items()}


def time_names(names: Iterable[str]) -> list[str]:
    """Return those that may be a time's, the surest first."""
    by_key = {name.lower(): name for name in names}
    return [by_key[name] for name in NAMES if name in by_key]


def unknown(path: Path | None, names: Iterable[str], hints: Hints = NO_HINTS) -> str:
    """Return what to say of a table none of whose columns is known, with the command that imports it."""
    known = list(names)
    lacking = "step" if any(map(ColumnNames(()).column_of, known)) else "power_w"
    tag = _like(known, STEP_TAGS) if lacking == "step" else _COLUMN
    options = ({} if time_names(known) else {"--time": [_like(known, NAMES)]}) | hints.options()
    options["--column"] = [*options.get("--column", []), f"{lacking}={tag}"]
    said = [part for option, texts in options.items() for text in texts for part in (option, text)]
    command = shlex.join(["thermograd", "import", str(path or "FILE"), *said])
    told = (
        "no name of its columns is known" if tag == _COLUMN else "its columns of time and step are not known"
    )
    return f"{told} ({listed_names(known, most=12)}); say which are which: {command}"


def _like(names: Iterable[str], known: Collection[str]) -> str:
    """Return the first name that is a known one but for its case, blanks and dashes."""
    return next((name for name in names if _plain(name) in known), _COLUMN)


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _whole(value: Any) -> int | None:
    if type(value) is int:
        return whole_number(value)
    number = as_number(value) if value is not None else None
    return whole_number(int(number)) if number is not None and number == int(number) else None
