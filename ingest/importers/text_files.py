"""Reading the text of imported files: lines, cells, numbers, JSON.

A row that cannot be trusted as a whole is left out and counted with the reason. An empty cell is null,
never 0. Files are data: nothing in them, names included, is ever used as a path or a command.
"""

import csv
import importlib
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from thermograd.store.errors import ImportFormatError, MissingExtraError
from thermograd.store.events import KINDS

_LONGEST_LINE = 1 << 20  # what has no line break for longer is no table; its pieces are left out
_BLOCK_BYTES = 4 << 20
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ANY_NUMBER = re.compile(rf"{_NUMBER.pattern}|[+-]?(nan|inf(inity)?)", re.ASCII | re.I)
_ABSENT = re.compile(r"\[?(|-+|nan|n/?a|null|none|not supported|not available)\]?", re.I)
_BOUNDS = {
    "utilization_pct": (0.0, 100.5, "%"),
    "temperature_c": (-50.0, 150.0, "degC"),
    "memory_temperature_c": (-50.0, 150.0, "degC"),
    "power_w": (0.0, 5000.0, "W"),
    "power_w_average": (0.0, 5000.0, "W"),
    "power_limit_w": (0.0, 5000.0, "W"),
    "fan_pct": (0.0, 200.0, "%"),
    "sm_clock_mhz": (0.0, 20_000.0, "MHz"),
    "memory_clock_mhz": (0.0, 50_000.0, "MHz"),
    "memory_used_bytes": (0.0, 2.0**50, "bytes"),
    "energy_j": (0.0, 1e15, "J"),
}
# What is called a device may be a node, a rack or a hall, where the format is not that of one vendor's cards.
_OF_ANY = dict.fromkeys(("power_w", "power_w_average", "power_limit_w"), (0.0, 1e8, "W"))
_BLANKS = frozenset({2.0**16 - 1, 2.0**31 - 1, 2.0**32 - 1})  # what firmware has for no power, in W or mW
_NOT_NEGATIVE = frozenset({"grad_norm", "max_grad_norm", "step_time_s"})
_FLAGS = {"true": 1, "false": 0, "yes": 1, "no": 0, "1": 1, "0": 0}
_WHOLE_OF_STEPS = frozenset({"tokens", "rank"})
WHOLE = frozenset(column.name for column in KINDS["sample"] if "int" in column.type)  # counters and masks


class LeftOutError(Exception):
    """A row is left out, for the reason it says, because of a value in it where it is one value's fault."""

    def __init__(self, reason: str, value: object = None) -> None:
        super().__init__(reason)
        self.value = value


def is_known(text: str) -> bool:
    """Whether a cell says anything: neither empty nor one of the words for *not available*."""
    return not _ABSENT.fullmatch(text.strip())


class NamedCell(str):
    """A cell that knows the name of its column: who reads it says by that what is taken from where."""

    column: str

    @classmethod
    def of(cls, text: str, column: str) -> "NamedCell":
        """Return a cell of a column."""
        cell = cls(text)
        cell.column = column
        return cell


class OddCellError(Exception):
    """A cell holds something else than a value: it is null, and its row is kept."""

    def __init__(self, text: object, why: str = "") -> None:
        super().__init__(text)
        self.text, self.why = text, why


def read_cell(
    name: str,
    text: str,
    factor: float = 1.0,
    convert: Callable[[float], float] | None = None,
    of_any: bool = False,
) -> float | int | None:
    """Read a column's value from a cell, None for one that is absent; OddCellError for anything else.

    `of_any`: the device may be anything, see `within`.
    """
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        if _ABSENT.fullmatch(text):
            return None
        raise OddCellError(text)
    number = float(text) * factor
    return within(name, convert(number) if convert is not None else number, text, of_any)


def within(name: str, value: float, text: object, of_any: bool = False) -> float | int | None:
    """Return a column's value, counters as whole numbers; OddCellError for one that no device has.

    `text` is what the file has; `of_any`: the device need be no card, but may be a node, or a rack of them.
    """
    bounds = _BOUNDS | _OF_ANY if of_any else _BOUNDS
    low, high, unit = bounds.get(name, (-math.inf, math.inf, ""))
    if name in _OF_ANY and (value in _BLANKS or 1000 * value in _BLANKS):
        raise OddCellError(text, ", which stands for no reading")
    if not math.isfinite(value) or not low <= value <= high:
        raise OddCellError(text, f", outside {low:g} to {high:g} {unit}" if unit else "")
    if name not in WHOLE:
        return float(value)
    if not 0 <= value < 2**62:
        raise OddCellError(text, ", which is no counter")
    return int(value)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Refuse a file that cannot be read."""
    try:
        yield
    except OSError as error:
        raise ImportFormatError(f"{path}: cannot be read ({error.strerror or error})") from error


class TextBlock(NamedTuple):
    """Many lines: the number of the first, their bytes, and how far in the file they end."""

    first: int
    data: bytes
    end: int

    @property
    def is_cut(self) -> bool:
        """Whether a line is longer than 1 MB, and is read in pieces."""
        at, size = 0, len(self.data)
        while size - at > _LONGEST_LINE:
            newline = self.data.rfind(b"\n", at, at + _LONGEST_LINE)
            if newline < 0:
                return True
            at = newline + 1
        return False


def text_blocks(path: Path) -> Iterator[TextBlock]:
    """Yield many lines at a time of a file that is not UTF-16; each line is whole."""
    with readable(path), path.open("rb") as file:
        number, data = 1, file.read(len(_BOM)).removeprefix(_BOM)
        while data := data + file.read(_BLOCK_BYTES):
            begun = (len(data) - 1 - data.rfind(b"\n")) % _LONGEST_LINE
            if begun:
                data += file.readline(_LONGEST_LINE - begun)
            block = TextBlock(number, data, file.tell())
            yield block
            number += _count_pieces(data) if block.is_cut else data.count(b"\n")
            data = b""


def _count_pieces(data: bytes) -> int:
    file = io.BytesIO(data)
    return sum(1 for _ in iter(lambda: file.readline(_LONGEST_LINE), b""))


def lines_of(
    path: Path, first: int, part: bytes | IO[bytes], fallback: str | None = None
) -> Iterator[tuple[int, str]]:
    """Yield the lines of a part of a file as `text_lines` does; `first` is the number of its first line."""
    return _utf8(path, io.BytesIO(part) if isinstance(part, bytes) else part, fallback, first - 1)


def is_utf16(path: Path) -> bool:
    """Return whether a file begins as UTF-16 text does."""
    with readable(path), path.open("rb") as file:
        return file.read(2) in _UTF16


def text_lines(path: Path, fallback: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield the number (from 1) and text of every line, without holding the file in memory.

    The file is UTF-8, with or without a byte order mark, or UTF-16 with one; `fallback` is the one-byte
    encoding of other lines, where the format has one. Without it they refuse the file.
    """
    with readable(path), path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        yield from _utf16(path, file) if start in _UTF16 else _utf8(path, file, fallback)


