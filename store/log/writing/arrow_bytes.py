"""The log's Arrow streams, byte by byte, without Arrow: a training loads no library for its log.

To import pyarrow holds the interpreter's lock for tens of milliseconds at a time, in which no thread of the
training runs; and it takes as much memory as a small training. What is written here, any Arrow reads. A
message is a flatbuffer table, which says what it is, and the columns behind it.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from thermograd.store.events import COMMON, SCHEMA_VERSION, Column, columns

END_OF_STREAM = struct.pack("<iI", -1, 0)
_VERSION, _SCHEMA, _BATCH = 4, 1, 3  # Arrow's numbers: metadata version 5, types of messages
_INT, _FLOAT, _TEXT, _BOOL, _DOUBLE = 2, 3, 5, 6, 2  # and of types
_CODES = {"int64": "q", "uint64": "Q", "float64": "d"}
_NAMES = {"float64": "double"}  # Arrow's, where they are others than ours
_WIDTHS = {"": 4, "?": 1, "B": 1, "h": 2, "i": 4, "q": 8}  # of the values in a flatbuffer table, in bytes


class _Table(NamedTuple):
    """A flatbuffer table: of each field its number, its type's code ("": a part of its own), its value."""

    fields: Sequence[tuple[int, str, Any]]


class _Pairs(NamedTuple):
    """A vector of pairs of int64."""

    items: Sequence[tuple[int, int]]


def schema_message(kind: str, run_id: str, writer: str) -> bytes:
    """Return the beginning of a stream: the columns, and whose it is (`thermograd.store.events`)."""
    common = {column.name for column in COMMON}
    about = {
        "thermograd.kind": kind,
        "thermograd.schema_version": str(SCHEMA_VERSION),
        "thermograd.run_id": run_id,
        "thermograd.writer": writer,
    }
    fields = [_field(column, column.name not in common) for column in columns(kind)]
    schema = _Table([(0, "h", 0), (1, "", fields), (2, "", _key_values(about))])
    return _message(_SCHEMA, schema, (), {})


def batch_message(kind: str, rows: Sequence[Sequence[Any]], pause: Callable[[], object]) -> bytes:
    """Return rows in column order as one record batch with its checksum; `pause` is called now and then."""
    parts: list[bytes | None] = []  # the columns' buffers; None where no value is null
    nodes: list[tuple[int, int]] = []
    for place, column in enumerate(columns(kind)):
        nulls, buffers = _column(column.type, list(map(itemgetter(place), rows)))
        nodes.append((len(rows), nulls))
        parts += buffers
        pause()
    names = " ".join(f"{column.name}:{_NAMES.get(column.type, column.type)}" for column in columns(kind))
    crc, offset, places = zlib.crc32(f"{len(rows)} {names}".encode()), 0, []
    for part in parts:
        crc = zlib.crc32(b"-" if part is None else part, crc)
        size = len(part or b"")
        places.append((offset, size))
        offset += size + -size % 8
    pause()
    batch = _Table([(0, "q", len(rows)), (1, "", _Pairs(nodes)), (2, "", _Pairs(places))])
    return _message(_BATCH, batch, [part for part in parts if part], {"crc32": str(crc)})


_ZERO: dict[str, Any] = {"int64": 0, "uint64": 0, "float64": 0.0, "bool": False, "string": ""}


