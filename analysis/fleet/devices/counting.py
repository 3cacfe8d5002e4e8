"""Counts events and exposure of many runs: a row a run, kind and owner, with where it ran.

In data-parallel training the ranks' gradient is reduced over all of them, and so is its norm: a spike is an
event of the job, counted once, and tells of all its devices together. A rank's own are its loss, its step
time, and a norm that differs from the other ranks'; a device's own are its throttling, memory errors, Xids
and the holes in its readings.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from thermograd.analysis.fleet.devices.cells import Cell, Place
from thermograd.analysis.fleet.devices.event_sql import COMPUTES_ON, SAMPLES, STEPS
from thermograd.store.labels.hosts import writer_places
from thermograd.store.query import connect
from thermograd.store.runs.catalogue import Run
from thermograd.store.text import shortened

SCHEMA = pa.schema(
    {
        "run_id": pa.string(),
        "kind": pa.string(),
        "stratum": pa.string(),  # JSON: only rows that share it are compared
        "places": pa.string(),  # JSON: [[device, host, {label: value}], ...], all that share the events
        "events": pa.int64(),
        "exposure": pa.float64(),  # steps, or sampled seconds
        "error": pa.string(),  # of a run that could not be read: its only row
    }
)
STEP_KINDS = {
    "spike": "spikes of the gradient norm",
    "nonfinite": "non-finite gradient norms",
    "nonfinite_loss": "non-finite losses of one rank",
    "slow_step": "steps 1.1 times as long as the ranks' median",
}
SAMPLE_KINDS = {
    "throttled": "onsets of throttling for heat or by the power brake",
    "ecc": "readings with new memory errors",
    "xid": "Xid errors of the driver",
    "silence": "holes in the readings",
}
KINDS = STEP_KINDS | SAMPLE_KINDS
_Rows = list[dict[str, Any]]


class Where(NamedTuple):
    """Where the writers and ranks of one run were."""

    run_id: str
    kind_of_job: tuple[Any, ...]
    by_writer: Mapping[str, Place]
    by_rank: Mapping[int, Place]


def count_paths(paths: Sequence[str]) -> pa.Table:
    """Return what is counted in the runs at some paths: a task of a fleet's analysis.

    A poisoned run must not take the others with it: where a chunk fails, each run is counted by itself.
    """
    try:
        return count_runs([Run(Path(path)) for path in paths])
    except Exception as error:  # noqa: BLE001 - a row with its error
        if len(paths) == 1:
            return failed_count(paths[0], f"{type(error).__name__}: {error}")
        return pa.concat_tables([count_paths([path]) for path in paths])


def failed_count(path: str, why: str) -> pa.Table:
    """Return the one row of a run that cannot be counted."""
    return pa.Table.from_pylist([{"run_id": Run(Path(path)).run_id, "error": shortened(why)}], SCHEMA)


def count_runs(runs: Sequence[Run]) -> pa.Table:
    """Return what is counted in some runs, as a table of `SCHEMA`."""
    with closing(connect(runs)) as connection:
        steps, samples, computes = (
            connection.sql(sql).to_arrow_table().to_pylist() for sql in (STEPS, SAMPLES, COMPUTES_ON)
        )
    known = {where.run_id: where for where in _where(runs, samples, computes)}
    rows = [*_step_rows(steps, known), *_sample_rows(samples, known)]
    return pa.Table.from_pylist(rows, SCHEMA)


def cells_by_kind(table: pa.Table) -> dict[str, list[Cell]]:
    """Return counted rows as cells, by kind of event."""
    cells: dict[str, list[Cell]] = {}
    for row in table.to_pylist():
        if row["error"] is None and row["exposure"] > 0:
            stratum = (row["stratum"],)
            cell = Cell(row["run_id"], stratum, _places(row["places"]), row["events"], row["exposure"])
            cells.setdefault(row["kind"], []).append(cell)
    return cells


@cache
def _places(text: str) -> tuple[Place, ...]:
    return tuple(Place(d, h, tuple(sorted(labels.items()))) for d, h, labels in json.loads(text))


def _text(places: Iterable[Place]) -> str:
    return json.dumps([[p.device, p.host, dict(p.labels)] for p in sorted(places, key=repr)])


def _where(runs: Sequence[Run], samples: _Rows, computes: _Rows) -> Iterator[Where]:
    told: dict[str, dict[str, str]] = {}
    for row in computes:
        if row["device"]:
            told.setdefault(row["run_id"], {})[row["writer"]] = row["device"]
    sampled: dict[str, dict[str, set[str]]] = {}
    for row in samples:
        sampled.setdefault(row["run_id"], {}).setdefault(row["writer"], set()).add(row["device"])
    for run in runs:
        yield _where_of(run, told.get(run.run_id, {}), sampled.get(run.run_id, {}))


def _where_of(run: Run, told: Mapping[str, str], sampled: Mapping[str, set[str]]) -> Where:
    """Return where a run was; an import's writers were on the machine that imported it: no place."""
    by_writer: dict[str, Place] = {}
    by_rank: dict[int, Place] = {}
    writers = list(writer_places(run.writers()))
    is_here = run.facts.get("source") != "imported"
    on_host: dict[str | None, set[str]] = {}
    for writer in writers:
        host = writer.host if is_here else None
        by_writer[writer.writer] = Place(None, host, tuple(sorted(writer.labels.items())) if is_here else ())
        on_host.setdefault(host, set()).update(sampled.get(writer.writer, set()))
    for writer in writers:
        place = by_writer[writer.writer]
        if writer.rank is not None:
            device = told.get(writer.writer) or _only(on_host[place.host])
            by_rank[writer.rank] = place._replace(device=_identity(device, place.host))
    # of an import, who stepped is not told
    if not by_rank and (device := _only(set().union(*sampled.values()))):
        place = by_writer.get(next(iter(sampled)), Place(None))
        by_rank[0] = place._replace(device=_identity(device, place.host))
    return Where(run.run_id, (*_model(run), len(by_rank)), by_writer, by_rank)


