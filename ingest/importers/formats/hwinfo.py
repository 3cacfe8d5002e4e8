"""Reading HWiNFO's CSV logs: one column a sensor, local time, the sensors' own names in a last row.

Dates, separators and numbers are as the computer's settings had them: ``;`` goes with decimal commas.

Columns are known by their English names; which GPU one is of, by that last row alone: columns of several GPUs
have the same names, in an order that means nothing. Memory in MB is not imported: the log does not say
whether that is 10**6 or 2**20 bytes.
"""

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.formats.gpu.readings import bare_unit
from thermograd.ingest.importers.formats.gpu.sensors import (
    Devices,
    Sensor,
    samples_of,
    take_best,
    untaken,
)
from thermograd.ingest.importers.recording import Hints, listed_names, of_no_use
from thermograd.ingest.importers.said_columns import said_positions
from thermograd.ingest.importers.tables.day_order import DayOrder
from thermograd.ingest.importers.text_files import LeftOutError, cells_of, text_lines
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

_HEAD_LINES = 200
_ENCODING = "latin-1"  # HWiNFO writes the degree sign as one byte
_CARDS = ("GPU", "dGPU", "eGPU")
_WITHOUT_GROUPS = {"cpu": "cpu", "gpu": "gpu0"}
_ONE_GPU = "the log has no row of sensor names: its GPU columns are taken as one GPU's"
_CELL = re.compile(r"(?P<name>.+?) ?\[(?P<unit>[^\[\]]+)\]")
_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?(?: ?([AP])M)?", re.ASCII)
_SEPARATORS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"[-+]?\d[\d.]*,\d+", re.ASCII)
_WITH_COMMA = re.compile(r"[-+]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?", re.ASCII)
_GROUP = re.compile(r"(?P<kind>[die]?GPU|CPU) \[#(?P<number>\d+)\](?:: (?P<model>[^:]*))?")
_GROUP_BEGINS = re.compile(r"[^:\[\]]+( \[#\d+\])?:|[^:]+ \[#\d+\]|$")  # System:, GPU [#0]: NVIDIA ...
_COLUMNS = {  # name and unit in lower case: device, column, rank (less is more)
    ("total cpu usage", "%"): ("cpu", "utilization_pct", 0),
    ("cpu package power", "w"): ("cpu", "power_w", 0),
    ("cpu package", "c"): ("cpu", "temperature_c", 0),
    ("cpu (tctl/tdie)", "c"): ("cpu", "temperature_c", 1),
    ("core clocks (avg)", "mhz"): ("cpu", "sm_clock_mhz", 0),
    ("gpu core load", "%"): ("gpu", "utilization_pct", 0),
    ("gpu utilization", "%"): ("gpu", "utilization_pct", 1),
    ("gpu power", "w"): ("gpu", "power_w", 0),
    ("total board power (tbp)", "w"): ("gpu", "power_w", 1),
    ("total graphics power (tgp)", "w"): ("gpu", "power_w", 2),
    ("gpu asic power", "w"): ("gpu", "power_w", 3),
    ("gpu temperature", "c"): ("gpu", "temperature_c", 0),
    ("gpu memory junction temperature", "c"): ("gpu", "memory_temperature_c", 0),
    ("gpu clock", "mhz"): ("gpu", "sm_clock_mhz", 0),
    ("gpu memory clock", "mhz"): ("gpu", "memory_clock_mhz", 0),
    ("gpu memory allocated", "mb"): ("gpu", "memory_used_bytes", 0),
    ("gpu d3d memory dedicated", "mb"): ("gpu", "memory_used_bytes", 1),
    ("gpu fan", "%"): ("gpu", "fan_pct", 0),
    ("gpu fan1", "%"): ("gpu", "fan_pct", 1),
}


