"""The metrics of exporters as samples: those of one device and time are one."""

import math
from dataclasses import dataclass
from typing import Any

from thermograd.ingest.importers.formats.prometheus.dcgm_names import (
    HOST_LABELS,
    device_of,
    first_of,
    index_of,
    is_blank,
)
from thermograd.ingest.importers.formats.prometheus.exporters import Reading, reading_of
from thermograd.ingest.importers.recording import Recording, of_no_use
from thermograd.ingest.importers.said_columns import require_names, said_columns
from thermograd.ingest.importers.text_files import LeftOutError, OddCellError, within
from thermograd.ingest.importers.timezones import Moment, read_epoch


@dataclass(slots=True)
class _Sample:
    line: int
    moment: Moment
    values: dict[str, Any]
    rows: int = 1  # of the file that are in it


class PrometheusSamples:
    """Merges the metrics of one device and one time into one sample."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._rows: dict[tuple[str, int], list[_Sample]] = {}
        self._said = {tag: name for name, tag in said_columns(recording.hints).items()}
        self.unknown: set[str] = set()

    def put(self, line: int, name: str, labels: dict[str, str], value: float, time_s: float) -> None:
        """Add a metric's value at a time."""
        labels = {key.lower(): text for key, text in labels.items()}
        reading = self._reading(name, labels)
        moment = read_epoch(time_s)
        if moment is None:
            raise LeftOutError("a timestamp that is no time between 1970 and 2100", time_s)
        device = reading.device or device_of(labels, self._recording.hints.device)
        host, index = first_of(labels, HOST_LABELS), index_of(labels) if reading.device is None else None
        self._recording.place_device(device, index, host)
        self._add(device, line, moment, reading.column, self._number(reading.column, value, reading.factor))
        if model := labels.get("modelname") or labels.get("model_name"):
            self._recording.models.setdefault(device, model)

    def _reading(self, name: str, labels: dict[str, str]) -> Reading:
        """Return what a metric is, as a person says or an exporter that is known."""
        if name in self._said:
            self._recording.columns[self._said[name]] = name
            return Reading(self._said[name], 1.0)
        reading = reading_of(name, labels)
        if reading is None or reading.column in self._said.values():
            self.unknown.add(name)
            raise LeftOutError("a metric of no use")
        self._recording.sources[reading.column] = name
        return reading

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
        instant = {s.values["device"] for s in every if s.values.get("power_w") is not None}
        for sample in every:
            if sample.values["device"] not in instant and "power_w_average" in sample.values:
                sample.values["power_w"] = sample.values.pop("power_w_average")
                self._recording.sources["power_w"] = self._recording.sources.get("power_w_average", "")
            with self._recording.account.settle(sample.rows, sample.line):
                self._recording.add(sample.line, sample.moment, sample.values)
        require_names(self._recording, self.unknown | set(self._recording.columns.values()))
        self._recording.ignored += of_no_use("metric", self.unknown)
