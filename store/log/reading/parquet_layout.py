"""What a Parquet file says about its sizes, read without decoding anything: footer and page headers.

A decoder allocates what it is told to, and a few kilobytes can tell it to allocate gigabytes; the footer may
lie about the pages, and Arrow ends the whole process over some footers. So a file of the log is decoded only
when it is laid out as thermograd lays it out. What is not raises `ValueError`.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

MOST_ROWS = 1 << 20  # of a row group (ours have 122,880 at most), and of a live file
MOST_COLUMNS = 512
MOST_GROUP_BYTES = 256 << 20  # decompressed, and again as rows
_MOST_GROUPS = 1 << 16
_MOST_FOOTER_BYTES = 4 << 20
_MOST_PAGE_BYTES = 64 << 20
_TINY_BYTES = 512  # of zstd: 16 MB at most, for it compresses to no less than 1 in 32,768
_TEXT = 6  # of Parquet's physical types
_CODECS = (0, 1, 6)  # none, snappy, zstd
_ENCODINGS = (0, 2, 3, 4, 5, 8, 9)  # of pages; not those in which a value is told by the one before it
_DATA, _DICTIONARY = 0, 2  # types of a page


class Chunk(NamedTuple):
    """One column of a row group: where it lies and how it is stored."""

    name: bytes
    start: int
    end: int
    codec: int
    of_texts: bool
    nulls: int | None


class RowGroup(NamedTuple):
    """One row group."""

    rows: int
    chunks: list[Chunk]


def row_groups(data: Any) -> list[RowGroup]:
    """Return the row groups of a Parquet file, a buffer, by its footer."""
    size = len(data)
    ending = bytes(data[max(0, size - 8) :])
    if size < 12 or ending[4:] != b"PAR1":
        raise ValueError("no Parquet footer at its end")
    length = struct.unpack("<I", ending[:4])[0]
    if length > min(_MOST_FOOTER_BYTES, size - 12):
        raise ValueError(f"a footer of {length} bytes")
    try:
        footer, _ = _struct(bytes(data[size - 8 - length : size - 8]), 0)
        if len(footer[2]) > MOST_COLUMNS + 1 or len(footer[4]) > _MOST_GROUPS:
            raise ValueError(f"{len(footer[2])} columns in {len(footer[4])} row groups")
        return [RowGroup(group[3], [_chunk(chunk, size) for chunk in group[1]]) for group in footer[4]]
    except (IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("a footer that is not whole") from error


def _chunk(column: dict[int, Any], size: int) -> Chunk:
    if 8 in column or 9 in column:
        raise ValueError("an encrypted column")
    told = column[3]
    start = min(told[9], told.get(11, told[9]))
    end = start + told[7]
    if not 4 <= start <= end <= size or len(told[3]) != 1:
        raise ValueError("a column that is not within the file")
    return Chunk(told[3][0], start, end, told[4], told[1] == _TEXT, told.get(12, {}).get(3))


def check_group(data: Any, group: RowGroup) -> None:
    """Refuse a row group that would not fit into bounded memory, whatever the footer says of it."""
    if not 0 <= group.rows <= MOST_ROWS:
        raise ValueError(f"a row group of {group.rows} rows")
    total = 0
    for chunk in group.chunks:
        if chunk.codec not in _CODECS:
            raise ValueError("a column in a compression that thermograd does not use")
        if chunk.of_texts or chunk.end - chunk.start > _TINY_BYTES:
            total += sum(_page_sizes(bytes(data[chunk.start : chunk.end])))
    if total > MOST_GROUP_BYTES:
        raise ValueError(f"a row group of {total >> 20} MB")


def _page_sizes(column: bytes) -> Iterator[int]:
    """Yield how large each page of a column is when decompressed."""
    at = 0
    try:
        while at < len(column):
            header, at = _struct(column, at)
            kind, size, stored = header[1], header[2], header[3]
            if not 0 <= size <= _MOST_PAGE_BYTES or stored < 0:
                raise ValueError(f"a page of {size >> 20} MB")
            if kind != _DICTIONARY and (kind != _DATA or header[5][2] not in _ENCODINGS):
                raise ValueError("a page in an encoding that thermograd does not use")
            at += stored
            yield size
    except (IndexError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("a page header that is not whole") from error


# Thrift's compact protocol, as far as Parquet's writers use it: 1 true, 2 false, 3 a byte, 4 to 6 integers,
# 8 bytes, 9 a list, 12 a struct.


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by number, and where it ends."""
    found: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        if head < 16:
            raise ValueError("a field that Parquet does not have")
        number += head >> 4
        found[number], at = _value(data, at + 1, head & 15)
    return found, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (4, 5, 6):
        value, at = _varint(data, at)
        return (value >> 1) ^ -(value & 1), at
    if kind == 8:
        size, at = _varint(data, at)
        return data[at : at + size], at + size
    if kind == 12:
        return _struct(data, at)
    if kind == 9:
        return _list(data, at)
    if kind == 3:
        return data[at], at + 1
    if kind in (1, 2):
        return kind == 1, at
    raise ValueError("a field of a type that Parquet does not use")


def _list(data: bytes, at: int) -> tuple[Sequence[Any], int]:
    size, kind = data[at] >> 4, data[at] & 15
    at += 1
    if size == 15:
        size, at = _varint(data, at)
    if kind < 3:
        raise ValueError("a list of a type that Parquet does not use")
    items = []
    for _ in range(size):
        item, at = _value(data, at, kind)
        items.append(item)
    return items, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number that is too long")