def _utf8(path: Path, file: IO[bytes], fallback: str | None, number: int = 0) -> Iterator[tuple[int, str]]:
    while line := file.readline(_LONGEST_LINE):
        number += 1
        data = line.removeprefix(_BOM) if number == 1 else line
        try:
            yield number, data.decode()
        except UnicodeDecodeError as error:
            if fallback is not None:
                yield number, data.decode(fallback, "replace")
                continue
            byte = data[error.start]
            raise ImportFormatError(
                f"{path}, row {number}: byte 0x{byte:02x} is not UTF-8 text; allowed is UTF-8, or UTF-16 "
                "with a byte order mark"
            ) from error


def _utf16(path: Path, file: io.BufferedReader) -> Iterator[tuple[int, str]]:
    number = 0
    text = io.TextIOWrapper(file, "utf-16", newline="\n")
    try:
        while line := text.readline(_LONGEST_LINE):
            number += 1
            yield number, line
    except UnicodeError as error:
        raise ImportFormatError(f"{path}, after row {number}: not UTF-16 text ({error})") from error
    finally:
        text.detach()


def require_whole(line: str) -> None:
    """Refuse a last line that has no end: its last number may be cut short."""
    if not line.endswith("\n"):
        raise LeftOutError("torn row: the file ends in mid-line")


def cells_of(line: str, separator: str = ",") -> list[str]:
    """Split one line; line by line, so that a torn quote cannot swallow the rows after it."""
    try:
        return [cell.strip() for cell in next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])]
    except csv.Error:  # a cell longer than csv's limit
        return [line[:100]]


def json_of(path: Path) -> Any:
    """Read a JSON file, or refuse it; NaN and Infinity are read as what they say."""
    text = "".join(line for _, line in text_lines(path))
    with readable_json(path):
        return json.loads(text)


@contextmanager
def readable_json(path: Path) -> Iterator[None]:
    """Refuse a file whose JSON cannot be read."""
    try:
        yield
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ImportFormatError(
            f"{path}, {where}: broken JSON ({error.msg}); allowed is a whole one"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ImportFormatError(
            f"{path}: JSON that cannot be read ({error}); allowed is one of ordinary depth and numbers"
        ) from error


def extra_module(path: Path, name: str) -> Any:
    """Import a module of a package that only some formats need, or raise MissingExtraError."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: this format is read with the package {name.partition('.')[0]}; "
            "install it with pip install 'thermograd[import]'"
        ) from error


def number_or_text(text: str) -> float | str:
    """Return the number that a text is, also one that is not finite; any other as it is."""
    try:
        return float(text) if "_" not in text else text
    except ValueError:
        return text


def whole_number(value: Any) -> int | None:
    """Return a JSON value as a whole number from 0 that a float can hold, too; None for any other."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53
    return value if fits else None


def flag(value: Any) -> float | None:
    """Return whether a value says yes or no, as 1 or 0; OddCellError for what is neither."""
    found = _FLAGS.get(str(value).strip().lower().removesuffix(".0"))
    if found is None:
        raise OddCellError(value)
    return found


def signal(name: str, value: float | None) -> float | None:
    """Return a step's value; OddCellError for a norm, a time or a count that is none."""
    if value is None:
        return None
    if name in _NOT_NEGATIVE and value < 0.0:
        raise OddCellError(value, ", below 0")
    if name == "skipped":
        return bool(value)
    if name in _WHOLE_OF_STEPS:
        if whole_number(value) is None:
            raise OddCellError(value, ", which is no whole number >= 0")
        return int(value)
    return value


def measure(value: Any) -> float | None:
    """Return a JSON value as a measurement: null as None, NaN and infinity as they are.

    OddCellError for what is no number, nor one written as text.
    """
    if value is None:
        return None
    try:
        is_number = not isinstance(value, str) or _ANY_NUMBER.fullmatch(value.strip())
        if is_number and isinstance(value, int | float | str) and not isinstance(value, bool):
            return float(value)
    except (OverflowError, ValueError):
        pass
    raise OddCellError(value)
