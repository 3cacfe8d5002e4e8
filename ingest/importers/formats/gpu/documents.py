"""JSON documents one after the other in a file, as a tool that is run again and again appends them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.recording import Head
from thermograd.ingest.importers.text_files import LeftOutError, text_lines

_LONGEST = 1 << 24  # characters of one document
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_DECODER = json.JSONDecoder()


class Document(NamedTuple):
    """One of them, as text: where it begins."""

    line: int
    text: str

    def value(self) -> Any:
        """Return what it says; LeftOutError for what is broken."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise LeftOutError("torn entry: broken JSON") from error


class _Pile:
    """The lines of a document that has not ended."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.begins = 0
        self._open: list[str] = []
        self._size = 0

    def is_broken_by(self, line: str) -> bool:
        """Whether a line begins another document, so that this one was never ended."""
        again = line.startswith("{") and self._open[:1] == ["{"]
        return again or line.startswith("[{") or self._size > _LONGEST

    def add(self, number: int, line: str) -> bool:
        """Add a line; return whether the document ends with it."""
        if not self.lines:
            self.begins = number
        self.lines.append(line)
        self._size += len(line)
        for token in _TOKEN.findall(line):
            if token in ("{", "["):
                self._open.append(token)
            elif token in ("}", "]") and self._open:
                self._open.pop()
        return not self._open

    def take(self) -> Document:
        """Return the document and begin anew."""
        document = Document(self.begins, "".join(self.lines))
        self.lines, self._open, self._size = [], [], 0
        return document


def documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a file, broken ones and lines that are none as well."""
    pile = _Pile()
    for number, line in text_lines(path):
        if pile.lines and pile.is_broken_by(line):
            yield pile.take()
        if (pile.lines or line.strip()) and pile.add(number, line):
            yield pile.take()
    if pile.lines:
        yield pile.take()


def first_document(head: Head) -> Any:
    """Return the first document of a file's beginning; None where there is none, or it goes beyond."""
    start = head.text.find("{")
    if start < 0 or not head.text.startswith(("{", "[")):
        return None
    try:
        return _DECODER.raw_decode(head.text)[0]
    except (ValueError, RecursionError):
        return None
