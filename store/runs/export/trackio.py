"""A run of Trackio, by its own storage: metrics by step, sensors by time, alerts as its alerts."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thermograd.store.errors import ThermogradError
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.export.readings import Reading, need, readings, settings, title

_PROJECT = "thermograd"
_FOLDER = "TRACKIO_DIR"
_BATCH = 10_000
_LEVELS = {"info": "info", "warning": "warn", "critical": "error"}
# What its own recorder calls the same of a GPU.
_SYSTEM = {
    "utilization_pct": "utilization",
    "power_w": "power",
    "temperature_c": "temp",
    "sm_clock_mhz": "sm_clock",
    "memory_clock_mhz": "memory_clock",
    "fan_pct": "fan_speed",
    "power_limit_w": "power_limit",
}


def write(run: Run, output: Path) -> None:
    """Add the run to a folder of Trackio's; ThermogradError where it is in there already."""
    store = _storage(output.resolve())
    if any(known["id"] == run.run_id for known in store.get_run_records(_PROJECT)):
        raise ThermogradError(
            f"{output}: has run {run.run_id} already; delete it there first, or name another folder"
        )
    own = _Writer(store, title(run), run.run_id, {**settings(run), "_Username": None})
    try:
        for reading in readings(run):
            own.put(reading)
        own.flush()
    except BaseException:  # Ctrl-C, too: no half run stays in the store
        store.delete_run(_PROJECT, own.name, run_id=run.run_id)
        raise


def _storage(folder: Path) -> Any:
    """Return Trackio's storage of a folder, which it takes from the environment as it is imported."""
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = str(folder)
    try:
        where = Path(need("trackio.utils", "trackio").TRACKIO_DIR)
    finally:
        os.environ.pop(_FOLDER)
        if before is not None:
            os.environ[_FOLDER] = before
    if where.resolve() != folder:
        raise ThermogradError(
            f"{folder}: Trackio is in use with {where} in this process; name that, or use another"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return need("trackio.sqlite_storage", "trackio").SQLiteStorage


class _Writer:
    """Gives Trackio rows of metrics, sensors and alerts, many at a time."""

    def __init__(self, store: Any, name: str, run_id: str, config: dict[str, Any]) -> None:
        self.name = name
        self._store, self._run = store, {"project": _PROJECT, "run": name, "run_id": run_id}
        self._config: dict[str, Any] | None = config
        self._rows: list[Reading] = []

    def put(self, reading: Reading) -> None:
        self._rows.append(reading)
        if len(self._rows) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        rows, self._rows = self._rows, []
        trained = [row for row in rows if row.kind in ("step", "metric") and (row.numbers or row.text)]
        self._store.bulk_log(
            **self._run,
            metrics_list=[_named(row) for row in trained],
            steps=[row.at_step for row in trained],
            timestamps=_times(trained),
            config=self._config,
        )
        self._config = None if trained else self._config
        sampled = [row for row in rows if row.kind == "sample" and row.numbers]
        self._store.bulk_log_system(
            **self._run, metrics_list=[_system(row) for row in sampled], timestamps=_times(sampled)
        )
        told = [row for row in rows if row.kind == "alert"]
        self._store.bulk_alert(
            **self._run,
            titles=[row.name for row in told],
            texts=[row.text for row in told],
            levels=[_LEVELS.get(row.severity, "info") for row in told],
            steps=[row.step for row in told],
            timestamps=_times(told),
        )


def _named(reading: Reading) -> dict[str, Any]:
    return {**reading.numbers} if reading.numbers else {reading.name: reading.text}


def _times(rows: list[Reading]) -> list[str]:
    return [datetime.fromtimestamp(row.time_ns / 1e9, UTC).isoformat() for row in rows]


def _system(reading: Reading) -> dict[str, float]:
    """Return a sample as Trackio's page of the system shows it: ``gpu/0/power``."""
    named = {}
    for name, value in reading.numbers.items():
        device, _, column = name.rpartition("/")
        number = device.removeprefix("gpu")
        is_gpu = number.isdecimal()
        named[f"gpu/{number}/{_SYSTEM.get(column, column)}" if is_gpu else name] = value
    return named
