"""Many lines of a CSV log at once: those that are cells between separators and nothing else, by column."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
from thermograd.ingest.importers.rows.identities import FACTORS, begun_key

_MOST_ODD = 0.2  # of the lines of a block: with more, it is read line by line
_NEWLINE, _FEWEST_COLUMNS = 10, 2


class Distinct(NamedTuple):
    """A column: its distinct texts, without blanks around them, and which one each row has."""

    texts: list[str]
    codes: np.ndarray


class PlainBlock(NamedTuple):
    """The plain lines of a block, and the numbers of the others, of which those that are blank are none."""

    first: int
    data: bytes
    numbers: np.ndarray
    columns: list[pa.ChunkedArray]
    odd: list[int]

    def line(self, number: int) -> str:
        """Return a line of the block."""
        return self.lines([number])[0]

    def lines(self, numbers: list[int]) -> list[str]:
        """Return some lines of the block."""
        starts = _starts(self.data)
        places = [(starts[number - self.first], starts[number - self.first + 1]) for number in numbers]
        return [self.data[begin:end].decode() for begin, end in places]

    def part(self, begin: int, end: int) -> bytes:
        """Return the lines from one number to before another."""
        starts = _starts(self.data)
        return self.data[starts[begin - self.first] : starts[end - self.first]]

    def texts(self, position: int) -> list[str]:
        """Return what a column's cells hold, row by row."""
        column = self.columns[position]
        texts = column.cast(pa.string()).to_pylist()
        return [text.strip() for text in texts]

    def distinct(self, position: int) -> Distinct:
        """Return a column by its distinct texts."""
        column = self.columns[position]
        column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        whole = column.combine_chunks()
        whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
        texts = [text.strip() for text in whole.dictionary.to_pylist()]
        return Distinct(texts, np.asarray(whole.indices))


def split_plain(
    data: bytes, first: int, columns: int, separator: str, long_texts: set[int]
) -> PlainBlock | None:
    """Split lines, of which the first has a number, into columns; None where they need a closer look.

    `long_texts`: columns in which nearly all texts differ.
    """
    if columns < _FEWEST_COLUMNS or not data.endswith(b"\n") or not _is_simple(data):
        return None
    rows = data.count(b"\n")
    table = _parsed(data, columns, separator, long_texts)
    if table is not None and len(table) == rows:
        return PlainBlock(first, data, np.arange(first, first + rows), table.columns, [])
    plain = _is_plain(data, columns, separator)
    odd = np.flatnonzero(~plain)
    if len(odd) > _MOST_ODD * rows:
        return None
    starts = _starts(data)
    kept = np.frombuffer(data, np.uint8)[np.repeat(plain, np.diff(starts))].tobytes()
    table = _parsed(kept, columns, separator, long_texts)
    if table is None or len(table) != plain.sum():
        return None
    return PlainBlock(first, data, first + np.flatnonzero(plain), table.columns, (first + odd).tolist())


def _is_simple(data: bytes) -> bool:
    """Whether text has no quotes, no returns but before the end of a line, and is UTF-8."""
    if b'"' in data or b"\0" in data or data.count(b"\r") != data.count(b"\r\n"):
        return False
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _starts(data: bytes) -> np.ndarray:
    """Return where each line begins, and where the last one ends."""
    return np.append(0, np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1)


def _is_plain(data: bytes, columns: int, separator: str) -> np.ndarray:
    """Return which lines have as many separators as they should."""
    marks = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(separator))
    return np.asarray(np.diff(np.searchsorted(marks, _starts(data))) == columns - 1)


def _parsed(data: bytes, columns: int, separator: str, long_texts: set[int]) -> pa.Table | None:
    names = [str(position) for position in range(columns)]
    few = pa.dictionary(pa.int32(), pa.string())
    types = {name: pa.string() if int(name) in long_texts else few for name in names}
    try:
        return pa.csv.read_csv(
            pa.BufferReader(data),
            pa.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            pa.csv.ParseOptions(delimiter=separator, quote_char=False),
            pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None


def keys_of(columns: list[Distinct | list[str]]) -> np.ndarray:
    """Return the key of each row (`rows.identities.key_of`) from its columns."""
    keys = np.uint64(begun_key(len(columns)))
    for column, factor in zip(columns, FACTORS, strict=False):
        texts = column.texts if isinstance(column, Distinct) else column
        hashes = np.fromiter(map(hash, texts), np.int64, len(texts)).view(np.uint64) * factor
        keys = keys + (hashes[column.codes] if isinstance(column, Distinct) else hashes)
    return np.asarray(keys)
