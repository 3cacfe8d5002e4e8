"""What analyses of a whole fleet found: Parquet files beside the runs, a directory each, and their view."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.files import is_folder, is_plain_file, whole_file
from thermograd.store.places.mirror import FINDINGS_FOLDER as FOLDER
from thermograd.store.query.data.computed import LazyTable
from thermograd.store.runs.catalogue import Run

_PREFIX, _SUFFIX = "findings-", ".parquet"
_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()

SCHEMA = pa.schema(
    {
        "analysis_id": _TEXT,
        "run_id": _TEXT,
        "kind": _TEXT,  # run: one row each, also of what could not be read; pair; event
        "host": _TEXT,
        "device": _TEXT,
        "model": _TEXT,  # of the device; in the row of a run that of its first
        "x": _TEXT,
        "y": _TEXT,
        "verdict": _TEXT,
        "n": _COUNT,  # bins, or onsets, that entered; of a run its steps
        "r": _NUMBER,
        "lag_s": _NUMBER,  # above 0: the training leads
        "memory_s": _NUMBER,
        "family": _TEXT,
        "p": _NUMBER,
        "p_adjusted": _NUMBER,  # over the tests of its run
        "q": _NUMBER,  # of its run, over all runs
        "guard_p": _NUMBER,
        "gate_p": _NUMBER,
        "matched": _COUNT,  # steps with a sample within a second
        "naive_r": _NUMBER,
        "period_s": _NUMBER,
        "df": _COUNT,
        "profile": pa.list_(_NUMBER),  # r by lag, from the largest in which the hardware leads
        "began_ns": _COUNT,  # of a run's training
        "ended_ns": _COUNT,
        "repeats": _TEXT,  # the run whose training this one repeats
        "error": _TEXT,
    }
)


def write_findings(runs_dir: Path, analysis_id: str, table: pa.Table) -> Path:
    """Write an analysis' findings, whole or not at all, and return the file.

    Raises
    ------
    LogError
        If the directory cannot be written.
    """
    folder = runs_dir / FOLDER / analysis_id
    path = folder / f"{_PREFIX}00000{_SUFFIX}"
    with os_errors_as(LogError, f"cannot write {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            pq.write_table(table.cast(SCHEMA), file, compression="zstd")
    return path


def analyses(runs_dir: Path) -> list[str]:
    """Return the ids of the analyses of a directory of runs that are there, the oldest first."""
    folder = runs_dir / FOLDER
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [name for name in names if any(_files(folder / name))]


def read_findings(runs_dir: Path, analysis_id: str) -> pa.Table:
    """Return the findings of an analysis; a column that a file lacks is null, a strange one left out."""
    tables = [SCHEMA.empty_table()]
    for path in _files(runs_dir / FOLDER / analysis_id):
        with suppress(OSError, pa.ArrowInvalid):  # another process removes it, or it is no file of ours
            tables.append(_conformed(pq.read_table(path)))
    return pa.concat_tables(tables)


def _files(folder: Path) -> Iterator[Path]:
    if is_folder(folder):
        for name in sorted(os.listdir(folder)):
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX) and is_plain_file(folder / name):
                yield folder / name


def _conformed(table: pa.Table) -> pa.Table:
    def column(field: pa.Field) -> Any:
        there = field.name in table.column_names
        return table.column(field.name).cast(field.type) if there else pa.nulls(len(table), field.type)

    return pa.table([column(field) for field in SCHEMA], schema=SCHEMA)


_IS_NEWEST = pa.field("is_newest", pa.bool_())


def findings_view(runs: Iterable[Run]) -> LazyTable:
    """Return the findings beside the runs, of the runs given, read at the first scan."""
    given = list(runs)
    schema = SCHEMA.insert(1, _IS_NEWEST)

    @cache
    def compute() -> pa.Table:
        tables = [schema.empty_table()]
        for folder in dict.fromkeys(run.path.parent for run in given):
            ids = analyses(folder)
            for analysis_id in ids:
                found = read_findings(folder, analysis_id)
                newest = pa.repeat(pa.scalar(analysis_id == ids[-1]), len(found))
                tables.append(found.add_column(1, _IS_NEWEST, newest))
        known = pa.array({run.run_id for run in given}, pa.string())
        table = pa.concat_tables(tables)
        return table.filter(pa.compute.is_in(table["run_id"], known))

    return LazyTable(schema, compute)
