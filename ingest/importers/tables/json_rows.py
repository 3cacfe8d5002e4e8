"""Rows of JSON Lines: an object a line."""

import json
from collections.abc import Iterator
from pathlib import Path

from thermograd.ingest.importers.recording import Head
from thermograd.ingest.importers.tables.row import TableRow, flattened
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines


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


def objects(head: Head, most: int = 20) -> list[dict[str, object]]:
    """Return the objects of the first lines; none where the first is no object of its own."""
    found = []
    for line in head.lines[:most]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            found.append(dict(flattened(value)))
        elif not found:
            return []
    return found
