"""A run of MLflow, by its own client: into a SQLite database or a file store; times in ms."""

import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from thermograd.store.errors import ThermogradError
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.export.readings import Reading, need, readings, settings, title
from thermograd.store.runs.own_values.configuration import entries

_EXPERIMENT, _TAG = "thermograd", "thermograd.run_id"
_BATCH = 1000  # that its API takes at once
_LONGEST = 500
_ALLOW_FOLDER = "MLFLOW_ALLOW_FILE_STORE"  # it asks for a database where it is not set
# What its own recorder calls the same; its page shows these names apart.
_SYSTEM = {
    "utilization_pct": "utilization_percentage",
    "power_w": "power_usage_watts",
}


def write(run: Run, output: Path) -> None:
    """Add the run to a store; ThermogradError where it is in there already."""
    is_database = output.suffix == ".db"
    os.environ.setdefault(_ALLOW_FOLDER, "true")  # who names a folder wants one
    tracking = need("mlflow.tracking", "mlflow-skinny")
    (output.parent if is_database else output).mkdir(parents=True, exist_ok=True)
    for chatty in ("alembic", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    uri = f"sqlite:///{output.resolve()}" if is_database else output.resolve().as_uri()
    try:
        _add(tracking.MlflowClient(tracking_uri=uri), run, output)
    except ImportError as error:  # of what its databases need
        raise ThermogradError(
            f"cannot write {output}: MLflow needs {error.name}: pip install {error.name}"
        ) from error


def _add(client: Any, run: Run, output: Path) -> None:
    known = client.get_experiment_by_name(_EXPERIMENT)
    experiment = known.experiment_id if known is not None else client.create_experiment(_EXPERIMENT)
    found = client.search_runs([experiment], f"tags.`{_TAG}` = '{run.run_id}'")
    if found:
        raise ThermogradError(
            f"{output}: has run {run.run_id} already, as {found[0].info.run_id}; delete that first, or name "
            "another store"
        )
    began_ns, ended_ns = (run.facts.get(f"{name}_time_ns") for name in ("started", "ended"))
    added = client.create_run(
        experiment,
        start_time=(began_ns or 0) // 10**6,
        tags={_TAG: run.run_id},
        run_name=title(run),
    ).info.run_id
    try:
        last_ns = _log(client, run, added)
    except BaseException:
        client.delete_run(added)
        raise
    client.set_terminated(added, end_time=(ended_ns or last_ns) // 10**6)


def _log(client: Any, run: Run, added: str) -> int:
    entities = need("mlflow.entities", "mlflow-skinny")
    params = [entities.Param(entry.key, (entry.value or "")[:_LONGEST]) for entry in entries(settings(run))]
    for some in _batches(iter(params), 100):
        client.log_batch(added, params=some)
    told, last_ns = [], 0

    def metrics() -> Iterator[Any]:
        nonlocal last_ns
        for reading in readings(run):
            last_ns = reading.time_ns
            if reading.text and reading.kind == "alert":
                told.append(reading.text)
            for name, value in reading.numbers.items():
                key = _name(reading, name)
                yield entities.Metric(key, value, reading.time_ns // 10**6, reading.at_step)

    for some in _batches(metrics(), _BATCH):
        client.log_batch(added, metrics=some)
    if told:
        client.set_tag(added, "mlflow.note.content", "\n\n".join(told[:100]))
    return last_ns


def _name(reading: Reading, name: str) -> str:
    """Return what MLflow calls a value; its page keeps ``system/`` apart."""
    if reading.kind != "sample":
        return _allowed(name)
    device, _, column = name.rpartition("/")
    number = device.removeprefix("gpu")
    device = f"gpu_{number}" if number.isdecimal() else device
    return _allowed(f"system/{device}_{_SYSTEM.get(column, column)}")


def _allowed(name: str) -> str:
    """Return a name in the letters that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in name)[:250]


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while some := list(islice(items, size)):
        yield some
