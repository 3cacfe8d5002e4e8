"""Reading the event log: snapshots of live and sealed files, and following a run that is being written.

Order matters, because a writer moves its events from tail to Arrow stream to sealed file while we read:
the place an event leaves is read before the place it goes to, and what shows up twice is told by `seq`.
"""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from thermograd.store.errors import LogError
from thermograd.store.events import KINDS, Event, arrow_schema, column_names
from thermograd.store.files import Segment, open_segments, sealed_segments, sealed_stamps
from thermograd.store.log.segments import (
    UNREADABLE,
    Damage,
    TailRows,
    read_sealed,
    read_stream,
    require_whole,
    rows_to_batch,
    tail_rows,
)
from thermograd.store.log.tail_codec import RecordCodec, codec_of_tail, kind_codec

_log = logging.getLogger("thermograd")
_told: set[Path] = set()
_STAMP_COARSENESS_S = 2.0  # of the time at which a directory last changed, on the coarsest file system


class Snapshot(NamedTuple):
    """One kind of one run at one moment: sealed files, the rows that are in none of them, damage met."""

    sealed: list[Segment]
    live: dict[str, pa.Table]
    damage: list[Damage]


def tell(damage: Damage | None) -> None:
    """Warn, once a file, that what follows a damaged place is not read."""
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

    Raises FileNotFoundError if the writer has moved the tail's events on.
    """
    data = segment.path.read_bytes()
    current = kind_codec(segment.kind)
    if current.header.startswith(data):  # killed before anything was acknowledged here
        return arrow_schema(segment.kind).empty_table(), None
    try:
        codec, offset = codec_of_tail(data)
    except LogError as error:
        return arrow_schema(segment.kind).empty_table(), Damage(segment.path, 0, str(error))
    if codec is current:
        found = tail_rows(codec, data, offset, segment.first)
    else:
        scan = codec.scan(data, offset, segment.first)
        rows = [dict(zip(codec.names, row, strict=True)) for row in scan.rows]
        batch = rows_to_batch(segment.kind, [tuple(map(row.get, current.names)) for row in rows])
        found = TailRows(batch, *scan[1:])
    torn = found.skipped + (0 if found.ended else len(data) - found.end)
    damage = Damage(segment.path, len(data) - torn, f"torn record of {torn} bytes") if torn else None
    return pa.Table.from_batches([found.batch]), damage


def read_segment(segment: Segment) -> tuple[pa.Table, Damage | None]:
    """Read what is whole of a file, and the damage after it; a live file is brought to the current columns.

    Raises FileNotFoundError if the events of a live file have just moved on to the next place.
    """
    if segment.path.suffix == ".tail":
        return read_tail(segment)
    if segment.path.suffix == ".parquet":
        sealed = read_sealed(segment.path, segment.kind)
        return sealed.table, sealed.damage
    batches, damage = read_stream(segment.path)
    tables = [conform(pa.Table.from_batches([batch]), segment.kind) for batch in batches]
    return pa.concat_tables(tables or [arrow_schema(segment.kind).empty_table()]), damage


def snapshot(run_dir: Path, kind: str, writer: str | None = None) -> Snapshot:
    """Read the live part of a kind and list its sealed part, each event once; of one writer, if given."""

    def wanted(segment: Segment) -> bool:
        return segment.kind == kind and writer in (None, segment.writer)

    tails, streams = (_read_live(run_dir, suffix, wanted) for suffix in ("tail", "arrows"))
    sealed = list(filter(wanted, sealed_segments(run_dir, kind)))
    next_seq = {segment.writer: (segment.last or 0) + 1 for segment in sealed}
    parts: dict[str, list[pa.Table]] = {}
    for name, table, _ in streams + tails:
        fresh = table.filter(pc.field("seq") >= next_seq[name]) if name in next_seq else table
        if len(fresh):
            parts.setdefault(name, []).append(fresh)
            next_seq[name] = fresh.column("seq")[-1].as_py() + 1
    damage = [harm for _, _, harm in streams + tails if harm]
    return Snapshot(sealed, {name: pa.concat_tables(tables) for name, tables in parts.items()}, damage)


def _read_live(
    run_dir: Path, suffix: str, wanted: Callable[[Segment], bool]
) -> list[tuple[str, pa.Table, Damage | None]]:
    found = []
    for segment in filter(wanted, open_segments(run_dir, suffix)):
        with suppress(FileNotFoundError):
            found.append((segment.writer, *read_segment(segment)))
    return found


def read_kind(run_dir: Path, kind: str, writer: str | None = None, start: int = 0) -> pa.Table:
    """Read all events of a kind as one table with a `writer` column, by writer and `seq`.

    Parameters
    ----------
    run_dir, kind, writer, start
        Which events; every writer's by default; only those with ``seq >= start``.
    """
    current = snapshot(run_dir, kind, writer)
    parts: list[tuple[str, pa.Table]] = []
    for segment in current.sealed:
        if segment.last is not None and segment.last >= start:
            table, damage = read_segment(segment)
            tell(damage)
            parts.append((segment.writer, conform(table, kind)))
    parts += current.live.items()
    parts.sort(key=itemgetter(0))
    schema = arrow_schema(kind).append(pa.field("writer", pa.string())).remove_metadata()
    tables = [
        pa.table([*table.columns, pa.repeat(pa.scalar(name), len(table))], schema=schema)
        for name, table in parts
    ]
    table = pa.concat_tables(tables or [schema.empty_table()])
    return table.filter(pc.field("seq") >= start) if start else table


def kind_parts(run_dir: Path, kind: str) -> Iterator[pa.Table]:
    """Read a kind a part at a time, so that a long run need not be in memory twice.

    Each is as of `read_kind`, without the `writer` column; a column without a value has Arrow's null type.
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
    except UNREADABLE:
        tell(read_sealed(segment.path, segment.kind).damage)


