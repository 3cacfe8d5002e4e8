"""Reading ``nvidia-smi --query-gpu=timestamp,... --format=csv -l`` logs.

The header names each field and its unit (temperatures have none: they are degC). Times are the host's
local ones and name no zone. `power.draw` is what the driver calls the power draw: the average of one
second on most GPUs since Ampere, an instant on others; where a log also has `power.draw.instant`, that
is the power and the other the average.
"""

import re
from typing import Any, NamedTuple

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.recording import of_no_use
from thermograd.ingest.importers.text_files import WHOLE, LeftOutError, check_bounds, read_number
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

_HEADER_CELL = re.compile(r"(?P<field>[a-z][a-z0-9_.]*)(?: \[(?P<unit>[^\]]+)\])?", re.ASCII | re.IGNORECASE)
_CELL = re.compile(r"(?P<number>[^ ]+)(?: (?P<unit>[^ ]+))?")
_ABSENT = re.compile(r"\[?(n/a|not supported|unknown error|not found|insufficient permissions)\]?", re.I)
_LOST = re.compile(r"\[(gpu is lost|gpu requires reset|reset required)\]", re.I)
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "us": 1000}  # to B, and to ns
_UNITS |= dict.fromkeys(("%", "W", "MHz", "C", "B"), 1)
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
_DEVICE_FIELDS = ("uuid", "gpu_uuid", "index", "pci.bus_id", "gpu_bus_id", "serial", "gpu_serial")
_MODEL_FIELDS = ("name", "gpu_name")


class _Column(NamedTuple):
    """The event's column, and the factor that converts a number without a unit of its own."""

    name: str
    factor: float


class _NvidiaSmi(Table):
    """A log of nvidia-smi."""

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether all cells are names of fields, and one is known."""
        matches = [_HEADER_CELL.fullmatch(cell) for cell in cells]
        return all(matches) and any(match["field"].lower() in _FIELDS for match in matches if match)

    def begin(self, number: int) -> None:
        """Find the column of each field."""
        matches = [match for cell in self.header if (match := _HEADER_CELL.fullmatch(cell))]
        self._fields = [match["field"].lower() for match in matches]
        if "timestamp" not in self._fields:
            raise ImportFormatError(
                f"{self.recording.path}, row {number}: this nvidia-smi log has no timestamp; "
                "query timestamp as well"
            )
        self._columns: dict[int, _Column] = {}
        unused = []
        for position, (field, match) in enumerate(zip(self._fields, matches, strict=True)):
            column = _column(field, match["unit"], self._fields)
            if column is not None:
                self._columns[position] = column
            elif field not in ("timestamp", *_DEVICE_FIELDS, *_MODEL_FIELDS):
                unused.append(match[0])
        self.recording.ignored = self.recording.ignored or of_no_use("column", unused)

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return the row as a sample."""
        if any(_LOST.fullmatch(cell) for cell in cells):
            raise LeftOutError("the GPU was lost or needed a reset")
        named = dict(zip(self._fields, cells, strict=True))
        moment = read_time(named["timestamp"].replace("/", "-", 2))
        if moment is None:
            raise LeftOutError("torn row: timestamp is no date and time", named["timestamp"])
        values: dict[str, Any] = {"device": self._device(named)}
        for position, column in self._columns.items():
            value = _value(column, cells[position])
            if value is not None and column.name in values and column.name in WHOLE:
                value += values[column.name] or 0
            if value is not None or column.name not in values:
                values[column.name] = value
        check_bounds(values)
        return [(moment, values)]

    def _device(self, named: dict[str, str]) -> str:
        """Return the name in the log: UUID, index, bus or serial number; else all rows are one device."""
        for field in _DEVICE_FIELDS:
            text = named.get(field, "")
            if text and not _ABSENT.fullmatch(text):
                device = f"gpu{text}" if field == "index" else text
                break
        else:
            device = "gpu"
            note = "the log names no GPU (no uuid or index): all its rows are taken as one device"
            self.recording.notes[device] = {"device": note}
        model = next((named[field] for field in _MODEL_FIELDS if field in named), None)
        if model:
            self.recording.models.setdefault(device, model)
        return device


def _column(field: str, unit: str | None, fields: list[str]) -> _Column | None:
    if field not in _FIELDS or _INSTEAD.get(field) in fields:
        return None
    name, usual_unit = _FIELDS[field]
    if field == "power.draw" and "power.draw.instant" in fields:
        if "power.draw.average" in fields:
            return None
        name = "power_w_average"
    unit = unit or usual_unit
    if unit is not None and unit not in _UNITS:
        return None
    return _Column(name, _UNITS[unit] if unit else 1)


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
    if column.name not in WHOLE:
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


NVIDIA_SMI = csv_format("an nvidia-smi log (CSV)", _NvidiaSmi)
