"""Reading a SQLite file that another process may be writing: nothing in it, or beside it, is changed."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from thermograd.store.errors import ImportFormatError

MAGIC = b"SQLite format 3\0"
_WAL = 2  # of byte 18: the file is written by way of a log beside it
_AT_ONCE = 5000  # rows of one statement: whoever writes the file waits for that long, not for all of it
_WAIT_S = 5.0


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file to read it; ImportFormatError for one that cannot be read."""
    try:
        with _place(path) as (file, how), closing(_connect(file, how)) as connection:
            yield connection
    except (sqlite3.Error, OSError, UnicodeError) as error:
        raise ImportFormatError(f"{path}: a SQLite database that cannot be read ({error})") from error


def columns_of(path: Path) -> dict[str, frozenset[str]]:
    """Return the columns of each table; none of a file that is no whole database."""
    try:
        with opened(path) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {name: _columns(connection, name) for (name,) in names}
    except ImportFormatError:
        return {}


def _columns(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    return frozenset(name for (name,) in rows)


def rows_of(
    connection: sqlite3.Connection, table: str, columns: str, where: str, value: str
) -> Iterator[tuple[Any, ...]]:
    """Yield the number and columns of the rows of a table, in the order in which they were written.

    Some at a time: a table that only grows is read as it was, and its writer hardly waits.
    """
    statement = (
        f"SELECT rowid, {columns} FROM {table} WHERE {where} = ? AND rowid > ? "
        f"ORDER BY rowid LIMIT {_AT_ONCE}"
    )
    last = -(2**63)
    while rows := connection.execute(statement, (value, last)).fetchall():
        yield from rows
        last = rows[-1][0]


@contextmanager
def _place(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield where to open a file, and how: a log beside it that nobody has open is read in a copy."""
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    if not _has_log(path) or (log.exists() and index.exists()):
        yield path, "mode=ro"
    elif not log.exists():
        yield path, "mode=ro&immutable=1"
    else:
        with tempfile.TemporaryDirectory() as folder:
            for file in (path, log):
                shutil.copyfile(file, Path(folder) / file.name)
            yield Path(folder) / path.name, "mode=ro"


def _has_log(path: Path) -> bool:
    with path.open("rb") as file:
        return _WAL in file.read(20)[18:]


def _connect(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=_WAIT_S)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA trusted_schema = 0")
    return connection
