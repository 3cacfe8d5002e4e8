"""Reading Trackio's SQLite database (``PROJECT.db``), also while Trackio writes it."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.formats.stores.run_log import RunLog, sensors
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.steps.configuration_files import plain_configuration
from thermograd.ingest.importers.stores.runs import StoredRun, chosen_run
from thermograd.ingest.importers.stores.sqlite_file import MAGIC, columns_of, opened, rows_of
from thermograd.ingest.importers.stores.told import ToldOfRun
from thermograd.ingest.importers.text_files import LeftOutError, whole_number
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.telling.quantities import counted

OWN_STEP = "step of Trackio"  # a counter of its own, which gives way to the training's
_NEEDED = {"id", "timestamp", "run_name", "step", "metrics"}
_GIB = 2.0**30
SENSOR = sensors(
    r"gpu/(?P<index>\d+)/(?P<metric>\w+)",
    {
        "utilization": ("utilization_pct", 1.0),
        "power": ("power_w", 1.0),
        "power_limit": ("power_limit_w", 1.0),
        "temp": ("temperature_c", 1.0),
        "sm_clock": ("sm_clock_mhz", 1.0),
        "memory_clock": ("memory_clock_mhz", 1.0),
        "fan_speed": ("fan_pct", 1.0),
        "allocated_memory": ("memory_used_bytes", _GIB),
        "energy_consumed": ("energy_j", 1.0),
        "corrected_memory_errors": ("ecc_corrected", 1.0),
        "uncorrected_memory_errors": ("ecc_uncorrected", 1.0),
    },
    ("cpu/utilization",),
)


def _is_database(head: Head) -> bool:
    if not head.data.startswith(MAGIC) or head.path is None:
        return False
    return columns_of(head.path).get("metrics", frozenset()) >= _NEEDED


def _key(columns: frozenset[str]) -> str:
    return "run_id" if "run_id" in columns else "run_name"


def _runs(path: Path) -> list[StoredRun]:
    with opened(path) as connection:
        key = _key(columns_of(path)["metrics"])
        rows = connection.execute(
            f"SELECT {key}, max(run_name), count(*), max(step) FROM metrics GROUP BY 1 ORDER BY min(id)"
        ).fetchall()
    return [
        StoredRun(str(id), str(name), f"{counted(count, 'row')}, to step {step}")
        for id, name, count, step in rows
    ]


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    path, columns = paths[0], columns_of(paths[0])
    run = chosen_run(path, _runs(path), hints.run)
    log = RunLog(paths, TRACKIO.name, hints, "row", OWN_STEP, ToldOfRun("Trackio", run.id, run.name))
    with opened(path) as connection:
        key = _key(columns["metrics"])
        for number, stamp, step, text in rows_of(
            connection, "metrics", "timestamp, step, metrics", key, run.id
        ):
            with log.steps.row(number, text):
                log_row(log, number, stamp, step, _object(text))
        if "system_metrics" in columns:
            for number, stamp, text in rows_of(
                connection, "system_metrics", "timestamp, metrics", _key(columns["system_metrics"]), run.id
            ):
                with log.samples.row(number, text):
                    log.readings(number, moment_of(stamp), _object(text), SENSOR)
        if "configs" in columns:
            log.steps.config = _config(connection, _key(columns["configs"]), run.id)
    return log.finish()


def log_row(log: RunLog, number: int, stamp: Any, step: Any, values: dict[str, Any]) -> None:
    """Take a row of metrics, at the training's step or else at Trackio's own."""
    own = whole_number(step)
    counters = log.rows.counters_in(values)
    if own is not None:
        counters[OWN_STEP] = own
    if not counters:
        raise LeftOutError("torn row: step is not a whole number >= 0", step)
    signals = {name: value for name, value in values.items() if name not in counters}
    log.rows.put(number, moment_of(stamp), counters, signals)


def _object(text: Any) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise LeftOutError("torn row: its values are no JSON") from error
    if not isinstance(values, dict):
        raise LeftOutError("torn row: its values are no JSON object")
    return values


def moment_of(stamp: Any) -> Moment:
    """Return the time of a row."""
    moment = read_time(stamp) if isinstance(stamp, str) else None
    if moment is None:
        raise LeftOutError("torn row: timestamp is no ISO 8601 time", stamp)
    return moment


def _config(connection: sqlite3.Connection, key: str, run: str) -> dict[str, Any]:
    found = [text for _, text in rows_of(connection, "configs", "config", key, run)]
    try:
        values = _object(found[-1]) if found else {}
    except LeftOutError:
        return {}
    return plain_config(values)


def plain_config(values: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without what Trackio adds, and without secrets."""
    return plain_configuration({name: value for name, value in values.items() if not name.startswith("_")})


TRACKIO = Format(
    "a Trackio database (SQLite)",
    ("step", "sample"),
    _is_database,
    _read,
    hints=frozenset({"run"}),
    runs=_runs,
)
