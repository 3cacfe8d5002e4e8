"""Reading what Prometheus got from NVIDIA's DCGM exporter: text with timestamps, or a range query's JSON."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.dcgm_names import (
    DCGM_METRICS,
    DCGM_PREFIX,
    HOST_LABELS,
    INDEX_LABELS,
    device_of,
    first_of,
    is_blank,
)
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.said_columns import require_names, said_columns
from thermograd.ingest.importers.text_files import (
    LeftOutError,
    OddCellError,
    json_of,
    require_whole,
    text_lines,
    within,
)
from thermograd.ingest.importers.timezones import Moment, read_epoch
from thermograd.store.errors import ImportFormatError

_SAMPLE = re.compile(r"[A-Za-z_:][\w:]*\s*(\{.*\})?\s+[-+\w.]+(\s+-?[\d.]+)?\s*", re.ASCII)
_FIRST_S = 1e8  # of 1973: seconds, read as milliseconds, are of January 1970
_NO_TIME = "a sample without a timestamp"


@dataclass(slots=True)
class _Sample:
    line: int
    moment: Moment
    values: dict[str, Any]
    rows: int = 1  # of the file that are in it


class _Samples:
    """Merges the metrics of one device and one time into one sample."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._rows: dict[tuple[str, int], list[_Sample]] = {}
        self._said = {tag: name for name, tag in said_columns(recording.hints).items()}
        self.unknown: set[str] = set()

    def put(self, line: int, name: str, labels: dict[str, str], value: float, time_s: float) -> None:
        column, factor = self._column(name)
        moment = read_epoch(time_s)
        if moment is None:
            raise LeftOutError("a timestamp that is no time between 1970 and 2100", time_s)
        labels = {key.lower(): text for key, text in labels.items()}
        device, host = self._device(labels), first_of(labels, HOST_LABELS)
        self._recording.place_device(device, first_of(labels, INDEX_LABELS).removeprefix("nvidia"), host)
        self._add(device, line, moment, column, self._number(column, value, factor))
        if model := labels.get("modelname") or labels.get("model_name"):
            self._recording.models.setdefault(device, model)

    def _column(self, name: str) -> tuple[str, float]:
        """Return the column of a metric, as a person says or DCGM, and the factor to its unit."""
        metric = name.removesuffix("_total").removeprefix(DCGM_PREFIX)
        if name in self._said:
            self._recording.columns[self._said[name]] = name
            return self._said[name], 1.0
        known = DCGM_METRICS.get(metric) if name.startswith(DCGM_PREFIX) else None
        if known is None or known[0] in self._said.values():
            self.unknown.add(name)
            raise LeftOutError("a metric of no use")
        self._recording.sources[known[0]] = name
        return known

    def _device(self, labels: dict[str, str]) -> str:
        try:
            return device_of(labels)
        except LeftOutError:
            if self._recording.hints.device is None:
                raise
            return self._recording.hints.device

    def _add(self, device: str, line: int, moment: Moment, column: str, number: float | int | None) -> None:
        """Put a value into the device's sample of that time; another value of the same begins another one."""
        samples = self._rows.setdefault((device, moment.ns), [])
        for sample in samples:
            known = sample.values.get(column)
            if known is not None and known == number:
                raise LeftOutError("the same value of a metric, device and time again")
            if known is None or number is None:
                sample.values[column] = number if known is None else known
                sample.rows += 1
                break
        else:
            samples.append(_Sample(line, moment, {"device": device, column: number}))
        self._recording.account.hold()

    def _number(self, column: str, value: float, factor: float) -> float | int | None:
        """Convert a value; DCGM's stand-ins for an absent one and NaN are null."""
        if not math.isfinite(value) or is_blank(value):
            return None
        try:
            unit = self._recording.units.get(column)
            return within(column, value * factor if unit is None else unit(value), value)
        except OddCellError as error:
            self._recording.account.null(column, error)
            return None

    def finish(self) -> None:
        """Give the samples to the recording; where power was asked for once, that is the power."""
        every = [sample for samples in self._rows.values() for sample in samples]
        instant = any(sample.values.get("power_w") is not None for sample in every)
        for sample in every:
            if not instant and "power_w_average" in sample.values:
                sample.values["power_w"] = sample.values.pop("power_w_average")
                self._recording.sources["power_w"] = self._recording.sources.get("power_w_average", "")
            with self._recording.account.settle(sample.rows, sample.line):
                self._recording.add(sample.line, sample.moment, sample.values)
        require_names(self._recording, self.unknown | set(self._recording.columns.values()))
        self._recording.ignored += of_no_use("metric", self.unknown)


# -- text ----------------------------------------------------------------------------------------


def _is_text(head: Head) -> bool:
    lines = head.lines[:-1] if head.is_cut else head.lines
    samples = [line for line in lines if not line.startswith("#")]
    typed = any(line.startswith(("# TYPE ", "# HELP ")) for line in lines)
    fitting = sum(bool(_SAMPLE.fullmatch(line.rstrip("\r"))) for line in samples)
    labelled = any("{" in line for line in samples)
    return bool(samples) and (typed or labelled) and fitting * 2 > len(samples)


def _read_text(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", PROMETHEUS_TEXT.name, hints=hints)
    recording.clock = "the timestamp of each sample"
    samples = _Samples(recording)
    for number, line in text_lines(recording.path):
        if line.strip() and not line.startswith("#"):
            with recording.row(number, line):
                samples.put(number, *_text_value(line))
    samples.finish()
    if not len(recording) and recording.account.left_out[_NO_TIME]:
        raise ImportFormatError(
            f"{recording.path}: no sample has a timestamp, so this is one scrape and no time series; "
            "allowed is text with timestamps (ms), or the JSON of a range query to Prometheus"
        )
    return [recording]


def _text_value(line: str) -> tuple[str, dict[str, str], float, float]:
    """Parse one line with Prometheus' own client, so that a bad line costs itself only."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        (family,) = text_string_to_metric_families(line)
        (sample,) = family.samples
        value = float(sample.value)
    except (ValueError, IndexError, OverflowError) as error:
        raise LeftOutError("torn row: not in Prometheus' text format") from error
    if sample.timestamp is None:
        raise LeftOutError(_NO_TIME)
    require_whole(line)
    return sample.name, sample.labels, value, _seconds(float(sample.timestamp))


def _seconds(time_s: float) -> float:
    """Return a time that was read as milliseconds; OpenMetrics writes seconds."""
    return time_s if time_s > _FIRST_S else time_s * 1000.0


# -- JSON ----------------------------------------------------------------------------------------


def _read_json(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "sample", PROMETHEUS_JSON.name, hints=hints)
    recording.clock, recording.account.place = "the time of each value", "series"
    samples = _Samples(recording)
    for number, labels, points in _series(recording.path):
        name = labels.get("__name__")
        if name is None:
            name = f"series {number} (it has no name: an expression)"
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


PROMETHEUS_TEXT = Format(
    "Prometheus text of a DCGM exporter",
    ("sample",),
    _is_text,
    _read_text,
    hints=frozenset({"units", "columns", "device"}),
)
PROMETHEUS_JSON = Format(
    "a Prometheus range query (JSON)",
    ("sample",),
    lambda head: head.text.startswith("{") and '"resultType"' in head.text[:2000],
    _read_json,
    hints=frozenset({"units", "columns", "device"}),
)
