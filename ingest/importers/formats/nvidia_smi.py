"""Reading ``nvidia-smi --query-gpu=timestamp,... --format=csv -l`` logs.

The header names each field and its unit (temperatures have none: they are degC). Times are the host's
local ones and name no zone. `power.draw` is what the driver calls the power draw: the average of one
second on most GPUs since Ampere, an instant on others; where a log also has `power.draw.instant`, that
is the power and the other the average.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.csv_table import Table, Taken, csv_format
from thermograd.ingest.importers.formats.nvidia.smi_block import Names, Reader, SmiBlock
from thermograd.ingest.importers.formats.nvidia.without_header import (
    query_field,
    require_as_many,
    require_fitting,
    require_time_and_unit,
)
from thermograd.ingest.importers.hints.units import unit_named
from thermograd.ingest.importers.recording import Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.rows.plain_block import PlainBlock
from thermograd.ingest.importers.said_columns import said_positions
from thermograd.ingest.importers.text_files import (
    WHOLE,
    LeftOutError,
    OddCellError,
    cells_of,
    is_known,
    text_lines,
)
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError

_HEADER_CELL = re.compile(r"(?P<field>[a-z][a-z0-9_.]*)(?: \[(?P<unit>[^\]]+)\])?", re.ASCII | re.IGNORECASE)
_CELL = re.compile(r"(?P<number>[-+]?[\d.]+(?:[eE][-+]?\d+)?) ?(?P<unit>[^\s\d.]\S*)")
_UNITS: dict[str, float] = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "us": 1000}  # to B, and to ns
_UNITS |= dict.fromkeys(("%", "W", "MHz", "C", "B"), 1) | {"mW": 1e-3, "GHz": 1e3}
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
_BITS = {  # of the mask, by the reason that has a column of its own
    "gpu_idle": 0x1,
    "applications_clocks_setting": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
}
_REASON = re.compile(r"clocks_(event|throttle)_reasons\.(?P<reason>(?!active)\w+)")
_FLAGS = {"active": 1, "not active": 0}
SEPARATORS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"^([-+]?\d+),(\d+)")
_GERMAN_DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4}) ", re.ASCII)
_HEAD_LINES = 200
_LONGEST_READING = 9  # digits
_SMI_TIME = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}")
_SMI_VALUE = re.compile(r"[-\d.,]+ (%|W|MiB|MHz)|\[(N/A|Not Supported)\]")
_INDEX_FIELDS = ("index", "gpu", "gpu_index", "gpu_id", "minor_number")  # all but the first are scripts'
_DEVICE_FIELDS = (
    *("uuid", "gpu_uuid", "index", "pci.bus_id", "gpu_bus_id", "serial", "gpu_serial"),
    *_INDEX_FIELDS[1:],
)
_HOST_FIELDS = ("hostname", "host", "node", "nodename")
_MODEL_FIELDS = ("name", "gpu_name")
_NO_SENSORS = frozenset({"timestamp", *_DEVICE_FIELDS, *_HOST_FIELDS, *_MODEL_FIELDS})
_ONE_DEVICE = "the log names no GPU (no uuid or index): all its rows are taken as one device"


class _Column(NamedTuple):
    """The event's column, and the factor that converts a number without a unit of its own."""

    name: str
    factor: float
    bit: int = 0  # of a mask, where the log has a column for each


