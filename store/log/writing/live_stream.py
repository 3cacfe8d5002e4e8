"""One live Arrow stream file of one writer and kind."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.store.files import NEW_FILE, segment_name, write_whole
from thermograd.store.log.writing.arrow_bytes import END_OF_STREAM, batch_message, schema_message


class SegmentFile:
    """One live Arrow stream file of one writer and kind, one ``write`` a batch.

    After any error it is of no use any more: what it holds stays readable, and the next batch begins
    another one (`abandon`).
    """

    def __init__(self, directory: Path, kind: str, first: int, run_id: str, writer: str) -> None:
        self.path = directory / segment_name(kind, first, "arrows")
        self.rows = 0
        self.size = 0
        self._opened_s = time.monotonic()
        self._kind, self._begin = kind, schema_message(kind, run_id, writer)  # goes with the first batch
        # A file of this name is of a try that failed: what it was to hold is still in its tail.
        self._handle = os.open(self.path, NEW_FILE, 0o644)

    def write(self, rows: Sequence[Sequence[Any]], pause: Callable[[], object] = lambda: None) -> None:
        """Append rows in column order as a batch, or raise OSError; `pause` is called now and then."""
        message = batch_message(self._kind, rows, pause)
        pause()
        self._put(message)
        self.rows += len(rows)

    def _put(self, message: bytes) -> None:
        data = self._begin + message
        write_whole(self._handle, data, self.size, self.path, "a batch of events")
        self._begin = b""
        self.size += len(data)

    def sync(self) -> None:
        """Bring what was written to the disk."""
        os.fsync(self._handle)

    def is_full(self, max_rows: int, max_bytes: int, max_age_s: float) -> bool:
        """Return whether the next batch should start a new segment."""
        age_s = time.monotonic() - self._opened_s
        return self.rows >= max_rows or self.size >= max_bytes or age_s >= max_age_s

    def is_there(self) -> bool:
        """Return whether the file is still at its place."""
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self.path))
        except OSError:
            return False

    def close(self) -> None:
        """End the stream with Arrow's end mark."""
        self._put(END_OF_STREAM)
        os.fsync(self._handle)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it is. Never raises; not to be used afterwards."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):
                os.close(handle)
        if self.size == 0:
            with suppress(OSError):
                self.path.unlink()
