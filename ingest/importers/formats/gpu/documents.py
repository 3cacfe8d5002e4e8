"""JSON objects one after the other in a file, as a tool that is run again and again appends them."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from thermograd.ingest.importers.recording import Recording
from thermograd.ingest.importers.text_files import LeftOutError, text_lines

T = TypeVar("T")
_LONGEST = 1 << 24  # characters of one object
# A string that has no end in its line goes to the line's end: looked for once, not from every quote.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)


class Document(NamedTuple):
    """One of them, as text: where it begins."""

    line: int
    text: str

    def value(self) -> Any:
        """Return what it says; LeftOutError for what is broken."""
        if not self.text.startswith("{"):
            raise LeftOutError("a line that is no JSON")
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise LeftOutError("torn entry: broken JSON") from error


class _Pile:
    """The text of an object that has not ended."""

    def __init__(self) -> None:
        self.begins = 0
        self.parts: list[str] = []
        self._depth = 0
        self._size = 0

    def is_broken_by(self, line: str) -> bool:
        """Whether a line begins another document, so that this one was never ended."""
        return bool(self.parts) and (line[:1] in ("{", "[") or self._size > _LONGEST)

    def add(self, line: str, start: int) -> int | None:
        """Add a line from a place on; return where the object ends in it, None where it goes on."""
        for match in _TOKEN.finditer(line, start):
            if match[0] in ("{", "["):
                self._depth += 1
            elif match[0] in ("}", "]"):
                self._depth -= 1
                if not self._depth:
                    self.parts.append(line[start : match.end()])
                    return match.end()
        self.parts.append(line[start:])
        self._size += len(line)
        return None

    def take(self) -> Document:
        """Return the object and begin anew."""
        document = Document(self.begins, "".join(self.parts))
        self.parts, self._depth, self._size = [], 0, 0
        return document


def documents(path: Path) -> Iterator[Document]:
    """Yield the objects of a file, those of lists one by one; broken ones and other lines as well."""
    pile = _Pile()
    for number, line in text_lines(path):
        if pile.is_broken_by(line):
            yield pile.take()
        yield from _of_line(pile, number, line)
    if pile.parts:
        yield pile.take()


def entries_of(recording: Recording, parts: Callable[[Any], list[T]]) -> Iterator[tuple[int, T]]:
    """Yield the parts of each document with its line; what is broken, or `parts` refuses, is left out."""
    for document in documents(recording.path):
        try:
            found = parts(document.value())
        except LeftOutError as error:
            with recording.row(document.line, document.text[:200]):
                raise error
        else:
            yield from ((document.line, part) for part in found)


def _of_line(pile: _Pile, number: int, line: str) -> Iterator[Document]:
    """Yield the objects that end in a line."""
    place: int | None = 0
    while place is not None:
        if not pile.parts:
            place = _skipped(line, place)
            if place == len(line):
                return
            if line[place] != "{":
                yield Document(number, line[place:].strip())
                return
            pile.begins = number
        place = pile.add(line, place)
        if place is not None:
            yield pile.take()


def _skipped(line: str, place: int) -> int:
    """Return the place behind blanks and what stands between objects."""
    while place < len(line) and (line[place].isspace() or line[place] in "[],"):
        place += 1
    return place
