"""What an importer reads from files: usable rows in little memory, and why the others were left out."""

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from thermograd.ingest.importers.accounting import Account
from thermograd.ingest.importers.hints.given import NO_HINTS, Hints as Hints
from thermograd.ingest.importers.hints.units import unit_named, unit_names_said, units_said
from thermograd.ingest.importers.rows.identities import Identities, key_of
from thermograd.ingest.importers.rows.metric_values import LONGEST_TEXT, NO_STEP, MetricValues
from thermograd.ingest.importers.rows.row_store import RowStore
from thermograd.ingest.importers.rows.seen import SeenKeys
from thermograd.ingest.importers.stores.runs import StoredRun
from thermograd.ingest.importers.stores.told import ToldOfRun
from thermograd.ingest.importers.text_files import (
    LeftOutError,
    NamedCell,
    OddCellError,
    flag,
    measure,
    read_cell,
    signal,
    within,
)
from thermograd.ingest.importers.timezones import SET_BACK_NS, Moment, Span
from thermograd.store.events import arrow_schema
from thermograd.store.text import printable

Kind = Literal["step", "sample"]  # that a log is of; `metric` comes with steps
EventKind = Literal["step", "sample", "metric"]

REPEATED = "exact duplicate of another row"
NO_VALUE = "a row without a value"
_BATCH_ROWS = 8192
_QUANTITY = re.compile(r"(?P<number>[-+]?[.\d]+([eE][-+]?\d+)?)\s*(?P<unit>[^\s\d.][^\s\d]*)")
_LONGEST_INDEX = 4  # digits
_OWN = {"_line": pa.int64(), "_time_ns": pa.int64(), "_naive": pa.bool_()}


class Head(NamedTuple):
    """The beginning of a file: its bytes, and the same as text."""

    data: bytes
    text: str
    is_cut: bool = False  # there is more of the file: the last line may not be whole
    tail: str = ""  # the end of the file, where there is more of it, from a whole line on
    path: Path | None = None  # for a format that is recognised by more than the beginning

    @property
    def lines(self) -> list[str]:
        """The lines that are not blank."""
        return [line for line in self.text.split("\n") if line.strip()]


