"""Rows of a CSV with any separator: commas, semicolons, tabulators or bars; with points or commas in numbers.

Which it is, the file's beginning says, or it is refused: ``1,234`` may be a thousand, or one and a bit.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from thermograd.ingest.importers.recording import Head
from thermograd.ingest.importers.tables.row import TableRow
from thermograd.ingest.importers.text_files import LeftOutError, cells_of, is_known, require_whole, text_lines
from thermograd.store.errors import ImportFormatError

SEPARATORS = (",", ";", "\t", "|")
_HEAD_LINES = 200
_WITH_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?", re.ASCII)
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)  # of thousands, or of a fraction
_SAYS_SEPARATOR = re.compile(r'"?sep=(.)"?', re.I)
_POINT_OF_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_WITH_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", re.ASCII)


def csv_rows(path: Path, fields: tuple[str, ...] = ()) -> Iterator[TableRow]:
    """Yield the rows below a header, or all rows, where `fields` names the columns."""
    separator = _separator(path, fields)
    comma = _has_decimal_commas(path, separator)
    header = list(fields)
    before = _before_header(_first_lines(path), bool(fields))
    for number, line in text_lines(path):
        if not line.strip():
            continue
        if before:
            before -= 1
            continue
        if not header:
            line = line.lstrip("# ")
        cells = cells_of(line, separator)
        if not header:
            header = _named_once(path, number, cells)
        else:
            yield _row(number, line, header, cells, comma)


def header_of(head: Head) -> list[str]:
    """Return the names in the first line of what may be a CSV; none where it is none."""
    lines = head.lines[:_HEAD_LINES]
    if not lines or "\0" in head.text or lines[0].startswith(("{", "[{")):
        return []
    lines = lines[_before_header(lines) :]
    lines[0] = lines[0].lstrip("# ")
    fitting = [s for s in SEPARATORS if _are_names(lines[0], s)]
    return cells_of(lines[0], fitting[0]) if fitting else []


def names_of_csv(path: Path) -> list[str]:
    """Return the names of the columns of a file."""
    text = "".join(_first_lines(path))
    return header_of(Head(text.encode(), text))


def _before_header(lines: list[str], has_fields: bool = False) -> int:
    """Return how many lines stand before the header: ``sep=;`` of Excel, comments; one of names may be it."""
    begin = int(bool(lines and _SAYS_SEPARATOR.fullmatch(lines[0].strip())))
    count = begin
    while count < len(lines) - 1 and lines[count].startswith("#"):
        count += 1
    if has_fields or count == begin:
        return count
    return count if any(_are_names(lines[count], s) for s in SEPARATORS) else count - 1


def _are_names(line: str, separator: str) -> bool:
    names = cells_of(line, separator)
    return len(names) > 1 and all(map(_is_name, names))


def _is_name(cell: str) -> bool:
    return bool(re.search(r"[^\W\d]", cell))


def _row(number: int, line: str, header: list[str], cells: list[str], comma: bool) -> TableRow:
    try:
        require_whole(line)
        if cells == header:
            raise LeftOutError("repeated header row")
        if len(cells) != len(header):
            raise LeftOutError("torn row: not as many cells as the header")
    except LeftOutError as error:
        return TableRow(number, line, error)
    values = {name: cell for name, cell in zip(header, cells, strict=True) if is_known(cell)}
    if comma:
        values = {n: c.replace(",", ".") if _WITH_COMMA.fullmatch(c) else c for n, c in values.items()}
    return TableRow(number, line, values)


def _named_once(path: Path, number: int, cells: list[str]) -> list[str]:
    twice = next((name for name, count in Counter(cells).items() if count > 1 and name), None)
    if twice is not None:
        raise ImportFormatError(f"{path}, row {number}: two columns have the name {twice}; give each its own")
    return cells


def _first_lines(path: Path) -> list[str]:
    lines = (line for _, line in text_lines(path) if line.strip())
    return [line for line, _ in zip(lines, range(_HEAD_LINES), strict=False)]


def _separator(path: Path, fields: tuple[str, ...]) -> str:
    """Return what stands between cells: the one with which the first rows have as many as the header."""
    lines = _first_lines(path)
    said = _SAYS_SEPARATOR.fullmatch(lines[0].strip()) if lines else None
    if said is not None and said[1] in SEPARATORS:
        return said[1]
    lines = lines[_before_header(lines, bool(fields)) :]
    counts = {s: [len(cells_of(line, s)) for line in lines] for s in SEPARATORS}
    columns = {s: len(fields) or n[0] for s, n in counts.items() if n and (len(fields) or n[0]) > 1}
    fitting = {s: sum(n == columns[s] for n in counts[s]) for s in columns}
    best = [s for s, rows in fitting.items() if rows == max(fitting.values()) and rows > 0]
    if len(best) == 1:
        return best[0]
    if not best:
        raise ImportFormatError(f"{path}: no table: its first row is one cell; allowed is {_ALLOWED}")
    raise ImportFormatError(
        f"{path}: {' and '.join(map(repr, best))} both split its rows evenly; allowed is {_ALLOWED}"
    )


_ALLOWED = "a CSV with one of , ; | or tabulators between its cells"


def _has_decimal_commas(path: Path, separator: str) -> bool:
    """Whether numbers have a comma before their fraction, by the cells of the first rows."""
    cells = [cell for line in _first_lines(path) if line[:1] != "#" for cell in cells_of(line, separator)]
    commas = [cell for cell in cells if _WITH_COMMA.fullmatch(cell)]
    points = [cell for cell in cells if _WITH_POINT.fullmatch(cell)]
    sure = [cell for cell in commas if not _EITHER.fullmatch(cell)]
    if separator == ";" and points and not sure and all(map(_POINT_OF_EITHER.fullmatch, points)):
        raise ImportFormatError(
            f"{path}: {points[0]} may be of thousands or a fraction, and no other number of the first "
            f"{_HEAD_LINES} rows shows which; write numbers without points of thousands, and ',' "
            "between cells"
        )
    if sure and points:
        raise ImportFormatError(
            f"{path}: numbers have a comma ({sure[0]}) and a point ({points[0]}); allowed is one of them"
        )
    if commas and not sure and not points:
        raise ImportFormatError(
            f"{path}: {commas[0]} may be of thousands or a fraction, and no other number of the first "
            f"{_HEAD_LINES} rows shows which; write numbers with a point and without commas"
        )
    return bool(sure)
