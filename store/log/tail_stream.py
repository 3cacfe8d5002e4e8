"""One kind of one writer: the tail that is filling, and what becomes of full ones.

`append` is called by whoever logs and waits for nothing but its own ``write``. All else is called by the
writer's own thread, may fail at any step, and goes on from there the next time.
"""

import time
from collections import deque
from collections.abc import Callable
from errno import EBADF, EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

from thermograd.store.failures import is_the_users
from thermograd.store.log.pauses import Pauses
from thermograd.store.log.tail import Tail, UnknownPlaceError
from thermograd.store.log.tail_codec import Rows, codec_of_tail
from thermograd.store.log.writing.live_stream import SegmentFile

_MAX_SEGMENT_ROWS = 65_536
_MAX_SEGMENT_BYTES = 64 << 20
_MAX_SEGMENT_AGE_S = 600.0
_MOST_WAITING = 4  # ended tails that wait for their way to Arrow; while there are more, the filling one grows
_LARGEST_TAIL_BYTES = 16 << 20  # half of what readers read of one
_STILL_WRITTEN_S = 2.0  # a thread may wait so long between its decision to write and the system call
_MOST_DONE = 24
_TRIES = 100
_PART_ROWS = 32  # that are read from a tail between two pauses
_FULL = (ENOSPC, EDQUOT)


