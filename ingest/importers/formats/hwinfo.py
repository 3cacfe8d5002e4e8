"""Reading HWiNFO's CSV logs: one column a sensor, local time, the sensors' own names in a last row.

Columns are known by their English names. Memory in MB is not imported: the log does not say whether that
is 10**6 or 2**20 bytes.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.reading import (
    LeftOutError,
    cells_of,
    check_bounds,
    read_number,
    require_whole,
    text_lines,
)
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, listed_names, of_no_use
from thermograd.ingest.importers.zones import Moment, read_time
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
    fahrenheit: bool


class _Layout(NamedTuple):
    """Which cell of a row is which column of which device."""

    cells: tuple[str, ...]
    devices: dict[str, dict[str, _Sensor]]


def _is_header(cells: list[str]) -> bool:
    return cells[:2] == ["Date", "Time"] and any(_CELL.fullmatch(cell) for cell in cells[2:])


def _is_log(head: Head) -> bool:
    return any(_is_header(cells_of(line)) for line in head.lines[:50])


def _read_log(paths: tuple[Path, ...], _: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", HWINFO.name)
    recording.clock = "Date, Time"
    layout: _Layout | None = None
    groups = _groups(recording.path)
    for number, line in text_lines(recording.path, fallback=_ENCODING):
        if not line.strip():
            continue
        cells = _trimmed(cells_of(line))
        if _is_header(cells):
            if layout is not None:
                recording.count_rows()
                recording.leave_out("repeated header row", number, line)
            if layout is None or tuple(cells) != layout.cells:
                layout = _layout(recording, number, cells, groups)
            continue
        recording.count_rows()
        try:
            moment, samples = _row(layout, line, cells)
            recording.require_new(tuple(cells))
        except LeftOutError as error:
            recording.leave_out(error, number, line)
            continue
        for values in samples:
            recording.add(number, moment, values)
    return [recording]


def _trimmed(cells: list[str]) -> list[str]:
    """Drop the empty cell behind the comma that ends a line."""
    return cells[:-1] if cells and not cells[-1] else cells


def _groups(path: Path) -> list[str]:
    """Return the row of sensor names that a finished log ends with; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(_ENCODING).splitlines()
    except OSError as error:
        raise ImportFormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    for line in reversed(lines):
        cells = _trimmed(cells_of(line))
        if len(cells) > 2 and not cells[0] and not cells[1]:
            return cells
    return []


def _layout(recording: Recording, number: int, cells: list[str], groups: list[str]) -> _Layout:
    names = groups if len(groups) == len(cells) else []
    found: dict[str, dict[str, tuple[int, _Sensor]]] = {}
    for position, device, column, rank, fahrenheit in _known(cells, names):
        columns = found.setdefault(device, {})
        if column not in columns or rank < columns[column][0]:
            columns[column] = (rank, _Sensor(position, fahrenheit))
    if not found:
        raise ImportFormatError(
            f"{recording.path}, row {number}: this HWiNFO log has no column that is known; it has: "
            f"{listed_names(cells[2:])}; allowed are the English names, such as GPU Temperature [°C]"
        )
    used = {sensor.position for columns in found.values() for _, sensor in columns.values()}
    others = {cell for position, cell in enumerate(cells) if position > 1 and position not in used}
    recording.ignored = recording.ignored or of_no_use("column", others)
    _name_models(recording, found, names)
    devices = {device: {c: sensor for c, (_, sensor) in columns.items()} for device, columns in found.items()}
    return _Layout(tuple(cells), devices)


def _known(cells: list[str], groups: list[str]) -> Iterator[tuple[int, str, str, int, bool]]:
    """Yield position, device, column, rank and whether in Fahrenheit, of every column that is known.

    Without the row of sensor names, a column that comes again begins the next GPU: a GPU's columns stand
    together.
    """
    gpu = 0
    seen: set[tuple[str, str]] = set()
    for position, cell in enumerate(cells):
        match = _CELL.fullmatch(cell)
        unit = "".join(c for c in match["unit"].lower() if c.isascii()) if match else ""
        key = (match["name"].lower(), unit.replace("f", "c")) if match else ("", "")
        if key not in _COLUMNS:
            continue
        kind, column, rank = _COLUMNS[key]
        device = kind
        if kind == "gpu":
            group = _GPU_GROUP.match(groups[position]) if groups else None
            if not groups and key in seen:
                gpu, seen = gpu + 1, set()
            seen.add(key)
            device = f"gpu{group[1]}" if group else f"gpu{gpu}"
        yield position, device, column, rank, unit == "f"


def _name_models(
    recording: Recording, found: dict[str, dict[str, tuple[int, _Sensor]]], groups: list[str]
) -> None:
    for device, columns in found.items():
        for _, sensor in columns.values():
            group = groups[sensor.position] if groups else ""
            match = _GPU_GROUP.match(group) or _CPU_GROUP.match(group)
            model = match[match.lastindex or 0].partition(":")[0].strip() if match else ""
            if model:
                recording.models.setdefault(device, model)


def _row(layout: _Layout | None, line: str, cells: list[str]) -> tuple[Moment, list[dict[str, Any]]]:
    if layout is None:
        raise LeftOutError("torn row: before the first header")
    if len(cells) > 2 and not cells[0] and not cells[1]:
        raise LeftOutError("row of sensor names")
    require_whole(line)
    if len(cells) != len(layout.cells):
        raise LeftOutError("torn row: not as many cells as the header")
    moment = _moment(cells[0], cells[1])
    samples = []
    for device, sensors in layout.devices.items():
        values = {column: _value(column, cells[s.position], s) for column, s in sensors.items()}
        check_bounds(values)
        if any(value is not None for value in values.values()):
            samples.append({"device": device} | values)
    if not samples:
        raise LeftOutError("a row without a value that is known")
    return moment, samples


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


HWINFO = Format("a HWiNFO log (CSV)", ("sample",), _is_log, _read_log)
