"""What there is of a kind of events at one moment, and how many: from names of files as far as these tell.

Sealed files are listed, not read. What reads the others (Arrow, numpy) is imported when there are any.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from thermograd.store.errors import LogError
from thermograd.store.files import Segment, has_open_folders, open_segments, sealed_segments
from thermograd.store.log.present.tails import TailEvents, fresh_events, tail_events, tails_pay
from thermograd.store.log.reading.damage import Damage, tell
from thermograd.store.log.reading.room import Room

if TYPE_CHECKING:
    import pyarrow as pa

_Read = tuple[Segment, "pa.Table", Damage | None]  # of a live file


class Snapshot(NamedTuple):
    """One kind of one run at one moment: sealed files, the rows that are in none of them, damage met."""

    sealed: list[Segment]
    live: "dict[str, pa.Table]"
    damage: list[Damage]


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

    is_open = has_open_folders(run_dir)  # what is begun after this look is not asked for
    tails, streams = (_read_live(run_dir, suffix, wanted) if is_open else [] for suffix in ("tail", "arrows"))
    sealed, overlapping = apart(list(filter(wanted, sealed_segments(run_dir, kind))))
    parts = {segment.writer: [table] for segment, table in merged(run_dir, overlapping)}
    next_seq = {segment.writer: (segment.last or 0) + 1 for segment in sorted(sealed + overlapping)}
    for (name, *_), table, _ in streams + tails:
        fresh = _from(table, next_seq.get(name, 0))
        if len(fresh):
            parts.setdefault(name, []).append(fresh)
            next_seq[name] = fresh.column("seq")[-1].as_py() + 1
    return Snapshot(sealed, _joined(parts), _damage(tails, streams))


def _read_live(run_dir: Path, suffix: str, wanted: Callable[[Segment], bool]) -> list[_Read]:
    segments = list(filter(wanted, open_segments(run_dir, suffix)))
    if not segments:
        return []
    from thermograd.store.log.present.one_file import read_segment

    found = []
    room = Room(f"{run_dir}/open", _paths(segments))
    for segment in reversed(segments):
        with suppress(FileNotFoundError):
            table, damage = read_segment(segment)
            found.append((segment, room.take(table), damage))
    return found[::-1]


def _from(table: "pa.Table", next_seq: int) -> "pa.Table":
    """Return the events, which are in order, from a number on."""
    if not len(table) or table["seq"][0].as_py() >= next_seq:
        return table
    from pyarrow.compute import greater_equal

    return table.filter(greater_equal(table["seq"], next_seq))


def _joined(parts: "dict[str, list[pa.Table]]") -> "dict[str, pa.Table]":
    if not parts:
        return {}
    from pyarrow import concat_tables

    return {name: concat_tables(tables) for name, tables in parts.items()}


def _damage(tails: list[_Read], streams: list[_Read]) -> list[Damage]:
    if not any(damage for _, _, damage in streams + tails):
        return []
    from thermograd.store.log.present.one_file import is_left_by_a_kill

    live = [segment for segment, _, _ in tails]
    return [
        d for segment, table, d in streams + tails if d and not is_left_by_a_kill(segment, table, d, live)
    ]


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


def merged(run_dir: Path, overlapping: list[Segment]) -> "Iterator[tuple[Segment, pa.Table]]":
    """Iterate over the events of overlapping files, the same event once, with a writer's first file."""
    if not overlapping:
        return
    from pyarrow import concat_tables
    from thermograd.store.log.reading.numbering import in_order

    room = Room(f"{run_dir}/sealed", _paths(overlapping))
    for _, group in groupby(sorted(overlapping), attrgetter("writer", "kind")):
        segments = list(group)
        table, _ = in_order(concat_tables([room.take(sealed_table(segment)) for segment in segments]))
        yield segments[0], table


def count_events(run_dir: Path, kind: str) -> int:
    """Return the number of events of a kind by the names of its sealed files, and the rows of the others."""
    return count_by_writer(run_dir, kind).total()


def count_by_writer(run_dir: Path, kind: str) -> Counter[str]:
    """Return the number of events of a kind of each writer that has any, as `count_events`."""
    live = _live_kinds(run_dir)
    sealed, overlapping = apart(sealed_segments(run_dir, kind))  # after: what is sealed meanwhile is in one
    counts: Counter[str] = Counter()
    told = told_by_tails(run_dir, kind) if kind in live and tails_pay() else None
    if told is not None:
        sealed = told.sealed
        counts.update({name: sum(len(events.rows) for events in of) for name, of in told.live.items()})
    elif overlapping or kind in live:
        with suppress(LogError):  # too many to be read: they are not counted
            current = snapshot(run_dir, kind)
            sealed = current.sealed
            counts.update({writer: len(table) for writer, table in current.live.items() if len(table)})
    for segment in sealed:
        counts[segment.writer] += (segment.last or 0) - segment.first + 1
    return counts


class Told(NamedTuple):
    """What a `Snapshot` tells, its live events as rows."""

    sealed: list[Segment]
    live: dict[str, list[TailEvents]]


def told_by_tails(run_dir: Path, kind: str) -> Told | None:
    """Return what `snapshot` does, without Arrow; None where tails and names of files do not tell it."""
    tails = tail_events(run_dir, kind)
    if tails is None:
        return None
    sealed, overlapping = apart(sealed_segments(run_dir, kind))
    return None if overlapping else Told(sealed, fresh_events(tails, sealed))


def _live_kinds(run_dir: Path) -> set[str]:
    if not has_open_folders(run_dir):
        return set()
    return {segment.kind for suffix in ("tail", "arrows") for segment in open_segments(run_dir, suffix)}


def sealed_table(segment: Segment) -> "pa.Table":
    """Read what is whole of a sealed file, and tell of what is not."""
    from thermograd.store.log.present.one_file import read_segment

    table, damage = read_segment(segment)
    tell(damage)
    return table


def _paths(segments: list[Segment]) -> Iterator[Path]:
    return (segment.path for segment in segments)