class _HwinfoLog(Table):
    """A log of HWiNFO: its columns by device."""

    encoding = _ENCODING
    finds_said_columns = True
    hints = frozenset({"started_at"})

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        super().__init__(paths, format, hints)
        self.recording.clock = "Date, Time"
        self._layout = _Layout.of(self.recording.path)
        self.separator = self._layout.separator
        self._groups = self._layout.groups
        self._days = self._layout.days
        self._days.settle(self.recording.path, "this HWiNFO log", hints)
        self._devices: Devices = {}

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are date, time and sensors with units."""
        return cells[:2] == ["Date", "Time"] and any(_CELL.fullmatch(cell) for cell in cells[2:])

    def cells(self, line: str) -> list[str]:
        """Split a line, without the empty cell behind the comma that ends it."""
        cells = _trimmed(cells_of(line, self.separator))
        return [_with_point(cell) for cell in cells] if self._layout.has_commas else cells

    def begin(self, number: int) -> None:
        """Find the device and column of each cell."""
        groups = _aligned(self._groups.get(tuple(self.header), []), len(self.header))
        if not groups:
            self._require_one_gpu(number)
        self._devices = _devices(self.header, groups, "memory_used_bytes" in self.recording.units)
        self._add_said(groups)
        if not self._devices:
            raise ImportFormatError(
                f"{self.recording.path}, row {number}: this HWiNFO log has no column that is known; "
                f"it has: {listed_names(self.header[2:])}; allowed are the English names, such as "
                "GPU Temperature [°C]"
            )
        others = untaken(self._devices, self.header, 2)
        self.recording.ignored = self.recording.ignored or of_no_use("column", others)
        for device, sensors in self._devices.items():
            for sensor in sensors.values() if groups else ():
                group = _GROUP.match(groups[sensor.position])
                if group and group["model"] and device != "igpu":  # the group is the CPU's
                    self.recording.models.setdefault(device, group["model"].strip())

    def _add_said(self, groups: list[str]) -> None:
        """Add the columns that a person names, each to the device in whose group it stands."""
        for name, first in said_positions(self.recording, self.header).items():
            for position, cell in enumerate(self.header):
                if cell == self.header[first]:
                    device = self._device_at(position, cell, groups)
                    self._devices.setdefault(device, {})[name] = Sensor(position, 0, fahrenheit=False)

    def _device_at(self, position: int, cell: str, groups: list[str]) -> str:
        if self.recording.hints.device is not None:
            return self.recording.hints.device
        match = _GROUP.match(groups[position]) if groups else None
        if match is not None:
            return _device("cpu" if match["kind"] == "CPU" else "gpu", groups[position], set()) or "gpu0"
        return _WITHOUT_GROUPS["cpu" if "cpu" in cell.lower() else "gpu"]

    def _require_one_gpu(self, number: int) -> None:
        """Refuse columns of several GPUs that no row tells apart; note that they are taken as of one."""
        known = [cell for cell in self.header if (column := _known(cell)) and column[0] == "gpu"]
        twice = next((cell for cell in known if known.count(cell) > 1), None)
        if twice is not None:
            raise ImportFormatError(
                f"{self.recording.path}, row {number}: this HWiNFO log has {twice} more than once and no "
                "last row of sensor names that fits its columns, so its GPUs cannot be told apart; allowed "
                "is a log that HWiNFO ended itself, or the last row of one with the same columns, added"
            )
        if known:
            self.recording.notes["gpu0"] = {"device": _ONE_GPU}

    def refuse(self, cells: list[str]) -> None:
        """Refuse the row of sensor names."""
        if len(cells) > 2 and not cells[0] and not cells[1]:
            raise LeftOutError("row of sensor names")

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return a sample of each device that has a value in the row."""
        return samples_of(self.recording, self._devices, self._moment(cells[0], cells[1]), cells)

    def _moment(self, date: str, time: str) -> Moment:
        """Read a date and a time whose parts need not have two digits."""
        clock = _TIME.fullmatch(time)
        if clock is None:
            raise LeftOutError("torn row: Time is not h:m:s", f"{date} {time}")
        hour = int(clock[1]) if clock[5] is None else int(clock[1]) % 12 + 12 * (clock[5] == "P")
        text = f"{self._days.iso(date)}T{hour:02}:{int(clock[2]):02}:{int(clock[3]):02}"
        moment = read_time(f"{text}.{(clock[4] or '0').zfill(3)}")
        if moment is None:
            raise LeftOutError(
                "torn row: Date and Time are no moment between 1970 and 2100", f"{date} {time}"
            )
        return moment


def _trimmed(cells: list[str]) -> list[str]:
    return cells[:-1] if cells and not cells[-1] else cells


