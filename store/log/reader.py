"""Reading the event log: snapshots of live and sealed files, and following a run that is being written.

Order matters, because a writer moves its events from tail to Arrow stream to sealed file while we read:
the place an event leaves is read before the place it goes to, and what shows up twice is told by `seq`.
"""

import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from thermograd.store.errors import LogError
from thermograd.store.events import KINDS, Event, arrow_schema, column_names
from thermograd.store.files import Segment, open_segments, sealed_segments, sealed_stamps
from thermograd.store.log.records import RecordCodec, codec_of_tail, kind_codec
from thermograd.store.log.segments import (
    Damage,
    read_sealed,
    read_stream,
    require_whole,
    rows_to_batch,
    whole_records,
)

_log = logging.getLogger("thermograd")
_told: set[Path] = set()
_STAMP_COARSENESS_S = 2.0  # of the time at which a directory last changed, on the coarsest file system


class Snapshot(NamedTuple):
    """One kind of one run at one moment: sealed files, the rows that are in none of them, damage met."""

    sealed: list[Segment]
    live: dict[str, pa.Table]
    damage: list[Damage]


def tell(damage: Damage | None) -> None:
    """Say, once a file, that what follows a damaged place is not read."""
    if damage is not None and damage.path not in _told:
        _told.add(damage.path)
        _log.warning(
            "%s is damaged at byte %d (%s); only what is before was read. thermograd verify tells more",
            damage.path,
            damage.offset,
            damage.reason,
        )


def conform(table: pa.Table, kind: str) -> pa.Table:
    """Bring a table of an older or newer schema to the current columns: missing ones become null."""
    schema = arrow_schema(kind)
    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def read_tail(segment: Segment) -> tuple[pa.Table, Damage | None]:
    """Read every whole record of a tail; the rest, if any, is reported as damage.

    Raises
    ------
    FileNotFoundError
        If the writer has moved the tail's events on.
    """
    data = segment.path.read_bytes()
    empty = arrow_schema(segment.kind).empty_table()
    if kind_codec(segment.kind).header.startswith(data):  # killed before anything was acknowledged here
        return empty, None
    try:
        codec, offset = codec_of_tail(data)
    except LogError as error:
        return empty, Damage(segment.path, 0, str(error))
    if codec.layout is not None and codec is kind_codec(segment.kind):
        batch, end = whole_records(codec, data, offset)
    else:
        frames = list(codec.frames(data, offset))
        end = frames[-1][0] if frames else offset
        rows = [dict(zip(codec.names, row, strict=True)) for _, row in frames]
        names = column_names(segment.kind)
        batch = rows_to_batch(segment.kind, [tuple(row.get(name) for name in names) for row in rows])
    torn = len(data) - end
    damage = Damage(segment.path, end, f"torn record of {torn} bytes") if torn else None
    return pa.Table.from_batches([batch]), damage


def snapshot(run_dir: Path, kind: str, writer: str | None = None) -> Snapshot:
    """Read the live part of a kind and list its sealed part, each event exactly once.

    Parameters
    ----------
    run_dir
        The run's directory.
    kind
        Event kind.
    writer
        Only this writer, if given.
    """
    wanted = [kind] if writer is None else [kind, writer]
    parts: dict[str, list[pa.Table]] = {}
    damage: list[Damage] = []
    tails, streams = [], []
    for segment in _existing(open_segments(run_dir, "tail"), *wanted):
        with_missing = _read(read_tail, segment)
        if with_missing:
            tails.append((segment.writer, *with_missing))
    for segment in _existing(open_segments(run_dir, "arrows"), *wanted):
        read = _read(_read_stream_table, segment)
        if read:
            streams.append((segment.writer, *read))
    sealed = _existing(sealed_segments(run_dir, kind), *wanted)
    next_seq = {segment.writer: (segment.last or 0) + 1 for segment in sealed}
    for name, table, harm in streams + tails:
        if harm:
            damage.append(harm)
        fresh = table.filter(pc.field("seq") >= next_seq.get(name, 0)) if name in next_seq else table
        if len(fresh):
            parts.setdefault(name, []).append(fresh)
            next_seq[name] = fresh.column("seq")[-1].as_py() + 1
    return Snapshot(sealed, {name: pa.concat_tables(tables) for name, tables in parts.items()}, damage)


