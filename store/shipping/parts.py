"""What of a run is to be shipped: its sealed files as they are, and what is in none of them as parts.

A part is a sealed file of the events that a live file holds so far; the writer is not disturbed. When the
log itself seals these events, that file follows, holds what the parts held, and takes their place.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from thermograd.store.errors import LogError
from thermograd.store.events import KINDS
from thermograd.store.files import Segment, open_file, sealed_segments
from thermograd.store.log.present.snapshots import snapshot
from thermograd.store.log.reading.numbering import pieces
from thermograd.store.log.seal import sealed_name, signed
from thermograd.store.log.segments import parquet_bytes, read_sealed

Range = tuple[int, int]  # first and last `seq`


class Part(NamedTuple):
    """A file to be shipped: its name below the run, its content, and what a manifest tells of it."""

    writer: str
    kind: str
    range: Range
    name: str
    data: bytes
    rows: int
    last_time_ns: int

    def facts(self) -> dict[str, object]:
        """Return what the manifest of its writer says."""
        return {
            "name": self.name,
            "bytes": len(self.data),
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "rows": self.rows,
            "last_time_ns": self.last_time_ns,
        }


class Found(NamedTuple):
    """What a run holds at one moment: its sealed files, and by writer and kind the events in none of them."""

    sealed: list[Segment]
    live: list[tuple[str, str, pa.Table]]


def look(run_dir: Path) -> Found:
    """Read what of a run is in no sealed file, then list these: nothing is missed while it is written to.

    Raises LogError where a kind takes far more memory than any log of its size.
    """
    live = [
        (writer, kind, table)
        for kind in KINDS
        for writer, table in snapshot(run_dir, kind).live.items()
        if len(table)
    ]
    return Found(sealed_segments(run_dir), live)


def name_of(segment: Segment) -> str:
    """Return the name of a sealed file below its run."""
    return f"sealed/{segment.kind}/{segment.path.name}"


def whole_part(segment: Segment) -> Part:
    """Return a sealed file as it is, read with its checksums. LogError where it is damaged."""
    sealed = read_sealed(segment.path, segment.kind)
    if sealed.damage is not None or not len(sealed.table):
        raise LogError(f"{segment.path} is damaged; thermograd verify tells more")
    with open_file(segment.path) as file:
        data = file.read()
    return _part(segment.writer, segment.kind, sealed.table, name_of(segment), data)


def readable_rows(segment: Segment) -> pa.Table:
    """Return what can be read of a sealed file that is damaged."""
    return read_sealed(segment.path, segment.kind).table


def new_parts(run_id: str, writer: str, kind: str, table: pa.Table) -> Iterator[Part]:
    """Iterate over the files that hold some events of a writer; the same events are the same bytes."""
    for piece in pieces(table):
        data = parquet_bytes(signed(piece.combine_chunks(), kind, run_id, writer), kind)
        yield _part(writer, kind, piece, f"sealed/{kind}/{sealed_name(writer, piece)}", data)


def _part(writer: str, kind: str, table: pa.Table, name: str, data: bytes) -> Part:
    seqs, times = table["seq"], table["time_ns"]
    span = (seqs[0].as_py(), seqs[-1].as_py())
    return Part(writer, kind, span, name, data, len(table), int(times.to_numpy().max()))


def rows_outside(table: pa.Table, ranges: Iterator[Range]) -> pa.Table:
    """Return the events whose numbers are in none of the ranges."""
    seq = table["seq"].to_numpy()
    is_new = np.ones(len(seq), bool)
    for first, last in ranges:
        if last < seq[0] or first > seq[-1]:
            continue
        is_new[np.searchsorted(seq, first) : np.searchsorted(seq, last, "right")] = False
    return table if is_new.all() else table.filter(pa.array(is_new))
