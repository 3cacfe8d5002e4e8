"""Reading the sensor log of GPU-Z: a table of one card, in local time, appended to at every start.

Memory in MB is not taken, as the log does not say whether that is 10**6 or 2**20 bytes.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.formats.gpu.readings import bare_unit, with_point
from thermograd.ingest.importers.formats.gpu.sensors import (
    Devices,
    Sensor,
    samples_of,
    take_best,
    untaken,
)
from thermograd.ingest.importers.recording import Head, Hints, listed_names, of_no_use
from thermograd.ingest.importers.said_columns import require_names
from thermograd.ingest.importers.text_files import LeftOutError, cells_of
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

_APART = re.compile(r"(?<=\s),\s*|,\s\s+")  # a comma in a number has no blank before it
_PADDED = re.compile(r"\s,")
_CELL = re.compile(r"(?P<name>[^\[]{1,200}?) ?\[(?P<unit>[^\[\]]{0,40})\]")
_DAY = re.compile(r"(\d\d?)\.(\d\d?)\.(\d{4}) (.*)", re.ASCII)
_COLUMNS = {  # name and unit in lower case: device, column, rank (less is more)
    ("gpu load", "%"): ("gpu", "utilization_pct", 0),
    ("board power draw", "w"): ("gpu", "power_w", 0),
    ("power consumption (w)", "w"): ("gpu", "power_w", 1),
    ("power consumption", "w"): ("gpu", "power_w", 1),
    ("gpu power", "w"): ("gpu", "power_w", 2),
    ("gpu chip power draw", "w"): ("gpu", "power_w", 3),
    ("gpu only power draw", "w"): ("gpu", "power_w", 3),
    ("gpu temperature", "c"): ("gpu", "temperature_c", 0),
    ("memory temperature", "c"): ("gpu", "memory_temperature_c", 0),
    ("gpu clock", "mhz"): ("gpu", "sm_clock_mhz", 0),
    ("gpu core clock", "mhz"): ("gpu", "sm_clock_mhz", 0),
    ("memory clock", "mhz"): ("gpu", "memory_clock_mhz", 0),
    ("gpu memory clock", "mhz"): ("gpu", "memory_clock_mhz", 0),
    ("fan speed (%)", "%"): ("gpu", "fan_pct", 0),
    ("fan speed", "%"): ("gpu", "fan_pct", 0),
    ("fan 1 speed (%)", "%"): ("gpu", "fan_pct", 0),
    ("cpu temperature", "c"): ("cpu", "temperature_c", 0),
}
_UNITS = {column: unit for (_, unit), (_, column, _) in _COLUMNS.items()}
_CHIP = 3  # the rank of power that is the chip's alone
_ONE_CARD = "the log does not name its card: give --device NAME to tell it from others"
_OF_CHIP = "the power is of the GPU's chip alone ({}), not of the board"


class _GpuZ(Table):
    """A sensor log of GPU-Z."""

    encoding = "latin-1"
    hints = frozenset({"device", "columns"})
    finds_said_columns = True

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        super().__init__(paths, format, hints)
        self.recording.clock = "Date"
        self._card = hints.device or "gpu"
        self._tags = {tag: column for column, tag in hints.columns}
        if hints.device is None:
            self.recording.notes["gpu"] = {"device": _ONE_CARD}

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are a date, and sensors with units in brackets."""
        cells = [cell.strip() for cell in cells]
        return cells[:1] == ["Date"] and len(cells) > 1 and _CELL.fullmatch(cells[1]) is not None

    def cells(self, line: str) -> list[str]:
        """Split a line, without the empty cell behind the comma that ends it."""
        text = line.strip("\r\n")
        cells = [cell.strip() for cell in (_APART.split(text) if _PADDED.search(text) else text.split(","))]
        return cells[:-1] if cells and not cells[-1] else cells

    def begin(self, number: int) -> None:
        """Find the sensor of each column."""
        self._sensors: Devices = {}
        require_names(self.recording, self.header)
        for position, cell in enumerate(self.header):
            known, fahrenheit = self._known(cell)
            if known is not None:
                device, column, rank = known
                take_best(self._sensors, device, column, Sensor(position, rank, fahrenheit))
        if not self._sensors:
            raise ImportFormatError(
                f"{self.recording.path}, row {number}: this GPU-Z log has no column that is known; it "
                f"has: {listed_names(self.header[1:])}; allowed are the English names, such as "
                "GPU Temperature [°C], or --column temperature_c=NAME"
            )
        others = untaken(self._sensors, self.header, 1)
        self.recording.ignored = self.recording.ignored or of_no_use("column", others)
        self.recording.columns = {column: tag for tag, column in self._tags.items()}
        for sensors in self._sensors.values():
            for column, sensor in sensors.items():
                self.recording.sources.setdefault(column, self.header[sensor.position])
        power = self._sensors.get("gpu", {}).get("power_w")
        if power is not None and power.rank == _CHIP:
            note = self.recording.notes.setdefault(self._card, {})
            note["power_w"] = _OF_CHIP.format(self.header[power.position])

    def _known(self, cell: str) -> tuple[tuple[str, str, int] | None, bool]:
        """Return device, column and rank of a sensor, and whether it is in degF; what a person says first."""
        if cell not in self._tags:
            known, fahrenheit = _known(cell)
            return (known if known and known[1] not in self._tags.values() else None), fahrenheit
        column, unit = self._tags[cell], _unit(cell)
        fahrenheit = unit == "f" and _UNITS.get(column) == "c"
        if column not in self.recording.units and not fahrenheit and unit != _UNITS.get(column):
            raise ImportFormatError(
                f"{self.recording.path}: --column {column}={cell} is in {unit or 'no unit'!r}, which does "
                f"not say how it becomes {column}; give --unit {column}=UNIT as well"
            )
        return ("gpu", column, -1), fahrenheit

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return a sample of the card, and one of the processor where the log has its temperature."""
        moment = _moment(cells[0])
        if moment is None:
            raise LeftOutError("torn row: Date is no date and time", cells[0])
        samples = samples_of(self.recording, self._sensors, moment, list(map(with_point, cells)))
        card = {"device": self._card}
        return [(moment, values | card if values["device"] == "gpu" else values) for _, values in samples]


def _known(cell: str) -> tuple[tuple[str, str, int] | None, bool]:
    """Return device, column and rank of a sensor that is known, and whether it is in degF."""
    match = _CELL.fullmatch(cell)
    if match is None:
        return None, False
    unit = _unit(cell)
    return _COLUMNS.get((match["name"].lower(), "c" if unit == "f" else unit)), unit == "f"


def _unit(cell: str) -> str:
    """Return the unit in a column's brackets, in lower case and without the degree sign."""
    match = _CELL.fullmatch(cell)
    return bare_unit(match["unit"]) if match else ""


def _moment(text: str) -> Moment | None:
    day = _DAY.fullmatch(text)
    moment = read_time(f"{day[3]}-{int(day[2]):02}-{int(day[1]):02} {day[4]}" if day else text)
    return moment if moment is not None and moment.naive else None


def _is_gpu_z(head: Head) -> bool:
    """Whether a header is padded as GPU-Z's, or names a sensor of it."""
    headers = [line for line in head.lines if _GpuZ.is_header(cells_of(line))]
    return any(_PADDED.search(line) or any(_known(cell)[0] for cell in cells_of(line)) for line in headers)


GPU_Z = replace(csv_format("a GPU-Z sensor log", _GpuZ), recognises=_is_gpu_z)