class _Layout(NamedTuple):
    """What the whole of a file says of how it is to be read.

    `groups` is the row of sensor names by the header before it: a log that was ended has it after its header.
    A file may hold several logs, of other columns.
    """

    separator: str
    groups: dict[tuple[str, ...], list[str]]
    days: DayOrder
    has_commas: bool  # in its numbers, where others have a point

    @classmethod
    def of(cls, path: Path) -> "_Layout":
        """Look through a file."""
        head = itertools.islice(text_lines(path, _ENCODING), _HEAD_LINES)
        separator = _separator_of([line for _, line in head]) or ","
        groups: dict[tuple[str, ...], list[str]] = {}
        header: tuple[str, ...] = ()
        days, has_commas = DayOrder(), False
        for number, line in text_lines(path, _ENCODING):
            first = line.partition(separator)[0].strip('"')
            if first in ("Date", ""):
                cells = _trimmed(cells_of(line, separator))
                if first:
                    header = tuple(cells)
                elif len(cells) > 2 and not cells[1]:
                    groups[header] = cells
                continue
            days.note(first)
            if number <= _HEAD_LINES:
                cells = cells_of(line, separator)[2:]
                has_commas |= any(map(_DECIMAL_COMMA.fullmatch, cells))
        return cls(separator, groups, days, has_commas)


def _separator_of(lines: Iterable[str]) -> str | None:
    """Return what is between the cells of the first header; None for none."""
    return next(
        (
            mark
            for line in lines
            for mark in _SEPARATORS
            if _HwinfoLog.is_header(_trimmed(cells_of(line, mark)))
        ),
        None,
    )


def _with_point(cell: str) -> str:
    """Return a number that has a decimal comma as others write it; anything else as it is."""
    return cell.replace(".", "").replace(",", ".") if _WITH_COMMA.fullmatch(cell) else cell


def _aligned(groups: list[str], columns: int) -> list[str]:
    """Return the sensor's name of each column; empty where the row does not fit.

    HWiNFO does not quote these names: a comma in one (``Drive: X [C:, D:]``) splits it.
    """
    whole = _joined(groups, _is_open)
    for names in (groups, whole, _joined(whole, lambda _, cell: not _GROUP_BEGINS.match(cell))):
        if len(names) == columns:
            return names
    return []


def _joined(cells: list[str], belongs: Callable[[str, str], bool]) -> list[str]:
    """Join the cells that belong to the one before."""
    joined: list[str] = []
    for cell in cells:
        if joined and belongs(joined[-1], cell):
            joined[-1] += f", {cell}"
        else:
            joined.append(cell)
    return joined


def _is_open(before: str, _: str) -> bool:
    return before.count("[") > before.count("]") or before.count("(") > before.count(")")


def _key(cell: str) -> tuple[str, str]:
    """Return name and unit of a column in lower case, without the degree sign."""
    match = _CELL.fullmatch(cell)
    return (match["name"].lower(), bare_unit(match["unit"])) if match else ("", "")


def _known(cell: str) -> tuple[str, str, int] | None:
    """Return device, column and rank of a column that is known; the device is cpu or gpu, not yet which."""
    name, unit = _key(cell)
    return _COLUMNS.get((name, "c" if unit == "f" else unit))


def _devices(cells: list[str], groups: list[str], knows_memory: bool) -> Devices:
    """Return the sensors that are known, by device and column, the best one of each column.

    That of memory only, where a person says which MB it is in.
    """
    found: Devices = {}
    integrated = {
        match["number"] for group in groups if (match := _GROUP.match(group)) and match["kind"] == "iGPU"
    }
    others = {
        match["number"] for group in groups if (match := _GROUP.match(group)) and match["kind"] in _CARDS
    }
    for position, cell in enumerate(cells):
        known = _known(cell)
        if known is None or (known[1] == "memory_used_bytes" and not knows_memory):
            continue
        device = (
            _device(known[0], groups[position], integrated & others) if groups else _WITHOUT_GROUPS[known[0]]
        )
        if device is None:
            continue
        take_best(found, device, known[1], Sensor(position, known[2], _key(cell)[1] == "f"))
    return found


def _device(kind: str, group: str, numbered_twice: set[str]) -> str | None:
    """Return the device of a cpu or gpu column by the group that it stands in; None where that names none.

    An integrated GPU's columns may stand in the group of its CPU. Where integrated GPUs and cards are counted
    apart, a number that both have is the card's.
    """
    match = _GROUP.match(group)
    if kind == "cpu":
        return (
            f"cpu{match['number']}" if match and match["kind"] == "CPU" and match["number"] != "0" else "cpu"
        )
    if match is None:
        return None
    if match["kind"] == "CPU":
        return "igpu"
    twice = match["kind"] == "iGPU" and match["number"] in numbered_twice
    return f"{'igpu' if twice else 'gpu'}{match['number']}"


HWINFO = replace(
    csv_format("a HWiNFO log (CSV)", _HwinfoLog),
    recognises=lambda head: _separator_of(head.lines) is not None,
)
