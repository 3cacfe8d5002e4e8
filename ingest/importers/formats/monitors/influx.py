"""Reading InfluxDB's line protocol: what Telegraf writes of GPUs, processors and sensors, or any field.

Timestamps are nanoseconds, as the protocol has them, unless a person says another unit (``--unit time=s``).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.formats.monitors.line_protocol import Point, point_of
from thermograd.ingest.importers.formats.prometheus.dcgm_names import (
    HOST_LABELS,
    device_of,
    first_of,
    index_of,
)
from thermograd.ingest.importers.formats.prometheus.exporters import reading_of
from thermograd.ingest.importers.hints.units import COLUMNS, TIME
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.said_columns import require_names, said_columns
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines
from thermograd.ingest.importers.timezones import UNITS_NS, Moment
from thermograd.store.errors import ImportFormatError

_GPU = {
    "utilization_gpu": ("utilization_pct", 1.0),
    "power_draw": ("power_w", 1.0),
    "power_limit": ("power_limit_w", 1.0),
    "clocks_current_sm": ("sm_clock_mhz", 1.0),
    "clocks_current_memory": ("memory_clock_mhz", 1.0),
    "fan_speed": ("fan_pct", 1.0),
}
_NVIDIA = _GPU | {"temperature_gpu": ("temperature_c", 1.0), "memory_used": ("memory_used_bytes", 2.0**20)}
_AMD = _GPU | {
    "temperature_sensor_junction": ("temperature_c", 1.0),
    "temperature_sensor_memory": ("memory_temperature_c", 1.0),
    "memory_used": ("memory_used_bytes", 1.0),
}
_PROMETHEUS_FIELDS = ("gauge", "counter", "value", "untyped")  # of Telegraf's metric_version 1
_EARLIEST_NS = 10**17  # of 1973: seconds, ms or us, read as ns, are of January 1970
_NO_TIME = "a line without a timestamp"


class _Reading(NamedTuple):
    """A number that is of use: the device, its column, and the number in our unit."""

    device: str
    column: str
    number: float
    field: str  # as the file calls it


class _LineProtocol:
    """Lines while they are read."""

    def __init__(self, paths: tuple[Path, ...], hints: Hints) -> None:
        self.recording = Recording(paths, "sample", INFLUX.name, hints=hints, of_any=True)
        self.recording.clock = "the timestamp of each line"
        self._said = {tag: name for name, tag in said_columns(hints).items()}
        self._ns = UNITS_NS[_unit(hints)]
        self._unknown: set[str] = set()
        self._used: set[str] = set()

    def read(self) -> list[Recording]:
        """Read every line."""
        for number, line in text_lines(self.recording.path):
            if line.strip() and not line.startswith("#"):
                with self.recording.row(number, line):
                    self._row(number, line)
        require_names(self.recording, self._unknown | self._used)
        self.recording.ignored += of_no_use("field", self._unknown - self._used)
        if not len(self.recording) and self.recording.account.left_out[_NO_TIME]:
            raise ImportFormatError(
                f"{self.recording.path}: no line has a timestamp (InfluxDB gives it one when it is written), "
                "so it is no time series; allowed are lines with timestamps, as Telegraf writes them"
            )
        return [self.recording]

    def _row(self, number: int, line: str) -> None:
        point = point_of(line)
        if point is None:
            raise LeftOutError("torn row: not in InfluxDB's line protocol")
        require_whole(line)
        samples = self._samples(point)
        moment = self._moment(point.time)
        for device, values in samples.items():
            self.recording.add(number, moment, {"device": device} | values)

    def _moment(self, time: int | None) -> Moment:
        if time is None:
            raise LeftOutError(_NO_TIME)
        moment = Moment(time * self._ns, naive=False)
        if not moment.is_likely or moment.ns < _EARLIEST_NS:
            raise LeftOutError(
                "a timestamp that is no time in ns between 1973 and 2100 (or --unit time=s, ms, us)", time
            )
        return moment

    def _samples(self, point: Point) -> dict[str, dict[str, Any]]:
        """Return the values of a line by device."""
        labels = {key.lower(): text for key, text in point.tags.items()}
        samples: dict[str, dict[str, Any]] = {}
        for field in point.numbers:
            reading = self._reading(point, field, labels)
            if reading is None:
                self._unknown.add(f"{point.measurement}.{field}")
                continue
            value = self.recording.value(reading.column, reading.number)
            samples.setdefault(reading.device, {})[reading.column] = value
            self.recording.sources[reading.column] = reading.field
            self.recording.place_device(reading.device, _index(labels), first_of(labels, HOST_LABELS))
        if not samples:
            raise LeftOutError("a line without a field of use", point.measurement)
        if (model := labels.get("name")) and point.measurement in ("nvidia_smi", "amd_rocm_smi"):
            self.recording.models |= dict.fromkeys(samples, model)
        return samples

    def _reading(self, point: Point, field: str, labels: Mapping[str, str]) -> _Reading | None:
        full, number = f"{point.measurement}.{field}", point.numbers[field]
        for tag in (full, field):
            if tag in self._said:
                self._used.add(tag)
                self.recording.columns[self._said[tag]] = full
                return _Reading(self._device(labels), self._said[tag], number, full)
        found = _of_telegraf(point, field, labels) or _of_prometheus(point, field, labels)
        if found is None or found[1] in self._said.values():
            return None
        device, column, ours = found
        return _Reading(
            device or self._device(labels), column, number if column in self.recording.units else ours, full
        )

    def _device(self, labels: Mapping[str, str]) -> str:
        """Return the device that the tags name, else the one that a person says."""
        return device_of({"gpu": labels.get("index", ""), **labels}, self.recording.hints.device)


def _of_telegraf(point: Point, field: str, labels: Mapping[str, str]) -> tuple[str, str, float] | None:
    """Return device (empty: by its labels), column and number of a field of Telegraf's own inputs."""
    number, host = point.numbers[field], labels.get("host", "")
    prefix = f"{host}:" if host else ""
    known = {"nvidia_smi": _NVIDIA, "amd_rocm_smi": _AMD}.get(point.measurement, {}).get(field)
    if known is not None:
        unique = labels.get("gpu_unique_id", "")
        return (unique if point.measurement == "amd_rocm_smi" else ""), known[0], number * known[1]
    if field in COLUMNS["sample"] and labels.get("device"):  # as thermograd writes it
        return labels["device"], field, number
    match point.measurement, field:
        case "cpu", "usage_idle" if labels.get("cpu") == "cpu-total":
            return f"{prefix}cpu", "utilization_pct", 100.0 - number
        case "mem", "used":
            return f"{prefix}cpu", "memory_used_bytes", number
        case "temp", "temp" if labels.get("sensor"):
            return f"{prefix}{labels['sensor']}", "temperature_c", number
        case "sensors", "temp_input" | "power_average" | "power_input" if labels.get("chip"):
            columns = {
                "temp_input": "temperature_c",
                "power_average": "power_w_average",
                "power_input": "power_w",
            }
            return f"{prefix}{labels['chip']}/{labels.get('feature', '')}", columns[field], number
        case "powerstat_package" | "intel_powerstat", "current_power_consumption_watts":
            return f"{prefix}cpu{labels.get('package_id', '')}", "power_w", number
        case "powerstat_package" | "intel_powerstat", "current_dram_power_consumption_watts":
            return f"{prefix}ram{labels.get('package_id', '')}", "power_w", number
    return None


