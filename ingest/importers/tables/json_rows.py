"""Rows of JSON Lines: an object a line."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from thermograd.ingest.importers.recording import Head
from thermograd.ingest.importers.tables.row import TableRow, flattened
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines

_BUILT = re.compile(r'"(?:[^"\\]|\\.)*"\s*:\s*(?:\{|null)?|\}')
_FIRST_LINES = 1000
_MOST_BUILT = 1 << 16


def json_rows(path: Path) -> Iterator[TableRow]:
    """Yield the objects of a file; what is nested has its path as name: ``train/loss``."""
    for number, line in text_lines(path):
        if line.strip():
            yield _row(number, line)


def _row(number: int, line: str) -> TableRow:
    try:
        values = json.loads(line)
        if not isinstance(values, dict):
            return TableRow(number, line, LeftOutError("torn row: a line that is not an object"))
        return TableRow(number, line, flattened(values))
    except (ValueError, RecursionError):
        pass
    try:
        require_whole(line)
    except LeftOutError as error:
        return TableRow(number, line, error)
    return TableRow(number, line, LeftOutError("torn row: broken JSON"))


def names_in(path: Path) -> Iterator[str]:
    """Yield the names in all of a file: of its lines only those are parsed that are built in another way."""
    seen: set[tuple[str, ...]] = set()
    for number, line in text_lines(path):
        built = tuple(_BUILT.findall(line))
        if built in seen:
            continue
        if len(seen) < _MOST_BUILT:
            seen.add(built)
        with suppress(LeftOutError):
            yield from _row(number, line).values


def keys_in(path: Path) -> set[str]:
    """Return the names in the first rows, also of what holds no value: lists, nulls."""
    keys: set[str] = set()
    for line in itertools.islice(text_lines(path), _FIRST_LINES):
        with suppress(ValueError, RecursionError):
            value = json.loads(line[1])
            keys.update(value if isinstance(value, dict) else ())
    return keys


def objects(head: Head) -> list[dict[str, object]]:
    """Return the objects of the first lines; none where the first is no object of its own."""
    found = []
    for line in head.lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            found.append(dict(flattened(value)))
        elif not found:
            return []
    return found
