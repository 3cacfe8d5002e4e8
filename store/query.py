"""SQL over any number of runs, live or finished, without a way to read or write anything else.

The views of a connection are Arrow data registered by us; DuckDB itself may not touch a file, the
network or its own configuration. Sealed files are a pyarrow dataset (columns and rows are skipped
where the query lets them be), live ones a snapshot taken when the connection was made.
"""

import contextlib
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem
from thermograd.store.arrow import read_sealed
from thermograd.store.catalogue import Run, default_runs_dir, list_runs
from thermograd.store.derived import EfficiencySource
from thermograd.store.errors import QueryError
from thermograd.store.events import KINDS, arrow_schema, column_names
from thermograd.store.layout import sealed_segments
from thermograd.store.reader import snapshot, tell
from thermograd.store.stopping import too_late

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["connect", "query"]

_VIEWS = {"step": "steps", "sample": "samples", "alert": "alerts", "mark": "marks"}
_EXPLAIN = re.compile(r"\s*EXPLAIN\b\s*(ANALY[SZ]E\b)?", re.IGNORECASE)
_OPTIONS = re.compile(r"\A\s*\([^()]*\)")
_SAMPLE_COLUMNS = column_names("sample")
_MOST_THREADS = 8  # of a query whose memory is limited
_CLASHING = frozenset(column_names("step")) | {"run_id", "writer", "time"}


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
    connection.register("runs", _RunsSource(runs))
    datasets = {kind: _dataset(runs, kind, damaged) for kind in KINDS}
    for kind, view in _VIEWS.items():
        connection.register(f"_{view}", datasets[kind])
        connection.execute(
            f"CREATE VIEW {view} AS SELECT run_id, make_timestamp_ns(time_ns) AS time, "
            f"* EXCLUDE (run_id) FROM _{view}"
        )
    connection.register("_efficiency", EfficiencySource(datasets["sample"], runs))
    connection.execute(
        "CREATE VIEW efficiency AS SELECT run_id, make_timestamp_ns(time_ns) AS time, "
        "* EXCLUDE (run_id) FROM _efficiency"
    )
    for statement in (_ALIGNED, _ALIGNED_VIEW, _AROUND):
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
    with _deadline(connection, timeout_s):
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
    """Say whether an EXPLAIN is of a SELECT: EXPLAIN ANALYZE carries out what it explains."""
    explain = _EXPLAIN.match(sql)
    if explain is None:
        return False
    explained = sql[explain.end() :]
    return any(_is_select(connection, part) for part in (explained, _OPTIONS.sub("", explained)))


def _is_select(connection: "DuckDBPyConnection", sql: str) -> bool:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error:
        return False
    return [statement.type.name for statement in statements] == ["SELECT"]


@contextlib.contextmanager
def _deadline(connection: "DuckDBPyConnection", timeout_s: float | None) -> Iterator[None]:
    if timeout_s is None:
        yield
        return
    timer = threading.Timer(timeout_s, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


_RUNS_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("name", pa.string()),
        ("started", pa.timestamp("ns")),
        ("ended", pa.timestamp("ns")),
        ("state", pa.string()),
        ("devices", pa.list_(pa.string())),
        ("host", pa.string()),
        ("source", pa.string()),
    ]
)


class _RunsSource:
    """The facts of the runs as Arrow data, gathered when a query asks for them: state takes looking."""

    def __init__(self, runs: list[Run]) -> None:
        self._runs = runs

    def __arrow_c_schema__(self) -> object:
        return _RUNS_SCHEMA.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        rows = [
            {
                "run_id": run.run_id,
                "name": run.name,
                "started": run.started_time_ns,
                "ended": run.ended_time_ns(),
                "state": run.state(),
                "devices": sorted(run.facts.get("devices", {})),
                "host": run.facts.get("host"),
                "source": run.facts.get("source"),
            }
            for run in self._runs
        ]
        return pa.Table.from_pylist(rows, _RUNS_SCHEMA).__arrow_c_stream__(requested_schema)


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