def _of_prometheus(point: Point, field: str, labels: Mapping[str, str]) -> tuple[str, str, float] | None:
    """Return the same of a metric that Telegraf scraped of an exporter."""
    name = point.measurement if field in _PROMETHEUS_FIELDS else field
    reading = reading_of(name, labels)
    if reading is None:
        return None
    return reading.device or "", reading.column, point.numbers[field] * reading.factor


def _index(labels: Mapping[str, str]) -> str | None:
    return labels.get("index") or index_of(labels) or None


def _unit(hints: Hints) -> str:
    unit = dict(hints.units).get(TIME, "ns").lower()
    if unit not in UNITS_NS:
        raise ImportFormatError(
            f"--unit time={unit}: allowed for timestamps of the line protocol is one of {', '.join(UNITS_NS)}"
        )
    return unit


def _recognises(head: Head) -> bool:
    lines = head.lines[:-1] if head.is_cut else head.lines
    points = [point_of(line) for line in lines[:50] if not line.startswith("#")]
    fitting = [point for point in points if point is not None and (point.tags or _is_time(point.time))]
    return len(fitting) * 2 > len(points)


def _is_time(time: int | None) -> bool:
    """Whether a number is a time of our years, in some unit: a text with numbers may look like lines."""
    return time is not None and time > 10**9


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    return _LineProtocol(paths, hints).read()


INFLUX = Format(
    "InfluxDB line protocol", ("sample",), _recognises, _read, hints=frozenset({"units", "columns", "device"})
)
