"""What a place has of a run's sealed files: listed once a writer and kind, then by what is written."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.store.files import told_by_name
from thermograd.store.places.place import Place
from thermograd.store.shipping.parts import Part, Range

Written = Literal["written", "there", "another"]


class There:
    """The sealed files of one run at a place. The truth is what the place lists."""

    def __init__(self, place: Place, run_id: str) -> None:
        self.place, self.run_id = place, run_id
        self._sizes: dict[tuple[str, str], dict[str, int]] = {}

    def sizes(self, writer: str, kind: str) -> dict[str, int]:
        """Return the files of a writer and kind with their sizes in bytes. PlaceError if it is unknown."""
        key = writer, kind
        if key not in self._sizes:
            self._sizes[key] = dict(self._listed(writer, kind))
        return self._sizes[key]

    def ranges(self, writer: str, kind: str) -> Iterator[Range]:
        """Iterate over the numbers of events that the files hold, by their names."""
        return map(range_of, list(self.sizes(writer, kind)))

    def writers(self) -> list[str]:
        """Return the writers that were asked for."""
        return sorted({writer for writer, _ in self._sizes})

    def names(self, writer: str) -> dict[str, int]:
        """Return the files of a writer that are known to be there, with their sizes in bytes."""
        known = [files for (its, _), files in self._sizes.items() if its == writer]
        return {name: size for files in known for name, size in files.items()}

    def _listed(self, writer: str, kind: str) -> Iterator[tuple[str, int]]:
        below = f"{self.run_id}/sealed/{kind}"
        begin = f"{below}/{writer}-"
        for entry in self.place.list(below, after=begin):
            if not entry.name.startswith(begin):
                if entry.name > begin:
                    return
                continue
            told = told_by_name(entry.name.rpartition("/")[2])
            if told is not None and told[0] == writer:
                yield entry.name.removeprefix(f"{self.run_id}/"), entry.size_bytes

    def put(self, part: Part) -> Written:
        """Write a file that must not be there; where it is, say whether with the same events.

        PlaceError where the place cannot be reached or refuses: it may be there all the same.
        """
        name = f"{self.run_id}/{part.name}"
        written: Written = "written"
        if not self.place.put(name, part.data, create_only=True):  # perhaps by a request of ours that failed
            written = "there" if is_same(self.place.get(name), part) else "another"
        if written != "another":
            self.sizes(part.writer, part.kind)[part.name] = len(part.data)
        return written

    def delete(self, writer: str, kind: str, name: str) -> None:
        """Remove a file whose events another one holds."""
        self.place.delete(f"{self.run_id}/{name}")
        self.sizes(writer, kind).pop(name, None)

    def forget(self) -> None:
        """Let everything be listed again."""
        self._sizes.clear()


@lru_cache(maxsize=1 << 15)  # asked for every few seconds
def range_of(name: str) -> Range:
    """Return the numbers of the events of a file, by its name."""
    told = told_by_name(name.rpartition("/")[2])
    assert told is not None
    return told[1], told[2]


def is_same(content: bytes, part: Part) -> bool:
    """Return whether a file holds what a part holds: the same bytes, or the same events written otherwise."""
    if content == part.data:
        return True
    try:
        theirs, ours = (_events(data) for data in (content, part.data))
    except (pa.ArrowException, OSError, ValueError):
        return False
    return bool(theirs.equals(ours))


def _events(data: bytes) -> pa.Table:
    """Return the events of a file; numbers as their bits, for NaN is not equal to itself."""
    table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True).combine_chunks()
    columns = [
        pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())
        if pa.types.is_float64(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)
