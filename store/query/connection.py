"""SQL over any number of runs, live or finished, without a way to read or write anything else.

The views of a connection are Arrow data registered by us; DuckDB itself may not touch a file, the
network or its own configuration. Sealed files are a pyarrow dataset (columns and rows are skipped
where the query lets them be), live ones a snapshot taken when the connection was made.
"""

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem
from thermograd.store.errors import QueryError
from thermograd.store.events import KINDS, arrow_schema
from thermograd.store.files import sealed_segments
from thermograd.store.log.reader import snapshot, tell
from thermograd.store.log.segments import read_sealed
from thermograd.store.query.interrupt import acting_after, too_late
from thermograd.store.query.views import ALIGNED, ALIGNED_VIEW, AROUND, efficiency_view, runs_view
from thermograd.store.runs.catalogue import Run, default_runs_dir, list_runs

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_EXPLAIN = re.compile(r"\s*EXPLAIN\b\s*(ANALY[SZ]E\b)?", re.IGNORECASE)
_OPTIONS = re.compile(r"\A\s*\([^()]*\)")
_MOST_THREADS = 8  # of a query whose memory is limited


def connect(
    runs: Path | str | Iterable[Run] | None = None, memory_limit: str | None = None
) -> "DuckDBPyConnection":
    """Return a DuckDB connection with the views of DESIGN.md section 5 over some runs.

    Parameters
    ----------
    runs
        A directory of runs (default ``$THERMOGRAD_RUNS`` or ``runs``), or the runs themselves.
    memory_limit
        DuckDB's own limit, e.g. "4GB", and no more than eight threads, which take memory by being there;
        default four fifths of the machine's memory, and a thread a core.

    Returns
    -------
    duckdb.DuckDBPyConnection
        Views ``runs``, ``steps``, ``samples``, ``alerts``, ``marks``, ``aligned``, ``efficiency`` and
        table macros ``aligned_with(tolerance_s)`` and ``around(time, seconds)``. Read-only: no file,
        network, extension or setting can be reached from its SQL.

    Examples
    --------
    >>> connection = connect([])
    >>> connection.execute("SELECT count(*) FROM steps").fetchone()
    (0,)
    >>> connection.close()
    """
    return _connect(_listed(runs), memory_limit, {})


def _listed(runs: Path | str | Iterable[Run] | None) -> list[Run]:
    if runs is None or isinstance(runs, str | Path):
        return list_runs(Path(runs) if runs is not None else default_runs_dir())
    return list(runs)


def _connect(runs: list[Run], memory_limit: str | None, damaged: dict[Path, int]) -> "DuckDBPyConnection":
    config: dict[str, bool | str | int] = {"python_enable_replacements": False}
    if memory_limit:
        config |= {"memory_limit": memory_limit, "threads": min(os.cpu_count() or 1, _MOST_THREADS)}
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("runs", runs_view(runs))
    datasets = {kind: _dataset(runs, kind, damaged) for kind in KINDS}
    sources = {f"{kind}s": dataset for kind, dataset in datasets.items()}
    for view, source in (sources | {"efficiency": efficiency_view(datasets["sample"], runs)}).items():
        connection.register(f"_{view}", source)
        connection.execute(
            f"CREATE VIEW {view} AS SELECT run_id, make_timestamp_ns(time_ns) AS time, "
            f"* EXCLUDE (run_id) FROM _{view}"
        )
    for statement in (ALIGNED, ALIGNED_VIEW, AROUND):
        connection.execute(statement)
    for setting in ("temp_directory = ''", "enable_external_access = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}")
    return connection


def query(
    sql: str,
    runs: Path | str | Iterable[Run] | None = None,
    timeout_s: float | None = None,
    memory_limit: str | None = None,
) -> pa.Table:
    """Answer one SELECT or EXPLAIN over the views of `connect`.

    Raises
    ------
    QueryError
        If the statement is of another type, wrong (DuckDB's message says where), or took too long.
    """
    listed = _listed(runs)
    with contextlib.closing(_connect(listed, memory_limit, {})) as connection:
        _check_statement(connection, sql)
        try:
            return _answer(connection, sql, timeout_s)
        except _StreamError as error:
            damaged = _damaged(listed)
            if not damaged:
                raise QueryError(str(error)) from error
    with contextlib.closing(_connect(listed, memory_limit, damaged)) as connection:
        return _answer(connection, sql, timeout_s)