def _only(devices: set[str]) -> str | None:
    return next(iter(devices)) if len(devices) == 1 else None


def _identity(device: str | None, host: str | None) -> str | None:
    """Return a name that is the device's in every run: its UUID, else its name with its host's."""
    if device is None or device.startswith(("GPU-", "MIG-")) or host is None:
        return device
    return f"{host}/{device}"


def _model(run: Run) -> tuple[Any, Any]:
    model = run.facts.get("model", {})
    return model.get("class"), model.get("parameters")


def _step_rows(steps: _Rows, known: Mapping[str, Where]) -> Iterator[dict[str, Any]]:
    for row in steps:
        where = known[row["run_id"]]
        if not row["is_own"]:
            yield _row(row, row["kind"], where.kind_of_job, where.by_rank.values())
        elif row["rank"] in where.by_rank:
            stratum = ("run", where.run_id)
            yield _row(row, row["kind"], stratum, [where.by_rank[row["rank"]]])


def _sample_rows(samples: _Rows, known: Mapping[str, Where]) -> Iterator[dict[str, Any]]:
    together: dict[str, int] = {}
    for row in samples:
        together[row["run_id"]] = together.get(row["run_id"], 0) + 1
    for row in samples:
        where = known[row["run_id"]]
        place = where.by_writer.get(row["writer"], Place(None))
        place = place._replace(device=_identity(row["device"], place.host))
        is_alone = together[row["run_id"]] == 1  # compared with others that ran the same alone
        stratum = where.kind_of_job if is_alone else ("run", where.run_id)
        for kind in SAMPLE_KINDS:
            if row[kind] is not None:
                yield _row(row | {"events": row[kind]}, kind, stratum, [place])


def _row(row: dict[str, Any], kind: str, stratum: Any, places: Iterable[Place]) -> dict[str, Any]:
    counts = {name: row[name] for name in ("run_id", "events", "exposure")}
    return counts | {"kind": kind, "stratum": json.dumps(stratum), "places": _text(places)}