def _existing(segments: Iterable[Segment], kind: str, writer: str | None = None) -> list[Segment]:
    return [s for s in segments if s.kind == kind and (writer is None or s.writer == writer)]


def _read_stream_table(segment: Segment) -> tuple[pa.Table, Damage | None]:
    batches, damage = read_stream(segment.path)
    tables = [conform(pa.Table.from_batches([batch]), segment.kind) for batch in batches]
    return (pa.concat_tables(tables) if tables else arrow_schema(segment.kind).empty_table()), damage


def _read(function: Any, segment: Segment) -> tuple[pa.Table, Damage | None] | None:
    """Read a live file, or nothing where its events have just moved on to the next place."""
    try:
        result: tuple[pa.Table, Damage | None] = function(segment)
    except FileNotFoundError:
        return None
    return result


def read_kind(run_dir: Path, kind: str, writer: str | None = None, start: int = 0) -> pa.Table:
    """Read all events of a kind as one table with a `writer` column, by writer and `seq`.

    Parameters
    ----------
    run_dir, kind, writer
        Which events; every writer's by default.
    start
        Only events with ``seq >= start``.
    """
    current = snapshot(run_dir, kind, writer)
    tables: list[tuple[str, pa.Table]] = []
    for segment in current.sealed:
        if segment.last is not None and segment.last >= start:
            sealed = read_sealed(segment.path, kind)
            tell(sealed.damage)
            tables.append((segment.writer, conform(sealed.table, kind)))
    tables += current.live.items()
    tables.sort(key=lambda item: item[0])
    whole = [table.append_column("writer", pa.repeat(pa.scalar(name), len(table))) for name, table in tables]
    schema = arrow_schema(kind).append(pa.field("writer", pa.string())).remove_metadata()
    table = pa.concat_tables([t.replace_schema_metadata(None).cast(schema) for t in whole]) if whole else None
    if table is None:
        return schema.empty_table()
    return table.filter(pc.field("seq") >= start) if start else table


def kind_parts(run_dir: Path, kind: str) -> Iterator[pa.Table]:
    """Read a kind a part at a time, so that a long run need not be in memory twice.

    Yields
    ------
    pyarrow.Table
        As of `read_kind`, without the `writer` column; a column without a value has Arrow's null type.
    """
    current = snapshot(run_dir, kind)
    for segment in current.sealed:
        yield from _sealed_parts(segment)
    for table in current.live.values():
        yield _with_null_types(table, kind)


def _sealed_parts(segment: Segment) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(segment.path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                part = file.read_row_group(group, _filled_columns(file, group))
                yield _with_null_types(require_whole(part, file), segment.kind)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError):
        tell(read_sealed(segment.path, segment.kind).damage)


def _filled_columns(file: pq.ParquetFile, group: int) -> list[str]:
    """Return the columns of a row group that hold a value, as far as its statistics tell."""
    metadata = file.metadata.row_group(group)
    chunks = [metadata.column(place) for place in range(metadata.num_columns)]

    def is_empty(chunk: pq.ColumnChunkMetaData) -> bool:
        told = chunk.statistics
        return told is not None and told.has_null_count and told.null_count == metadata.num_rows

    return [chunk.path_in_schema for chunk in chunks if not is_empty(chunk)]


def _with_null_types(table: pa.Table, kind: str) -> pa.Table:
    """Bring a table to the current columns; those without a value get the type that takes no memory."""
    columns = {}
    for field in arrow_schema(kind):
        known = field.name in table.column_names and table.column(field.name).null_count < len(table)
        columns[field.name] = table.column(field.name).cast(field.type) if known else pa.nulls(len(table))
    return pa.table(columns)


def to_events(kind: str, table: pa.Table) -> list[Event]:
    """Turn a table with a `writer` column into events."""
    return [Event(kind, row.pop("writer"), row) for row in table.to_pylist()]


def _order(event: Event) -> tuple[int, str, str, int]:
    return event.values["time_ns"], event.writer, event.kind, event.values["seq"]


def events_in_order(run_dir: Path, kinds: Iterable[str] = tuple(KINDS)) -> list[Event]:
    """Read a run's events by (time, writer, kind, seq): the order in which a replay sees them."""
    events = [event for kind in kinds for event in to_events(kind, read_kind(run_dir, kind))]
    return sorted(events, key=_order)


