"""Reading what Prometheus got from NVIDIA's DCGM exporter: text with timestamps, or a range query's JSON.

Units are those of DCGM's field list: W, mJ (counter), degC, MHz, MiB, and nanoseconds for the violation
counters (older exporters' help texts say us; that was a mistake, dcgm-exporter pull request 589).
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.text_files import (
    WHOLE,
    LeftOutError,
    check_bounds,
    json_of,
    require_whole,
    text_lines,
)
from thermograd.ingest.importers.timezones import Moment, read_epoch
from thermograd.store.errors import ImportFormatError

_METRICS: dict[str, tuple[str, float]] = {  # column, and the factor to its unit
    "GPU_UTIL": ("utilization_pct", 1),
    "POWER_USAGE": ("power_w_average", 1),
    "POWER_USAGE_INSTANT": ("power_w", 1),
    "TOTAL_ENERGY_CONSUMPTION": ("energy_j", 1e-3),
    "GPU_TEMP": ("temperature_c", 1),
    "MEMORY_TEMP": ("memory_temperature_c", 1),
    "SM_CLOCK": ("sm_clock_mhz", 1),
    "MEM_CLOCK": ("memory_clock_mhz", 1),
    "FB_USED": ("memory_used_bytes", 2**20),
    "ENFORCED_POWER_LIMIT": ("power_limit_w", 1),
    "FAN_SPEED": ("fan_pct", 1),
    "CLOCK_THROTTLE_REASONS": ("clock_event_mask", 1),
    "CLOCKS_EVENT_REASONS": ("clock_event_mask", 1),
    "POWER_VIOLATION": ("throttled_power_ns", 1),
    "THERMAL_VIOLATION": ("throttled_thermal_ns", 1),
    "CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN_NS": ("throttled_brake_ns", 1),
    "ECC_SBE_VOL_TOTAL": ("ecc_corrected", 1),
    "ECC_DBE_VOL_TOTAL": ("ecc_uncorrected", 1),
    "PCIE_REPLAY_COUNTER": ("pcie_replays", 1),
}
_PREFIX = "DCGM_FI_DEV_"
_INT32_BLANK, _INT64_BLANK, _FLOAT_BLANK = 0x7FFFFFF0, 0x7FFFFFFFFFFFFFF0, 140737488355328.0
_SAMPLE = re.compile(r"[A-Za-z_:][\w:]*\s*(\{.*\})?\s+[-+\w.]+(\s+-?\d+)?\s*", re.ASCII)
_NO_TIME = "a sample without a timestamp"


class _Samples:
    """Merges the metrics of one device and one time into one sample."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._rows: dict[tuple[str, int], tuple[int, Moment, dict[str, Any]]] = {}
        self.unknown: set[str] = set()

    def put(self, line: int, name: str, labels: dict[str, str], value: float, time_s: float) -> None:
        metric = name.removesuffix("_total").removeprefix(_PREFIX)
        if metric not in _METRICS or not name.startswith(_PREFIX):
            self.unknown.add(name)
            return
        column, factor = _METRICS[metric]
        moment = read_epoch(time_s)
        if moment is None:
            raise LeftOutError("a timestamp that is no time between 1970 and 2100", time_s)
        number = _number(column, value, factor)
        check_bounds({column: number})
        device = _device(labels)
        row = self._rows.setdefault((device, moment.ns), (line, moment, {"device": device}))
        if row[2].get(column) is not None:
            raise LeftOutError("a second value of the same metric, device and time")
        row[2][column] = number
        if model := labels.get("modelName"):
            self._recording.models.setdefault(device, model)

    def finish(self) -> None:
        """Give the samples to the recording; where power was asked for once, that is the power."""
        instant = any(values.get("power_w") is not None for _, _, values in self._rows.values())
        for line, moment, values in self._rows.values():
            if not instant and "power_w_average" in values:
                values["power_w"] = values.pop("power_w_average")
            self._recording.add(line, moment, values)
        self._recording.ignored += of_no_use("metric", self.unknown)


def _number(column: str, value: float, factor: float) -> float | int | None:
    """Convert a value; DCGM's stand-ins for an absent one and NaN are null."""
    if not math.isfinite(value) or value >= _INT64_BLANK or value in range(_INT32_BLANK, _INT32_BLANK + 16):
        return None
    if int(value) in range(int(_FLOAT_BLANK), int(_FLOAT_BLANK) + 16):
        return None
    if column not in WHOLE:
        return float(value * factor)
    if value < 0:
        raise LeftOutError(f"{column} below 0", value)
    return int(value)


