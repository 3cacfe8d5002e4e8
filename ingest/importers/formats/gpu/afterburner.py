"""Reading MSI Afterburner's hardware monitoring log (.hml): rows that begin with what they are.

00 begins a session, 01 names the cards, 02 the sensors, 03 the unit of each, 80 is a reading of all. Several
cards are GPU1, GPU2, ... in the names of the sensors. Memory in MB is not taken, as in HWiNFO's logs.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.formats.gpu.readings import bare_unit, celsius, whole, with_point
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, listed_names, of_no_use
from thermograd.ingest.importers.said_columns import require_names
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

_ENCODING = "latin-1"
_MARK = "Hardware monitoring log v"
_TOLD = ("01", "02", "03")
_DATE = re.compile(r"(\d\d?)[-./](\d\d?)[-./](\d{4}) (\d\d?):(\d\d):(\d\d)", re.ASCII)
_OF_CARD = re.compile(r"gpu(\d*) (.+)")
_CARD = {  # column by the sensor's name, behind GPU and the card's number
    "temperature": "temperature_c",
    "usage": "utilization_pct",
    "core clock": "sm_clock_mhz",
    "memory clock": "memory_clock_mhz",
    "memory temperature": "memory_temperature_c",
    "power": "power_w",
    "fan speed": "fan_pct",
}
_ALONE = ("core clock", "memory clock", "power", "fan speed", "memory temperature")  # of the only card
_CPU = {
    "cpu temperature": "temperature_c",
    "cpu usage": "utilization_pct",
    "cpu power": "power_w",
    "cpu clock": "sm_clock_mhz",
}
_UNITS = {  # that a sensor has to have: "Power" may also be in percent of the limit
    "temperature_c": "c",
    "memory_temperature_c": "c",
    "utilization_pct": "%",
    "fan_pct": "%",
    "power_w": "w",
    "sm_clock_mhz": "mhz",
    "memory_clock_mhz": "mhz",
}
_APART = re.compile(r"(?<=\s),\s*|,\s+")
_ONE_CARD = "the log counts no cards: give --device NAME to tell this one from others"


class _Sensor(NamedTuple):
    device: str
    column: str
    fahrenheit: bool


class _Session:
    """What the rows before its readings say of them."""

    def __init__(self, said: dict[str, str]) -> None:
        self._said = said  # the column of a sensor that a person names
        self.cards: list[str] = []
        self.names: list[str] = []
        self.units: dict[int, str] = {}
        self._sensors: dict[int, _Sensor] = {}

    def tell(self, cells: list[str]) -> None:
        """Take a row of cards, sensors or a unit."""
        if cells[0] == "01":
            self.cards = [cell for cell in cells[2:] if cell]
        elif cells[0] == "02":
            self.names = cells[2:]
        elif len(cells) > 3 and (number := whole(cells[2])) is not None:
            self.units[number] = bare_unit(cells[3])
        self._sensors = {}

    @property
    def sensors(self) -> dict[int, _Sensor]:
        """The sensors that are known and have the unit that they have to have, by their number."""
        if not self._sensors:
            named = enumerate(self.names)
            found = {number: self._sensor(name, self.units.get(number)) for number, name in named}
            self._sensors = {number: sensor for number, sensor in found.items() if sensor is not None}
        return self._sensors

    def _sensor(self, name: str, unit: str | None) -> _Sensor | None:
        """Return a sensor; None for one that is not known, or has another unit."""
        device, column = ("gpu", self._said[name]) if name in self._said else _known(name.lower())
        if column in self._said.values() and name not in self._said:
            return None
        fahrenheit = _UNITS.get(column) == "c" and unit == "f"
        return _Sensor(device, column, fahrenheit) if fahrenheit or unit == _UNITS.get(column, "") else None


def _known(name: str) -> tuple[str, str]:
    """Return the device and column of a sensor by its English name; no column for one that is not known."""
    match = _OF_CARD.fullmatch(name)
    if name in _CPU:
        return "cpu", _CPU[name]
    if match is not None:
        return f"gpu{match[1]}", _CARD.get(match[2], "")
    return "gpu", _CARD[name] if name in _ALONE else ""


class _Hml:
    """A monitoring log while it is read."""

    def __init__(self, path: Path, hints: Hints) -> None:
        self.recording = Recording((path,), "sample", AFTERBURNER.name, hints=hints)
        self.recording.clock = "the second cell of each row"
        self._device = hints.device
        self._said = {tag: column for column, tag in hints.columns}
        self._session = _Session(self._said)
        self._told: _Session | None = None

    def read(self) -> list[Recording]:
        """Read the file: rows that only say what follows are no rows of it."""
        for number, line in text_lines(self.recording.path, _ENCODING):
            cells = [cell.strip() for cell in line.split(",")]
            if cells[0] == "00":
                self._session = _Session(self._said)
            elif cells[0] in _TOLD:
                self._session.tell(cells)
            elif line.strip():
                with self.recording.row(number, line):
                    self._read_row(number, line)
        return [self.recording]

    def _read_row(self, number: int, line: str) -> None:
        if not line.startswith("80,"):
            raise LeftOutError("torn row: it begins with no known number")
        self._require_sensors(number)
        cells = _cells(line, len(self._session.names) + 2)
        require_whole(line)
        if len(cells) != len(self._session.names) + 2:
            raise LeftOutError("torn row: not as many cells as the row of sensors")
        moment = _moment(cells[1])
        if moment is None:
            raise LeftOutError("torn row: the second cell is no date and time", cells[1])
        self.recording.require_new(tuple(cells), moment)
        for device, values in self._values(cells[2:]).items():
            if any(value is not None for value in values.values()):
                self.recording.add(number, moment, {"device": device} | values)

    def _require_sensors(self, number: int) -> None:
        session = self._session
        if not session.names:
            raise LeftOutError("torn row: before the row of sensors (02)")
        if not session.sensors:
            raise ImportFormatError(
                f"{self.recording.path}, row {number}: this monitoring log has no sensor that is known "
                f"with its unit; it has: {listed_names(session.names)}; allowed are the English names, such "
                "as GPU temperature, or --column temperature_c=NAME, and the rows of units (03)"
            )
        if session is not self._told:
            self._told = session
            self._tell(session)

    def _tell(self, session: _Session) -> None:
        """Say once a session which of its sensors are taken, and which are of no use."""
        require_names(self.recording, session.names)
        self.recording.columns = {column: tag for tag, column in self._said.items()}
        for number, sensor in session.sensors.items():
            self.recording.sources.setdefault(sensor.column, session.names[number])
        others = {name for number, name in enumerate(session.names) if number not in session.sensors and name}
        self.recording.ignored = self.recording.ignored or of_no_use("sensor", others)

    def _values(self, cells: list[str]) -> dict[str, dict[str, Any]]:
        """Return the values of each device."""
        found: dict[str, dict[str, Any]] = {}
        for number, sensor in self._session.sensors.items():
            text = with_point(cells[number])
            value = self.recording.cell(sensor.column, text, convert=celsius if sensor.fahrenheit else None)
            found.setdefault(self._name(sensor.device), {})[sensor.column] = value
        return found

    def _name(self, device: str) -> str:
        """Return the device as recorded; the only card has no name, so it is the person's."""
        number = device.removeprefix("gpu")
        cards = self._session.cards
        card = int(number or 1) if device != "cpu" and len(number) < 3 else 0
        if device == "gpu":
            device = self._device or device
            if self._device is None:
                self.recording.notes["gpu"] = {"device": _ONE_CARD}
        if 0 < card <= len(cards):
            self.recording.models.setdefault(device, cards[card - 1])
        return device


