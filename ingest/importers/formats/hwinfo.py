"""Reading HWiNFO's CSV logs: one column a sensor, local time, the sensors' own names in a last row.

Columns are known by their English names. Memory in MB is not imported: the log does not say whether that
is 10**6 or 2**20 bytes.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.recording import listed_names, of_no_use
from thermograd.ingest.importers.text_files import LeftOutError, cells_of, check_bounds, read_number, readable
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

_ENCODING = "latin-1"  # HWiNFO writes the degree sign as one byte
_TAIL_BYTES = 1 << 19
_CELL = re.compile(r"(?P<name>.+?) ?\[(?P<unit>[^\]]+)\]")
_DATE = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?", re.ASCII)
_GPU_GROUP = re.compile(r"GPU \[#(\d+)\](?:: )?(.*)")
_CPU_GROUP = re.compile(r"CPU \[#\d+\](?:: )?([^:]*)")
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
    ("gpu fan", "%"): ("gpu", "fan_pct", 0),
    ("gpu fan1", "%"): ("gpu", "fan_pct", 1),
}


class _Sensor(NamedTuple):
    position: int
    rank: int
    fahrenheit: bool


Devices = dict[str, dict[str, _Sensor]]


class _HwinfoLog(Table):
    """A log of HWiNFO: its columns by device."""

    encoding = _ENCODING

    def __init__(self, paths: tuple[Path, ...], format: str) -> None:
        super().__init__(paths, format)
        self.recording.clock = "Date, Time"
        self._groups = _groups(self.recording.path)
        self._devices: Devices = {}

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are date, time and sensors with units."""
        return cells[:2] == ["Date", "Time"] and any(_CELL.fullmatch(cell) for cell in cells[2:])

    def cells(self, line: str) -> list[str]:
        """Split a line, without the empty cell behind the comma that ends it."""
        return _trimmed(cells_of(line))

    def begin(self, number: int) -> None:
        """Find the device and column of each cell."""
        groups = self._groups if len(self._groups) == len(self.header) else []
        self._devices = _devices(self.header, groups)
        if not self._devices:
            raise ImportFormatError(
                f"{self.recording.path}, row {number}: this HWiNFO log has no column that is known; "
                f"it has: {listed_names(self.header[2:])}; allowed are the English names, such as "
                "GPU Temperature [°C]"
            )
        used = {sensor.position for sensors in self._devices.values() for sensor in sensors.values()}
        others = {cell for position, cell in enumerate(self.header) if position > 1 and position not in used}
        self.recording.ignored = self.recording.ignored or of_no_use("column", others)
        for device, sensors in self._devices.items():
            for sensor in sensors.values() if groups else ():
                model = _model(groups[sensor.position])
                if model:
                    self.recording.models.setdefault(device, model)

    def refuse(self, cells: list[str]) -> None:
        """Refuse the row of sensor names."""
        if len(cells) > 2 and not cells[0] and not cells[1]:
            raise LeftOutError("row of sensor names")

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return a sample of each device that has a value in the row."""
        moment = _moment(cells[0], cells[1])
        samples = []
        for device, sensors in self._devices.items():
            values = {column: _value(column, cells[s.position], s) for column, s in sensors.items()}
            check_bounds(values)
            if any(value is not None for value in values.values()):
                samples.append((moment, {"device": device} | values))
        if not samples:
            raise LeftOutError("a row without a value that is known")
        return samples


def _trimmed(cells: list[str]) -> list[str]:
    return cells[:-1] if cells and not cells[-1] else cells


def _groups(path: Path) -> list[str]:
    """Return the row of sensor names that a finished log ends with; empty where there is none."""
    with readable(path), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(_ENCODING).splitlines()
    for line in reversed(lines):
        cells = _trimmed(cells_of(line))
        if len(cells) > 2 and not cells[0] and not cells[1]:
            return cells
    return []


def _devices(cells: list[str], groups: list[str]) -> Devices:
    """Return the sensors that are known, by device and column, the best one of each column.

    Without the row of sensor names, a column that comes again begins the next GPU: a GPU's columns stand
    together.
    """
    found: Devices = {}
    gpu = 0
    seen: set[tuple[str, str]] = set()
    for position, cell in enumerate(cells):
        match = _CELL.fullmatch(cell)
        unit = "".join(c for c in match["unit"].lower() if c.isascii()) if match else ""
        key = (match["name"].lower(), unit.replace("f", "c")) if match else ("", "")
        if key not in _COLUMNS:
            continue
        device, column, rank = _COLUMNS[key]
        if device == "gpu":
            group = _GPU_GROUP.match(groups[position]) if groups else None
            if not groups and key in seen:
                gpu, seen = gpu + 1, set()
            seen.add(key)
            device = f"gpu{group[1]}" if group else f"gpu{gpu}"
        columns = found.setdefault(device, {})
        if column not in columns or rank < columns[column].rank:
            columns[column] = _Sensor(position, rank, unit == "f")
    return found


def _model(group: str) -> str:
    match = _GPU_GROUP.match(group) or _CPU_GROUP.match(group)
    return match[match.lastindex or 0].partition(":")[0].strip() if match else ""


def _value(column: str, text: str, sensor: _Sensor) -> float | None:
    if not text:
        return None
    value = read_number(column, text)
    return (value - 32.0) / 1.8 if sensor.fahrenheit else value


def _moment(date: str, time: str) -> Moment:
    """Read day.month.year and a time whose parts need not have two digits."""
    if "/" in date:
        raise LeftOutError("a Date with '/', which does not say which number is the month", date)
    day, clock = _DATE.fullmatch(date), _TIME.fullmatch(time)
    if day is None or clock is None:
        raise LeftOutError("torn row: Date is not d.m.yyyy, or Time not h:m:s", f"{date} {time}")
    text = (
        f"{day[3]}-{int(day[2]):02}-{int(day[1]):02}T{int(clock[1]):02}:{int(clock[2]):02}:{int(clock[3]):02}"
    )
    moment = read_time(f"{text}.{int(clock[4] or 0):03}")
    if moment is None:
        raise LeftOutError("torn row: Date and Time are no moment between 1970 and 2100", f"{date} {time}")
    return moment


HWINFO = csv_format("a HWiNFO log (CSV)", _HwinfoLog)
