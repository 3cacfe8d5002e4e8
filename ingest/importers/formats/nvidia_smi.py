"""Reading ``nvidia-smi --query-gpu=timestamp,... --format=csv -l`` logs.

The header names each field and its unit (temperatures have none: they are degC). Times are the host's
local ones and name no zone. `power.draw` is what the driver calls the power draw: the average of one
second on most GPUs since Ampere, an instant on others; where a log also has `power.draw.instant`, that
is the power and the other the average.
"""

import re
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
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.zones import Moment, read_time
from thermograd.store.errors import ImportFormatError

_HEADER_CELL = re.compile(r"(?P<field>[a-z][a-z0-9_.]*)(?: \[(?P<unit>[^\]]+)\])?", re.ASCII | re.IGNORECASE)
_CELL = re.compile(r"(?P<number>[^ ]+)(?: (?P<unit>[^ ]+))?")
_ABSENT = re.compile(r"\[?(n/a|not supported|unknown error|not found|insufficient permissions)\]?", re.I)
_LOST = re.compile(r"\[(gpu is lost|gpu requires reset|reset required)\]", re.I)
_UNITS: dict[str, float] = {
    "%": 1,
    "W": 1,
    "MHz": 1,
    "C": 1,
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "us": 1000,
}
_FIELDS = {  # column (more than one field: added up), the unit where the header has none
    "utilization.gpu": ("utilization_pct", "%"),
    "power.draw": ("power_w", "W"),
    "power.draw.instant": ("power_w", "W"),
    "power.draw.average": ("power_w_average", "W"),
    "power.limit": ("power_limit_w", "W"),
    "enforced.power.limit": ("power_limit_w", "W"),
    "temperature.gpu": ("temperature_c", "C"),
    "temperature.memory": ("memory_temperature_c", "C"),
    "temperature.gpu.tlimit": ("slowdown_margin_c", "C"),
    "clocks.current.sm": ("sm_clock_mhz", "MHz"),
    "clocks.sm": ("sm_clock_mhz", "MHz"),
    "clocks.current.memory": ("memory_clock_mhz", "MHz"),
    "clocks.mem": ("memory_clock_mhz", "MHz"),
    "memory.used": ("memory_used_bytes", "MiB"),
    "fan.speed": ("fan_pct", "%"),
    "clocks_event_reasons.active": ("clock_event_mask", None),
    "clocks_throttle_reasons.active": ("clock_event_mask", None),
    "clocks_event_reasons_counters.sw_thermal_slowdown": ("throttled_thermal_ns", "us"),
    "clocks_event_reasons_counters.hw_thermal_slowdown": ("throttled_thermal_ns", "us"),
    "clocks_event_reasons_counters.sw_power_cap": ("throttled_power_ns", "us"),
    "clocks_event_reasons_counters.hw_power_brake_slowdown": ("throttled_brake_ns", "us"),
    "ecc.errors.corrected.volatile.total": ("ecc_corrected", None),
    "ecc.errors.uncorrected.volatile.total": ("ecc_uncorrected", None),
}
_INSTEAD = {  # the field that is not taken where the other one is there
    "power.limit": "enforced.power.limit",
    "clocks.sm": "clocks.current.sm",
    "clocks.mem": "clocks.current.memory",
    "clocks_throttle_reasons.active": "clocks_event_reasons.active",
}
_COUNTERS = {"ecc_corrected", "ecc_uncorrected"} | {
    column for column, unit in _FIELDS.values() if unit == "us"
}
_DEVICE_FIELDS = ("uuid", "gpu_uuid", "index", "pci.bus_id", "gpu_bus_id", "serial", "gpu_serial")
_MODEL_FIELDS = ("name", "gpu_name")
_NAMELESS = "gpu"


class _Column(NamedTuple):
    """A column of the log: the event's column and the factor that converts to its unit."""

    name: str
    unit: str | None
    factor: float


class _Header(NamedTuple):
    cells: tuple[str, ...]
    fields: tuple[str, ...]
    columns: dict[int, _Column]


def _is_log(head: Head) -> bool:
    return any(_header_fields(cells_of(line)) for line in head.lines)


def _header_fields(cells: list[str]) -> tuple[str, ...] | None:
    """Return the fields of a header row; None for any other row."""
    fields = []
    for cell in cells:
        match = _HEADER_CELL.fullmatch(cell)
        if match is None:
            return None
        fields.append(match["field"].lower())
    return tuple(fields) if any(field in _FIELDS for field in fields) else None


