"""Events by the table, of one kind of one writer, straight into sealed files.

For runs that nobody sees before they are whole: before `close`, a kill loses what was appended.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.store.events import KINDS, arrow_schema
from thermograd.store.files import NEW_FILE
from thermograd.store.log.present.one_file import conform
from thermograd.store.log.segments import parquet_options, sync_directory

_GROUP_ROWS = 122_880
_FILE_ROWS = 8 * _GROUP_ROWS  # a file is small enough to be checked whole


class BulkWriter:
    """Writes events in the order in which they come, a row group at a time; their ``seq`` is gapless from 0.

    No other way of writing may be used for the same kind of the same writer.

    Parameters
    ----------
    run_dir, run_id, writer, kind
        Whose events they are.

    Raises
    ------
    OSError
        By any call, where the disk takes no more; what is there then is of no use.
    """

    def __init__(self, run_dir: Path, run_id: str, writer: str, kind: str) -> None:
        self.rows = 0
        self._kind, self._writer = kind, writer
        self._schema = arrow_schema(kind, run_id, writer)
        self._directory = run_dir / "sealed" / kind
        self._pending: list[pa.Table] = []
        self._file: _SealedParts | None = None

    def append_table(self, table: pa.Table) -> None:
        """Append events: ``time_ns``, and columns of the kind; those that are not given are null."""
        for begin in range(0, len(table), _GROUP_ROWS):
            self._append(table.slice(begin, _GROUP_ROWS))

    def _append(self, table: pa.Table) -> None:
        numbers = np.arange(self.rows, self.rows + len(table))
        table = table.append_column("seq", pa.array(numbers, pa.int64()))
        if "monotonic_ns" not in table.column_names:
            table = table.append_column("monotonic_ns", table["time_ns"])
        self.rows += len(table)
        self._pending.append(conform(table, self._kind).replace_schema_metadata(self._schema.metadata))
        while sum(map(len, self._pending)) >= _GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        pending = pa.concat_tables(self._pending)
        group, rest = pending.slice(0, _GROUP_ROWS), pending.slice(_GROUP_ROWS)
        self._pending = [rest] if len(rest) else []
        if self._file is None:
            self._file = _SealedParts(self._directory, self._writer, group["seq"][0].as_py(), self._schema)
        self._file.write(group)
        if self._file.rows >= _FILE_ROWS:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Write what is left, and bring all of it to the disk."""
        if self._pending:
            self._write_group()
        if self._file is not None:
            self._file.close()
            self._file = None

    def give_up(self) -> None:
        """Let go of the file, as it is. Never raises; nothing where all is closed."""
        if self._file is not None:
            self._file.give_up()
            self._file = None


class _SealedParts:
    """A sealed file that is being written; it has its name once it is whole."""

    def __init__(self, directory: Path, writer: str, first: int, schema: pa.Schema) -> None:
        self.rows = 0
        self._directory, self._writer, self._first = directory, writer, first
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / f".{writer}-{first:012}.parquet.tmp"
        kind = directory.name
        texts = [column.name for column in KINDS[kind] if column.type == "string"]
        self._sink: IO[bytes] = os.fdopen(os.open(self._path, NEW_FILE, 0o644), "wb")
        self._parquet = pq.ParquetWriter(self._sink, schema, **parquet_options(schema, texts))

    def write(self, group: pa.Table) -> None:
        self._parquet.write_table(group, row_group_size=len(group))
        self.rows += len(group)

    def close(self) -> None:
        self._parquet.close()
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._sink.close()
        name = f"{self._writer}-{self._first:012}-{self._first + self.rows - 1:012}.parquet"
        self._path.replace(self._directory / name)
        sync_directory(self._directory)

    def give_up(self) -> None:
        with suppress(OSError, pa.ArrowException):
            self._parquet.close()
        with suppress(OSError):
            self._sink.close()
