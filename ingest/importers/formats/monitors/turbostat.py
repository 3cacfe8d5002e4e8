"""Reading what turbostat prints: a table an interval, the row of all processors first, then one a thread.

The row of all processors is the device ``cpu``; of several packages each is one (``cpu0``, ``cpu1``): its
power and temperature are in its first row, its utilization and clock are the means of its threads. Without
the column ``Time_Of_Day_Seconds`` the file has no times. Joules (``-J``) are of an interval whose length it
does not say, and are not taken.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.formats.monitors.sample_times import CLOCK_HINTS, RowTimes, mean_of
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines
from thermograd.ingest.importers.timezones import Moment, read_time

_KNOWN = frozenset({"Avg_MHz", "Busy%", "Bzy_MHz", "TSC_MHz", "PkgWatt", "CorWatt", "PkgTmp", "CoreTmp"})
_NAME = re.compile(r"[A-Za-z][\w%.+-]*")
_PLACES = ("Package", "Die", "Node", "Core", "CPU")
_TIME = "Time_Of_Day_Seconds"
_OF_THREADS = {"utilization_pct": "Busy%", "sm_clock_mhz": "Bzy_MHz"}  # whose mean is the package's
_OF_PACKAGES = {"power_w": ("PkgWatt",), "temperature_c": ("PkgTmp", "CoreTmp")}  # the best first
_BESIDE = {"ram": {"power_w": "RAMWatt"}, "igpu": {"power_w": "GFXWatt", "sm_clock_mhz": "GFXMHz"}}
_USED = {
    *_OF_THREADS.values(),
    *(name for names in _OF_PACKAGES.values() for name in names),
    *_PLACES,
    _TIME,
    "usec",
}
_MOST_ROWS = 10_000  # threads of a machine
_INSTEAD = "with --enable Time_Of_Day_Seconds"


class _Row(NamedTuple):
    number: int
    line: str
    cells: dict[str, str]

    @property
    def is_of_all(self) -> bool:
        """Whether it is the row of all processors."""
        return all(self.cells.get(place, "-") == "-" for place in _PLACES)


class _Turbostat:
    """A log of turbostat while it is read."""

    def __init__(self, paths: tuple[Path, ...], hints: Hints) -> None:
        self.recording = Recording(paths, "sample", TURBOSTAT.name, hints=hints)
        self.recording.clock = _TIME
        self._times = RowTimes(self.recording, hints, _INSTEAD, "turbostat's --interval")
        self._length = 0  # rows of the interval before

    def read(self) -> list[Recording]:
        """Read every interval."""
        rows: list[_Row] = []
        for row in self._rows():
            if rows and (row.is_of_all or len(rows) >= _MOST_ROWS):
                self._interval(rows)
                rows = []
            rows.append(row)
        if rows:
            self._interval(rows, is_last=True)
        self._times.finish()
        return [self.recording]

    def _rows(self) -> Iterator[_Row]:
        header: list[str] = []
        for number, line in text_lines(self.recording.path):
            words = line.split()
            if _is_header(words):
                if header:
                    with self.recording.row(number, line):
                        raise LeftOutError("repeated header row")
                else:
                    self._begin(words)
                header = words
            elif words and header:
                yield _Row(
                    number, line, dict(zip(header, words, strict=False)) if len(words) <= len(header) else {}
                )

    def _begin(self, header: list[str]) -> None:
        unused = set(header) - _USED - {name for names in _BESIDE.values() for name in names.values()}
        self.recording.ignored += of_no_use("column", unused)

    def _interval(self, rows: list[_Row], is_last: bool = False) -> None:
        """Make a sample of each device out of the rows of one interval."""
        packages = {row.cells["Package"] for row in rows if row.cells.get("Package", "-") != "-"}
        is_cut = is_last and len(packages) > 1 and len(rows) < self._length
        self._length = len(rows)
        held = []
        for row in rows:
            with self.recording.row(row.number, row.line):
                self._require(row, len(packages) > 1, is_cut)
                self.recording.account.hold()
                held.append(row)
        moment = self._when(rows) if held else None
        for package, group in groupby(sorted(held, key=_package), key=_package):
            self._give(f"cpu{package}" if len(packages) > 1 else "cpu", list(group), moment)

    @staticmethod
    def _require(row: _Row, several: bool, is_cut: bool) -> None:
        """Refuse a row that is torn, or one of rows that say the same in more detail or less."""
        require_whole(row.line)
        if len(row.cells) < 2 or any(_NAME.fullmatch(text) for text in row.cells.values()):
            raise LeftOutError("torn row: not a row of turbostat")
        if is_cut:
            raise LeftOutError("torn row: the last interval is not whole")
        if several and row.is_of_all:
            raise LeftOutError("the row of all packages, which are taken one by one")
        if not several and not row.is_of_all:
            raise LeftOutError("a row of one thread; the row of all has the mean")

    def _when(self, rows: Iterable[_Row]) -> Moment | None:
        stamps = [row.cells[_TIME] for row in rows if _TIME in row.cells]
        return self._times.at(read_time(stamps[0]) if stamps else None)

    def _give(self, device: str, rows: list[_Row], moment: Moment | None) -> None:
        with self.recording.account.settle(len(rows), rows[0].number, rows[0].line):
            if moment is None:
                raise LeftOutError(f"torn row: {_TIME} is no time", rows[0].cells.get(_TIME))
            values = {column: self._mean(column, name, rows) for column, name in _OF_THREADS.items()}
            values |= {column: self._first(column, names, rows) for column, names in _OF_PACKAGES.items()}
            self.recording.add(rows[0].number, moment, {"device": device} | values)
            for beside, names in _BESIDE.items():
                found = {column: self._first(column, (name,), rows) for column, name in names.items()}
                if any(value is not None for value in found.values()):
                    name = beside if device == "cpu" else f"{beside}{device.removeprefix('cpu')}"
                    self.recording.add(rows[0].number, moment, {"device": name} | found)

    def _mean(self, column: str, name: str, rows: list[_Row]) -> float | None:
        return mean_of([self.recording.cell(column, row.cells[name]) for row in rows if name in row.cells])

    def _first(self, column: str, names: Iterable[str], rows: list[_Row]) -> Any:
        """Return the first reading of a package that stands in its rows."""
        texts = (row.cells[name] for name in names for row in rows if name in row.cells)
        return next(
            (value for text in texts if (value := self.recording.cell(column, text)) is not None), None
        )


def _package(row: _Row) -> str:
    return row.cells.get("Package", "")


def _is_header(words: list[str]) -> bool:
    return len(_KNOWN.intersection(words)) > 1 and all(map(_NAME.fullmatch, words))


def _recognises(head: Head) -> bool:
    return any(_is_header(line.split()) for line in head.lines)


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _Turbostat(paths, hints).read()


TURBOSTAT = Format("a turbostat log", ("sample",), _recognises, _read, hints=CLOCK_HINTS | {"units"})
