"""Reading the Parquet files that Trackio exports its databases to: metrics, and the machine's beside them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.ingest.importers.formats.stores.run_log import RunLog
from thermograd.ingest.importers.formats.stores.trackio import (
    OWN_STEP,
    SENSOR,
    log_row,
    moment_of,
    plain_config,
)
from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.stores.runs import StoredRun, chosen_run
from thermograd.ingest.importers.stores.told import ToldOfRun
from thermograd.ingest.importers.tables.parquet_rows import schema_in
from thermograd.store.errors import ImportFormatError
from thermograd.store.telling.quantities import counted

_NEEDED = frozenset({"id", "timestamp", "run_name"})
_OWN = _NEEDED | {"run_id", "log_id", "space_id", "step", "created_at"}


def _names(head: Head) -> frozenset[str]:
    schema = schema_in(head)
    return frozenset(schema.names if schema is not None else ())


def _is_metrics(head: Head) -> bool:
    return _names(head) >= _NEEDED | {"step"}


def _is_system(head: Head) -> bool:
    names = _names(head)
    return names >= _NEEDED and "step" not in names and any(SENSOR(name) is not None for name in names)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ImportFormatError(f"{path}: a Parquet file that cannot be read ({error})") from error


def _key(row: dict[str, Any]) -> str:
    return str(row.get("run_id") or row.get("run_name"))


def _runs(path: Path) -> list[StoredRun]:
    found: dict[str, tuple[str, int]] = {}
    for row in _rows(path):
        _, count = found.get(_key(row), ("", 0))
        found[_key(row)] = str(row.get("run_name")), count + 1
    return [StoredRun(id, name, counted(count, "row")) for id, (name, count) in found.items()]


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    path = paths[0]
    run = chosen_run(path, _runs(path), hints.run)
    told = ToldOfRun("Trackio", run.id, run.name)
    log = RunLog(paths, TRACKIO_METRICS.name, hints, "row", OWN_STEP, told)
    for number, row in enumerate(_rows(path), start=1):
        if _key(row) != run.id:
            continue
        values = {name: value for name, value in row.items() if name not in _OWN and value is not None}
        recording = log.steps if "step" in row else log.samples
        with recording.row(number, row.get("timestamp")):
            if "step" in row:
                log_row(log, number, row.get("timestamp"), row.get("step"), values)
            else:
                log.readings(number, moment_of(row.get("timestamp")), values, SENSOR)
    _configure(log.steps, run.id)
    return log.finish()


def _configure(steps: Recording, run: str) -> None:
    beside = steps.path.with_name(f"{steps.path.stem}_configs.parquet")
    if beside.is_file() and not beside.is_symlink():
        for row in _rows(beside):
            if _key(row) == run:
                steps.config = plain_config({name: value for name, value in row.items() if name not in _OWN})
                steps.beside.append(beside.name)


TRACKIO_METRICS = Format(
    "a Trackio export (Parquet)", ("step",), _is_metrics, _read, hints=frozenset({"run"}), runs=_runs
)
TRACKIO_SYSTEM = Format(
    "a Trackio export of the machine (Parquet)",
    ("sample",),
    _is_system,
    _read,
    hints=frozenset({"run"}),
    runs=_runs,
)
