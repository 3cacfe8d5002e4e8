"""Summaries kept beside the runs, so that only what is new is read again, and a report need read none."""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from thermograd.analysis.fleet.population.place import kept_path
from thermograd.analysis.fleet.population.summaries import SUMMARY_SCHEMA, summaries_of
from thermograd.store.files import folder_stamps, open_segments, whole_file
from thermograd.store.runs.catalogue import Run, list_runs

_STAMPS = b"thermograd.population.runs"
_VERSION = 2  # of what a summary is


def all_summaries(
    runs_dir: Path, each: Callable[[int, int], None] = lambda done, of: None
) -> tuple[pa.Table, dict[str, str]]:
    """Return the summaries of all runs of a directory, and why a run has none where it could not be read.

    What was worked out before is kept in ``_fleet/population`` of the directory, as far as it can be written.
    """
    runs = list_runs(runs_dir)
    table, before = kept_summaries(runs_dir)
    stamps = {run.run_id: stamp_of(run) for run in runs}
    is_known = {run_id for run_id, stamp in stamps.items() if stamp and before.get(run_id) == stamp}
    todo = [run for run in runs if run.run_id not in is_known]
    table = table.filter(pc.is_in(table["run_id"], pa.array(sorted(is_known), pa.string())))
    added, errors = summaries_of(todo, lambda done: each(done, len(todo)))
    whole = pa.concat_tables([table, added])
    stamps = {run_id: stamp for run_id, stamp in stamps.items() if stamp and run_id not in errors}
    if todo or before.keys() - stamps.keys():
        _keep(runs_dir, whole, stamps)
    return whole, errors


def kept_summaries(runs_dir: Path, models: Iterable[str] | None = None) -> tuple[pa.Table, dict[str, str]]:
    """Return what was kept, of all models or some, and the stamp of each run that it holds.

    Nothing where nothing can be read.
    """
    wanted = None if models is None else pc.field("model").isin(sorted(models))
    with suppress(OSError, pa.ArrowException, ValueError, KeyError):
        table = pq.read_table(kept_path(runs_dir), partitioning=None, filters=wanted)
        stamps = json.loads((table.schema.metadata or {})[_STAMPS])
        return table.cast(SUMMARY_SCHEMA), stamps
    return SUMMARY_SCHEMA.empty_table(), {}


def stamp_of(run: Run) -> str:
    """Return what changes when a run does; empty while it is written to, when it cannot be relied on."""
    if any(open_segments(run.path, suffix) for suffix in ("tail", "arrows")):
        return ""
    with suppress(OSError):
        described = (run.path / "run.json").stat().st_mtime_ns
        told = f"{_VERSION} {described} {folder_stamps(run.path / 'sealed')}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]
    return ""


def _keep(runs_dir: Path, table: pa.Table, stamps: dict[str, str]) -> None:
    path = kept_path(runs_dir)
    with suppress(OSError):  # a directory that is only read: worked out again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            pq.write_table(table.replace_schema_metadata({_STAMPS: json.dumps(stamps)}), file)