def _device(labels: dict[str, str]) -> str:
    """Return the device as recorded: its UUID, else its index on its host; a MIG instance with its id."""
    device = labels.get("UUID") or ""
    if not device:
        index = labels.get("gpu") or ""
        if not index:
            raise LeftOutError("a metric without a UUID or gpu label")
        host = labels.get("Hostname") or labels.get("instance")
        device = f"{host}:gpu{index}" if host else f"gpu{index}"
    instance = labels.get("GPU_I_ID")
    return f"{device}/{instance}" if instance else device


# -- text ----------------------------------------------------------------------------------------


def _is_text(head: Head) -> bool:
    lines = head.lines[:-1] if len(head.lines) > 1 else head.lines  # the last one may be cut off
    samples = [line for line in lines if not line.startswith("#")]
    typed = any(line.startswith(("# TYPE ", "# HELP ")) for line in lines)
    fitting = sum(bool(_SAMPLE.fullmatch(line.rstrip("\r"))) for line in samples)
    labelled = any("{" in line for line in samples)
    return bool(samples) and (typed or labelled) and fitting * 2 > len(samples)


def _read_text(paths: tuple[Path, ...], _: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", PROMETHEUS_TEXT.name)
    recording.clock = "the timestamp of each sample"
    samples = _Samples(recording)
    for number, line in text_lines(recording.path):
        if line.strip() and not line.startswith("#"):
            with recording.row(number, line):
                samples.put(number, *_text_value(line))
    samples.finish()
    if not len(recording) and recording.left_out[_NO_TIME]:
        raise ImportFormatError(
            f"{recording.path}: no sample has a timestamp, so this is one scrape and no time series; "
            "allowed is text with timestamps (ms), or the JSON of a range query to Prometheus"
        )
    return [recording]


def _text_value(line: str) -> tuple[str, dict[str, str], float, float]:
    """Parse one line with Prometheus' own client, so that a bad line costs itself only."""
    from prometheus_client.parser import text_string_to_metric_families

    require_whole(line)
    try:
        (family,) = text_string_to_metric_families(line)
        (sample,) = family.samples
        value = float(sample.value)
    except (ValueError, IndexError, OverflowError) as error:
        raise LeftOutError("torn row: not in Prometheus' text format") from error
    if sample.timestamp is None:
        raise LeftOutError(_NO_TIME)
    return sample.name, sample.labels, value, float(sample.timestamp)


# -- JSON ----------------------------------------------------------------------------------------


def _read_json(paths: tuple[Path, ...], _: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", PROMETHEUS_JSON.name)
    recording.clock, recording.place = "the time of each value", "series"
    samples = _Samples(recording)
    for number, labels, points in _series(recording.path):
        name = labels.get("__name__")
        if name is None:
            recording.rows_read[recording.path, "sample"] += len(points)
            samples.unknown.add(f"series {number} (it has no name: an expression)")
            continue
        for point in points:
            with recording.row(number, point):
                samples.put(number, name, labels, *_point(point))
    samples.finish()
    return [recording]


def _series(path: Path) -> Iterator[tuple[int, dict[str, str], list[Any]]]:
    """Yield number (from 1), labels and points of each series of a range query."""
    answer = json_of(path)
    data = answer.get("data")
    if answer.get("status") != "success" or not isinstance(data, dict):
        raise ImportFormatError(
            f"{path}: Prometheus' answer has status {answer.get('status')!r}; allowed is 'success' with data"
        )
    if data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        raise ImportFormatError(
            f"{path}: the answer is a {data.get('resultType')!r}, not a time series; allowed is the "
            "'matrix' of a range query (/api/v1/query_range)"
        )
    for number, series in enumerate(data["result"], start=1):
        labels = series.get("metric") if isinstance(series, dict) else None
        points = series.get("values") if isinstance(series, dict) else None
        if not isinstance(labels, dict) or not isinstance(points, list):
            raise ImportFormatError(f"{path}, series {number}: allowed is an object with metric and values")
        yield number, {str(key): str(value) for key, value in labels.items()}, points


def _point(point: Any) -> tuple[float, float]:
    """Return value and time of one point: [seconds, "value"]."""
    try:
        time_s, text = point
        return float(text), float(time_s)
    except (TypeError, ValueError, OverflowError) as error:
        raise LeftOutError("torn point: not [seconds, value]") from error


PROMETHEUS_TEXT = Format("Prometheus text of a DCGM exporter", ("sample",), _is_text, _read_text)
PROMETHEUS_JSON = Format(
    "a Prometheus range query (JSON)",
    ("sample",),
    lambda head: head.text.startswith("{") and '"resultType"' in head.text[:2000],
    _read_json,
)
