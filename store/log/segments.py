"""Arrow side of the log: record batches with checksums, live streams, sealed Parquet files.

A live segment is an Arrow IPC *stream* (the file format would need a footer that a killed process
never writes). Every batch carries the CRC-32 of its buffers in its custom metadata: without it two of
three flipped bits read back as wrong numbers in silence.
"""

import base64
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from thermograd.store.events import COMMON, KINDS, arrow_schema
from thermograd.store.files import NEW_FILE, segment_name, whole_file, write_whole
from thermograd.store.log.tail_codec import RecordCodec

UNREADABLE = (pa.ArrowException, OSError, ValueError)


class Damage(NamedTuple):
    """Where a file stops being readable, and why."""

    path: Path
    offset: int
    reason: str


class Sealed(NamedTuple):
    """What a sealed file gives: the rows of its leading whole row groups, how many these are, the damage."""

    table: pa.Table
    groups: int
    damage: Damage | None


def warm_up() -> None:
    """Pay for pyarrow's first array now; it may import pandas, which takes a fifth of a second."""
    pa.array([0.0, None], pa.float64())


def rows_to_batch(kind: str, rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Turn rows in column order into a record batch."""
    schema = arrow_schema(kind)
    values = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class TailRows(NamedTuple):
    """What a tail holds from some place on; but for the batch as `thermograd.store.log.tail_codec.Scan`."""

    batch: pa.RecordBatch
    end: int
    skipped: int
    ended: bool


def tail_rows(codec: RecordCodec, data: bytes, start: int, next_seq: int = 0) -> TailRows:
    """Turn the records of a tail of the current schema into a record batch, see `RecordCodec.scan`.

    Kinds of fixed size go through numpy: a loop over rows would keep the interpreter's lock for
    milliseconds, which the training thread would feel.
    """
    whole, end = _leading_records(codec, data, start) if codec.layout is not None else (None, start)
    if whole is None or not len(whole):
        found = codec.scan(data, start, next_seq)
        return TailRows(rows_to_batch(codec.kind, found.rows), *found[1:])
    place = np.arange(len(whole))
    seq = np.maximum.accumulate(np.maximum(whole["seq"] - place, next_seq)) + place
    batch = _records_to_batch(codec, whole, seq)
    if end == len(data):
        return TailRows(batch, end, 0, False)
    rest = codec.scan(data, end, int(seq[-1]) + 1)
    batch = pa.concat_batches([batch, rows_to_batch(codec.kind, rest.rows)])
    return TailRows(batch, *rest[1:])


def _leading_records(codec: RecordCodec, data: bytes, start: int) -> tuple[Any, int]:
    """Return the records of a fixed-size kind up to the first that is not whole, and where they end."""
    layout = np.dtype(codec.layout)
    assert layout.fields is not None
    records: Any = np.frombuffer(data, layout, count=(len(data) - start) // layout.itemsize, offset=start)
    view, frame = memoryview(data), layout.fields["mask"][1]
    ends = range(start + layout.itemsize, len(data) + 1, layout.itemsize)
    crcs = [zlib.crc32(view[end - layout.itemsize + frame : end]) for end in ends]
    bad = (records["size"] != layout.itemsize - frame) | (records["crc32"] != np.array(crcs, np.uint32))
    count = int(bad.argmax()) if bad.any() else len(records)
    return records[:count], start + count * layout.itemsize


def _records_to_batch(codec: RecordCodec, records: Any, seq: Any) -> pa.RecordBatch:
    schema = arrow_schema(codec.kind)
    arrays = [pa.array(seq, schema.field("seq").type)]
    for i, field in enumerate(schema):
        if field.name == "seq":
            continue
        null = (records["mask"] >> np.uint64(i)) & np.uint64(1) != 0
        arrays.append(pa.array(records[field.name], field.type, mask=null if field.nullable else None))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def compact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a part of a batch with buffers of its own, of which its checksum can be taken."""
    return pa.ipc.read_record_batch(batch.serialize(), batch.schema)


def _crc(batch: pa.RecordBatch) -> int:
    names = " ".join(f"{field.name}:{field.type}" for field in batch.schema)
    crc = zlib.crc32(f"{batch.num_rows} {names}".encode())
    for column in batch.columns:
        for buffer in column.buffers():
            crc = zlib.crc32(b"-" if buffer is None else buffer, crc)
    return crc


class SegmentFile:
    """One live Arrow stream file of one writer and kind, one ``write`` a batch.

    After any error it is of no use any more: what it holds stays readable, and the next batch begins
    another one (`abandon`).
    """

    def __init__(self, directory: Path, kind: str, first: int, run_id: str, writer: str) -> None:
        self.path = directory / segment_name(kind, first, "arrows")
        self.rows = 0
        self.size = 0
        self._opened_s = time.monotonic()
        self._sink = BytesIO()  # holds what the IPC writer produces until it goes to the file in one write
        self._writer = pa.ipc.new_stream(self._sink, arrow_schema(kind, run_id, writer))
        # A file of this name is of a try that failed: what it was to hold is still in its tail.
        self._handle = os.open(self.path, NEW_FILE, 0o644)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch, or raise OSError."""
        self._writer.write_batch(batch, custom_metadata={"crc32": str(_crc(batch))})
        self._drain()
        self.rows += batch.num_rows

    def _drain(self) -> None:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        write_whole(self._handle, data, self.size, self.path, "a batch of events")
        self.size += len(data)

    def sync(self) -> None:
        """Bring what was written to the disk."""
        os.fsync(self._handle)

    def is_full(self, max_rows: int, max_bytes: int, max_age_s: float) -> bool:
        """Return whether the next batch should start a new segment."""
        age_s = time.monotonic() - self._opened_s
        return self.rows >= max_rows or self.size >= max_bytes or age_s >= max_age_s

    def is_there(self) -> bool:
        """Return whether the file is still at its place."""
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self.path))
        except OSError:
            return False

    def close(self) -> None:
        """End the stream with Arrow's end mark."""
        self._writer.close()
        self._drain()
        os.fsync(self._handle)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it is. Never raises; not to be used afterwards."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):
                os.close(handle)
        if self.size == 0:
            with suppress(OSError):
                self.path.unlink()


def read_stream(path: Path) -> tuple[list[pa.RecordBatch], Damage | None]:
    """Read every whole, undamaged batch of a live stream, up to the first that is not.

    A stream without its end mark is normal: its writer runs, or was killed between two batches.
    """
    batches: list[pa.RecordBatch] = []
    data = path.read_bytes()
    source = pa.BufferReader(data)
    offset = 0
    try:
        reader = pa.ipc.open_stream(source)
        offset = source.tell()
        while True:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
            expected = (metadata or {}).get(b"crc32")
            if expected is None or int(expected) != _crc(batch):
                return batches, Damage(path, offset, "a batch does not match its checksum")
            batches.append(batch)
            offset = source.tell()
    except StopIteration:
        return batches, None
    except (*UNREADABLE, EOFError) as error:
        if offset == len(data):
            return batches, None
        return batches, Damage(path, offset, f"not a whole Arrow batch ({str(error).splitlines()[0]})")


def read_sealed(path: Path, kind: str) -> Sealed:
    """Read a sealed file with its checksums, up to the first row group that is not whole.

    Raises FileNotFoundError if the file is gone.
    """
    groups: list[pa.Table] = []
    offset = 0
    damage = None
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for number in range(file.num_row_groups):
                offset = _group_offset(file.metadata.row_group(number))
                groups.append(require_whole(file.read_row_group(number), file))
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        damage = Damage(path, offset, str(error).splitlines()[0])
    return Sealed(pa.concat_tables(groups or [arrow_schema(kind).empty_table()]), len(groups), damage)


def require_whole(group: pa.Table, file: pq.ParquetFile) -> pa.Table:
    """Return what was read of a row group, or raise `ValueError`: the footer itself has no checksum."""
    group.validate(full=True)
    schema = file.metadata.metadata.get(b"ARROW:schema") if file.metadata.metadata else None
    if (
        schema is None
        or pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema))).names != file.schema_arrow.names
    ):
        raise ValueError("the footer names other columns than were written")
    if any(group[column.name].null_count for column in COMMON if column.name in group.column_names):
        raise ValueError("an event has no number or no time")
    seq = group["seq"].to_numpy()
    if seq.size and (seq[-1] - seq[0] + 1 != seq.size or (np.diff(seq) != 1).any()):
        raise ValueError("events are missing in its middle")
    return group


def _group_offset(group: pq.RowGroupMetaData) -> int:
    first = group.column(0)
    return int(first.dictionary_page_offset if first.has_dictionary_page else first.data_page_offset)


def write_parquet(path: Path, table: pa.Table, kind: str) -> None:
    """Write a sealed file: atomically, with the encodings that suit the log, with page checksums.

    Raises OSError if it cannot be written; then nothing of it is left.
    """
    encodings = {
        "double": "BYTE_STREAM_SPLIT",
        "int64": "DELTA_BINARY_PACKED",
        "uint64": "DELTA_BINARY_PACKED",
    }
    types = {field.name: str(field.type) for field in table.schema}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, sync=True) as file:
        pq.write_table(
            table,
            file,
            compression="zstd",
            compression_level=1,
            row_group_size=122_880,
            use_dictionary=[c.name for c in KINDS[kind] if c.type == "string"],
            column_encoding={name: encodings[t] for name, t in types.items() if t in encodings},
            write_page_checksum=True,
        )
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames and unlinks in a directory durable, where the platform has a way."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
