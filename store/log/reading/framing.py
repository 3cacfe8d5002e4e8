"""What an Arrow stream says about its sizes, and whose it is, read before any of it is decoded.

Arrow allocates what a file tells it to, and a small file can hold a large one. A live stream has neither
compressed batches nor dictionaries, so that what is read of it is the file's own bytes and no more.
"""

import struct
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.ipc
from thermograd.store.events import arrow_schema
from thermograd.store.log.reading.parquet_layout import MOST_COLUMNS

_RECORD_BATCH = 3  # of Arrow's message types; 1 is a schema, 2 a dictionary
_HEADER_TYPE, _HEADER, _COMPRESSION, _BODY_SIZE = 1, 2, 3, 3  # slots of Arrow's flatbuffer tables
_FRAME_BYTES, _CONTINUES = 8, b"\xff\xff\xff\xff"  # before a message: this mark, and its table's size


def refused_message(data: bytes) -> tuple[int, str] | None:
    """Return the number of the first message of an Arrow stream that must not be decoded, and why.

    The schema is number 0. None where all may be; a torn one is found by who reads it.
    """
    number = 0
    try:
        for number, message in enumerate(pa.ipc.MessageReader.open_stream(pa.BufferReader(data))):
            if number:
                _check_message(message)
    except (pa.ArrowException, OSError, EOFError):
        return None
    except ValueError as error:
        return number, str(error)
    return None


def _check_message(message: pa.ipc.Message) -> None:
    """Refuse an Arrow message that is no plain record batch: its buffers are the file's own bytes then."""
    table = bytes(message.metadata)
    try:
        root = struct.unpack_from("<I", table)[0]
        kind = table[_slot(table, root, _HEADER_TYPE)]
        header = _slot(table, root, _HEADER)
        batch = header + struct.unpack_from("<I", table, header)[0]
        compressed = _slot(table, batch, _COMPRESSION) != batch
    except (struct.error, IndexError) as error:
        raise ValueError("an Arrow message is not whole") from error
    if kind != _RECORD_BATCH:
        raise ValueError("an Arrow message that is no batch; thermograd writes none")
    if compressed:
        raise ValueError("a compressed Arrow batch; thermograd writes none")


def _slot(table: bytes, at: int, number: int) -> int:
    """Return where a flatbuffer table at an offset has a field; the table's own offset where it has not."""
    vtable = at - struct.unpack_from("<i", table, at)[0]
    size = struct.unpack_from("<H", table, vtable)[0]
    place = 4 + 2 * number
    return at + (struct.unpack_from("<H", table, vtable + place)[0] if place < size else 0)


def is_cut(data: bytes, offset: int) -> bool:
    """Return whether an Arrow stream ends in the middle of the message that begins at a byte."""
    begin = offset + _FRAME_BYTES
    mark, size = data[offset : offset + 4], int.from_bytes(data[offset + 4 : begin], "little", signed=True)
    if begin > len(data):
        return _CONTINUES.startswith(mark)
    if mark != _CONTINUES or size <= 0:
        return False
    table = data[begin : begin + size]
    try:
        root = struct.unpack_from("<I", table)[0]
        at = _slot(table, root, _BODY_SIZE)
        body = 0 if at == root else int(struct.unpack_from("<q", table, at)[0])
    except (struct.error, IndexError):
        return len(table) < size
    return begin + size + body > len(data)


def check_columns(schema: pa.Schema, kind: str) -> None:
    """Refuse columns that are not those of a kind: of another type, twice, nested, or far too many."""
    names = schema.names
    if len(names) > MOST_COLUMNS or len(set(names)) != len(names):
        raise ValueError(f"{len(names)} columns, or one of them twice")
    ours = arrow_schema(kind)
    missing = [column for column in ours.names[:3] if column not in names]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}")
    for field in schema:
        expected = ours.field(field.name).type if field.name in ours.names else field.type
        if field.type != expected or not _is_plain(field.type):
            raise ValueError(f"a column of type {str(field.type)[:60]}, which thermograd does not write")


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind))


def check_owner(metadata: Mapping[bytes, bytes] | None, kind: str, writer: str) -> None:
    """Refuse a file whose own account of its kind and writer is another than its place in the run."""
    for name, place in (("kind", kind), ("writer", writer)):
        told = (metadata or {}).get(f"thermograd.{name}".encode())
        if told is not None and told != place.encode():
            raise ValueError(f"the file is of {name} {told[:80].decode('utf-8', 'replace')!r}")
