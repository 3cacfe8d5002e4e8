"""Arrow side of the log: record batches with checksums, live streams, sealed Parquet files.

A live segment is an Arrow IPC *stream* (the file format would need a footer that a killed process
never writes). Every batch carries the CRC-32 of its buffers in its custom metadata: without it two of
three flipped bits read back as wrong numbers in silence.
"""

import os
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from thermograd.store.errors import LogError
from thermograd.store.events import KINDS, arrow_schema
from thermograd.store.files import MOST_SEQ, read_file, whole_file
from thermograd.store.log.reading.damage import Damage
from thermograd.store.log.reading.framing import check_columns, check_owner, is_cut, refused_message
from thermograd.store.log.reading.numbering import in_order
from thermograd.store.log.reading.parquet_layout import MOST_ROWS
from thermograd.store.log.reading.room import Room
from thermograd.store.log.reading.sealed_file import SealedFile
from thermograd.store.log.tail_codec import RecordCodec

MOST_LIVE_BYTES = 256 << 20  # of a live file; ours have little more than 64 MB
_GROUP_ROWS = 122_880
# All of a row group: whoever reads one of its pages reads all. From 23 on, Arrow cuts pages of 20,000 rows
# where nothing else is asked for, which takes 8 % more bytes and a quarter more time to read.
_PAGES = {"max_rows_per_page": _GROUP_ROWS} if int(pa.__version__.partition(".")[0]) >= 23 else {}
UNREADABLE = (pa.ArrowException, OSError, ValueError, LookupError, OverflowError)


class Sealed(NamedTuple):
    """What a sealed file gives: the rows of its leading whole row groups, how many these are, the damage."""

    table: pa.Table
    groups: int
    damage: Damage | None


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
    is_torn: bool = False


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
    told = np.where(whole["seq"] < MOST_SEQ, whole["seq"], 0)
    seq = np.maximum.accumulate(np.maximum(told - place, next_seq)) + place
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
    records: Any = np.frombuffer(
        data, layout, count=min(MOST_ROWS, (len(data) - start) // layout.itemsize), offset=start
    )
    view, frame = memoryview(data), layout.fields["mask"][1]
    ends = range(start + layout.itemsize, start + len(records) * layout.itemsize + 1, layout.itemsize)
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


def _crc(batch: pa.RecordBatch) -> int:
    names = " ".join(f"{field.name}:{field.type}" for field in batch.schema)
    crc = zlib.crc32(f"{batch.num_rows} {names}".encode())
    for column in batch.columns:
        for buffer in column.buffers():
            crc = zlib.crc32(b"-" if buffer is None else buffer, crc)
    return crc


def read_stream(path: Path) -> tuple[list[pa.RecordBatch], Damage | None]:
    """Read every whole, undamaged batch of a live stream, up to the first that is not.

    A stream without its end mark is normal: its writer runs, or was killed between two batches.
    """
    batches: list[pa.RecordBatch] = []
    data = read_file(path, MOST_LIVE_BYTES)
    source = pa.BufferReader(data)
    offset = rows = 0
    refused, why = refused_message(data) or (0, "")
    try:
        reader = pa.ipc.open_stream(source)
        check_columns(reader.schema, path.name.partition("-")[0])
        check_owner(reader.schema.metadata, path.name.partition("-")[0], path.parent.name)
        offset = source.tell()
        while not refused or len(batches) < refused - 1:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
            expected = (metadata or {}).get(b"crc32")
            if expected is None or int(expected) != _crc(batch):
                return batches, Damage(path, offset, "a batch does not match its checksum")
            batch.validate(full=True)
            rows += batch.num_rows
            if rows > MOST_ROWS:
                raise ValueError(f"more than {MOST_ROWS} events")
            batches.append(batch)
            offset = source.tell()
        return batches, Damage(path, offset, why)
    except StopIteration:
        return batches, None
    except (*UNREADABLE, EOFError) as error:
        if offset == len(data):
            return batches, None
        reason = f"not a whole Arrow batch ({_first_line(error)})"
        return batches, Damage(path, offset, reason, is_cut(data, offset))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def read_sealed(path: Path, kind: str) -> Sealed:
    """Read a sealed file with its checksums, up to the first row group that is not whole.

    Raises FileNotFoundError if the file is gone.
    """
    groups: list[pa.Table] = []
    offset, damage, room = 0, None, Room(path.name, [path])
    try:
        with SealedFile(path, kind) as file:
            for number in range(file.groups):
                offset = file.offset(number)
                groups.append(room.take(file.read(number)))
    except FileNotFoundError:
        raise
    except (*UNREADABLE, LogError) as error:
        damage = Damage(path, offset, _first_line(error))
    table, wrong = in_order(pa.concat_tables(groups or [arrow_schema(kind).empty_table()]))
    return Sealed(table, len(groups), with_wrong_numbers(damage, path, wrong))


def with_wrong_numbers(damage: Damage | None, path: Path, wrong: str) -> Damage | None:
    """Return the damage of a file together with what was wrong with the numbers of its events."""
    if not wrong:
        return damage
    return damage._replace(reason=f"{damage.reason}; {wrong}") if damage else Damage(path, None, wrong)


def write_parquet(path: Path, table: pa.Table, kind: str) -> None:
    """Write a sealed file: atomically, with the encodings that suit the log, with page checksums.

    Raises OSError if it cannot be written; then nothing of it is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, sync=True) as file:
        _write_table(file, table, kind)
    sync_directory(path.parent)


def parquet_bytes(table: pa.Table, kind: str) -> bytes:
    """Return what `write_parquet` writes: the same events are the same bytes."""
    file = BytesIO()
    _write_table(file, table, kind)
    return file.getvalue()


def _write_table(file: IO[bytes], table: pa.Table, kind: str) -> None:
    texts = [column.name for column in KINDS[kind] if column.type == "string"]
    pq.write_table(table, file, row_group_size=_GROUP_ROWS, **parquet_options(table.schema, texts))


def parquet_options(schema: pa.Schema, texts: Sequence[str]) -> dict[str, Any]:
    """Return how events are written as Parquet; `texts`: columns of which few values are told apart."""
    encodings = {
        "double": "BYTE_STREAM_SPLIT",
        "int64": "DELTA_BINARY_PACKED",
        "uint64": "DELTA_BINARY_PACKED",
    }
    types = {field.name: str(field.type) for field in schema}
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": list(texts),
        "column_encoding": {name: encodings[t] for name, t in types.items() if t in encodings},
        "write_page_checksum": True,
        **_PAGES,
    }


def sync_directory(path: Path) -> None:
    """Make renames and unlinks in a directory durable, where the platform has a way."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
