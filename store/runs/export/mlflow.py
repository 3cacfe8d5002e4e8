"""A run of MLflow, by its own client: into a SQLite database or a file store; times in ms."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from thermograd.store.errors import ThermogradError
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.export.readings import Reading, need, readings, settings, title
from thermograd.store.runs.own_values.configuration import entries

_EXPERIMENT, _TAG = "thermograd", "thermograd.run_id"
_BATCH = 1000  # that its API takes at once
_LONGEST, _LONGEST_TAG = 500, 4000
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
    except BaseException:  # Ctrl-C, too: no half run stays in the store
        with suppress(Exception):  # of another version: it is marked as deleted then
            client.delete_run(added)
            client._tracking_client.store._hard_delete_run(added)
        raise
    client.set_terminated(added, end_time=(ended_ns or last_ns) // 10**6)


def _log(client: Any, run: Run, added: str) -> int:
    entities = need("mlflow.entities", "mlflow-skinny")
    values = {entry.key: (entry.value or "")[:_LONGEST] for entry in entries(settings(run))}
    keys = _names_for({key: key.replace("/", "_") for key in values})
    params = [entities.Param(keys[key], value) for key, value in values.items()]
    for some in _batches(iter(params), 100):
        client.log_batch(added, params=some)
    names = _names_for({name: shown for reading in readings(run) for name, shown in _shown(reading)})
    told, last_ns = [], 0

    def metrics() -> Iterator[Any]:
        nonlocal last_ns
        for reading in readings(run):
            last_ns = reading.time_ns
            if reading.text and reading.kind == "alert":
                told.append(reading.text)
            if reading.text and reading.kind == "metric":
                client.set_tag(added, _allowed(reading.name), reading.text[:_LONGEST])
            for name, value in reading.numbers.items():
                yield entities.Metric(names[name], value, reading.time_ns // 10**6, reading.at_step)

    for some in _batches(metrics(), _BATCH):
        client.log_batch(added, metrics=some)
    renamed = {new: name for name, new in names.items() if new != name and not new.startswith("system/")}
    if renamed:
        client.set_tag(added, "thermograd.names", json.dumps(renamed)[:_LONGEST_TAG])
    if told:
        client.set_tag(added, "mlflow.note.content", "\n\n".join(told[:100]))
    return last_ns


def _shown(reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield each value's name, and what MLflow is to call it: its page keeps ``system/`` apart."""
    for name in reading.numbers:
        device, _, column = name.rpartition("/")
        number = device.removeprefix("gpu")
        device = f"gpu_{number}" if number.isdecimal() else device.replace("/", "_")
        is_sample = reading.kind == "sample"
        yield name, f"system/{device}_{_SYSTEM.get(column, column)}" if is_sample else name


def _names_for(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return a name that MLflow takes for each: no two alike, and none the folder of another."""
    given: dict[str, str] = {}
    taken: set[str] = set()
    folders = {_allowed(name).rpartition("/")[0] for name in wanted.values()}
    for name, shown in wanted.items():
        first = _allowed(shown)
        first = (
            f"{first}_"
            if any(folder == first or folder.startswith(f"{first}/") for folder in folders)
            else first
        )
        new = next(n for n in (first, *(f"{first}_{k}" for k in range(2, len(wanted) + 2))) if n not in taken)
        taken.add(new)
        given[name] = new
    return given


def _allowed(name: str) -> str:
    """Return a name in the letters that MLflow takes, and not as a path that leads elsewhere."""
    letters = "".join(c if c.isascii() and (c.isalnum() or c in "_-. /:") else "_" for c in name)[:240]
    return "/".join(part.strip() if part.strip(". ") else "_" for part in letters.split("/"))


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while some := list(islice(items, size)):
        yield some
