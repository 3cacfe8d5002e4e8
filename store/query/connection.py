"""SQL over any number of runs, live or finished, without a way to read or write anything else.

The views of a connection are Arrow data registered by us; DuckDB itself may not touch a file, the
network or its own configuration. Sealed files are a pyarrow dataset (columns and rows are skipped
where the query lets them be), live ones a snapshot taken when the connection was made. For one query only
the views that it names are made.
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
from thermograd.store.errors import DamagedError, QueryError, TooLargeError
from thermograd.store.events import KINDS
from thermograd.store.files import sealed_segments
from thermograd.store.log.reading.damage import tell
from thermograd.store.places.place import uncatalogued_folder
from thermograd.store.query.data.needed import ALL_PARTS, named_views, needed_parts
from thermograd.store.query.registered import Taken, Views
from thermograd.store.runs.catalogue import Run, default_runs_dir, fetched_runs, list_runs
from thermograd.store.text import shortened

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation


_EXPLAIN = re.compile(r"\s*EXPLAIN\b\s*(ANALY[SZ]E\b)?", re.IGNORECASE)
_OPTIONS = re.compile(r"\A\s*\([^()]*\)")
_OUT_OF_MEMORY = re.compile("Out of Memory Error|Out of memory: |MemoryError: ")  # DuckDB's, Arrow's, numpy's
_MOST_THREADS = 8  # of a query whose memory is limited
_BATCH_ROWS = 2048  # what DuckDB works in; of 10,000 columns they take 160 MB
_HELD_BACK_BYTES = 8 << 20
# DuckDB takes Arrow data for one row, and so a loop over all pairs of rows for the fastest join of times.
_JOINS: dict[str, bool | str | int] = {
    "asof_loop_join_threshold": 0,
    "nested_loop_join_threshold": 0,
    "merge_join_threshold": 0,
}
NO_MEMORY = "the query needs more memory than it may have (--memory)"


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
        Views ``runs``, ``config``, ``labels``, ``steps``, ``samples``, ``alerts``, ``episodes``, ``marks``,
        ``metrics``, ``aligned``, ``efficiency``, ``throttling``, ``findings`` (of the newest analysis of all
        runs) and table macros ``aligned_with(tolerance_s)`` and ``around(time, seconds)``.
        Read-only: no file, network, extension or setting can be reached from its SQL.

    Examples
    --------
    >>> connection = connect([])
    >>> connection.execute("SELECT count(*) FROM steps").fetchone()
    (0,)
    >>> connection.close()
    """
    listed = _listed(runs)
    connection = _locked(memory_limit)
    Views(connection, listed, {}).make()
    return connection


def _listed(runs: Path | str | Iterable[Run] | None, sql: str | None = None) -> list[Run]:
    """Return the runs with the events at hand that a query needs; by default all."""
    needed = ALL_PARTS if sql is None else needed_parts(sql)
    if runs is None or isinstance(runs, str | Path):
        place = default_runs_dir() if runs is None else runs
        if uncatalogued_folder(place) is not None:
            return list_runs(place)
        from thermograd.store.places.known import fetched

        return list_runs(fetched(place, needed))
    return fetched_runs(runs, needed)


def _locked(memory_limit: str | None) -> "DuckDBPyConnection":
    """Return a connection without views, from which nothing else can be reached."""
    config: dict[str, bool | str | int] = {"python_enable_replacements": False} | _JOINS
    if memory_limit:
        config |= {"memory_limit": memory_limit, "threads": min(os.cpu_count() or 1, _MOST_THREADS)}
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # it goes to stdout, also where that is a pipe
    for setting in ("temp_directory = ''", "enable_external_access = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}")
    return connection


class NotHereError(QueryError):
    """Another process must answer: this one has not loaded what that needs."""