def _read_log(paths: tuple[Path, ...], _: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", NVIDIA_SMI.name)
    header: _Header | None = None
    for number, line in text_lines(recording.path):
        if not line.strip():
            continue
        cells = cells_of(line)
        fields = _header_fields(cells)
        if fields is not None:
            if header is not None:
                recording.count_rows()
                recording.leave_out("repeated header row", number, line)
            header = _header(recording, number, cells, fields)
            continue
        recording.count_rows()
        try:
            require_whole(line)
            moment, values = _row(recording, header, cells)
            recording.require_new(tuple(cells))
        except LeftOutError as error:
            recording.leave_out(error, number, line)
            continue
        recording.add(number, moment, values)
    return [recording]


def _header(recording: Recording, number: int, cells: list[str], fields: tuple[str, ...]) -> _Header:
    if "timestamp" not in fields:
        raise ImportFormatError(
            f"{recording.path}, row {number}: this nvidia-smi log has no timestamp; query timestamp as well"
        )
    columns, unused = {}, []
    for position, (cell, field) in enumerate(zip(cells, fields, strict=True)):
        column = _column(cell, field, fields)
        if column is not None:
            columns[position] = column
        elif field not in ("timestamp", *_DEVICE_FIELDS, *_MODEL_FIELDS):
            unused.append(cell)
    recording.ignored = recording.ignored or of_no_use("column", unused)
    return _Header(tuple(cells), fields, columns)


def _column(cell: str, field: str, fields: tuple[str, ...]) -> _Column | None:
    if field not in _FIELDS or _INSTEAD.get(field) in fields:
        return None
    name, unit = _FIELDS[field]
    if field == "power.draw" and "power.draw.instant" in fields:
        if "power.draw.average" in fields:
            return None
        name = "power_w_average"
    match = _HEADER_CELL.fullmatch(cell)
    unit = (match and match["unit"]) or unit
    if unit is not None and unit not in _UNITS:
        return None
    return _Column(name, unit, _UNITS[unit] if unit else 1)


def _row(recording: Recording, header: _Header | None, cells: list[str]) -> tuple[Moment, dict[str, Any]]:
    if header is None:
        raise LeftOutError("torn row: before the first header")
    if len(cells) != len(header.cells):
        raise LeftOutError("torn row: not as many cells as the header")
    if any(_LOST.fullmatch(cell) for cell in cells):
        raise LeftOutError("the GPU was lost or needed a reset")
    stamp = cells[header.fields.index("timestamp")]
    moment = read_time(stamp.replace("/", "-", 2))
    if moment is None:
        raise LeftOutError("torn row: timestamp is no date and time", stamp)
    device = _device(recording, header, cells)
    values: dict[str, Any] = {"device": device}
    for position, column in header.columns.items():
        value = _value(column, cells[position])
        if value is not None and column.name in values and column.name in _COUNTERS:
            value += values[column.name] or 0
        if value is not None or column.name not in values:
            values[column.name] = value
    check_bounds(values)
    return moment, values


def _value(column: _Column, text: str) -> float | int | None:
    if not text or _ABSENT.fullmatch(text):
        return None
    if column.name == "clock_event_mask":
        return _mask(text)
    match = _CELL.fullmatch(text)
    unit = match["unit"] if match else None
    if match is None or (unit is not None and unit not in _UNITS):
        raise LeftOutError(f"torn row: {column.name} is not a number with a known unit", text)
    number = read_number(column.name, match["number"]) * (_UNITS[unit] if unit else column.factor)
    if column.name not in _COUNTERS:
        return float(number)
    if not 0 <= number < 2**62:
        raise LeftOutError(f"{column.name} is no counter", text)
    return int(number)


def _mask(text: str) -> int:
    try:
        mask = int(text, 16)
    except ValueError as error:
        raise LeftOutError("torn row: the clock event reasons are no hexadecimal mask", text) from error
    if not 0 <= mask < 2**64:
        raise LeftOutError("torn row: the clock event reasons are no 64-bit mask", text)
    return mask


def _device(recording: Recording, header: _Header, cells: list[str]) -> str:
    """Return how the log names the device: by UUID, index, bus or serial number; else all rows are one."""
    named = dict(zip(header.fields, cells, strict=True))
    device = _NAMELESS
    for field in _DEVICE_FIELDS:
        text = named.get(field, "")
        if text and not _ABSENT.fullmatch(text):
            device = f"gpu{text}" if field == "index" else text
            break
    else:
        recording.notes[device] = {
            "device": "the log names no GPU (no uuid or index): all its rows are taken as one device"
        }
    model = next((named[field] for field in _MODEL_FIELDS if field in named), None)
    if model:
        recording.models.setdefault(device, model)
    return device


NVIDIA_SMI = Format("an nvidia-smi log (CSV)", ("sample",), _is_log, _read_log)