class _StreamError(QueryError):
    """The data could not be read: a file may be damaged."""


def _answer(connection: "DuckDBPyConnection", sql: str, timeout_s: float | None) -> pa.Table:
    with acting_after(timeout_s, connection.interrupt):
        try:
            return connection.sql(sql).to_arrow_table()
        except duckdb.InterruptException as error:
            raise QueryError(too_late(timeout_s or 0.0)) from error
        except duckdb.Error as error:
            kind = _StreamError if "stream" in str(error) else QueryError
            raise kind(_with_position(connection, sql, error)) from error
        except RuntimeError as error:  # what DuckDB's client makes of Ctrl-C
            if "interrupted" in str(error):
                raise KeyboardInterrupt from error
            raise


def _damaged(runs: list[Run]) -> dict[Path, int]:
    """Return the damaged sealed files and how many leading row groups of each are whole."""
    found = {}
    for run in runs:
        for segment in sealed_segments(run.path):
            sealed = read_sealed(segment.path, segment.kind)
            if sealed.damage:
                tell(sealed.damage)
                found[segment.path] = sealed.groups
    return found


def _with_position(connection: "DuckDBPyConnection", sql: str, error: duckdb.Error) -> str:
    """Return DuckDB's message with the place in the query, which only `execute` gives."""
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        try:
            connection.execute(sql)  # fails again before anything is run
        except duckdb.Error as again:
            return str(again)
    return str(error)


def _check_statement(connection: "DuckDBPyConnection", sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    types = [statement.type.name for statement in statements]
    if len(types) != 1 or types[0] not in ("SELECT", "EXPLAIN"):
        given = ", ".join(types) or "nothing"
        raise QueryError(f"a query is exactly one SELECT or EXPLAIN; this is {given}")
    if types[0] == "EXPLAIN" and not _explains_select(connection, statements[0].query):
        raise QueryError("EXPLAIN is for one SELECT, with no comment before it")


def _explains_select(connection: "DuckDBPyConnection", sql: str) -> bool:
    """Return whether an EXPLAIN is of a SELECT: EXPLAIN ANALYZE carries out what it explains."""
    explain = _EXPLAIN.match(sql)
    explained = sql[explain.end() :] if explain else ""
    for part in (explained, _OPTIONS.sub("", explained)):
        with contextlib.suppress(duckdb.Error):
            if [statement.type.name for statement in connection.extract_statements(part)] == ["SELECT"]:
                return True
    return False


def _dataset(runs: list[Run], kind: str, damaged: dict[Path, int]) -> ds.Dataset:
    """Return one dataset over the sealed files and live rows of all runs, with run and writer columns.

    Of a damaged file only so many leading row groups are in it.
    """
    identity = [pa.field("run_id", pa.string()), pa.field("writer", pa.string())]
    schema = pa.schema([*identity, *arrow_schema(kind).remove_metadata()])
    fragments, tables = [], []
    options = ds.ParquetFragmentScanOptions(pre_buffer=False, page_checksum_verification=True)
    file_format = ds.ParquetFileFormat(default_fragment_scan_options=options)
    files = LocalFileSystem(use_mmap=True)  # sealed files never change: no copy is needed
    for run in runs:
        current = snapshot(run.path, kind)
        for segment in current.sealed:
            known = (ds.field("run_id") == run.run_id) & (ds.field("writer") == segment.writer)
            whole = range(damaged[segment.path]) if segment.path in damaged else None
            if whole is None or len(whole):
                fragments.append(file_format.make_fragment(str(segment.path), files, known, whole))
        for writer, table in current.live.items():
            columns = [pa.repeat(pa.scalar(value), len(table)) for value in (run.run_id, writer)]
            tables.append(pa.table([*columns, *table.columns], schema=schema))
    sealed = ds.FileSystemDataset(fragments, schema, file_format, files)
    live = ds.dataset(pa.concat_tables(tables) if tables else schema.empty_table())
    return ds.dataset([sealed, live])