class NvidiaSmi(Table):
    """A log of nvidia-smi."""

    is_at_once = True
    hints = frozenset({"fields", "time"})

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        super().__init__(paths, format, hints)
        self._readers: dict[int, Reader] = {}
        self._own: dict[str, str] = {}  # a query's field, by our name of it that a person says
        lines = [line for _, line in itertools.islice(text_lines(self.recording.path), _HEAD_LINES)]
        self.separator = separator_of(lines) or ","
        if hints.fields:
            self._begin_without_header(lines, list(hints.fields))

    def _begin_without_header(self, lines: list[str], names: list[str]) -> None:
        """Take the names that a person says for those of a header."""
        path, rows = self.recording.path, [self.cells(line) for line in lines]
        if any(map(self.is_header, rows)):
            raise ImportFormatError(f"{path}: --columns is for a log without a header, but this one has one")
        rows = rows[next(place for place, cells in enumerate(rows) if is_smi_row(cells)) :]
        require_as_many(path, names, rows[0])
        fields = [_HEADER_CELL.sub(r"\g<field>", name).lower() for name in names]
        self._own = {field: query_field(field, rows[0][at]) for at, field in enumerate(fields)}
        if not self.is_header([self._own[field] for field in fields]):
            raise ImportFormatError(
                f"{path}: --columns {','.join(names)} are not the fields of a query of nvidia-smi, such as "
                "timestamp,index,power.draw,temperature.gpu"
            )
        require_time_and_unit(path, self.recording.hints, fields, rows[0])
        self._begin(0, names)
        columns = [self._columns[at].name if at in self._columns else f for at, f in enumerate(self._fields)]
        require_fitting(path, names, columns, rows, _is_moment)

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether all cells are names of fields, and one is known."""
        matches = [_HEADER_CELL.fullmatch(cell) for cell in cells]
        return all(matches) and any(match["field"].lower() in _FIELDS for match in matches if match)

    def begin(self, number: int) -> None:
        """Find the column of each field."""
        matches = [match for cell in self.header if (match := _HEADER_CELL.fullmatch(cell))]
        names = [match["field"].lower() for match in matches]
        self._fields = [self._own.get(name, name) for name in names]
        if "timestamp" not in self._fields:
            raise ImportFormatError(
                f"{self.recording.path}, row {number}: this nvidia-smi log has no timestamp; "
                "query timestamp as well"
            )
        self._columns: dict[int, _Column] = {}
        self._naming = [field for field in _DEVICE_FIELDS if field in self._fields]
        self._names: dict[tuple[str, str, str], str] = {}  # host, field and text to the device
        said, unused = said_positions(self.recording, self.header).values(), []
        for position, (field, match) in enumerate(zip(self._fields, matches, strict=True)):
            column = _column(field, match["unit"], self._fields)
            if column is not None:
                self._columns[position] = column
                self.recording.sources[column.name] = match[0]
            elif position not in said and field not in _NO_SENSORS:
                unused.append(match[0])
        self._known_names: set[tuple[tuple[str, str], ...]] = set()
        self._readers = {
            position: Reader(column.name, partial(self._read, column), {})
            for position, column in self._columns.items()
        }
        bits = sum(1 for column in self._columns.values() if column.bit)
        self.recording.ignored = self.recording.ignored or of_no_use("column", unused) + _few_reasons(bits)

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return the row as a sample."""
        named = dict(zip(self._fields, cells, strict=True))
        moment = smi_moment(named["timestamp"])
        if moment is None:
            raise LeftOutError("torn row: timestamp is no date and time", named["timestamp"])
        values: dict[str, Any] = {"device": self._device(named)}
        odd = set()
        for position, column in self._columns.items():
            value = self._value(column, cells[position])
            if value is None and is_known(cells[position]):
                odd.add(column.name)  # a sum without one of its parts would be another number
            if value is not None and column.name in values and column.name in WHOLE:
                value += values[column.name] or 0
            if value is not None or column.name not in values:
                values[column.name] = value
        values |= dict.fromkeys(odd)
        return [(moment, values)]

    def _device(self, named: Mapping[str, str]) -> str:
        """Return the name in the log: UUID, index, bus or serial number; else all rows are one device."""
        names = {field: named[field] for field in self._naming if is_known(named[field])}
        broken = [text for field, text in names.items() if _is_no_name(field, text)]
        names = {field: text for field, text in names.items() if text not in broken}
        if broken and not names:
            raise LeftOutError("the row does not say which GPU it is of", broken[0])
        if not names:
            if self.recording.hints.device is not None:
                return self.recording.hints.device
            self.recording.notes["gpu"] = {"device": _ONE_DEVICE}
            return "gpu"
        host = next((named[f] for f in _HOST_FIELDS if f in named), "")
        device = self._known_as(names, host)
        index = next((names[field] for field in _INDEX_FIELDS if field in names), None)
        self.recording.place_device(device, index, host if is_known(host) else None)
        model = next((named[field] for field in _MODEL_FIELDS if field in named), None)
        if model and is_known(model):
            self.recording.models.setdefault(device, model)
        return device

    def _known_as(self, names: dict[str, str], host: str) -> str:
        """Return the device with these names; where the first is not readable, by what it was beside."""
        field, text = next(iter(names.items()))
        device = f"gpu{text}" if field in _INDEX_FIELDS else text
        if host and field not in ("uuid", "gpu_uuid"):
            device = f"{host}:{device}"
        if field != self._naming[0]:
            return next(
                (self._names[(host, *name)] for name in names.items() if (host, *name) in self._names), device
            )
        for name in names.items():
            self._names.setdefault((host, *name), device)
        return device

    def _value(self, column: _Column, text: str) -> float | int | None:
        """Return a value; null, and counted, where a cell holds none."""
        try:
            return self._read(column, text)
        except OddCellError as error:
            self.recording.account.null(column.name, error)
            return None

    def _read(self, column: _Column, text: str) -> float | int | None:
        """Return a value in our unit; the cell's own unit counts more than the header's."""
        if column.bit:
            return _flag(text, column.bit)
        if column.name == "clock_event_mask":
            return _mask(text)
        if self.separator != ",":
            text = _DECIMAL_COMMA.sub(r"\1.\2", text)
        match = _CELL.fullmatch(text)
        if match is None or match["unit"] not in _UNITS:
            return self.recording.read_cell(column.name, text, column.factor)
        if unit_named(column.name, match["unit"]) is None:
            raise OddCellError(text, ", in the unit of something else")
        return self.recording.read_cell(column.name, match["number"], _UNITS[match["unit"]])

    def read(self) -> list[Recording]:
        """Read the file as every table, and forget what its texts say: the rows are still to be written."""
        recordings = super().read()
        for reader in self._readers.values():
            reader.known.clear()
        return recordings

    def long_texts(self) -> set[int]:
        """Return the column of times."""
        return {len(self._fields) - 1 - self._fields[::-1].index("timestamp")}

    def prepare(self, block: PlainBlock) -> Taken | None:
        """Prepare to take the rows of a block at once."""
        naming = (*self._naming, *_HOST_FIELDS, *_INDEX_FIELDS, *_MODEL_FIELDS)
        rows = SmiBlock(self.recording, block, self._fields, self._readers)
        return rows.take(list(dict.fromkeys(naming)), smi_moment, self._device, self._is_settled)

    def _is_settled(self, names: Names) -> bool:
        """Whether no row is named by others beside it while a block has names that are new."""
        regular = [texts for texts in names.texts if self._is_regular(texts)]
        new = [texts for texts in regular if tuple(texts.items()) not in self._known_names]
        if new and len(regular) < len(names.texts):
            return False
        self._known_names.update(tuple(texts.items()) for texts in new)
        return True

    def _is_regular(self, named: Mapping[str, str]) -> bool:
        first = named[self._naming[0]] if self._naming else ""
        return not self._naming or (is_known(first) and not _is_no_name(self._naming[0], first))


