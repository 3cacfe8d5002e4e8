"""Ways to damage a recorded file: what a torn disk, a wrong program or a person makes of it."""

import csv
import io
import random
import re
from collections.abc import Callable

_NUMBERS = (
    *(b"nan", b"-inf", b"1e999", b"-1", b"1e308", b"-0", b"0x7fffffffffffffff", b"9" * 400, b"1_000"),
    *(b"-9223372036854775809", b"18446744073709551616", b"4e-324", b"65535", b"1,5", b"\xd9\xa3"),
)
_WORDS = (
    *(b"\0", b"\xff", b'"', b"'", b"{", b"[", b"}", b"]", b"null", b"true", b",", b";", b"\t", b"\n", b"\r"),
    *(
        b'{"a":1}',
        b"[[[]]]",
        b"N/A",
        b"ERR!",
        "°".encode("latin-1"),
        "→😀".encode(),
        b"\x1b[31m",
        b"=",
        b"\\",
    ),
)
_TIMES = (
    *(b"9999-12-31T23:59:59Z", b"0001-01-01 00:00:00", b"2026-02-30T10:00:00", b"2026-11-24T25:61:61Z"),
    *(b"1e18", b"-62135596801", b"253402300800", b"1700000000000000000", b"0", b"2026-11-24T10:00:00+99:99"),
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_LONG = 100_000

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def _cut(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _behead(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data[rng.randrange(len(data) + 1) :]


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Go on in mid-line with another file."""
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _insert(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice((*_WORDS, *_NUMBERS)) + data[at + rng.choice((0, 0, 1, 8)) :]


def _flip(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Flip some bits."""
    damaged = bytearray(data)
    for _bit in range(rng.choice((1, 1, 4, 32)) if damaged else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _zeros(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Put zeros where a block was never written."""
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 16, 512))
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


def _number(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Put another number, or a time, in the place of one."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    match = rng.choice(found)
    return data[: match.start()] + rng.choice((*_NUMBERS, *_TIMES)) + data[match.end() :]


def _negative(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Make every number of a line negative."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = _NUMBER.sub(lambda match: b"-" + match[0], lines[at])
    return b"\n".join(lines)


def _encoded(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Write it in another encoding, or with what is in none."""
    text = data.decode("utf-8", "replace")
    encoding = rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "utf-8-sig", "cp500"))
    encoded = text.encode(encoding, "replace")
    return encoded if rng.random() < 0.8 else encoded + rng.choice((b"\xff", b"\x00", b"\xd8"))


def _line_ends(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\r\r\n", b"", b"\x85", b"\0\n")))


def _repeat(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Repeat a stretch of lines, or one of them very often."""
    lines = data.split(b"\n")
    begin = rng.randrange(len(lines))
    end = begin + rng.choice((1, 1, 3, len(lines)))
    return b"\n".join(lines[:end] + lines[begin:end] * rng.choice((1, 1, 2, 40)) + lines[end:])


def _drop(rng: random.Random, data: bytes, _: bytes) -> bytes:
    lines = data.split(b"\n")
    begin = rng.randrange(len(lines))
    return b"\n".join(lines[:begin] + lines[begin + rng.choice((1, 1, 3)) :])


def _shuffle(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Put the lines in another order: the header somewhere in the middle."""
    lines = data.split(b"\n")
    if rng.random() < 0.5:
        lines.insert(rng.randrange(len(lines)), lines.pop(0))
    else:
        rng.shuffle(lines)
    return b"\n".join(lines)


def _columns(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Swap, double, drop or empty a column, in all rows or from one on."""
    separator = rng.choice((",", ",", " ", "\t", "|"))
    lines = data.decode("latin-1").replace("\0", "").splitlines()
    rows = (
        list(csv.reader(lines, delimiter=separator)) if max(map(len, lines), default=0) < _LONG // 2 else []
    )
    width = max(map(len, rows), default=0)
    if width < 2:
        return data
    one, two, kind = rng.randrange(width), rng.randrange(width), rng.randrange(4)
    for row in rows[rng.choice((0, 0, 1, len(rows) // 2)) :]:
        if len(row) > max(one, two):
            _change_row(row, one, two, kind)
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("latin-1")


def _change_row(row: list[str], one: int, two: int, kind: int) -> None:
    if kind == 0:
        row[one], row[two] = row[two], row[one]
    elif kind == 1:
        row.insert(two, row[one])
    elif kind == 2:
        del row[one]
    else:
        row[one] = ""


def _other_time(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Put all times of one year into another."""
    years = [b"2026", b"2025", b"1700000", b"1763"]
    there = [year for year in years if year in data]
    return (
        data.replace(rng.choice(there), rng.choice((b"9999", b"0000", b"2100", b"1969"))) if there else data
    )


def _deep(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Nest JSON deeper than any reader goes, or make one value very long."""
    at = rng.randrange(len(data) + 1)
    bomb = rng.choice((b"[" * _LONG, b'{"a":' * _LONG, b"9" * _LONG, b'"' + b"a" * _LONG, b"(" * _LONG))
    return data[:at] + bomb + data[at:]


MUTATIONS: tuple[Mutation, ...] = (
    *(_cut, _behead, _splice, _insert, _flip, _flip, _zeros, _number, _number, _negative, _encoded),
    *(_line_ends, _repeat, _drop, _shuffle, _columns, _columns, _other_time, _deep),
)


def mutated(rng: random.Random, data: bytes, other: bytes) -> tuple[bytes, str]:
    """Return a damaged copy of a file, and in words how it came about; `other` is one to splice it with."""
    chosen = [rng.choice(MUTATIONS) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    for mutation in chosen:
        data = mutation(rng, data, other)
    return data, " + ".join(mutation.__name__.strip("_") for mutation in chosen)
