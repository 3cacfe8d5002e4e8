"""Reading CodeCarbon's ``emissions.csv``: one row a flush or a run, with the energy used since its start.

The energies of a run's rows are counters (kWh since the tracker began, in which they were 0): each row is a
reading of them, and what was used since the row before, over the time since, is a mean power. The column
``cpu_power`` and its like are not taken: they were the last reading once, and are a mean since the start in
newer versions. A file of tasks has the energy of each task alone: its mean power, at the task's end.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.formats.monitors.sample_times import RowTimes, seconds_in
from thermograd.ingest.importers.hints.units import UNITS
from thermograd.ingest.importers.recording import NO_VALUE, Hints, Recording, of_no_use
from thermograd.ingest.importers.steps.step_clock import since
from thermograd.ingest.importers.text_files import LeftOutError, OddCellError, is_known, read_cell
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError
from thermograd.store.text import printable

_KWH = UNITS["energy_j"]["kWh"].ours
_PARTS = {"cpu": "cpu_energy", "gpu": "gpu_energy", "ram": "ram_energy"}
_WHOLE = {"machine": "energy_consumed"}  # all that early versions have
_ALL_GPUS = "all GPUs of the machine together; "
_OF_RUN = "energy counts from 0 J at timestamp - duration; power is the mean since the row before, by energy"
_OF_TASKS = "power is the mean of each task, by its energy, at its end"
_SECOND_NS = 10**9
_LISTED = 8
_NO_PUE = ("", "1", "1.0")


class _Reading(NamedTuple):
    """A run's energies, J, so many seconds after it began."""

    duration_s: float
    energies_j: dict[str, float]