class TailStream:
    """The files of one kind of one writer; `directory` is where new ones are made and may be changed.

    `wake` is called when a batch is full; `moved` tells where `directory` is now, None where that is unknown.

    Raises OSError if its first tail cannot be opened.
    """

    def __init__(
        self,
        directory: Path,
        kind: str,
        batch_rows: int,
        run_id: str,
        writer: str,
        wake: Callable[[], object] = lambda: None,
        moved: Callable[[], Path | None] = lambda: None,
    ) -> None:
        self.directory, self.kind, self._wake, self._moved = directory, kind, wake, moved
        self._batch_rows, self._run_id, self._writer = batch_rows, run_id, writer
        self._opened: list[Tail] = []
        self._spare: Tail | None = None
        self._tail = self._open(0)
        self._segment: SegmentFile | None = None
        self._finishing = False
        self._pause: Callable[[], object] = Pauses()
        self._done: deque[tuple[float, Tail]] = deque()  # whose files are not closed yet, and since when

    def append(self, time_ns: int, monotonic_ns: int, values: dict[str, Any] | Rows) -> int:
        """Append as `Tail.append`, which raises; return the `seq`, of several that of the first."""
        tail = (
            self._tail
        )  # the first try of `_append_after`, here without a loop: nearly every event needs no other
        try:
            seq = None if tail.ended else tail.append(time_ns, monotonic_ns, values)
        except OSError as error:
            if not self._is_over(tail, error):
                raise
            seq = None
        if seq is None:
            tail, seq = self._append_after(tail, time_ns, monotonic_ns, values)
        if seq >= tail.look_at:
            self._look_at(tail)
        return seq

    def _append_after(
        self, tail: Tail, time_ns: int, monotonic_ns: int, values: dict[str, Any] | Rows
    ) -> tuple[Tail, int]:
        """Append to what comes after a tail that has taken the event no more."""
        for _ in range(_TRIES):
            self._go_on_from(tail)
            tail = self._tail
            try:
                seq = None if tail.ended else tail.append(time_ns, monotonic_ns, values)
            except OSError as error:
                if not self._is_over(tail, error):
                    raise
                seq = None
            if seq is not None:
                return tail, seq
        raise OSError("no file takes the event")

    def _look_at(self, tail: Tail) -> None:
        """Call the log's thread where a tail has one batch more, end what is too large; note when to look."""
        batches = tail.rows // self._batch_rows
        if batches > tail.batches:
            tail.batches = batches
            self._wake()
        if tail.size > _LARGEST_TAIL_BYTES:  # what is to end it, the log's own thread, is stuck
            self._end(tail)
        if (one := tail.record_size) is not None:
            rows = min((batches + 1) * self._batch_rows, _LARGEST_TAIL_BYTES // one)
            tail.look_at = tail.first + rows - 1

    def _is_over(self, tail: Tail, error: OSError) -> bool:
        """Return whether, after an error, the event can go to another file, which has been seen to."""
        is_lost = isinstance(error, UnknownPlaceError) or error.errno in _FULL
        if is_lost or is_the_users(error) or (not tail.rows and error.errno != EBADF):
            return False
        if error.errno == EBADF:  # somebody has closed it under us
            self._follow(tail, self._open(tail.first))
        else:
            tail.give_up()
        return True

    def _end(self, tail: Tail) -> None:
        try:
            tail.end()
            self._go_on_from(tail)
        except OSError as error:  # it goes on as it is, beyond its batch, or the next append goes on from it
            if is_the_users(error):
                raise

    def _open(self, first: int | None) -> Tail:
        try:
            tail = Tail(self.directory, self.kind, first)
        except (FileNotFoundError, NotADirectoryError):  # renamed, which the log's own thread is yet to see
            moved = self._moved()
            if moved is None:
                raise
            tail = Tail(moved, self.kind, first)
        self._opened.append(tail)
        return tail

    def _go_on_from(self, tail: Tail) -> None:
        """Let events go to the tail after one that has ended. Who comes twice finds the same file."""
        if self._tail is tail and tail.ended:
            self._follow(tail, tail.followers[0] if tail.followers else self._next(tail))
        if self._spare is self._tail:
            self._spare = None

    def _follow(self, tail: Tail, opened: Tail) -> None:
        """Go on after a tail with the first one that anybody has opened for that."""
        tail.followers.append(opened)  # one step, which nobody can come between
        if self._tail is tail:
            self._tail = tail.followers[0]

    def _next(self, tail: Tail) -> Tail:
        """Return a tail to go on with after one that has ended: the spare one, or else a new one."""
        spare = self._spare
        if spare is not None:
            try:
                spare.begin_at(tail.next_seq, over=tail.is_vain)
                return spare
            except OSError as error:
                if is_the_users(error) or (tail.is_vain and spare.is_there()):
                    raise
                self._spare = None
        if tail.is_vain:
            raise OSError("the log's own thread has to open a file first")
        return self._open(tail.next_seq)

    # -- the writer's own thread -----------------------------------------------------------------------

    def prepare(self) -> None:
        """Open the next tail before it is needed, so that `append` need not. OSError where that fails."""
        if self._spare is self._tail:  # an interrupt came before it was noted that it is in use
            self._spare = None
        is_begun = self._tail.rows or self._tail.ended
        if self._spare is None and is_begun and len(self._waiting()) <= _MOST_WAITING:
            self._spare = self._open(None)
            self._pause()
        if self._tail.rows >= self._batch_rows and self._spare is not None:
            self._end(self._tail)

    def move(self, directory: Path) -> None:
        """Take note that the files are, or are to be, in another directory."""
        self.directory = directory
        for file in (*self._opened, self._segment):
            if file is not None:
                file.path = directory / file.path.name

    def leave(self) -> None:
        """Let events go to a new file, as the one here is gone or the disk fails it. OSError if none is."""
        self._abandon_segment()
        if self._spare is None or not self._spare.is_there():  # where none can be opened, better on here
            self._spare = self._open(None)
        self._tail.give_up()
        self._go_on_from(self._tail)

    def is_there(self) -> bool:
        """Return whether the file that events go to is still at its place."""
        return self._tail.is_there()

    @property
    def is_behind(self) -> bool:
        """Whether ended tails wait, because the disk fails."""
        return any(tail.first < self._tail.first and not tail.is_spare for tail in self._opened)

    def _waiting(self) -> list[Tail]:
        """Return the ended tails, in order; let go of those that are of no use."""
        spare, current = self._spare, self._tail  # in this order: what was spare may become current meanwhile
        waiting: dict[int, Tail] = {}
        for tail in list(self._opened):
            if tail is spare or (tail is current and not self._finishing):
                continue
            is_before = tail is current or (tail.first < current.first and not tail.is_vain)
            if tail.ended and is_before and not tail.is_spare and tail.first not in waiting:
                waiting[tail.first] = tail
            elif self._finishing or tail.is_spare or tail.first <= current.first:
                self._retire(tail, remove=tail.is_spare)  # opened twice, or a spare one of no use
        return [waiting[first] for first in sorted(waiting)]

    def emit(self) -> None:
        """Move the rows of ended tails to Arrow: all copied, then synced once, then the tails removed.

        OSError or an Arrow error where that fails; the next time begins with another segment.
        """
        waiting = self._waiting()
        try:
            for tail in waiting:
                self._copy(tail)
            if waiting and self._segment is not None:
                self._segment.sync()
        except BaseException:  # of no use after any error, which is passed on
            self._abandon_segment()
            raise
        for tail in waiting:
            self._retire(tail, remove=True)
        self._close_done()

    def _retire(self, tail: Tail, remove: bool) -> None:
        self._opened.remove(tail)
        tail.retire(remove)
        self._done.append((time.monotonic(), tail))

    def _close_done(self) -> None:
        """Close files that nobody can be about to write to: a closed one's handle is another file's next."""
        while self._done and (
            len(self._done) > _MOST_DONE or time.monotonic() - self._done[0][0] > _STILL_WRITTEN_S
        ):
            self._done.popleft()[1].close()

    def _copy(self, tail: Tail) -> None:
        """Write the rows of a tail to the Arrow stream, a batch at a time."""
        self._pause()
        data = tail.content()
        codec, end = codec_of_tail(data)
        if self._segment is not None and not self._segment.is_there():
            self._abandon_segment()
        rows: list[tuple[Any, ...]] = []
        next_seq, is_over = tail.first, False
        while not is_over:
            part = codec.scan(data, end, next_seq, _PART_ROWS)
            is_over = part.ended or not part.rows
            rows += part.rows
            end, next_seq = part.end, rows[-1][0] + 1 if rows else next_seq
            self._pause()
            while (
                len(rows) > 1 and len(rows) >= self._batch_rows * 3 // 2
            ):  # so that no batch is of the few that are left
                self._write(rows[: self._batch_rows])
                del rows[: self._batch_rows]
        if rows:
            self._write(rows)

    def _write(self, rows: list[tuple[Any, ...]]) -> None:
        if self._segment is None:
            self._segment = SegmentFile(self.directory, self.kind, rows[0][0], self._run_id, self._writer)
            self._pause()
        self._segment.write(rows, self._pause)
        self._pause()
        if self._segment.is_full(_MAX_SEGMENT_ROWS, _MAX_SEGMENT_BYTES, _MAX_SEGMENT_AGE_S):
            self._close_segment()

    def _close_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _abandon_segment(self) -> None:
        if self._segment is not None:
            self._segment.abandon()
            self._segment = None

    def sync(self) -> None:
        """Bring the filling tail to the disk. OSError where that fails: its rows should go elsewhere."""
        self._tail.sync()

    def finish(self) -> None:
        """End the stream. OSError or an Arrow error where that fails.

        A few rows stay in their tail, as a killed process leaves them, where none have gone to Arrow before:
        to load it would take longer than a short training.
        """
        self._tail.end()
        self._finishing, self._spare, self._pause = True, None, lambda: None
        if self._segment is not None or self._has_more_than_a_tail():
            self.emit()
            self._close_segment()
        elif self._tail.is_vain:
            self._retire(self._tail, remove=True)

    def _has_more_than_a_tail(self) -> bool:
        tail = self._tail
        return len(self._waiting()) > 1 or tail.rows >= self._batch_rows or tail.is_torn

    def let_go(self) -> None:
        """Close every file as it is, without what was torn at its end. Never raises."""
        self._abandon_segment()
        for tail in self._opened:
            tail.trim()
        for tail in (*self._opened, *(tail for _, tail in self._done)):
            tail.close()
