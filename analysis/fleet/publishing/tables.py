"""What is published: the events of runs that have ended and the findings, in types that every engine knows.

Spark knows no unsigned 64-bit integer and no time in nanoseconds: the first becomes decimal(20, 0), and
beside ``time_ns`` stands ``time`` in microseconds, UTC. Null stays null.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from thermograd.store.events import KINDS, arrow_schema
from thermograd.store.log.present.snapshots import count_events
from thermograd.store.log.reader import read_kind
from thermograd.store.query.data.findings import SCHEMA as FINDINGS, analyses, read_findings
from thermograd.store.runs.catalogue import Run
from thermograd.store.text import printable, table_text

MONTH = "month"  # by which tables are partitioned: of a run's start, of an analysis
_TIME = pa.field("time", pa.timestamp("us", "UTC"))
_TOGETHER = 100  # runs in one file
_UNSIGNED = pa.decimal128(20, 0)


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of one table that come and go together: those of a run, or of an analysis."""

    key: str
    version: int  # another one where the rows are others
    month: str
    rows: Callable[[], pa.Table]


@dataclass(frozen=True, slots=True)
class Published:
    """A table as it is published."""

    name: str
    key: str  # the column that says which source a row is of
    schema: pa.Schema
    sources: list[Source]


@dataclass(slots=True)
class Outcome:
    """What was done to a table: sources that are new, that replaced an older state, that were there; rows."""

    table: str
    new: int = 0
    replaced: int = 0
    unchanged: int = 0
    rows: int = 0
    errors: dict[str, str] = field(default_factory=dict)  # sources that could not be read, and why

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``publish --json``."""
        return asdict(self)


def outcomes_text(outcomes: Sequence[Outcome]) -> str:
    """Return what was done as a table, and below it what could not be read."""
    names = ("table", "new", "replaced", "unchanged", "rows")
    lines = [table_text(names, [[str(getattr(each, name)) for name in names] for each in outcomes])]
    for each in outcomes:
        lines += [f"{each.table}: {printable(key)} left out: {why}" for key, why in each.errors.items()]
    return "\n".join(lines)


def published_tables(runs: Sequence[Run], runs_dir: Path) -> tuple[list[Published], list[str]]:
    """Return the tables of some runs and of all analyses beside them; and the runs that have not ended."""
    live = [run.run_id for run in runs if run.state() == "live"]
    ended = sorted(
        (run for run in runs if run.run_id not in live), key=lambda run: (month_of(run), run.run_id)
    )
    tables = [Published(f"{kind}s", "run_id", _schema(kind), list(_sources(ended, kind))) for kind in KINDS]
    found = [
        Source(each, 1, f"{each[:4]}-{each[4:6]}", partial(_findings, runs_dir, each))
        for each in analyses(runs_dir)
    ]
    schema = pa.schema([*FINDINGS, pa.field(MONTH, pa.string())])
    return [*tables, Published("findings", "analysis_id", schema, found)], live


def _sources(runs: Iterable[Run], kind: str) -> Iterator[Source]:
    for run in runs:
        count = count_events(run.path, kind)
        if count:
            yield Source(run.run_id, count, month_of(run), partial(_events, run, kind))


def month_of(run: Run) -> str:
    """Return the month in which a run began, such as 2026-01; "unknown" where that is not known."""
    try:
        return f"{datetime.fromtimestamp((run.started_time_ns or 0) // 10**9, UTC):%Y-%m}"
    except (OverflowError, ValueError, OSError):
        return "unknown"


def _schema(kind: str) -> pa.Schema:
    identity = [pa.field("run_id", pa.string()), pa.field("writer", pa.string()), _TIME]
    own = [
        pa.field(each.name, _UNSIGNED if each.type == pa.uint64() else each.type)
        for each in arrow_schema(kind)
    ]
    return pa.schema([*identity, *own, pa.field(MONTH, pa.string())])


def _events(run: Run, kind: str) -> pa.Table:
    """Return a run's events by writer and number, in the published types."""
    table = read_kind(run.path, kind)
    given = {
        "run_id": pa.repeat(pa.scalar(run.run_id), len(table)),
        MONTH: pa.repeat(pa.scalar(month_of(run)), len(table)),
        "time": pc.divide(table["time_ns"], 1000).cast(_TIME.type),
    }
    return pa.table(
        [
            (given[each.name] if each.name in given else table[each.name]).cast(each.type)
            for each in _schema(kind)
        ],
        schema=_schema(kind),
    )


def _findings(runs_dir: Path, analysis_id: str) -> pa.Table:
    table = read_findings(runs_dir, analysis_id)
    month = pa.repeat(pa.scalar(f"{analysis_id[:4]}-{analysis_id[4:6]}"), len(table))
    return table.append_column(MONTH, month)


class Rows:
    """The rows of some sources, source by source; remembers one that could not be read."""

    def __init__(self, table: Published, sources: Sequence[Source]) -> None:
        self._table, self._sources = table, sources
        self.count = 0
        self.broken: tuple[Source, str] | None = None

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows as a stream, so that only those of one source are in memory."""
        batches = (batch for table in self._read() for batch in table.to_batches())
        return pa.RecordBatchReader.from_batches(self._table.schema, batches)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows as tables of many sources each."""
        read = self._read()
        while some := list(itertools.islice(read, _TOGETHER)):
            yield pa.concat_tables(some)

    def _read(self) -> Iterator[pa.Table]:
        for source in self._sources:
            try:
                rows = source.rows()
            except Exception as error:
                self.broken = source, f"{type(error).__name__}: {error}"
                raise
            self.count += len(rows)
            yield rows