@dataclass(eq=False, repr=False)
class Recording:
    """The usable rows of one kind that some files gave, as Arrow batches, and why others are left out."""

    paths: tuple[Path, ...]
    kind: Kind
    format: str  # what the files are, in words
    place: str = "line"  # what a row is called, see `Account`
    ignored: list[str] = field(default_factory=list)  # what else the files hold and is not imported, in words
    clock: str = "timestamp"  # the column (or columns) that the times are from
    times_read_as: str | None = None  # how that was read, where it could have been otherwise
    # Offsets from UTC (seconds east) that rows with both local and epoch times show.
    local_offsets_s: set[int] = field(default_factory=set)
    definition: str | None = None  # which of the programs that write such files derived its RLE and collapse
    models: dict[str, str] = field(default_factory=dict)  # what the files say a device is
    # Index and host of a device, by its name, where they are not the name themselves.
    places: dict[str, dict[str, Any]] = field(default_factory=dict)
    # What a reader of a device's numbers should know, by device and sensor.
    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    # The name in the log of each column, where it has many.
    columns: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)  # the same, where the format knows but one name
    config: dict[str, Any] = field(default_factory=dict)  # the training's configuration
    told: ToldOfRun | None = None  # what the log says of the run as a whole
    beside: list[str] = field(default_factory=list)  # files beside it that were read, too, by name
    hints: Hints = NO_HINTS  # those that the format takes
    estimated: str | None = None  # how the times were estimated, where the files have none
    first_naive: int | None = None  # where the first row stands whose time names no zone
    # First and last time of the rows that name no zone (True), and of the others (False).
    spans: dict[bool, Span] = field(default_factory=dict)
    metrics: MetricValues = field(default_factory=MetricValues)  # of a step log: what is no column
    of_any: bool = False  # a device of it may be anything, also a node or a rack
    read_bytes: int | None = None  # how far the file was read; None for all of it
    _pending: list[dict[str, Any]] = field(default_factory=list)
    _rows: RowStore = field(default_factory=RowStore)
    _identities: Identities = field(default_factory=Identities)
    _seen: SeenKeys = field(default_factory=SeenKeys)
    _latest_ns: int = 0  # of the rows that name no zone

    def __post_init__(self) -> None:
        self.account = Account(self.paths[0], self.kind, self.place)
        # What converts a column's numbers, where a person says their unit: instead of the format's factor.
        self.units = {name: unit.ours for name, unit in units_said(self.kind, self.hints).items()}
        self.unit_names = unit_names_said(self.kind, self.hints)

    @property
    def path(self) -> Path:
        """The file, or the first of several."""
        return self.paths[0]

    def __len__(self) -> int:
        return len(self._pending) + len(self._rows)

    @property
    def is_empty(self) -> bool:
        """Whether no row was kept."""
        return not len(self) and not len(self.metrics)

    def row(self, number: int, shown: object = None) -> AbstractContextManager[None]:
        """Count a row that is read in the block, and leave it out where that ends in a LeftOutError.

        `number` says where it stands in the file; `shown` is the row, for where no value is to blame.
        """
        return self.account.row(number, shown)

    def add(self, line: int, moment: Moment, values: dict[str, Any]) -> None:
        """Keep a row: where it stands, its time, its event's columns.

        A value whose name begins with an underscore is kept beside them and is not part of the event.
        """
        if all(value is None for name, value in values.items() if name not in ("device", "step")):
            raise LeftOutError(NO_VALUE)
        _require_likely(moment)
        self._note_times(line, moment.ns, moment.ns, moment.naive)
        self.account.keep()
        row = {"_line": line, "_time_ns": moment.ns, "_naive": moment.naive}
        self._pending.append(row | values)
        if len(self._pending) >= _BATCH_ROWS:
            self._flush()

    def add_metrics(
        self, line: int, moment: Moment, step: int | None, values: Mapping[str, Any], rank: int | None = None
    ) -> int:
        """Keep numbers and texts that are no column, and the names of what is neither; return how many."""
        if values:
            _require_likely(moment)
        count = self.metrics.add(line, moment, _or_none(step), values, _or_none(rank))
        if count:
            self._note_times(line, moment.ns, moment.ns, moment.naive)
            self.account.keep()
        return count

    def add_metric(
        self,
        line: int,
        moment: Moment,
        name: str,
        value: float | None = None,
        text: str | None = None,
        step: int | None = None,
        rank: int | None = None,
    ) -> None:
        """Keep a metric event as it was: a text that looks like a number stays one."""
        given = value if text is None else text
        if given is None:
            raise LeftOutError(NO_VALUE)
        _require_likely(moment)
        if not self.metrics.add_event(line, moment, _or_none(step), _or_none(rank), name, given):
            raise LeftOutError("a metric whose name is too long, or one of too many", name)
        self._note_times(line, moment.ns, moment.ns, moment.naive)
        self.account.keep()

    def cell(
        self, name: str, text: str, factor: float = 1.0, convert: Callable[[float], float] | None = None
    ) -> float | int | None:
        """Return a column's value in a cell; null, and counted, where what stands there is none."""
        if isinstance(text, NamedCell):
            self.sources.setdefault(name, text.column)
        try:
            return self.read_cell(name, text, factor, convert)
        except OddCellError as error:
            self.account.null(name, error)
            return None

    def read_cell(
        self, name: str, text: str, factor: float = 1.0, convert: Callable[[float], float] | None = None
    ) -> float | int | None:
        """Return a column's value as `cell` does; OddCellError where what stands there is none."""
        if name in self.units:
            factor, convert = 1.0, self.units[name]
        return read_cell(name, text, factor, convert, self.of_any)

    def quantity(self, name: str, value: Any) -> Any:
        """Return a column's value in a cell that may have a unit of its own (``250.1 W``), or in JSON."""
        match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
        unit = unit_named(name, match["unit"]) if match is not None else None
        if match is not None and unit is not None:
            return self.cell(name, match["number"], convert=unit.ours)
        return self.cell(name, value) if isinstance(value, str) else self.value(name, value)

    def place_device(self, device: str, index: str | None, host: str | None) -> None:
        """Keep what the first row that tells it says of a device's index and host."""
        known = self.places.setdefault(device, {})
        if index is not None and index.isdecimal() and len(index) <= _LONGEST_INDEX:
            known.setdefault("index", int(index))
        if host:
            known.setdefault("host", host)

    def absorb(self, other: "Recording") -> None:
        """Take over what another recording says of its rows, none of which was of use."""
        self.account.absorb(other.account)
        self.ignored += other.unused()

    def value(self, name: str, value: Any) -> float | int | None:
        """Return a column's value of a JSON one; null, and counted, where it is none.

        A training may log NaN and infinity, a device may not.
        """
        try:
            number = flag(value) if name == "skipped" and value is not None else measure(value)
            if number is not None and name in self.units:
                number = self.units[name](number)
            if number is None or self.kind == "step":
                return signal(name, number)
            return within(name, number, value, self.of_any)
        except OddCellError as error:
            self.account.null(name, error)
            return None

    def require_new(self, identity: Hashable, moment: Moment | None = None) -> None:
        """Refuse a row that has been there before, exactly.

        Not where a clock without a zone went back by about an hour since: it shows that hour again. Only 64
        bits of each are remembered: a file of a million rows loses one by mistake with a probability below
        1e-7. The rows of a device log, which has more, are remembered by `remember`.
        """
        if moment is not None and moment.naive:
            if SET_BACK_NS[0] <= self._latest_ns - moment.ns <= SET_BACK_NS[1]:
                self._seen = SeenKeys()
            self._latest_ns = moment.ns
        if not self._seen.is_new(hash(identity)):
            raise LeftOutError(REPEATED)

    @contextmanager
    def remember(self, cells: Sequence[object], line: int, moment: Moment) -> Iterator[None]:
        """Keep in mind the row that the block adds, for `leave_out_repeats`."""
        self._identities.add(key_of(cells), line, moment.ns if moment.naive else None)
        try:
            yield
        except LeftOutError as error:
            self._identities.set_fate(str(error))
            raise

    def add_many(self, rows: pa.Table, keys: np.ndarray, naive: bool, line_at: Callable[[int], str]) -> None:
        """Keep rows as `add` does, and remember them; their times are likely.

        `rows`: ``_line``, ``_time_ns`` and columns of the event; `keys`: `key_of` of each; `naive`: whether
        their times name no zone; `line_at`: what stands in a line.
        """
        lines, times = rows["_line"].to_numpy(), rows["_time_ns"].to_numpy()
        empty = _without_values(rows)
        self._identities.add_many(keys, lines, times if naive else None, empty, NO_VALUE)
        if empty.any():
            first = int(lines[np.argmax(empty)])
            self.account.leave_out_many(LeftOutError(NO_VALUE), int(empty.sum()), first, line_at(first))
            rows, lines, times = rows.filter(pa.array(~empty)), lines[~empty], times[~empty]
        self.account.count(len(rows), int(empty.sum()))
        if len(rows):
            self._flush()
            self._note_times(int(lines[0]), int(times.min()), int(times.max()), naive)
            self._rows.put(rows.append_column("_naive", pa.array(np.full(len(rows), naive))))

    def _note_times(self, line: int, first_ns: int, last_ns: int, naive: bool) -> None:
        if naive and self.first_naive is None:
            self.first_naive = line
        known = self.spans.get(naive, Span(first_ns, last_ns))
        self.spans[naive] = Span(min(known.first, first_ns), max(known.last, last_ns))

    def leave_out_repeats(self, line_at: Callable[[int], str | None]) -> None:
        """Leave out the rows that have been there before, exactly; `line_at` gives what stands in a line."""
        repeats = self._identities.repeats()
        if len(repeats.lines):
            self.rows.drop(repeats.lines[repeats.fates == 0])
            fates = {
                self._identities.fates[fate]: int((repeats.fates == fate).sum())
                for fate in np.unique(repeats.fates).tolist()
            }
            first = int(repeats.lines[0])
            self.account.recount(fates, REPEATED, first, line_at(first))

    @property
    def rows(self) -> RowStore:
        """All rows that were kept."""
        self._flush()
        self._seen = SeenKeys()
        return self._rows

    def stores(self) -> dict[EventKind, RowStore]:
        """Return the rows of each kind that there are."""
        found: dict[EventKind, RowStore] = {self.kind: self.rows} if len(self) else {}
        if len(self.metrics):
            found["metric"] = RowStore()
            for table in self.metrics.tables():
                found["metric"].put(table)
            self.metrics.close()
        return found

    def unused(self) -> list[str]:
        """Return in words what the files hold beside what was kept."""
        metrics = self.metrics
        told = self.ignored + of_no_use("name", metrics.no_values)
        if metrics.cut:
            names = listed_names(metrics.cut)
            told.append(f"texts cut after {LONGEST_TEXT:,} characters: {names}")
        return told

    def _flush(self) -> None:
        if self._pending:
            names = dict.fromkeys(name for row in self._pending for name in row)
            types = {field.name: field.type for field in arrow_schema(self.kind)} | _OWN
            schema = pa.schema([(name, types.get(name, pa.float64())) for name in names])
            self._rows.put(pa.Table.from_pylist(self._pending, schema))
            self._pending = []


