"""The one loop that reads every CSV log; a format says what its header is and what a row of it holds."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.recording import Format, Head, Hints, Kind, Recording, listed_names
from thermograd.ingest.importers.rows.plain_block import PlainBlock, split_plain
from thermograd.ingest.importers.rows.workplace import tell
from thermograd.ingest.importers.said_columns import said_positions
from thermograd.ingest.importers.text_files import (
    LeftOutError,
    NamedCell,
    cells_of,
    is_known,
    is_utf16,
    lines_of,
    readable,
    require_whole,
    text_blocks,
    text_lines,
)
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.errors import ImportFormatError

TableEvent = tuple[Moment, dict[str, Any]]
_FEW_LINES = 256  # that are read one by one, between two headers
_SAID = frozenset({"columns", "device"})


class Taken(NamedTuple):
    """Rows of a block that can be taken at once: how, and which have to be read one by one."""

    keep: Callable[[], object]
    odd: list[int]


class Table(ABC):
    """A CSV log while it is read: a header, and rows of as many cells; each header names the rows below it.

    A format is a subclass with `is_header` and `row`, and the quirks that it has. `header` holds the cells
    of the latest header.
    """

    kinds: tuple[Kind, ...] = ("sample",)  # of event that it may hold
    encoding: str | None = None  # the one-byte one of lines that are not UTF-8, where the format has one
    head_lines: int | None = None  # lines in which a header is looked for, to recognise it; None for all
    has_clock = True  # its rows say when they were
    hints: frozenset[str] = frozenset()  # that it can use, beside ``units``
    finds_said_columns = False  # the format itself looks for the columns of sensors that a person names
    is_at_once = False  # it can take many rows at once: `prepare`
    separator = ","
    refuses_cut_line_first = True  # a last line without an end is left out for that, whatever else it is

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        self.recording = Recording(paths, self.kinds[0], format, hints=hints)
        self.header: list[str] = []
        self._block_places: list[tuple[int, int]] = []  # the first line of each block, and where it begins
        self._is_first = False  # no row below the header has been read
        self._said: dict[str, int] = {}  # where the columns stand that a person names

    @staticmethod
    @abstractmethod
    def is_header(cells: list[str]) -> bool:
        """Whether a row names the columns of those below it."""

    @abstractmethod
    def row(self, number: int, cells: list[str]) -> Iterable[TableEvent]:
        """Return the events of a row, or raise LeftOutError."""

    def begin(self, number: int) -> None:  # noqa: B027 - few tables have something to prepare
        """Prepare for the rows below a header (`self.header`)."""

    def refuse(self, cells: list[str]) -> None:  # noqa: B027 - few tables refuse any
        """Raise LeftOutError for a row that is no row of values, before its cells are counted."""

    def cells(self, line: str) -> list[str]:
        """Split a line."""
        return cells_of(line, self.separator)

    def _with_said(self, number: int, events: list[TableEvent], cells: list[str]) -> list[TableEvent]:
        """Return a row's events with the columns that a person names, instead of those that are known."""
        if not self._said or not events:
            return events
        said = {name: self._said_value(name, cells[position]) for name, position in self._said.items()}
        if len(events) == 1:
            return [(events[0][0], events[0][1] | said)]
        devices = [values["device"] for _, values in events]
        device = self.recording.hints.device
        if device not in devices:
            raise ImportFormatError(
                f"{self.recording.path}, row {number}: a row of this log is of several devices; say with "
                f"--device which of them the columns that you name are of: {listed_names(devices)}"
            )
        return [(moment, v | (said if v["device"] == device else {})) for moment, v in events]

    @property
    def _looks_for_said(self) -> bool:
        return "sample" in self.kinds and not self.finds_said_columns

    def _said_value(self, name: str, text: str) -> Any:
        if name != "device":
            return self.recording.quantity(name, text)
        if not is_known(text):
            raise LeftOutError("torn row: no device", text)
        return f"gpu{text}" if text.isdecimal() else text

    def read(self) -> list[Recording]:
        """Read the file: every row is counted, and kept or left out with a reason."""
        path = self.recording.path
        if is_utf16(path):
            self._read_lines(text_lines(path))
        else:
            self._read_blocks(path)
        self.recording.leave_out_repeats(self._line_at)
        return [self.recording]

    def _read_blocks(self, path: Path) -> None:
        size = path.stat().st_size
        for block in text_blocks(path):
            self._block_places.append((block.first, block.end - len(block.data)))
            first, data = block.first, block.data
            if (not self.header or self._is_first) and self.is_at_once and not block.is_cut:
                first, data = self._read_to_header(path, first, data)
            if block.is_cut or not self.is_at_once or not self._read_at_once(path, first, data):
                self._read_lines(lines_of(path, first, data, self.encoding))
            self.recording.read_bytes = block.end
            tell("reading", block.end, max(size, block.end), self.recording.account.read.total())

    def _read_to_header(self, path: Path, first: int, data: bytes) -> tuple[int, bytes]:
        """Read the lines to the first one below a header; return the number of the next, and the others."""
        at = 0
        for number, line in lines_of(path, first, data, self.encoding):
            self._read_lines([(number, line)])
            at = data.find(b"\n", at) + 1
            first = number + 1
            if (self.header and not self._is_first) or not at:
                break
        return first, data[at:] if at else b""

    def _read_at_once(self, path: Path, first: int, data: bytes) -> bool:
        """Read many lines by column; whether that could be done. Headers among them divide them."""
        if not self.header or self._is_first or self._said:
            return False
        whole = data.rfind(b"\n") + 1
        block = split_plain(data[:whole], first, len(self.header), self.separator, self.long_texts())
        taken = self.prepare(block) if block is not None else None
        if block is None or taken is None:
            return False
        odd = sorted({*block.odd, *taken.odd})
        lines = list(zip(odd, block.lines(odd), strict=True))
        headers = [number for number, line in lines if self.is_header(self.cells(line))]
        if headers:
            self._read_parts(path, block, headers)
        else:
            taken.keep()
            self._read_lines(lines)
        self._read_lines(lines_of(path, first + block.data.count(b"\n"), data[whole:], self.encoding))
        return True

    def _read_parts(self, path: Path, block: PlainBlock, headers: list[int]) -> None:
        """Read the lines before and after each header."""
        end = block.first + block.data.count(b"\n")
        for begin, stop in itertools.pairwise([block.first, *headers, end]):
            number, data = begin, block.part(begin, stop)
            if begin in headers:  # with the row below it, which says what is taken from where
                number, data = self._read_first(path, number, data)
            if stop - begin < _FEW_LINES or not self._read_at_once(path, number, data):
                self._read_lines(lines_of(path, number, data, self.encoding))

    def _read_first(self, path: Path, number: int, data: bytes) -> tuple[int, bytes]:
        """Read a header and the row below it; return the number of the next line, and the others."""
        for line in lines_of(path, number, b"".join(data.splitlines(True)[:2]), self.encoding):
            self._read_lines([line])
        return number + 2, b"".join(data.splitlines(True)[2:])

    def prepare(self, block: PlainBlock) -> "Taken | None":
        """Prepare to take the rows of a block at once, where the format can and they are fit for that."""
        return None

    def long_texts(self) -> set[int]:
        """Return the columns in which nearly all cells differ, such as times."""
        return set()

    def _read_lines(self, lines: Iterable[tuple[int, str]]) -> None:
        for number, line in lines:
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

    def _line_at(self, number: int) -> str | None:
        """Return what stands in a line, from the beginning of the block that it is in."""
        path = self.recording.path
        places = [place for place in self._block_places if place[0] <= number]
        if not places:
            return next((line for at, line in text_lines(path, self.encoding) if at == number), None)
        first, offset = places[-1]
        with readable(path), path.open("rb") as file:
            file.seek(offset)
            lines = lines_of(path, first, file, self.encoding)
            return next((line for at, line in lines if at == number), None)

    def _begin(self, number: int, cells: list[str]) -> None:
        self.header = cells
        self.begin(number)
        self._is_first = True
        self._said = said_positions(self.recording, cells) if self._looks_for_said else {}

    def _read_row(self, number: int, line: str, cells: list[str]) -> None:
        if not self.header:
            raise LeftOutError("torn row: before the first header")
        self.refuse(cells)
        if self.refuses_cut_line_first:
            require_whole(line)
        if len(cells) != len(self.header):
            raise LeftOutError("torn row: not as many cells as the header")
        if self._is_first:
            cells = [NamedCell.of(cell, name) for cell, name in zip(cells, self.header, strict=True)]
            self._is_first = False
        events = self._with_said(number, list(self.row(number, cells)), cells)
        require_whole(line)
        # Without times, rows that are alike are readings of their own.
        is_new = self.recording.remember(cells, number, events[0][0]) if events and self.has_clock else None
        with is_new or nullcontext():
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
        hints=table.hints | {"units"} | (_SAID if "sample" in table.kinds else set()),
    )