def _column(of: str, values: list[Any]) -> tuple[int, list[bytes | None]]:
    """Return how many values of a column are null, and its buffers, the first None if there are none such."""
    known = [value for value in values if value is not None]
    nulls = len(values) - len(known)
    if not nulls:
        return 0, [None, *_buffers(of, values)]
    if not known:
        return nulls, [bytes((nulls + 7) // 8), *_buffers(of, [_ZERO[of]] * nulls)]
    filled = [_ZERO[of] if value is None else value for value in values]
    return nulls, [_bits([value is not None for value in values]), *_buffers(of, filled)]


def _buffers(of: str, values: Sequence[Any]) -> list[bytes]:
    """Return the buffers of a column without nulls."""
    if of == "bool":
        return [_bits(values)]
    if of != "string":
        return [struct.pack(f"<{len(values)}{_CODES[of]}", *values)]
    texts = [value.encode() for value in values]
    end, ends = 0, [0]
    for text in texts:
        end += len(text)
        ends.append(end)
    return [struct.pack(f"<{len(ends)}i", *ends), b"".join(texts)]


def _bits(flags: Sequence[Any]) -> bytes:
    """Return a bit a flag, the first the lowest of its byte."""
    text = "".join(["1" if flag else "0" for flag in reversed(flags)])
    return int(text, 2).to_bytes((len(flags) + 7) // 8, "little")


def _field(column: Column, is_nullable: bool) -> _Table:
    kinds = {
        "int64": (_INT, [(0, "i", 64), (1, "?", True)]),
        "uint64": (_INT, [(0, "i", 64), (1, "?", False)]),
        "float64": (_FLOAT, [(0, "h", _DOUBLE)]),
        "bool": (_BOOL, []),
        "string": (_TEXT, []),
    }
    number, facts = kinds[column.type]
    of = [(2, "B", number), (3, "", _Table(facts)), (5, "", [])]
    return _Table([(0, "", column.name), (1, "?", is_nullable), *of])


def _key_values(facts: dict[str, str]) -> list[_Table]:
    return [_Table([(0, "", key), (1, "", value)]) for key, value in facts.items()]


def _message(kind: int, header: _Table, body: Sequence[bytes], facts: dict[str, str]) -> bytes:
    """Return a message: its table and, each filled up to eight bytes, the buffers of its body."""
    filled = b"".join(part + bytes(-len(part) % 8) for part in body)
    about = [(0, "h", _VERSION), (1, "B", kind), (2, "", header), (3, "q", len(filled))]
    table = bytearray(4)
    struct.pack_into("<I", table, 0, _put(table, _Table([*about, (4, "", _key_values(facts))])))
    table += bytes(-len(table) % 8)
    return struct.pack("<iI", -1, len(table)) + bytes(table) + filled


def _put(out: bytearray, part: "_Table | _Pairs | str | list[_Table]") -> int:
    """Put a part of a flatbuffer, and what belongs to it, behind what there is; return where it is."""
    if isinstance(part, _Table):
        return _put_table(out, part)
    if isinstance(part, str):
        text = part.encode()
        out += bytes(-len(out) % 4)
        at = len(out)
        out += struct.pack("<I", len(text)) + text + b"\0"
        return at
    out += bytes((4 - len(out)) % 8)
    at = len(out)
    if isinstance(part, _Pairs):
        out += struct.pack(
            f"<I{2 * len(part.items)}q", len(part.items), *(n for item in part.items for n in item)
        )
        return at
    out += struct.pack("<I", len(part)) + bytes(4 * len(part))
    for number, item in enumerate(part, 1):
        _refer(out, at + 4 * number, item)
    return at


def _put_table(out: bytearray, table: _Table) -> int:
    """Put a table: before it the places of its fields, in it the widest first, so that each is aligned."""
    slots = [0] * (1 + max((number for number, _, _ in table.fields), default=-1))
    places, size = [], 4
    for number, code, value in sorted(table.fields, key=lambda field: -_WIDTHS[field[1]]):
        slots[number] = size
        places.append((size, code, value))
        size += _WIDTHS[code]
    before = 4 + 2 * len(slots)
    out += bytes((4 - before - len(out)) % 8)
    out += struct.pack(f"<{2 + len(slots)}H", before, size, *slots)
    at = len(out)
    out += struct.pack("<i", before) + bytes(size - 4)
    for place, code, value in places:
        if code:
            struct.pack_into("<" + code, out, at + place, value)
    for place, code, value in places:
        if not code:
            _refer(out, at + place, value)
    return at


def _refer(out: bytearray, at: int, part: Any) -> None:
    """Put a part behind what there is and its distance to a place there."""
    struct.pack_into("<I", out, at, _put(out, part) - at)