# The rule of DESIGN.md section 4, in SQL: of the samples at one time the one logged last, then the
# nearest of the last before and the first after, the earlier on a tie. DuckDB's own ASOF leaves open
# which of two equal times wins, so these are told apart first.
_ALIGNED = """
CREATE MACRO aligned_with(tolerance_s) AS TABLE
WITH logged AS (
    SELECT * FROM samples
    QUALIFY row_number() OVER (PARTITION BY run_id, device, time_ns ORDER BY seq DESC, writer DESC) = 1
), grid AS (
    SELECT s.*, d.device FROM steps s JOIN (SELECT DISTINCT run_id, device FROM samples) d USING (run_id)
), before AS (
    SELECT g.*, l.time_ns AS before_ns
    FROM grid g ASOF LEFT JOIN logged l
    ON g.run_id = l.run_id AND g.device = l.device AND g.time_ns >= l.time_ns
), both_sides AS (
    SELECT b.*, l.time_ns AS after_ns
    FROM before b ASOF LEFT JOIN logged l
    ON b.run_id = l.run_id AND b.device = l.device AND b.time_ns <= l.time_ns
), chosen AS (
    SELECT * EXCLUDE (before_ns, after_ns),
        CASE WHEN after_ns IS NULL OR time_ns - before_ns <= after_ns - time_ns THEN before_ns
             ELSE after_ns END AS match_ns
    FROM both_sides
)
SELECT c.* EXCLUDE (match_ns), {columns},
    (l.time_ns - c.time_ns) / 1e9 AS dt_s
FROM chosen c LEFT JOIN logged l
ON c.run_id = l.run_id AND c.device = l.device AND c.match_ns = l.time_ns
   AND abs(l.time_ns - c.time_ns) <= tolerance_s * 1e9
""".format(
    columns=", ".join(
        f"l.{name} AS sample_{name}" if name in _CLASHING else f"l.{name}"
        for name in _SAMPLE_COLUMNS
        if name != "device"
    )
)

_ALIGNED_VIEW = "CREATE VIEW aligned AS SELECT * FROM aligned_with(1.0)"

_AROUND = """
CREATE MACRO around(moment, seconds) AS TABLE
WITH centre AS (
    SELECT run_id, onset_time_ns AS centre_ns FROM alerts WHERE CAST(seq AS VARCHAR) = CAST(moment AS VARCHAR)
    UNION ALL
    SELECT run_id, epoch_ns(TRY_CAST(CAST(moment AS VARCHAR) AS TIMESTAMP_NS)) FROM runs
    WHERE TRY_CAST(CAST(moment AS VARCHAR) AS TIMESTAMP_NS) IS NOT NULL
), happened AS (
    SELECT run_id, time_ns, 'step' AS kind, step, NULL AS device,
        'loss ' || coalesce(CAST(loss AS VARCHAR), '?') ||
        ', grad_norm ' || coalesce(CAST(grad_norm AS VARCHAR), '?') AS what FROM steps
    UNION ALL
    SELECT run_id, time_ns, 'sample', NULL, device,
        concat_ws(', ', temperature_c || ' degC', power_w || ' W', sm_clock_mhz || ' MHz',
                  utilization_pct || ' %') FROM samples
    UNION ALL
    SELECT run_id, time_ns, 'alert', step, device, alert || ': ' || message FROM alerts
    UNION ALL
    SELECT run_id, time_ns, 'mark', step, NULL, concat_ws(': ', mark, text) FROM marks
)
SELECT h.run_id, make_timestamp_ns(h.time_ns) AS time, (h.time_ns - c.centre_ns) / 1e9 AS dt_s,
    h.kind, h.step, h.device, h.what
FROM happened h JOIN centre c USING (run_id)
WHERE abs(h.time_ns - c.centre_ns) <= seconds * 1e9
ORDER BY h.run_id, h.time_ns, h.kind
"""