class _Opened:
    """A connection for one query, with the views that it names; all of them where it needs others."""

    def __init__(
        self,
        sql: str,
        runs: list[Run],
        memory_limit: str | None,
        damaged: dict[Path, int],
        taken: Taken | None = None,
    ) -> None:
        self._sql = sql
        self._is_all_loaded = taken is None
        self.connection = _locked(memory_limit)
        self._views = Views(self.connection, runs, damaged, taken)
        self._views.make(named_views(sql))

    def answer(self) -> "DuckDBPyRelation":
        """Return the answer, which is computed when it is read."""
        _check_statement(self.connection, self._sql)
        try:
            return self.connection.sql(self._sql)
        except (duckdb.BinderException, duckdb.CatalogException):
            if not self._views.make():  # all: what is meant is told of all of them
                raise
        answer = self.connection.sql(self._sql)
        if not self._is_all_loaded:
            raise NotHereError("views that were not named need what is not loaded")
        return answer

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def query(
    sql: str,
    runs: Path | str | Iterable[Run] | None = None,
    timeout_s: float | None = None,
    memory_limit: str | None = None,
) -> pa.Table:
    """Answer one SELECT or EXPLAIN over the views of `connect`, in this process.

    At `timeout_s`, and at Ctrl-C, it is given up at once; DuckDB itself goes on in its thread to the end of
    the piece of work that it is at. `thermograd.store.query.answer` ends that too, and bounds the memory.

    Raises
    ------
    QueryError
        If the statement is of another type, wrong (DuckDB's message says where), or took too long.
    """
    from thermograd.store.query.interrupt import in_time

    asked = _Asked(sql, _listed(runs, sql), memory_limit)
    return in_time(asked.table, asked.stop, timeout_s)


def stream(
    sql: str,
    runs: Path | list[Run],
    output_format: str,
    memory_limit: str | None = None,
    most: tuple[int | None, int | None] = (None, None),
    checked: bool = False,
    taken: Taken | None = None,
) -> Iterator[bytes]:
    """Yield the answer of one SELECT or EXPLAIN in a format of ``query --format``, part by part.

    The first parts are held back: where reading meets a damaged file by then, the answer begins again
    without what is damaged. `most`: rows and values (those inside lists and structs count) that are
    given. `checked`: look for damaged files first. `taken`: what there was of the runs,
    which are at hand, where Arrow was loaded without numpy.

    Raises
    ------
    DamagedError
        If a damaged file was met later than that.
    NotHereError
        If it takes numpy, with `taken`; nothing was given then.
    QueryError
        As `query` does, and where the answer is larger than `most`.
    """
    listed = runs if isinstance(runs, list) else _listed(runs, sql)
    damaged = _damaged(listed) if checked else {}
    given = False
    try:
        with contextlib.closing(_Opened(sql, listed, memory_limit, damaged, taken)) as opened:
            for part in _held_back(_parts(opened, sql, output_format, most)):
                given = True
                yield part
            return
    except _StreamError as error:
        if taken is not None and not given:
            raise NotHereError(str(error)) from error
        damaged = {} if checked or taken is not None else _damaged(listed)
        if not damaged and taken is None:
            raise QueryError(str(error)) from error
        if given:
            raise DamagedError(
                f"the answer broke off at a damaged file; with -o it begins again without that: {error}"
            ) from error
    with contextlib.closing(_Opened(sql, listed, memory_limit, damaged)) as opened:
        yield from _parts(opened, sql, output_format, most)


