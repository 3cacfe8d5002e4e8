"""Writing the event log: one writer per file, nothing acknowledged is lost to a kill.

An event is acknowledged when `EventWriter.append` returns. By then one ``write`` has put it into the
kernel's page cache, where it survives SIGKILL of the process; a background thread syncs it to the
disk once a second, turns every `batch_rows` events into one Arrow record batch, and starts a new
segment when one is large or old. `append` never raises: what cannot be written is counted.
"""

import contextlib
import json
import logging
import os
import queue
import shlex
import shutil
import threading
import time
import weakref
from errno import ENOSPC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.files import NEW_FILE, open_dir, segment_name, write_json, write_whole, writer_file
from thermograd.store.log.tail_codec import kind_codec

if TYPE_CHECKING:
    from thermograd.store.log.segments import SegmentFile


_log = logging.getLogger("thermograd")
_SYNC_PERIOD_S = 1.0
_CLOSE_WAIT_S = 10.0
_SPACE_PERIOD_S = 10.0
_LITTLE_SPACE_BYTES = 256 << 20
_MAX_SEGMENT_ROWS = 65_536
_MAX_SEGMENT_BYTES = 64 << 20
_MAX_SEGMENT_AGE_S = 600.0

_open_writers: "weakref.WeakSet[EventWriter]" = weakref.WeakSet()


class _Tail:
    """The file of the batch that is filling, and its rows."""

    def __init__(self, directory: Path, kind: str, first: int) -> None:
        self.path = directory / segment_name(kind, first, "tail")
        self.first = first
        self.rows = 0
        self.size = len(kind_codec(kind).header)
        self.fd = os.open(self.path, NEW_FILE, 0o644)
        try:
            write_whole(self.fd, kind_codec(kind).header, 0, self.path, "the header of a log file")
        except OSError:
            os.close(self.fd)
            self.path.unlink(missing_ok=True)
            raise

    def write(self, record: bytes) -> None:
        write_whole(self.fd, record, self.size, self.path, "an event")
        self.size += len(record)
        self.rows += 1

    def finish(self, remove: bool) -> None:
        os.close(self.fd)
        if remove:
            self.path.unlink(missing_ok=True)


class _Stream:
    """One kind of one writer: the tail that is filling, the spare one, the Arrow segment."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.directory = directory
        self.kind = kind
        self.codec = kind_codec(kind)
        self.next_seq = 0
        self.tail: _Tail | None = _Tail(directory, kind, 0)
        self.spare: _Tail | None = None
        self.segment: SegmentFile | None = None
        self.dirty = False
        self.retry_at = 0.0

    def current_tail(self) -> _Tail:
        if self.tail is None:
            spare, self.spare = self.spare, None
            if spare is not None and spare.first != self.next_seq:
                spare.finish(remove=True)
                spare = None
            self.tail = spare or _Tail(self.directory, self.kind, self.next_seq)
        return self.tail

    def emit(self, tail: _Tail, run_id: str, writer: str) -> None:
        """Copy a full tail's rows into the Arrow segment; the tail stays until that is synced."""
        from thermograd.store.log.segments import SegmentFile, tail_rows

        data = tail.path.read_bytes()
        batch = tail_rows(self.codec, data, len(self.codec.header), tail.first).batch
        if self.segment is None:
            self.segment = SegmentFile(self.directory, self.kind, tail.first, run_id, writer)
        try:
            self.segment.write(batch)
        except OSError:
            self.segment = None  # never append after a torn batch: the next one opens a new segment
            raise
        if self.segment.is_full(_MAX_SEGMENT_ROWS, _MAX_SEGMENT_BYTES, _MAX_SEGMENT_AGE_S):
            self.close_segment()

    def close_segment(self) -> None:
        if self.segment is not None:
            self.segment.close()
            self.segment = None