def _few_reasons(bits: int) -> list[str]:
    """Return a list of at most one sentence: that a mask is of some reasons only."""
    if not 0 < bits < len(_BITS):
        return []
    return [f"clock_event_mask is of {bits} of {len(_BITS)} reasons; the log has no column of the others"]


def _flag(text: str, bit: int) -> int | None:
    """Return the bit of a reason that is active, 0 of one that is not."""
    if text.lower() in _FLAGS:
        return bit * _FLAGS[text.lower()]
    if not is_known(text):
        return None
    raise OddCellError(text)


def smi_moment(text: str) -> Moment | None:
    """Read a time as nvidia-smi writes it, or as a German spreadsheet writes it again."""
    day = _GERMAN_DAY.match(text)
    if day is not None:
        return read_time(f"{day[3]}-{int(day[2]):02}-{int(day[1]):02} {text[day.end() :]}")
    return read_time(text.replace("/", "-", 2))


def _is_moment(text: str) -> bool:
    """Whether a text is a time and no reading: a number of few digits would be of 1970."""
    return len(text) > _LONGEST_READING and smi_moment(text) is not None


def separator_of(lines: Iterable[str]) -> str | None:
    """Return what separates the cells of a header, or else of rows; None where there is neither."""
    lines = list(lines)
    for is_it in (NvidiaSmi.is_header, is_smi_row):
        for separator in SEPARATORS:
            if any(is_it(cells_of(line, separator)) for line in lines):
                return separator
    return None


def is_smi_row(cells: list[str]) -> bool:
    """Return whether a row has a value or a time as nvidia-smi alone writes them."""
    if len(cells) < 2:
        return False
    return any(_SMI_VALUE.fullmatch(cell) or _SMI_TIME.fullmatch(cell) for cell in cells)


def _mask(text: str) -> int | None:
    if not is_known(text):
        return None
    try:
        mask = int(text, 16)
    except ValueError:
        raise OddCellError(text) from None
    if not 0 <= mask < 2**64:
        raise OddCellError(text)
    return mask


def _is_no_name(field: str, text: str) -> bool:
    return not text.isdecimal() if field in _INDEX_FIELDS else text.startswith("[") or text == "ERR!"


def _column(field: str, unit: str | None, fields: list[str]) -> _Column | None:
    if (reason := _REASON.fullmatch(field)) is not None:
        whole = any(f"clocks_{word}_reasons.active" in fields for word in ("event", "throttle"))
        bit = 0 if whole else _BITS.get(reason["reason"], 0)
        return _Column("clock_event_mask", 1, bit) if bit else None
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


def _has_header(head: Head) -> bool:
    return any(NvidiaSmi.is_header(cells_of(line, mark)) for line in head.lines for mark in SEPARATORS)


def _asked_for(head: Head, hints: Hints) -> bool:
    """Whether names are said of rows of nvidia-smi, or its own column of times."""
    if hints.time is not None and hints.time.lower() != "timestamp":
        return False
    if not hints.fields:
        return hints.time is not None and _has_header(head)
    rows = (cells_of(line, mark) for line in head.lines[:_HEAD_LINES] for mark in SEPARATORS)
    return any(map(is_smi_row, rows))


NVIDIA_SMI = replace(
    csv_format("an nvidia-smi log (CSV)", NvidiaSmi), recognises=_has_header, asked_for=_asked_for
)
