"""What a run's steps ended with, read from the end of its log without the rest.

Where all that counts stands in tails, Arrow, which takes long to load, is not needed.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from thermograd.store.errors import LogError
from thermograd.store.files import Segment, has_open_folders
from thermograd.store.log.present.snapshots import snapshot, told_by_tails
from thermograd.store.log.present.tails import TailEvents, tails_pay

if TYPE_CHECKING:
    import pyarrow as pa

_LOOKED_AT = 4096  # rows of a writer: a loss that is logged every so many steps is found


class _End(NamedTuple):
    """The end of a writer's events: least and largest time and rank, where known, and the last value."""

    writer: str
    times_ns: Sequence[int]
    ranks: Sequence[int]
    value: Any


def last_values(run_dir: Path, kind: str, column: str) -> tuple[int | None, Any]:
    """Return the time of the last event of a kind, UTC epoch ns, and the last value of a column, or None.

    Of several ranks the value is the lowest rank's.
    """
    time_ns: int | None = None
    values = {}
    with suppress(LogError):  # it cannot be read; verify tells why
        for end in _ends_of_tails(run_dir, kind, column) or _ends(run_dir, kind, column):
            time_ns = max(filter(None, [time_ns, *end.times_ns]), default=None)
            if end.value is not None:
                values[min(end.ranks, default=0), end.writer] = end.value
    return time_ns, values[min(values)] if values else None


def _ends_of_tails(run_dir: Path, kind: str, column: str) -> list[_End]:
    """Return the ends of all writers, none where Arrow has to read more than tails for them."""
    told = told_by_tails(run_dir, kind) if tails_pay() and has_open_folders(run_dir) else None
    if told is None or any(segment.writer not in told.live for segment in told.sealed):
        return []
    return [_end_of_rows(writer, parts, column) for writer, parts in told.live.items()]


def _end_of_rows(writer: str, parts: Iterable[TailEvents], column: str) -> _End:
    names = ("time_ns", "rank", column)
    rows = [
        tuple(map(dict(zip(part.names, row, strict=True)).get, names))
        for part in parts
        for row in part.rows[-_LOOKED_AT:]
    ][-_LOOKED_AT:]
    times_ns, ranks, values = ([value for value in of if value is not None] for of in zip(*rows, strict=True))
    return _End(writer, _around(times_ns), _around(ranks), values[-1] if values else None)


def _around(known: Sequence[int]) -> list[int]:
    return [min(known), max(known)] if known else []


def _ends(run_dir: Path, kind: str, column: str) -> Iterator[_End]:
    """Iterate over the ends of all writers; an older file may lack a column."""
    for writer, rows in _tables(run_dir, kind, ("time_ns", "rank", column)):
        there = rows.column_names
        ranks = _known(rows["rank"]) if "rank" in there else []
        yield _End(writer, _known(rows["time_ns"]), ranks, _last(rows[column]) if column in there else None)


def _tables(run_dir: Path, kind: str, names: Collection[str]) -> "Iterator[tuple[str, pa.Table]]":
    """Iterate over some columns of the last rows of each writer."""
    current = snapshot(run_dir, kind)
    last: dict[str, Segment] = {s.writer: s for s in current.sealed if s.writer not in current.live}
    for writer, rows in current.live.items():
        yield writer, _tail(rows)
    if not last:
        return
    from thermograd.store.log.reading.sealed_file import SealedFile
    from thermograd.store.log.segments import UNREADABLE

    for writer, segment in last.items():
        with suppress(*UNREADABLE), SealedFile(segment.path, kind) as file:
            if file.groups:
                yield writer, _tail(file.read(file.groups - 1, names=names))


def _known(column: "pa.ChunkedArray") -> list[int]:
    """Return the least and largest of whole numbers; pyarrow's own need a module that loads for long."""
    if column.null_count:
        return _around([value for value in column.to_pylist() if value is not None])
    numbers = column.to_numpy()
    return [int(numbers.min()), int(numbers.max())] if len(numbers) else []


def _last(column: "pa.ChunkedArray") -> Any:
    """Return the last value that is known; None for none."""
    if column.null_count == len(column):
        return None
    values = (column[place].as_py() for place in range(len(column) - 1, -1, -1))
    return next(value for value in values if value is not None)


def _tail(rows: "pa.Table") -> "pa.Table":
    return rows.slice(max(0, len(rows) - _LOOKED_AT))