def _cells(line: str, expected: int) -> list[str]:
    """Split a row; cells are padded, so that a comma in a number can be told."""
    plain = [cell.strip() for cell in line.rstrip("\r\n").split(",")]
    padded = [cell.strip() for cell in _APART.split(line.strip())]
    return plain if len(plain) == expected or len(padded) != expected else padded


def _moment(text: str) -> Moment | None:
    """Read day-month-year, or a date as ISO has it, and a time."""
    match = _DATE.fullmatch(text)
    if match is None:
        moment = read_time(text)
        return moment if moment is not None and moment.naive else None
    day, month, year, hour, minute, second = match.groups()
    return read_time(f"{year}-{int(month):02}-{int(day):02} {int(hour):02}:{minute}:{second}")


def _is_hml(head: Head) -> bool:
    """Whether it begins with a session, or, where that line is gone, has sensors and readings."""
    first = head.lines[0] if head.lines else ""
    if first.startswith("00,") and _MARK in first:
        return True
    kinds = {line[:3] for line in head.lines}
    return first.startswith(("01,", "02,")) and {"02,", "03,", "80,"} <= kinds


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _Hml(paths[0], hints).read()


AFTERBURNER = Format(
    "an MSI Afterburner monitoring log",
    ("sample",),
    _is_hml,
    _read,
    hints=frozenset({"units", "device", "columns"}),
)