class EventWriter:
    """Appends events of one process to the log of one run.

    Parameters
    ----------
    run_dir
        The run's directory; must exist.
    run_id, writer
        Identity of the run and of this writer; the writer's name must be new in the run.
    kinds
        Kinds whose files are opened now, so that their first `append` is as cheap as any other.
    batch_rows
        Rows of an Arrow batch.
    role
        What this process is in the run, for ``writers/<writer>.json``.

    Raises
    ------
    LogError
        If the files cannot be created.

    Notes
    -----
    After a fork the child's copy is inert: it writes nothing and owns nothing.
    """

    def __init__(
        self,
        run_dir: Path,
        run_id: str,
        writer: str,
        kinds: tuple[str, ...] = ("step", "mark"),
        batch_rows: int = 1024,
        role: str = "training",
    ) -> None:
        from thermograd.store.log.segments import warm_up
        from thermograd.store.processes import process_facts

        warm_up()  # pyarrow's first array imports pandas: pay that here, not in a step
        self.run_dir, self.run_id, self.writer = run_dir, run_id, writer
        self.lost = 0
        self._lost_reported = 0
        self._space_said = False
        self._space_at = 0.0
        self._batch_rows = batch_rows
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.RLock()
        self._full: queue.SimpleQueue[tuple[_Stream, _Tail] | None] = queue.SimpleQueue()
        self._unemitted: list[tuple[_Stream, _Tail]] = []
        self._closed = False
        self._facts = {"writer": writer, "role": role} | process_facts()
        with os_errors_as(LogError, f"cannot start a log in {run_dir}"):
            open_dir(run_dir, writer).mkdir(parents=True)
            write_json(writer_file(run_dir, writer), self._facts)
            for kind in kinds:
                self._streams[kind] = _Stream(open_dir(run_dir, writer), kind)
        _open_writers.add(self)
        self._thread = threading.Thread(target=self._work, name="thermograd-log", daemon=True)
        self._thread.start()

    def append(
        self, kind: str, time_ns: int | None = None, monotonic_ns: int | None = None, **values: Any
    ) -> int | None:
        """Append one event; return its `seq`, or None where it could not be written (and was counted).

        Never raises and does not wait for the disk. Columns that are not given are null; a column
        that the kind does not have, or a value that does not fit it, counts as not written.
        """
        if self._closed:
            return None
        if time_ns is None:
            time_ns = time.time_ns()
        if monotonic_ns is None:
            monotonic_ns = time.monotonic_ns()
        with self._lock:
            try:
                return self._append(kind, time_ns, monotonic_ns, values)
            except Exception as error:  # noqa: BLE001 - the training loop must not see it: counted, reported
                self.count_lost(kind, error)
                return None

    def _append(self, kind: str, time_ns: int, monotonic_ns: int, values: dict[str, Any]) -> int:
        stream = self._streams.get(kind)
        if stream is None:
            stream = self._streams[kind] = _Stream(open_dir(self.run_dir, self.writer), kind)
        if stream.retry_at and time.monotonic() < stream.retry_at:
            raise OSError(ENOSPC, "the log is waiting to try again")
        seq = stream.next_seq
        record = stream.codec.pack_values(seq, time_ns, monotonic_ns, values)
        tail = stream.tail or stream.current_tail()
        tail.write(record)
        stream.next_seq = seq + 1
        stream.dirty = True
        if stream.retry_at:
            stream.retry_at = 0.0
        if tail.rows >= self._batch_rows:
            stream.tail = None
            self._full.put((stream, tail))
        return seq

    def count_lost(self, kind: str, error: object) -> None:
        """Count an event that could not be written; the first since the last report is told."""
        if isinstance(error, OSError) and kind in self._streams:
            self._streams[kind].retry_at = time.monotonic() + _SYNC_PERIOD_S
        if self.lost == self._lost_reported:
            _log.warning("thermograd could not write a %s event (%s); training goes on", kind, error)
        self.lost += 1

    # -- background ------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with contextlib.suppress(queue.Empty):
                item = self._full.get(timeout=_SYNC_PERIOD_S)
                while item is not None:
                    self._unemitted.append(item)
                    item = self._full.get_nowait()
                return
            try:
                self._tidy()
            except Exception as error:  # noqa: BLE001 - keeps the thread alive; the events are safe in their tails
                _log.debug("thermograd log thread: %s", error)

    def _tidy(self) -> None:
        """Open spare tails, emit full batches, sync what was written, report what was lost."""
        for stream in list(self._streams.values()):
            with contextlib.suppress(OSError):  # `append` meets it again when it needs the tail, and counts
                self._open_spare(stream)
        self._emit_backlog()
        for stream in list(self._streams.values()):
            tail = stream.tail
            if tail is not None and stream.dirty:
                stream.dirty = False
                os.fsync(tail.fd)
                if os.fstat(tail.fd).st_nlink == 0:
                    self._forget(stream, tail)
        self._report_lost()
        self._watch_space()

    def _watch_space(self) -> None:
        """Warn once that the disk is filling up, before events are lost."""
        if self._space_said or time.monotonic() < self._space_at:
            return
        self._space_at = time.monotonic() + _SPACE_PERIOD_S
        free = shutil.disk_usage(self.run_dir).free
        if free < _LITTLE_SPACE_BYTES:
            self._space_said = True
            amount = f"{free >> 20} MB" if free >= 1 << 20 else f"{free >> 10} kB"
            text = f"only {amount} are free on the disk of {self.run_dir}; older runs can be deleted"
            runs = shlex.quote(str(self.run_dir.parent.absolute()))
            prune = f"thermograd --runs {runs} runs --prune-older-than 30d --yes"
            _log.warning("thermograd: %s: %s (without --yes it only lists them)", text, prune)
            self.append("mark", mark="note", text=text)

    def _emit_backlog(self) -> None:
        """Move the rows of full tails to Arrow: all copied, then synced once, then the tails removed."""
        emitted: list[tuple[_Stream, _Tail]] = []
        try:
            while self._unemitted:
                stream, tail = self._unemitted[0]
                try:
                    if tail.rows:
                        stream.emit(tail, self.run_id, self.writer)
                except FileNotFoundError:
                    with self._lock:
                        self.lost += tail.rows
                emitted.append(self._unemitted.pop(0))
        finally:
            for segment in {stream.segment for stream, _ in emitted if stream.segment is not None}:
                segment.sync()
            for _, tail in emitted:
                tail.finish(remove=True)

    def _open_spare(self, stream: _Stream) -> None:
        """Open the next tail before it is needed, so that `append` need not."""
        tail = stream.tail
        if stream.spare is None and tail is not None and tail.rows:
            with self._lock:
                if stream.tail is tail:
                    stream.spare = _Tail(stream.directory, stream.kind, tail.first + self._batch_rows)

    def _forget(self, stream: _Stream, tail: _Tail) -> None:
        """Count what a tail held whose file was deleted under us."""
        with self._lock:
            self.lost += tail.rows
            if stream.tail is tail:
                stream.tail = None
                tail.finish(remove=False)

    def _report_lost(self) -> None:
        with self._lock:  # whoever appends counts too
            missing = self.lost - self._lost_reported
            if missing:
                text, detail = f"{missing} events could not be written", json.dumps({"lost": missing})
                if self.append("mark", mark="gap", text=text, detail=detail) is None:
                    self.lost -= 1  # the mark itself is no event of the run
                else:
                    self._lost_reported += missing

    # -- end -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is left as a last batch, sync, and end the streams. Never raises; repeatable."""
        with self._lock:
            if self._closed:
                return
            self._report_lost()
            self._closed = True
        self._full.put(None)
        self._thread.join(_CLOSE_WAIT_S)
        _open_writers.discard(self)
        try:
            if self._thread.is_alive():
                raise TimeoutError(f"the disk has not answered for {_CLOSE_WAIT_S:g} s")
            self._finish()
        except OSError as error:
            _log.warning("thermograd could not finish its log (%s); its events stay in the tail files", error)
        if self.lost:
            _log.warning("thermograd could not write %d events of this run", self.lost)

    def _finish(self) -> None:
        while not self._full.empty():
            item = self._full.get()
            if item is not None:
                self._unemitted.append(item)
        for stream in self._streams.values():
            if stream.tail is not None:
                self._unemitted.append((stream, stream.tail))
            if stream.spare is not None:
                stream.spare.finish(remove=True)
        self._emit_backlog()
        for stream in self._streams.values():
            stream.close_segment()
        write_json(writer_file(self.run_dir, self.writer), self._facts | {"closed_time_ns": time.time_ns()})


def _abandon_all() -> None:
    """In a forked child: these copies own nothing and write nothing."""
    for writer in list(_open_writers):
        writer._closed = True
    _open_writers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
