"""The two recordings of a run of a store: what was logged becomes steps and metrics, the rest samples."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.recording import Hints, Recording, of_no_use
from thermograd.ingest.importers.steps.metric_names import ColumnNames
from thermograd.ingest.importers.steps.step_rows import StepRows
from thermograd.ingest.importers.stores.told import ToldOfRun
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment

_TOGETHER_NS = 10**9  # readings of one device that close, each of another sensor, are one sample


class Sensor(NamedTuple):
    """What a name of the machine's metrics is: a column of a device, and what its numbers are times."""

    device: str
    column: str
    factor: float = 1.0


@dataclass(slots=True)
class _Sample:
    """A device's readings at one time, while they come."""

    number: int
    moment: Moment
    values: dict[str, Any]
    rows: int = 0


class RunLog:
    """One run while it is read."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        format: str,
        hints: Hints,
        place: str,
        step: str,
        told: ToldOfRun | None = None,
    ) -> None:
        self.steps = Recording(paths, "step", format, place, hints=hints)
        self.samples = Recording(paths, "sample", format, place, hints=hints)
        self.steps.told = self.samples.told = told
        self.steps.clock = self.samples.clock = "timestamp"
        names = ColumnNames(hints.columns)
        self.rows = StepRows(self.steps, names, names.step_tags(step))
        self._unknown: set[str] = set()
        self._open: dict[str, _Sample] = {}

    def reading(self, number: int, moment: Moment, name: str, value: Any, sensor: "SensorOf") -> None:
        """Take one reading of the machine: it becomes part of its device's sample, or begins another one."""
        found, measured = self._measured(name, value, sensor)
        if found is None:
            raise LeftOutError("a system metric of no use")
        if measured is None:
            return
        known = self._open.get(found.device)
        if known is None or found.column in known.values or moment.ns - known.moment.ns > _TOGETHER_NS:
            self._close(found.device)
            known = self._open[found.device] = _Sample(number, moment, {})
        known.values[found.column] = measured
        known.rows += 1
        self.samples.account.hold()

    def readings(self, number: int, moment: Moment, values: Mapping[str, Any], sensor: "SensorOf") -> None:
        """Take what a row has of the machine: a sample of each device in it."""
        devices: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            found, measured = self._measured(name, value, sensor)
            if found is not None and measured is not None:
                devices.setdefault(found.device, {})[found.column] = measured
        for device, columns in devices.items():
            self.samples.add(number, moment, {"device": device} | columns)

    def _measured(
        self, name: str, value: Any, sensor: "SensorOf"
    ) -> tuple[Sensor | None, float | int | None]:
        found = sensor(name)
        if found is None:
            self._unknown.add(name)
            return None, None
        scaled = value * found.factor if isinstance(value, int | float) and found.factor != 1.0 else value
        return found, self.samples.value(found.column, scaled)

    def _close(self, device: str) -> None:
        if device in self._open:
            sample = self._open.pop(device)
            with self.samples.account.settle(sample.rows, sample.number, device):
                self.samples.add(sample.number, sample.moment, {"device": device} | sample.values)

    def finish(self) -> list[Recording]:
        """Return both recordings."""
        for device in list(self._open):
            self._close(device)
        self.rows.finish()
        self.samples.ignored += of_no_use("system metric", self._unknown)
        return [self.steps, self.samples]


SensorOf = Callable[[str], Sensor | None]


def sensors(pattern: str, columns: Mapping[str, tuple[str, float]], cpu: Iterable[str]) -> SensorOf:
    """Return what says of a name which sensor it is.

    Parameters
    ----------
    pattern
        Of a GPU's name: its groups are ``index``, ``metric`` and, where it has one, ``host``.
    columns
        Column and factor of each metric of a GPU.
    cpu
        The names of the processors' utilization, the last part of a name.
    """
    gpu, processors = re.compile(pattern), frozenset(cpu)

    def sensor(name: str) -> Sensor | None:
        match = gpu.fullmatch(name)
        if match is not None and match["metric"] in columns:
            host, device = match.groupdict().get("host"), f"gpu{match['index']}"
            return Sensor(f"{host}:{device}" if host else device, *columns[match["metric"]])
        host, _, last = name.removeprefix("system/").rpartition("/")
        if name in processors:
            return Sensor("cpu", "utilization_pct")
        return Sensor(f"{host}:cpu", "utilization_pct") if host and f"system/{last}" in processors else None

    return sensor