class _Emissions(Table):
    """A log of CodeCarbon: rows of one run, or of one run's tasks."""

    hints = frozenset({"device", "run"})

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        super().__init__(paths, format, hints)
        self._hints = hints
        self._times = RowTimes(self.recording, hints, "", "")
        self._runs: dict[str, int] = {}
        self._last: _Reading | None = None
        self._ended_ns = 0
        self._gpu = hints.device or "gpu"

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are those of CodeCarbon, of any version."""
        return {"timestamp", "duration", "emissions", "energy_consumed"} <= set(cells)

    def begin(self, number: int) -> None:
        """Name what is not taken."""
        columns = _PARTS if "cpu_energy" in self.header else _WHOLE
        self._energies = {device: name for device, name in columns.items() if name in self.header}
        used = {*columns.values(), "timestamp", "duration", "run_id", "task_name", "cpu_model", "gpu_model"}
        unused = [name for name in self.header if name not in used | {"gpu_count", "pue"}]
        self.recording.ignored = self.recording.ignored or of_no_use("column", unused)

    def row(self, number: int, cells: list[str]) -> list[tuple[Moment, dict[str, Any]]]:
        """Return what a row says of each device."""
        named = dict(zip(self.header, cells, strict=True))
        self._require_run(named.get("run_id", ""))
        stamp, duration_s = read_time(named["timestamp"]), seconds_in(named["duration"])
        if stamp is None or duration_s is None:
            what = f"{named['timestamp']}, {named['duration']}"
            raise LeftOutError("torn row: timestamp or duration is no time", what)
        now = _Reading(duration_s, self._read_energies(named))
        if not now.energies_j:
            raise LeftOutError(NO_VALUE)
        is_task = "task_name" in named
        samples = self._of_task(stamp, now) if is_task else self._of_run(stamp, now)
        self._describe(named, is_task)
        return [(moment, {"device": self._name(device)} | values) for moment, device, values in samples]

    def _require_run(self, run: str) -> None:
        self._runs[run] = self._runs.get(run, 0) + 1
        if self._hints.run not in (None, run):
            raise LeftOutError("a row of another run than --run names", run)

    def _read_energies(self, named: dict[str, str]) -> dict[str, float]:
        found = {}
        for device, name in self._energies.items():
            if device == "gpu" and not _some(named.get("gpu_count", "1")):
                continue  # without a GPU its energy is 0, which nothing has used
            energy_j = self.recording.cell("energy_j", named[name], convert=_KWH)
            if energy_j is not None:
                found[device] = float(energy_j)
        return found

    def _of_run(self, stamp: Moment, now: _Reading) -> Iterator[tuple[Moment, str, dict[str, Any]]]:
        before = self._last or _Reading(0.0, dict.fromkeys(now.energies_j, 0.0))
        if now.duration_s < before.duration_s:
            raise LeftOutError("a row whose duration is less than that of the row before", now.duration_s)
        elapsed_s = now.duration_s - before.duration_s
        moment = self._times.at(stamp, elapsed_s) or stamp
        if self._last is None:
            yield from ((since(moment, -elapsed_s), name, {"energy_j": 0.0}) for name in now.energies_j)
        self._last = now
        for device, energy_j in now.energies_j.items():
            used_j = energy_j - before.energies_j.get(device, energy_j)
            yield moment, device, {"energy_j": energy_j} | self._mean(used_j, elapsed_s)

    def _of_task(self, stamp: Moment, task: _Reading) -> Iterator[tuple[Moment, str, dict[str, Any]]]:
        if stamp.ns + _SECOND_NS <= self._ended_ns:
            raise LeftOutError("a task that ended before the one in the row before")
        if since(stamp, -task.duration_s).ns < self._ended_ns - 2 * _SECOND_NS:
            raise LeftOutError("a task around others, which have its energy", task.duration_s)
        moment = self._times.at(stamp, task.duration_s) or stamp
        self._ended_ns = moment.ns
        for device, energy_j in task.energies_j.items():
            yield moment, device, self._mean(energy_j, task.duration_s)

    def _mean(self, used_j: float, elapsed_s: float) -> dict[str, Any]:
        """Return the mean power; null where there is none."""
        power_w = used_j / elapsed_s if elapsed_s > 0 else None
        return {"power_w_average": self.recording.value("power_w_average", power_w)}

    def _name(self, device: str) -> str:
        return self._gpu if device == "gpu" else device

    def _describe(self, named: dict[str, str], is_task: bool) -> None:
        """Keep what the devices are, and how their numbers came about."""
        for device in self._energies.keys() - ({"gpu"} if not _some(named.get("gpu_count", "1")) else set()):
            name, how = self._name(device), _OF_TASKS if is_task else _OF_RUN
            whose = _ALL_GPUS if device == "gpu" else ""
            self.recording.notes[name] = {"power_w_average": f"{name}: {whose}{how}"}
            if is_known(named.get(f"{device}_model", "")):
                self.recording.models.setdefault(name, named[f"{device}_model"])
        if named.get("pue", "1.0") not in _NO_PUE:
            self.recording.notes.setdefault("cpu", {})["pue"] = (
                f"energies include the PUE of {printable(named['pue'], 20)}"
            )

    def read(self) -> list[Recording]:
        """Read the file; several runs in it are refused, unless one is named."""
        recordings = super().read()
        several = len(self._runs) > 1 and self._hints.run is None
        if several or self._hints.run not in (None, *self._runs):
            listed = [f"{run} ({rows} rows)" for run, rows in list(self._runs.items())[-_LISTED:]]
            more = f", and {len(self._runs) - _LISTED} before them" if len(self._runs) > _LISTED else ""
            raise ImportFormatError(
                f"{self.recording.path}: {len(self._runs)} runs of CodeCarbon are in it, each with its own "
                f"counters; say which with --run: {', '.join(listed)}{more}"
            )
        return recordings


def _some(count: str) -> bool:
    """Whether a number of devices is above 0."""
    try:
        return bool(read_cell("count", count))
    except OddCellError:
        return True


# What is read are energies: a unit of another column would be of no use.
CODECARBON = replace(csv_format("a CodeCarbon emissions file (CSV)", _Emissions), hints=_Emissions.hints)
