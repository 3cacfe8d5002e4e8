"""A table that a tool prints as it goes: cells apart by blanks or commas, headings again every screenful."""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines
from thermograd.ingest.importers.timezones import Moment

_APART = re.compile(r"[,\s]+")


def words(line: str) -> list[str]:
    """Split a line at blanks and commas."""
    return [word for word in _APART.split(line.strip()) if word]


class Scrolled(ABC):
    """Such a table while it is read; a tool is a subclass with `names`, `row` and the columns it knows."""

    known: ClassVar[dict[str, tuple[str, float]]]  # event column and factor to its unit, by the tool's name
    dates: ClassVar[frozenset[str]] = frozenset()  # with these, rows that are alike are one
    named: ClassVar[frozenset[str]] = frozenset()  # columns that say when and of what a row is

    def __init__(self, paths: tuple[Path, ...], form: Format, hints: Hints) -> None:
        self.recording = Recording(paths, "sample", form.name, hints=hints)
        self.hints = hints
        self.columns: list[str] = []
        self._taken: dict[str, tuple[str, float]] = {}
        if hints.fields:
            self._begin([name.lower() for name in hints.fields])

    @classmethod
    @abstractmethod
    def names(cls, line: str) -> list[str] | None:
        """Return the columns that a heading names; None for any other line."""

    @staticmethod
    def is_remark(line: str) -> bool:
        """Whether a line is neither heading nor row: units, a rule."""
        return line.startswith("#")

    @classmethod
    def taken(cls, _: list[str]) -> dict[str, tuple[str, float]]:
        """Return what is taken from the columns of a heading."""
        return cls.known

    def split(self, line: str) -> list[str]:
        """Return the cells of a row."""
        return words(line)

    @abstractmethod
    def row(self, named: dict[str, str]) -> tuple[str, Moment]:
        """Return a row's device and time, or raise LeftOutError."""

    def read(self) -> list[Recording]:
        """Read the file: every row is counted, and kept or left out with a reason."""
        for number, line in text_lines(self.recording.path):
            text = line.strip()
            names = self.names(text)
            if names is not None:
                self._begin(names)
            elif text and not self.is_remark(text):
                with self.recording.row(number, line):
                    self._read_row(number, line)
        return [self.recording]

    def _begin(self, names: list[str]) -> None:
        self.columns, self._taken = names, self.taken(names)
        unused = {name for name in names if name not in self._taken and name not in self.named}
        self.recording.ignored = self.recording.ignored or of_no_use("column", unused)
        sources = {self._taken[name][0]: name for name in names if name in self._taken}
        self.recording.sources = sources | self.recording.sources

    def _read_row(self, number: int, line: str) -> None:
        if not self.columns:
            raise LeftOutError("torn row: before the first heading")
        cells = self.split(line)
        device, moment = self.row(dict(zip(self.columns, cells, strict=False)))
        require_whole(line)
        if len(cells) != len(self.columns):
            raise LeftOutError("torn row: not as many cells as the heading")
        if self.dates and self.dates.issubset(self.columns):
            self.recording.require_new(tuple(cells), moment)
        self.recording.add(number, moment, {"device": device} | self._values(cells))

    def _values(self, cells: list[str]) -> dict[str, Any]:
        values = {}
        for name, cell in zip(self.columns, cells, strict=True):
            if name in self._taken:
                column, factor = self._taken[name]
                values[column] = self.recording.cell(column, cell, factor)
        return values


def heading_of(head: Head, table: type[Scrolled]) -> list[str] | None:
    """Return the columns of the first heading in a file's beginning."""
    found = (table.names(line.strip()) for line in head.lines)
    return next((names for names in found if names is not None), None)
