"""Reading MLflow's SQLite database (``mlflow.db``), also while MLflow writes it."""

import math
import sqlite3
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.formats.stores.mlflow_run import Described, Point, read_points, told_of
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.stores.runs import StoredRun, chosen_run, deleted_runs
from thermograd.ingest.importers.stores.sqlite_file import MAGIC, columns_of, opened, rows_of

_TABLES = {
    "runs": {"run_uuid", "status", "start_time", "end_time", "lifecycle_stage", "experiment_id"},
    "metrics": {"key", "value", "timestamp", "run_uuid", "step", "is_nan"},
    "params": {"key", "value", "run_uuid"},
    "tags": {"key", "value", "run_uuid"},
    "experiments": {"experiment_id", "name"},
}
_INFINITE = 1.7976931348623157e308  # what MLflow writes for infinity, which a database may not know
_RUNS = """
    SELECT run_uuid, {name}, status, start_time, end_time, runs.lifecycle_stage, experiments.name,
        (SELECT value FROM tags WHERE tags.run_uuid = runs.run_uuid AND key = 'mlflow.parentRunId'),
        (SELECT value FROM tags WHERE tags.run_uuid = runs.run_uuid AND key = 'mlflow.runName'),
        (SELECT max(step) FROM metrics WHERE metrics.run_uuid = runs.run_uuid)
    FROM runs LEFT JOIN experiments USING (experiment_id) ORDER BY start_time, run_uuid
"""


def _is_database(head: Head) -> bool:
    if not head.data.startswith(MAGIC) or head.path is None:
        return False
    columns = columns_of(head.path)
    return all(needed <= columns.get(table, frozenset()) for table, needed in _TABLES.items())


def _rows(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    columns = {row[0] for row in connection.execute("SELECT name FROM pragma_table_info('runs')")}
    return connection.execute(_RUNS.format(name="runs.name" if "name" in columns else "NULL")).fetchall()


def _stored(row: tuple[Any, ...]) -> StoredRun:
    experiment, parent, steps = row[6], row[7], row[9]
    said = [f"experiment {experiment}"] if experiment else []
    said += [f"nested in {parent}"] if parent else []
    said.append("no metrics" if steps is None else f"to step {steps}")
    return StoredRun(str(row[0]), row[8] or row[1] or None, ", ".join(said), None, row[5] == "deleted")


def _runs(path: Path) -> list[StoredRun]:
    with opened(path) as connection:
        return [_stored(row) for row in _rows(connection)]


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    path = paths[0]
    with opened(path) as connection:
        rows = _rows(connection)
        runs = [_stored(row) for row in rows]
        run = chosen_run(path, runs, hints.run)
        row = next(row for row in rows if row[0] == run.id)
        params, tags = (_pairs(connection, table, run.id) for table in ("params", "tags"))
        columns = "timestamp, key, value, step, is_nan"
        points = [
            _point(path, *found) for found in rows_of(connection, "metrics", columns, "run_uuid", run.id)
        ]
    described = Described(told_of(run.id, run.name, str(row[2]), row[3], row[4]), params, tags)
    log = read_points(paths, MLFLOW_DATABASE.name, hints, described, points, "row")
    log.steps.ignored += deleted_runs(runs)
    return log.finish()


def _pairs(connection: sqlite3.Connection, table: str, run: str) -> dict[str, str]:
    return {
        str(key): str(value) for _, key, value in rows_of(connection, table, "key, value", "run_uuid", run)
    }


def _point(
    path: Path, number: int, time_ms: Any, name: Any, value: Any, step: Any, is_nan: Any
) -> Point:  # fmt: skip
    known = float(value) if isinstance(value, int | float) else math.nan
    if abs(known) == _INFINITE:
        known = math.copysign(math.inf, known)
    whole = [number if isinstance(number, int) else -1 for number in (time_ms, step)]
    return Point(whole[0], number, path, number, str(name), math.nan if is_nan else known, whole[1])


MLFLOW_DATABASE = Format(
    "an MLflow database (SQLite)",
    ("step", "sample"),
    _is_database,
    _read,
    hints=frozenset({"run"}),
    runs=_runs,
)
