"""Reading the event log: snapshots of live and sealed files.

Order matters, because a writer moves its events from tail to Arrow stream to sealed file while we read:
the place an event leaves is read before the place it goes to, and what shows up twice is told by `seq`.
"""

import heapq
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from thermograd.store.errors import LogError
from thermograd.store.events import COMMON, KINDS, Event, arrow_schema, column_names, event_order
from thermograd.store.files import Segment, open_segments, sealed_segments
from thermograd.store.log.one_file import (
    CHUNK_ROWS,
    is_left_by_a_kill,
    read_segment,
    read_tail as read_tail,
)
from thermograd.store.log.reading.numbering import in_order
from thermograd.store.log.reading.room import Room
from thermograd.store.log.reading.sealed_file import SealedFile
from thermograd.store.log.segments import UNREADABLE, Damage, read_sealed

_log = logging.getLogger("thermograd")
_told: set[Path] = set()


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
            "%s is damaged%s (%s); %s. thermograd verify tells more",
            damage.path,
            "" if damage.offset is None else f" at byte {damage.offset}",
            damage.reason,
            "all of it was read" if damage.offset is None else "only what is before was read",
        )


def snapshot(run_dir: Path, kind: str, writer: str | None = None) -> Snapshot:
    """Read the live part of a kind and list its sealed part, each event once; of one writer, if given.

    Raises LogError if what must be read takes far more memory than any log of that size.

    Notes
    -----
    Newest first: whatever is older than an event that was read is then read later, where it stands or
    where it has gone to. The other way round an event could be written and its file left while the file
    after it is opened: it would be missed, and its successors not.
    """

    def wanted(segment: Segment) -> bool:
        return segment.kind == kind and writer in (None, segment.writer)

    tails, streams = (_read_live(run_dir, suffix, wanted) for suffix in ("tail", "arrows"))
    sealed, overlapping = apart(list(filter(wanted, sealed_segments(run_dir, kind))))
    parts = {segment.writer: [table] for segment, table in merged(run_dir, overlapping)}
    next_seq = {segment.writer: (segment.last or 0) + 1 for segment in sorted(sealed + overlapping)}
    for (name, *_), table, _ in streams + tails:
        fresh = table.filter(pc.field("seq") >= next_seq[name]) if name in next_seq else table
        if len(fresh):
            parts.setdefault(name, []).append(fresh)
            next_seq[name] = fresh.column("seq")[-1].as_py() + 1
    in_tails = [segment for segment, _, _ in tails]
    damage = [h for segment, t, h in streams + tails if h and not is_left_by_a_kill(segment, t, h, in_tails)]
    return Snapshot(sealed, {name: pa.concat_tables(tables) for name, tables in parts.items()}, damage)


def _read_live(
    run_dir: Path, suffix: str, wanted: Callable[[Segment], bool]
) -> list[tuple[Segment, pa.Table, Damage | None]]:
    found = []
    segments = list(filter(wanted, open_segments(run_dir, suffix)))
    room = Room(f"{run_dir}/open", _paths(segments))
    for segment in reversed(segments):
        with suppress(FileNotFoundError):
            table, damage = read_segment(segment)
            found.append((segment, room.take(table), damage))
    return found[::-1]


def apart(sealed: list[Segment]) -> tuple[list[Segment], list[Segment]]:
    """Divide sealed files into those that share no event, by their names, with another, and the rest.

    Sealing cuts where a number stands twice; two hosts that seal one run at once write an event twice.
    """
    shared: set[Segment] = set()
    reaching: Segment | None = None  # of the files so far the one that goes furthest
    for segment in sorted(sealed):
        if reaching is None or reaching.writer != segment.writer or reaching.kind != segment.kind:
            reaching = segment
            continue
        if segment.first <= (reaching.last or 0):
            shared |= {reaching, segment}
        if (segment.last or 0) >= (reaching.last or 0):
            reaching = segment
    return [s for s in sealed if s not in shared], [s for s in sealed if s in shared]


def merged(run_dir: Path, overlapping: list[Segment]) -> Iterator[tuple[Segment, pa.Table]]:
    """Iterate over the events of overlapping files, the same event once, with a writer's first file."""
    room = Room(f"{run_dir}/sealed", _paths(overlapping))
    for _, group in groupby(sorted(overlapping), attrgetter("writer", "kind")):
        segments = list(group)
        table, _ = in_order(pa.concat_tables([room.take(_sealed_table(segment)) for segment in segments]))
        yield segments[0], table


def count_events(run_dir: Path, kind: str) -> int:
    """Return the number of events of a kind by the names of its sealed files, and the rows of the others."""
    return count_by_writer(run_dir, kind).total()


def count_by_writer(run_dir: Path, kind: str) -> Counter[str]:
    """Return the number of events of a kind of each writer that has any, as `count_events`."""
    live = {segment.kind for suffix in ("tail", "arrows") for segment in open_segments(run_dir, suffix)}
    sealed, overlapping = apart(
        sealed_segments(run_dir, kind)
    )  # only now: what is sealed meanwhile is in one
    counts: Counter[str] = Counter()
    if overlapping or kind in live:
        with suppress(LogError):  # too many to be read: they are not counted
            current = snapshot(run_dir, kind)
            sealed = current.sealed
            counts.update({writer: len(table) for writer, table in current.live.items() if len(table)})
    for segment in sealed:
        counts[segment.writer] += (segment.last or 0) - segment.first + 1
    return counts


def _paths(segments: list[Segment]) -> Iterator[Path]:
    return (segment.path for segment in segments)


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
    room = Room(f"{run_dir}/sealed/{kind}", _paths(current.sealed))
    parts: list[tuple[str, pa.Table]] = []
    for segment in current.sealed:
        if segment.last is not None and segment.last >= start:
            parts.append((segment.writer, room.take(_sealed_table(segment))))
    parts += current.live.items()
    parts.sort(key=lambda part: (part[0], part[1]["seq"][0].as_py() if len(part[1]) else 0))
    schema = arrow_schema(kind).append(pa.field("writer", pa.string())).remove_metadata()
    tables = [
        pa.table([*table.columns, pa.repeat(pa.scalar(name), len(table))], schema=schema)
        for name, table in parts
    ]
    table = pa.concat_tables(tables or [schema.empty_table()])
    return table.filter(pc.field("seq") >= start) if start else table


def _sealed_table(segment: Segment) -> pa.Table:
    table, damage = read_segment(segment)
    tell(damage)
    return table


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
    room = Room(f"{run_dir}/sealed/{kind}", _paths(current.sealed))
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