def _or_none(step: int | None) -> int:
    return NO_STEP if step is None else step


def _without_values(rows: pa.Table) -> np.ndarray:
    names = [name for name in rows.column_names if name not in (*_OWN, "device", "step")]
    empty = np.ones(len(rows), bool)
    for name in names:
        empty &= ~rows[name].is_valid().to_numpy()
    return empty


def _require_likely(moment: Moment) -> None:
    if not moment.is_likely:
        raise LeftOutError("a time that is not between 1970 and 2100")


@dataclass(frozen=True)
class Format:
    """One format that is imported."""

    name: str  # in words, for messages
    kinds: tuple[Kind, ...]  # of event that such a file may hold
    recognises: Callable[[Head], bool]  # says by the beginning of a file whether it is one
    # Reads one file (or, where `several`, those of one folder) into a recording of each kind.
    read: Callable[[tuple[Path, ...], Hints], list[Recording]]
    several: bool = False  # several files of one folder are one log
    # The files say when things happened. Where they do not, or not the date, --started-at does.
    has_clock: bool = True
    is_printed: bool = False  # meant for a screen: it gives way to any other log of its kind that has a clock
    # The names of the `Hints` that it can use, beside those that `takes` adds.
    hints: frozenset[str] = frozenset()
    # Says by the beginning of a file whether the hints ask for this format: it then comes before all others.
    asked_for: Callable[[Head, Hints], bool] | None = None
    # Says it of a file that no format is recognised in.
    last_resort: Callable[[Head, Hints], bool] | None = None
    # The files of the run that is meant in a folder of this format; none of any other folder.
    folder: Callable[[Path, Hints], tuple[Path, ...]] | None = None
    runs: Callable[[Path], list[StoredRun]] | None = None  # those in a file or folder that may hold several

    is_spare: bool = False  # metrics alone: it gives way to any other log of its kind

    def takes(self, hint: str, kind: Kind | None = None) -> bool:
        """Whether it can use a hint: of its own, ``columns`` in steps, and the start where it has no clock.

        `kind` is that of the column that the hint is about.
        """
        if kind is not None and kind not in self.kinds:
            return False
        clockless = {"started_at"} | ({"step_time_s"} if "step" in self.kinds else set())
        given = {"columns"} if "step" in self.kinds and kind in (None, "step") else set()
        return hint in self.hints | given | (set() if self.has_clock else clockless)


_NAMED = 8


def listed_names(names: Iterable[str], most: int = _NAMED) -> str:
    """Name some of them and count the rest."""
    known = sorted(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(printable(name, 60) for name in known[:most]) + more


def of_no_use(noun: str, names: Collection[str]) -> list[str]:
    """Return a list of at most one sentence: which of a file's names are not imported."""
    many = "s" if len(names) > 1 else ""
    return [f"{len(names)} {noun}{many} of no use: {listed_names(names)}"] if names else []
