"""What an importer reads from files: usable rows in little memory, and why the others were left out."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment, Span
from thermograd.store.events import arrow_schema
from thermograd.store.text import printable

Kind = Literal["step", "sample"]

_BATCH_ROWS = 8192
_LONGEST_VALUE = 60
_OWN = {"_line": pa.int64(), "_time_ns": pa.int64(), "_naive": pa.bool_()}


class Hints(NamedTuple):
    """What a person adds for logs that have no clock: when the training began, and how long a step took."""

    started_at: str | None = None
    step_time_s: float | None = None


class Head(NamedTuple):
    """The beginning of a file: its bytes, and the same as text."""

    data: bytes
    text: str

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
    place: str = "line"  # what a row is called where rows are counted: line, entry, event, record, series
    # Rows, of use or not, by file and kind: all but blank lines, comments and the first header.
    rows_read: Counter[tuple[Path, Kind]] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)  # how many, by reason
    # The first row of each reason: its file, where it stands there, and what was wrong with it (a stranger's
    # value, which is cut short and has no control characters).
    first_left_out: dict[str, dict[str, str | None]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)  # what else the files hold and is not imported, in words
    clock: str = "timestamp"  # the column (or columns) that the times are from
    # Offsets from UTC (seconds east) that rows with both local and epoch times show.
    local_offsets_s: set[int] = field(default_factory=set)
    definition: str | None = None  # which of the programs that write such files derived its RLE and collapse
    models: dict[str, str] = field(default_factory=dict)  # what the files say a device is
    # What a reader of a device's numbers should know, by device and sensor.
    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    estimated: str | None = None  # how the times were estimated, where the files have none
    first_naive: int | None = None  # where the first row stands whose time names no zone
    # First and last time of the rows that name no zone (True), and of the others (False).
    spans: dict[bool, Span] = field(default_factory=dict)
    _pending: list[dict[str, Any]] = field(default_factory=list)
    _batches: list[pa.Table] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.reading = self.paths[0]  # the file that is being read

    @property
    def path(self) -> Path:
        """The file, or the first of several."""
        return self.paths[0]

    def __len__(self) -> int:
        return len(self._pending) + sum(map(len, self._batches))

    @contextmanager
    def row(self, number: int, shown: object = None, count: int = 1) -> Iterator[None]:
        """Count rows; leave out what a LeftOutError refuses while they are read, without ending the reading.

        `number` says where they stand in the file; `shown` is the row, for where no value is to blame.
        """
        self.rows_read[self.reading, self.kind] += count
        try:
            yield
        except LeftOutError as error:
            self.leave_out(error, number, shown)

    def add(self, line: int, moment: Moment, values: dict[str, Any]) -> None:
        """Keep a row: where it stands, its time, its event's columns.

        A value whose name begins with an underscore is kept beside them and is not part of the event.
        """
        if moment.naive and self.first_naive is None:
            self.first_naive = line
        known = self.spans.get(moment.naive, Span(moment.ns, moment.ns))
        self.spans[moment.naive] = Span(min(known.first, moment.ns), max(known.last, moment.ns))
        row = {"_line": line, "_time_ns": moment.ns, "_naive": moment.naive}
        self._pending.append(row | values)
        if len(self._pending) >= _BATCH_ROWS:
            self._flush()

    def leave_out(self, reason: LeftOutError | str, number: int, row: object = None) -> None:
        """Count a row that is of no use, and remember the first one of each reason."""
        text = str(reason)
        self.left_out[text] += 1
        if text not in self.first_left_out:
            value = reason.value if isinstance(reason, LeftOutError) else None
            self.first_left_out[text] = {
                "file": printable(self.reading.name),
                "where": f"{self.place} {number}",
                "value": _shown(row if value is None or value == "" else value),
            }

    def absorb(self, other: "Recording") -> None:
        """Take over what another recording says of its rows, none of which was of use."""
        self.rows_read.update(other.rows_read)
        self.left_out.update(other.left_out)
        self.first_left_out = other.first_left_out | self.first_left_out
        self.ignored += other.ignored

    def require_new(self, identity: Hashable) -> None:
        """Refuse a row that has been there before, exactly.

        Only 64 bits of each are remembered: a file of a million rows loses one by mistake with a
        probability below 1e-7.
        """
        key = hash(identity)
        if key in self._seen:
            raise LeftOutError("exact duplicate of another row")
        self._seen.add(key)

    def table(self) -> pa.Table:
        """Return all rows in the files' order: ``_line``, ``_time_ns``, ``_naive``, and the columns given."""
        self._flush()
        self._seen.clear()
        return pa.concat_tables(self._batches, promote_options="default")

    def _flush(self) -> None:
        if self._pending:
            names = dict.fromkeys(name for row in self._pending for name in row)
            types = {field.name: field.type for field in arrow_schema(self.kind)} | _OWN
            schema = pa.schema([(name, types.get(name, pa.float64())) for name in names])
            self._batches.append(pa.Table.from_pylist(self._pending, schema))
            self._pending = []


def _shown(value: object) -> str | None:
    """Return a value in one short line: text as it stands, anything else as JSON."""
    if value is None:
        return None
    if not isinstance(value, str):
        try:
            value = json.dumps(value, default=str, ensure_ascii=False)
        except (ValueError, RecursionError):
            value = type(value).__name__
    return printable(value.strip()[: 2 * _LONGEST_VALUE], _LONGEST_VALUE)


@dataclass(frozen=True)
class Format:
    """One format that is imported."""

    name: str  # in words, for messages
    kinds: tuple[Kind, ...]  # of event that such a file may hold
    recognises: Callable[[Head], bool]  # says by the beginning of a file whether it is one
    # Reads one file (or, where `several`, those of one folder) into a recording of each kind.
    read: Callable[[tuple[Path, ...], Hints], list[Recording]]
    several: bool = False  # several files of one folder are one log
    has_clock: bool = True  # the files say when things happened


_NAMED = 8


def listed_names(names: Iterable[str]) -> str:
    """Name some of them and count the rest."""
    known = sorted(names)
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return ", ".join(name[:60] for name in known[:_NAMED]) + more


def of_no_use(noun: str, names: Collection[str]) -> list[str]:
    """Return a list of at most one sentence: which of a file's names are not imported."""
    many = "s" if len(names) > 1 else ""
    return [f"{len(names)} {noun}{many} of no use: {listed_names(names)}"] if names else []
