"""What a run's steps ended with, read from the end of its log without the rest."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from thermograd.store.errors import LogError
from thermograd.store.files import Segment
from thermograd.store.log.present.snapshots import snapshot
from thermograd.store.log.reading.sealed_file import SealedFile
from thermograd.store.log.segments import UNREADABLE

_LOOKED_AT = 4096  # rows of a writer: a loss that is logged every so many steps is found


def last_values(run_dir: Path, kind: str, column: str) -> tuple[int | None, Any]:
    """Return the time of the last event of a kind, UTC epoch ns, and the last value of a column, or None.

    Of several ranks the value is the lowest rank's.
    """
    time_ns: int | None = None
    values = {}
    with suppress(LogError):  # it cannot be read; verify tells why
        for writer, rows in _ends(run_dir, kind, ("time_ns", "rank", column)):
            time_ns = max(filter(None, [time_ns, *_known(rows["time_ns"])]), default=None)
            last = _last(rows[column]) if column in rows.column_names else None
            if last is not None:
                rank = min(_known(rows["rank"]), default=0) if "rank" in rows.column_names else 0
                values[rank, writer] = last
    return time_ns, values[min(values)] if values else None


def _ends(run_dir: Path, kind: str, names: Collection[str]) -> Iterator[tuple[str, pa.Table]]:
    """Iterate over some columns of the last rows of each writer; an older file may lack one."""
    current = snapshot(run_dir, kind)
    last: dict[str, Segment] = {s.writer: s for s in current.sealed if s.writer not in current.live}
    for writer, rows in current.live.items():
        yield writer, _tail(rows)
    for writer, segment in last.items():
        with suppress(*UNREADABLE), SealedFile(segment.path, kind) as file:
            if file.groups:
                yield writer, _tail(file.read(file.groups - 1, names=names))


def _known(column: pa.ChunkedArray) -> list[int]:
    """Return the least and largest of whole numbers; pyarrow's own need a module that loads for long."""
    if column.null_count:
        known = [value for value in column.to_pylist() if value is not None]
    else:
        numbers = column.to_numpy()
        known = [int(numbers.min()), int(numbers.max())] if len(numbers) else []
    return [min(known), max(known)] if known else []


def _last(column: pa.ChunkedArray) -> Any:
    """Return the last value that is known; None for none."""
    if column.null_count == len(column):
        return None
    values = (column[place].as_py() for place in range(len(column) - 1, -1, -1))
    return next(value for value in values if value is not None)


def _tail(rows: pa.Table) -> pa.Table:
    return rows.slice(max(0, len(rows) - _LOOKED_AT))
