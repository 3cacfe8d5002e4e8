"""Reading what the first instrument of this kind left: RLE device logs (CSV) and step logs (JSON)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.steps.metric_names import EntryReader
from thermograd.ingest.importers.text_files import (
    LeftOutError,
    OddCellError,
    json_of,
)
from thermograd.ingest.importers.timezones import Moment, read_epoch, read_time, shown_offset
from thermograd.store.errors import ImportFormatError

SIGNALS = frozenset({"util_pct", "temp_c", "power_w", "rle_smoothed", "rle_raw"})
_COLUMNS = {  # the first of some columns that has a value, and what converts it
    "utilization_pct": {"util_pct": 1.0},
    "power_w": {"power_w": 1.0},
    "temperature_c": {"temp_c": 1.0},
    "memory_temperature_c": {"vram_temp_c": 1.0, "gpu_memory_temp": 1.0},
    "fan_pct": {"fan_pct": 1.0, "gpu_fan_pct": 1.0},
    "reported_rle": {"rle_smoothed": 1.0},  # the published correlations are of the smoothed one
    "_a_load": {"a_load": 1.0},
}
# Memory is in GiB, which the source calls GB: its values are whole pages.
_GPU_COLUMNS = {"sm_clock_mhz": {"gpu_clock_mhz": 1.0}, "memory_used_bytes": {"gpu_memory_used_gb": 2.0**30}}
_CPU_COLUMNS = {"sm_clock_mhz": {"cpu_freq_ghz": 1e3, "cpu_freq_mhz": 1.0}}
_FLAGS = {"": None, "0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
_SUMMARIES = {  # by whether it is the last row
    True: "end-of-training summary (last row: repeated step, null loss and grad_norm)",
    False: "evaluation or summary row (repeated step, null loss and grad_norm)",
}
_CLOCKS = ("timestamp_shared", "timestamp", "timestamp_iso")


# -- device logs ---------------------------------------------------------------------------------


class _DeviceLog(Table):
    """A device log with any set of the columns."""

    refuses_cut_line_first = False

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are a time, a device and one of its signals."""
        return "timestamp" in cells and "device" in cells and not SIGNALS.isdisjoint(cells)

    def begin(self, number: int) -> None:
        """Name the program whose RLE and collapse these are: the same columns have several meanings."""
        columns = self.header
        named = "rle.hardware_monitor" if "vram_temp_c" in columns else "unknown"
        named = "rle.hardware_monitor_v2" if "workload_state" in columns else named
        self.recording.definition = self.recording.definition or named

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return the row as a sample."""
        named = dict(zip(self.header, cells, strict=True))
        time, device = named["timestamp"], named["device"]
        moment = read_time(time)
        if moment is None:
            raise LeftOutError("torn row: timestamp is not an ISO 8601 time or epoch seconds", time)
        if not device or "\0" in device:
            raise LeftOutError("torn row: no device", device)
        columns = _COLUMNS | (_CPU_COLUMNS if device.lower().startswith("cpu") else _GPU_COLUMNS)
        values = {column: self._value(column, names, named) for column, names in columns.items()}
        flag = self._flag(named.get("collapse", ""))
        return [(moment, {"device": device, "reported_collapse": flag} | values)]

    def _value(self, column: str, names: dict[str, float], named: dict[str, str]) -> float | int | None:
        """Return the first of some source's columns that has a value."""
        found = (
            self.recording.cell(column, named[name], factor)
            for name, factor in names.items()
            if name in named
        )
        return next((value for value in found if value is not None), None)

    def _flag(self, text: str) -> bool | None:
        if text.lower() not in _FLAGS:
            self.recording.account.null("reported_collapse", OddCellError(text))
        return _FLAGS.get(text.lower())


# -- step logs -----------------------------------------------------------------------------------


def _is_step_log(head: Head) -> bool:
    return bool(re.match(r"\[\s*\{", head.text) and re.search(r'"step"\s*:', head.text))


def _read_step_log(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    """Read a list of entries. NaN and infinite losses and norms are kept: they are what happened."""
    recording = Recording(paths, "step", STEP_LOG.name, hints=hints)
    recording.account.place = "entry"
    entries = json_of(recording.path)
    if not isinstance(entries, list):
        found = type(entries).__name__
        raise ImportFormatError(f"{recording.path}: a step log must be a list, but this is a {found}")
    reader = EntryReader(recording, hints.columns, aside=(*_CLOCKS, "step_counter"))
    clocks = set()
    previous: Any = None
    for number, entry in enumerate(entries, start=1):
        with recording.row(number, entry):
            values = reader.values(entry)
            is_step = not _repeats(values, previous)
            others = reader.others(entry, is_step=True)
            if not is_step and all(value is None for value in others.values()):
                raise LeftOutError(_SUMMARIES[number == len(entries)])
            clock, moment = _time_of(entry)
            recording.require_new(json.dumps(entry, sort_keys=True), moment)
            previous = values["step"]
            clocks.add(clock)
            if is_step:
                recording.add(number, moment, values)
            recording.add_metrics(number, moment, values["step"], reader.others(entry, is_step))
            recording.local_offsets_s.update(_local_offset(entry, moment))
    reader.finish()
    recording.clock = ", ".join(sorted(clocks)) or "none"
    return [recording]


def _repeats(values: dict[str, Any], previous: int | None) -> bool:
    """Whether an entry says of a step that was there only what came of it: an evaluation, a summary."""
    return values["step"] == previous and values["loss"] is None and values["grad_norm"] is None


def _time_of(entry: dict[str, Any]) -> tuple[str, Moment]:
    """Return the time of an entry, and the name that it is from."""
    for clock, moment in _moments(entry):
        return clock, moment
    raise LeftOutError(f"torn row: none of {', '.join(_CLOCKS)} is a time")


def _moments(entry: dict[str, Any]) -> Iterator[tuple[str, Moment]]:
    """Yield the times that an entry gives, the most trusted column first."""
    for name in _CLOCKS:
        value = entry.get(name)
        moment = read_time(value) if isinstance(value, str) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            moment = read_epoch(value)
        if moment is not None:
            yield name, moment


def _local_offset(entry: dict[str, Any], moment: Moment) -> set[int]:
    if moment.naive:
        return set()
    offsets = (shown_offset(other.ns, moment.ns) for _, other in _moments(entry) if other.naive)
    return {offset for offset in offsets if offset is not None}


DEVICE_LOG = csv_format("an RLE device log (CSV)", _DeviceLog)
STEP_LOG = Format("a step log (JSON)", ("step",), _is_step_log, _read_step_log, hints=frozenset({"units"}))
