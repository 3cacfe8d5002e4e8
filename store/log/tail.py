"""The file of the batch that is filling. One ``write`` is the whole state change of an append.

No lock: what a thread or a signal handler interrupts is settled by the file, which the kernel keeps in
order. What is known about it in memory is a shortcut, trusted while nobody else was about to write.
"""

import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from typing import Any
from zlib import crc32

from thermograd.store.failures import is_the_users
from thermograd.store.files import segment_name
from thermograd.store.log.tail_codec import END, MISFITS, Rows, kind_codec

_PLAIN = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ_AND_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | _PLAIN
_SPARE = ".spare"
_numbers = itertools.count()  # a spare file's name is not used again: it may be a second name of one in use


class UnknownPlaceError(OSError):
    """An event was written, but the file cannot tell whether before its end."""


class Tail:
    """An open tail; one that exists already is of the same writer, and is gone on with.

    Without `first` it is a spare one, which readers do not see until it `begin_at` some number.

    Attributes
    ----------
    first, next_seq
        The ``seq`` of its first event, and of the next one as far as is known.
    ended
        Whether its `END` is written: events go to another tail.
    closed
        Whether it takes no more events, not even behind its END.
    known
        The number of the next event and the bytes that are whole, as far as is known.
    record_size
        Bytes of an event, None where they differ.
    look_at, batches
        The event from which on its stream looks at it again, and how many batches it has seen full.
    followers
        What was opened to go on after it; the first is gone on with, whoever comes at the same time.

    Raises
    ------
    OSError
        If it cannot be opened, or not even its header can be written.
    """

    def __init__(self, directory: Path, kind: str, first: int | None = None) -> None:
        self._codec, self._kind = kind_codec(kind), kind
        self.path = directory / (
            f"{kind}-{next(_numbers)}{_SPARE}" if first is None else segment_name(kind, first, "tail")
        )
        self.first = first or 0
        self.ended = self.closed = self._ending = False
        self._is_open, self._is_torn = True, False
        self.followers: list[Tail] = []
        self.synced_size = self.look_at = self.batches = 0
        self.record_size = self._codec.record_size
        self._handle = os.open(self.path, _READ_AND_APPEND, 0o644)
        try:
            size = self._begin()
        except OSError:
            os.close(self._handle)
            raise
        self.known = self._sure = (self.first, len(self._codec.header))
        self._final = self.first
        self._content: bytes | None = None
        self._busy: object = None if size == len(self._codec.header) else self

    def _begin(self) -> int:
        """Write the header where it is not there; return the size of the file."""
        header = self._codec.header
        if self._read_at(len(header), 0) != header:
            self._write_header(header)
            if self._read_at(len(header), 0) != header:
                raise OSError(ENOSPC, "no space left for the header of a log file", str(self.path))
        return os.fstat(self._handle).st_size

    def _write_header(self, header: bytes) -> None:
        """Write it to where it belongs: who opens the file at the same time writes the same there."""
        handle = os.open(self.path, os.O_WRONLY | _PLAIN)
        try:
            os.write(handle, header)
        finally:
            self._harmless(lambda: os.close(handle))

    def begin_at(self, first: int, over: bool = False) -> None:
        """Take a spare tail into use. OSError where it cannot be renamed; may be called again.

        `over`: what has its name is without events.
        """
        before = self.path  # read once: another may do the same, and be quicker
        path = before.with_name(segment_name(self._kind, first, "tail"))
        if path != before:
            if self.closed or before.suffix != _SPARE:
                raise OSError("this tail is in use already")
            self._rename(before, path, os.replace if over else os.link)
            start = (first, len(self._codec.header))
            if self.path is before:
                self.first, self.known, self._sure, self.path = first, start, start, path

    def _rename(self, before: Path, path: Path, give: Callable[[Path, Path], None]) -> None:
        """Give it another name, by `os.link` unless another file has that, or by `os.replace`."""
        try:
            give(before, path)
        except (FileNotFoundError, FileExistsError):
            if not self._is_at(path):  # where it is, an interrupt came after this had been done
                raise
        except OSError as error:
            if is_the_users(error) or os.path.lexists(path):
                raise
            before.rename(path)  # a file system without hard links
        try:
            before.unlink()
        except OSError as error:  # a second name is in nobody's way
            if is_the_users(error):
                raise

    @property
    def is_spare(self) -> bool:
        """Whether it has not been taken into use."""
        return self.path.suffix == _SPARE

    @property
    def next_seq(self) -> int:
        """The number of the next event, as far as is known; for sure once it has ended."""
        return self._final if self.ended else self.known[0]

    @property
    def size(self) -> int:
        """Bytes that are known to be whole."""
        return self.known[1]

    @property
    def is_vain(self) -> bool:
        """Whether it has ended without an event: the next one has the same number, and so its name."""
        return self.ended and self._final == self.first

    @property
    def is_torn(self) -> bool:
        """Whether a write is known to have failed half-way."""
        return self._is_torn

    @property
    def rows(self) -> int:
        """How many events it is known to hold."""
        return self.known[0] - self.first

    def append(self, time_ns: int, monotonic_ns: int, values: dict[str, Any] | Rows) -> int | None:
        """Append one event and return its `seq`; None where the tail has ended: it goes to the next.

        Several at once, as `Rows`, are one write; returned is the `seq` of the first.

        Raises OSError where it could not be written, ValueError where a value does not fit.
        """
        seq, size = self.known if self._busy is None and not self._ending else self.recount()
        if self.ended:
            return None
        if isinstance(values, dict):
            pack, mask, take, width, frame, length = self._codec.quick
            begin = mask, seq, time_ns, monotonic_ns
            if len(values) == width:  # as `pack_values` does: to call it takes longer than this
                try:
                    payload = pack(*begin + take(values))
                    record = frame(length, crc32(payload), payload)
                except (KeyError, *MISFITS) as error:
                    trace = error.__traceback__  # what is raised here is no handler's: to ask takes 0.1 ms
                    if trace is not None and trace.tb_next is not None and is_the_users(error):
                        raise
                    record = self._codec.pack_values(seq, time_ns, monotonic_ns, values)
            else:
                record = self._codec.pack_values(seq, time_ns, monotonic_ns, values)
            after = seq + 1
        else:
            record = self._codec.pack_rows(seq, time_ns, monotonic_ns, values)
            after = seq + len(values.rows)
        self._busy = record  # from here on the file knows better, until it is known that nobody came between
        if self.closed:
            return None
        written = os.write(self._handle, record)
        if written != len(record):
            self._is_torn = True
            raise OSError(ENOSPC, "no space left for an event", str(self.path))
        if self._busy is record and not self._ending:
            self.known = (after, size + written)
            self._busy = None
            return seq
        try:
            return self._place(record, seq, size)
        except OSError as error:  # it is written; only if the tail was ended meanwhile it may not count
            if is_the_users(error):
                raise
            if self._ending:
                raise UnknownPlaceError(*error.args) from error
            return seq

    def _place(self, record: bytes, seq: int, size: int) -> int | None:
        """Return the number of a record that was written while others were; None if it came after the end.

        `seq`, `size`: what was known before it was written.
        """
        data = self.content(size)
        found = self._codec.scan(data, 0, seq)
        at = data.rfind(record, 0, found.end - len(END) if found.ended else len(data))
        return None if at < 0 else seq + len(self._codec.scan(data[:at], 0, seq).rows)

    def _prefix(self) -> tuple[int, int]:
        """Return a number and a size that are true of the beginning of the file."""
        seq, size = self.known
        one = None if self._is_torn else self._codec.record_size
        is_true = one is not None and size == len(self._codec.header) + (seq - self.first) * one
        return (seq, size) if is_true else self._sure

    def recount(self) -> tuple[int, int]:
        """Look into the file for what is not known to stand in it; return the next number and the size."""
        seq, size = self._prefix()
        data = self._read(size) if self._is_open else b""
        found = self._codec.scan(data if self._is_open else b"", 0, seq)
        self._is_torn = self._is_torn or found.skipped > 0 or found.end < len(data)
        if found.rows:
            seq, size = found.rows[-1][0] + 1, size + found.end
        if found.ended:
            self._conclude(seq)
        self._sure = self.known = seq, size  # maybe less than another has found meanwhile, but true
        return seq, size

    def _conclude(self, next_seq: int) -> None:
        """Note, once and for all, which number comes after this tail."""
        if not self.ended:
            self._final, self.ended = next_seq, True

    def end(self) -> None:
        """Close it for events; what is behind the END does not count. OSError if that cannot be written."""
        if self.ended or self.closed:
            return
        self._ending = True
        try:
            if os.write(self._handle, END) != len(END):
                self._is_torn = True
                raise OSError(ENOSPC, "no space left for the end of a log file", str(self.path))
        except OSError:
            self._ending = False
            raise
        known = self.known
        is_known = os.fstat(self._handle).st_size == known[1] + len(END)
        self._conclude(known[0] if is_known else self.recount()[0])  # else somebody wrote at the same time

    def give_up(self) -> None:
        """Take it as ended, whether the disk takes the END or not. OSError where it cannot be read either."""
        self._harmless(self.end)
        if not self.ended:
            self._conclude(self.recount()[0])

    def _harmless(self, step: Callable[[], object]) -> None:
        """Do what may fail; but what an alarm raises, an OSError perhaps, passes."""
        try:
            step()
        except OSError as error:
            if is_the_users(error):
                raise

    def _read(self, start: int = 0) -> bytes:
        parts, size = [], os.fstat(self._handle).st_size
        while start < size and (part := self._read_at(size - start, start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def _read_at(self, count: int, start: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._handle, count, start)
        with open(self.path, "rb") as file:  # Windows, where nobody can take an open file away
            file.seek(start)
            return file.read(count)

    def content(self, start: int = 0) -> bytes:
        """Return the file from a byte on, also where its name is gone; what has ended, also when closed."""
        try:
            data = self._read(start)
        except OSError as error:
            if self._content is None or is_the_users(error):
                raise
            return self._content[start:]  # it has just been closed
        if not self._is_open:
            return (self._content or b"")[start:]
        if not start and data.rfind(END) >= 0:  # what has ended has it at its end, or near
            self._content = data
        return data

    def sync(self) -> None:
        """Bring what was written since the last time to the disk."""
        size = os.fstat(self._handle).st_size if self.rows else self.synced_size
        if size != self.synced_size:
            os.fsync(self._handle)
            self.synced_size = size

    def is_there(self) -> bool:
        """Return whether the file is still at its place."""
        return self._is_at(self.path)

    def _is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(path))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def trim(self) -> None:
        """Cut off what a full disk has torn at the end, once nobody writes any more. Never raises."""
        with suppress(OSError):
            _, size = self.recount()
            if not self.ended and size < os.fstat(self._handle).st_size:
                os.ftruncate(self._handle, size)

    def retire(self, remove: bool) -> None:
        """Take no more events; remove its name. Never raises."""
        self.closed = True
        if remove:
            with suppress(OSError):
                self.path.unlink()

    def close(self) -> None:
        """Let go of the file. Never raises; not to be called twice."""
        self.closed, self._is_open = True, False
        with suppress(OSError):
            os.close(self._handle)