def _filled_columns(file: pq.ParquetFile, group: int) -> list[str]:
    """Return the columns of a row group that hold a value, as far as its statistics tell."""
    metadata = file.metadata.row_group(group)
    return [
        chunk.path_in_schema
        for chunk in map(metadata.column, range(metadata.num_columns))
        if (told := chunk.statistics) is None
        or not told.has_null_count
        or told.null_count != metadata.num_rows
    ]


def _with_null_types(table: pa.Table, kind: str) -> pa.Table:
    """Bring a table to the current columns; those without a value get the type that takes no memory."""
    return pa.table(
        {
            field.name: pa.nulls(len(table)) if column.null_count == len(table) else column
            for field, column in zip(arrow_schema(kind), conform(table, kind).columns, strict=True)
        }
    )


def _to_events(kind: str, table: pa.Table) -> list[Event]:
    return [Event(kind, row.pop("writer"), row) for row in table.to_pylist()]


def _order(event: Event) -> tuple[int, str, str, int]:
    return event.values["time_ns"], event.writer, event.kind, event.values["seq"]


def events_in_order(run_dir: Path, kinds: Iterable[str] = tuple(KINDS)) -> list[Event]:
    """Read a run's events by (time, writer, kind, seq): the order in which a replay sees them."""
    return sorted((e for kind in kinds for e in _to_events(kind, read_kind(run_dir, kind))), key=_order)


@dataclass(slots=True)
class _Position:
    next_seq: int = 0
    tail: Path | None = None
    codec: RecordCodec | None = None
    offset: int = 0
    tail_seq: int = 0  # of the record that comes at this offset, at least
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
        tails: dict[tuple[str, str], list[Segment]] = defaultdict(list)
        for segment in open_segments(self._run_dir, "tail"):
            tails[segment.writer, segment.kind].append(segment)
        moved: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
        for segment in open_segments(self._run_dir, "arrows") + self._list_sealed():
            with suppress(FileNotFoundError):  # a sealed file never grows
                size = segment.path.stat().st_size if segment.last is None else 0
                moved[segment.writer, segment.kind].append((segment.path.name, size))
        events: list[Event] = []
        for key in sorted(tails.keys() | moved.keys()):
            if key[1] in self._kinds:
                events += self._poll_stream(*key, tails[key], tuple(moved[key]))
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
        if self._last is not None:
            table = table.slice(max(0, len(table) - self._last))
        events = _to_events(kind, table)
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
        events, empty = [], dict.fromkeys(column_names(tail.kind))
        found = codec.scan(data, start, position.tail_seq if base else tail.first)
        for row in found.rows:
            seq = int(row[0])
            if seq >= position.next_seq:
                events.append(Event(tail.kind, tail.writer, empty | dict(zip(codec.names, row, strict=True))))
                position.next_seq = seq + 1
        if found.rows:
            position.tail_seq = found.rows[-1][0] + 1
        elif not base:
            position.tail_seq = tail.first
        position.tail, position.codec, position.offset = tail.path, codec, base + found.end
        return events
