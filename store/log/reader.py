"""Reading the event log: snapshots of live and sealed files.

Order matters, because a writer moves its events from tail to Arrow stream to sealed file while we read:
the place an event leaves is read before the place it goes to, and what shows up twice is told by `seq`.
"""

import heapq
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from thermograd.store.events import COMMON, KINDS, Event, arrow_schema, column_names, event_order
from thermograd.store.files import Segment
from thermograd.store.log.present.one_file import CHUNK_ROWS, read_tail as read_tail
from thermograd.store.log.present.snapshots import sealed_table, snapshot
from thermograd.store.log.reading.damage import tell
from thermograd.store.log.reading.numbering import in_order
from thermograd.store.log.reading.room import Room
from thermograd.store.log.reading.sealed_file import SealedFile
from thermograd.store.log.segments import UNREADABLE, read_sealed


def read_kind(run_dir: Path, kind: str, writer: str | None = None, start: int = 0) -> pa.Table:
    """Read all events of a kind as one table with a `writer` column, by writer and `seq`.

    Parameters
    ----------
    run_dir, kind, writer, start
        Which events; every writer's by default; only those with ``seq >= start``.

    Raises
    ------
    LogError
        If they take far more memory than any log of that size.
    """
    current = snapshot(run_dir, kind, writer)
    room = Room(f"{run_dir}/sealed/{kind}", (segment.path for segment in current.sealed))
    parts: list[tuple[str, pa.Table]] = []
    for segment in current.sealed:
        if segment.last is not None and segment.last >= start:
            parts.append((segment.writer, room.take(sealed_table(segment))))
    parts += current.live.items()
    parts.sort(key=lambda part: (part[0], part[1]["seq"][0].as_py() if len(part[1]) else 0))
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
    return (part for _, part in writers_parts(run_dir, kind))


def writers_parts(
    run_dir: Path, kind: str, names: Collection[str] | None = None
) -> Iterator[tuple[str, pa.Table]]:
    """Read as `kind_parts`, with the writers' names: all columns, or `names` and those of all kinds."""
    names = column_names(kind) if names is None else {*(column.name for column in COMMON), *names}
    current = snapshot(run_dir, kind)
    room = Room(f"{run_dir}/sealed/{kind}", (segment.path for segment in current.sealed))
    for segment in current.sealed:
        for part in map(room.take, _sealed_parts(segment, names)):
            yield segment.writer, part
    for writer, table in current.live.items():
        yield writer, _with_null_types(table, kind, names)


def _sealed_parts(segment: Segment, names: Collection[str]) -> Iterator[pa.Table]:
    try:
        with SealedFile(segment.path, segment.kind) as file:
            for group in range(file.groups):
                part, _ = in_order(file.read(group, filled=True, names=names))
                yield _with_null_types(part, segment.kind, names)
    except FileNotFoundError:
        raise
    except UNREADABLE:
        tell(read_sealed(segment.path, segment.kind).damage)


def _with_null_types(table: pa.Table, kind: str, names: Collection[str]) -> pa.Table:
    """Bring a table to current columns; those without a value get the type that takes no memory."""
    there = {name for name in table.column_names if table[name].null_count < len(table)}
    return pa.table(
        {
            field.name: table[field.name].cast(field.type) if field.name in there else pa.nulls(len(table))
            for field in arrow_schema(kind)
            if field.name in names
        }
    )


def to_events(kind: str, table: pa.Table) -> list[Event]:
    """Return rows, with their `writer`, as events."""
    return [Event(kind, row.pop("writer"), row) for row in table.to_pylist()]


def events_in_order(run_dir: Path, kinds: Iterable[str] = tuple(KINDS)) -> list[Event]:
    """Read a run's events by (time, writer, kind, seq): the order in which a replay sees them."""
    return list(iterate_events(run_dir, kinds))


def iterate_events(run_dir: Path, kinds: Iterable[str] = tuple(KINDS)) -> Iterator[Event]:
    """Iterate over what `events_in_order` returns; only a part are Python's objects at a time."""
    return heapq.merge(*(_kind_in_order(run_dir, kind) for kind in kinds), key=event_order)


def _kind_in_order(run_dir: Path, kind: str) -> Iterator[Event]:
    table = read_kind(run_dir, kind)
    table = table.sort_by([(name, "ascending") for name in ("time_ns", "writer", "seq")])
    for start in range(0, len(table), CHUNK_ROWS):
        yield from to_events(kind, table.slice(start, CHUNK_ROWS))