def _held_back(parts: Iterator[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    try:
        while size <= _HELD_BACK_BYTES and (part := next(parts, None)) is not None:
            held.append(part)
            size += len(part)
    except TooLargeError:
        yield from held
        raise
    yield from held
    yield from parts


class _StreamError(QueryError):
    """The data could not be read: a file may be damaged."""


class _Asked:
    """A query that another thread answers and this one may stop."""

    def __init__(self, sql: str, runs: list[Run], memory_limit: str | None) -> None:
        self._sql, self._runs, self._memory_limit = sql, runs, memory_limit
        self._lock, self._stopped = threading.Lock(), False
        self._connection: DuckDBPyConnection | None = None

    def stop(self) -> None:
        """Tell DuckDB to stop, also one that is asked later."""
        with self._lock:
            self._stopped = True
            if self._connection is not None:
                self._connection.interrupt()

    def table(self) -> pa.Table:
        """Return the answer; where reading meets a damaged file, once more without what is damaged."""
        try:
            return self._table({})
        except _StreamError as error:
            damaged = _damaged(self._runs)
            if not damaged:
                raise QueryError(str(error)) from error
        return self._table(damaged)

    def _table(self, damaged: dict[Path, int]) -> pa.Table:
        with (
            contextlib.closing(_Opened(self._sql, self._runs, self._memory_limit, damaged)) as opened,
            self._kept(opened.connection),
            _errors_of(opened.connection, self._sql),
        ):
            return opened.answer().to_arrow_table()

    @contextlib.contextmanager
    def _kept(self, connection: "DuckDBPyConnection") -> Iterator[None]:
        with self._lock:
            if self._stopped:
                raise QueryError("the query was stopped")
            self._connection = connection
        try:
            yield
        finally:
            with self._lock:  # what is closed is not interrupted
                self._connection = None


def _parts(
    opened: _Opened, sql: str, output_format: str, most: tuple[int | None, int | None]
) -> Iterator[bytes]:
    from thermograd.store.query.result_formats import rendered

    with _errors_of(opened.connection, sql):
        reader = opened.answer().to_arrow_reader(_BATCH_ROWS)
        try:
            yield from rendered(reader, output_format, *most)
        finally:
            opened.connection.interrupt()  # else DuckDB computes to its end, and keeps, what nobody reads


@contextlib.contextmanager
def _errors_of(connection: "DuckDBPyConnection", sql: str) -> Iterator[None]:
    """Raise what goes wrong with a query as an error of ours."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise QueryError("the query was stopped") from error
    except MemoryError as error:  # pyarrow's own, too
        raise QueryError(NO_MEMORY) from error
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # the last two: while the answer is read
        raise _refusal(error, _with_position(connection, sql, error)) from error
    except RecursionError as error:
        raise QueryError("the answer holds values that are nested too deeply to be written") from error
    except RuntimeError as error:  # what DuckDB's client makes of Ctrl-C
        if "interrupted" in str(error):
            raise KeyboardInterrupt from error
        raise


def _refusal(error: Exception, message: str) -> QueryError:
    if _OUT_OF_MEMORY.search(message) or isinstance(error, duckdb.OutOfMemoryException):
        return QueryError(NO_MEMORY)  # DuckDB's advice is to change settings, which are locked
    return (_StreamError if "stream" in message else QueryError)(shortened(message))


def _damaged(runs: list[Run]) -> dict[Path, int]:
    """Return the damaged sealed files and how many leading row groups of each are whole."""
    from thermograd.store.log.segments import read_sealed
    from thermograd.store.query.data.folded import folded_damage

    found = {}
    for damage in folded_damage(runs, KINDS):
        tell(damage)
        found[damage.path] = 0
    for run in runs:
        for segment in sealed_segments(run.path):
            sealed = read_sealed(segment.path, segment.kind)
            if sealed.damage:
                tell(sealed.damage)
                found[segment.path] = sealed.groups
    return found


def _with_position(connection: "DuckDBPyConnection", sql: str, error: Exception) -> str:
    """Return DuckDB's message with the place in the query, which only `execute` gives, and with our names."""
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        from thermograd.store.query.names import explained

        try:
            connection.execute(sql)  # fails again before anything is run
        except duckdb.Error as again:
            return explained(str(again), connection, sql)
    return str(error)


def _check_statement(connection: "DuckDBPyConnection", sql: str) -> None:
    statements = connection.extract_statements(sql)
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