@dataclass(slots=True)
class _Position:
    next_seq: int = 0
    tail: Path | None = None
    codec: RecordCodec | None = None
    offset: int = 0
    moved: tuple[tuple[str, int], ...] = ()


class Follower:
    """Reads each event of a run once, in order per writer and kind, while it is being written.

    Takes no lock and never writes. Works in another process than the writer's, and on finished runs.

    Parameters
    ----------
    run_dir
        The run's directory.
    kinds
        Kinds to read.
    last
        Begin with so many events of each writer and kind, at most, instead of with the first one.
    """

    def __init__(self, run_dir: Path, kinds: Iterable[str] = tuple(KINDS), last: int | None = None) -> None:
        self._last = last
        self._run_dir = run_dir
        self._kinds = frozenset(kinds)
        self._positions: dict[tuple[str, str], _Position] = {}
        self._sealed: list[Segment] = []
        self._stamps: tuple[tuple[str, int], ...] = ()
        self._stamps_since = -math.inf

    def poll(self) -> list[Event]:
        """Return the events that appeared since the last call, by (time, writer, kind, seq)."""
        tails: dict[tuple[str, str], list[Segment]] = {}
        for segment in open_segments(self._run_dir, "tail"):
            tails.setdefault((segment.writer, segment.kind), []).append(segment)
        moved: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for segment in open_segments(self._run_dir, "arrows") + self._list_sealed():
            entry = moved.setdefault((segment.writer, segment.kind), [])
            try:  # a sealed file never grows
                size = segment.path.stat().st_size if segment.last is None else 0
            except FileNotFoundError:
                continue
            entry.append((segment.path.name, size))
        events: list[Event] = []
        for key in sorted(tails.keys() | moved.keys()):
            if key[1] in self._kinds:
                events += self._poll_stream(*key, tails.get(key, []), tuple(moved.get(key, ())))
        return sorted(events, key=_order)

    def _list_sealed(self) -> list[Segment]:
        """List the sealed files anew only where there may be others: in a long run they are many."""
        stamps, now_s = sealed_stamps(self._run_dir), time.monotonic()
        if stamps != self._stamps:
            self._stamps, self._stamps_since = stamps, now_s
        if now_s - self._stamps_since <= _STAMP_COARSENESS_S or not self._sealed:
            self._sealed = sealed_segments(self._run_dir)
        return self._sealed

    def _poll_stream(
        self, writer: str, kind: str, tails: list[Segment], moved: tuple[tuple[str, int], ...]
    ) -> list[Event]:
        position = self._positions.setdefault((writer, kind), _Position())
        events: list[Event] = []
        if moved != position.moved and not any(
            t.first == position.next_seq or t.path == position.tail for t in tails
        ):
            events += self._catch_up(position, writer, kind)
        position.moved = moved
        for tail in tails:
            if tail.path == position.tail or tail.first <= position.next_seq:
                events += self._read_tail(position, tail)
        return events

    def _catch_up(self, position: _Position, writer: str, kind: str) -> list[Event]:
        table = read_kind(self._run_dir, kind, writer, position.next_seq)
        events = to_events(
            kind, table if self._last is None else table.slice(max(0, len(table) - self._last))
        )
        if events:
            position.next_seq = events[-1].values["seq"] + 1
        return events

    @staticmethod
    def _read_tail(position: _Position, tail: Segment) -> list[Event]:
        known = position.codec if position.tail == tail.path else None
        base = position.offset if known is not None else 0
        try:
            if tail.path.stat().st_size == base:
                return []
            with tail.path.open("rb") as file:
                file.seek(base)
                data = file.read()
            codec, start = (known, 0) if known is not None else codec_of_tail(data)
        except (FileNotFoundError, LogError):  # moved on, or its header is still being written
            return []
        events, end = [], start
        empty = dict.fromkeys(column_names(tail.kind))
        for end, row in codec.frames(data, start):  # noqa: B007 - the last end is where reading goes on
            values = empty | dict(zip(codec.names, row, strict=True))
            seq = int(row[0])
            if seq >= position.next_seq:
                events.append(Event(tail.kind, tail.writer, values))
                position.next_seq = seq + 1
        position.tail, position.codec, position.offset = tail.path, codec, base + end
        return events
