"""The one loop that reads every CSV log; a format says what its header is and what a row of it holds."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.recording import Format, Head, Hints, Kind, Recording
from thermograd.ingest.importers.text_files import LeftOutError, cells_of, require_whole, text_lines
from thermograd.ingest.importers.timezones import Moment


class Table:
    """A CSV log while it is read: a header, and rows of as many cells; each header names the rows below it.

    A format is a subclass with `is_header` and `row`, and the quirks that it has. `header` holds the cells
    of the latest header.
    """

    kinds: tuple[Kind, ...] = ("sample",)  # of event that it may hold
    encoding: str | None = None  # the one-byte one of lines that are not UTF-8, where the format has one
    head_lines: int | None = None  # lines in which a header is looked for, to recognise it; None for all
    has_clock = True  # its rows say when they were
    hints: frozenset[str] = frozenset()  # that it can use, beside ``units``
    refuses_cut_line_first = True  # a last line without an end is left out for that, whatever else it is

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        self.recording = Recording(paths, self.kinds[0], format, hints=hints)
        self.header: list[str] = []

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether a row names the columns of those below it."""
        raise NotImplementedError

    def row(self, number: int, cells: list[str]) -> Iterable[tuple[Moment, dict[str, Any]]]:
        """Return the events of a row, or raise LeftOutError."""
        raise NotImplementedError

    def begin(self, number: int) -> None:
        """Prepare for the rows below a header (`self.header`)."""

    def refuse(self, cells: list[str]) -> None:
        """Raise LeftOutError for a row that is no row of values, before its cells are counted."""

    def cells(self, line: str) -> list[str]:
        """Split a line."""
        return cells_of(line)

    def read(self) -> list[Recording]:
        """Read the file: every row is counted, and kept or left out with a reason."""
        for number, line in text_lines(self.recording.path, self.encoding):
            if not line.strip():
                continue
            cells = self.cells(line)
            if not self.header and self.is_header(cells):
                self._begin(number, cells)
                continue
            with self.recording.row(number, line):
                if self.is_header(cells):
                    self._begin(number, cells)
                    raise LeftOutError("repeated header row")
                self._read_row(number, line, cells)
        return [self.recording]

    def _begin(self, number: int, cells: list[str]) -> None:
        self.header = cells
        self.begin(number)

    def _read_row(self, number: int, line: str, cells: list[str]) -> None:
        if not self.header:
            raise LeftOutError("torn row: before the first header")
        self.refuse(cells)
        if self.refuses_cut_line_first:
            require_whole(line)
        if len(cells) != len(self.header):
            raise LeftOutError("torn row: not as many cells as the header")
        events = list(self.row(number, cells))
        require_whole(line)
        if events and self.has_clock:  # without times, rows that are alike are readings of their own
            self.recording.require_new(tuple(cells), events[0][0])
        for moment, values in events:
            self.recording.add(number, moment, values)


def csv_format(name: str, table: type[Table]) -> Format:
    """Return a CSV format: recognised by a header at a file's beginning, read by the loop above."""

    def recognises(head: Head) -> bool:
        return any(table.is_header(cells_of(line)) for line in head.lines[: table.head_lines])

    def read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
        return table(paths, name, hints).read()

    return Format(
        name,
        table.kinds,
        recognises,
        read,
        has_clock=table.has_clock,
        hints=table.hints | {"units"},
    )
