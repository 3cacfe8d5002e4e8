"""Arrow batches in memory, and beyond some size in a file without a name.

The file is gone when the process is, however that ends: no folder has an entry for it.
"""

import tempfile
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.ipc
from thermograd.ingest.importers.rows.workplace import workplace
from thermograd.store.errors import LogError, os_errors_as

_IN_MEMORY_BYTES = 4 << 20
_Stored = tuple[int, int]  # offset, size


class Spill:
    """Batches by number, in the order in which they were put."""

    def __init__(self, in_memory_bytes: int | None = None) -> None:
        self._room = _IN_MEMORY_BYTES if in_memory_bytes is None else in_memory_bytes
        self._batches: list[pa.RecordBatch | _Stored] = []
        self._file: IO[bytes] | None = None
        self._size = 0

    def __len__(self) -> int:
        return len(self._batches)

    def put(self, batch: pa.RecordBatch) -> None:
        """Keep a batch. LogError where the disk has no room for it."""
        self._room -= batch.nbytes
        if self._room >= 0:
            self._batches.append(batch)
            return
        data = _as_stream(batch)
        folder = workplace().folder
        with os_errors_as(LogError, f"cannot keep the rows of the import in {folder or 'a temporary file'}"):
            if self._file is None:
                self._file = _nameless_file(folder)
            self._file.seek(self._size)
            self._file.write(data)
            self._file.flush()
        self._batches.append((self._size, data.size))
        self._size += data.size

    def get(self, number: int) -> pa.RecordBatch:
        """Return a batch."""
        stored = self._batches[number]
        if isinstance(stored, pa.RecordBatch):
            return stored
        offset, size = stored
        assert self._file is not None
        with os_errors_as(LogError, "cannot read the rows of the import again"):
            self._file.seek(offset)
            data = self._file.read(size)
        return pa.ipc.open_stream(data).read_next_batch()

    def close(self) -> None:
        """Give up all of it."""
        self._batches = []
        if self._file is not None:
            self._file.close()
            self._file = None


def _as_stream(batch: pa.RecordBatch) -> pa.Buffer:
    """Return a batch as a stream of its own: a batch alone would be without its dictionaries."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()


def _nameless_file(folder: Path | None) -> IO[bytes]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    file: IO[bytes] = tempfile.TemporaryFile(prefix=".import-", dir=folder)  # noqa: SIM115 - closed by the workplace
    opened = workplace().opened
    if opened is not None:
        opened.callback(file.close)
    return file
