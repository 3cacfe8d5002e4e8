"""What is too much for the memory of an analysis, put on the disk until it is looked at again."""

import ctypes
import io
import os
import tempfile
import weakref
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa


def give_back() -> None:
    """Give the system the memory between what is still held, where the C library can."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Kept(Protocol):
    """Bytes that can be read as often as is needed."""

    def opened(self) -> Any:
        """Return them as a file to read."""


class Spool:
    """A file without a name, gone once nothing refers to it; where it cannot grow, memory stands for it."""

    def __init__(self) -> None:
        self._file: _Nameless | None = None
        self._end = 0

    def keep(self, data: pa.Buffer) -> Kept:
        """Put bytes behind all others."""
        try:
            self._file = self._file or _Nameless()
            left = memoryview(data)
            while left:
                written = os.pwrite(self._file.number, left, self._end + data.size - len(left))
                left = left[written:]
        except OSError:  # no folder for it, or no room there
            return _InMemory(pa.py_buffer(data.to_pybytes()))  # of the size that it has, not more
        self._end += data.size
        return _OnDisk(self._file, self._end - data.size, data.size)


class _Nameless:
    """A file that is closed, and gone, with this object."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            self.number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.number)


@dataclass(frozen=True, slots=True)
class _InMemory:
    data: pa.Buffer

    def opened(self) -> pa.BufferReader:
        """Return them as a file to read."""
        return pa.BufferReader(self.data)


@dataclass(frozen=True, slots=True)
class _OnDisk:
    file: _Nameless
    first: int
    size: int

    def opened(self) -> "_Stretch":
        """Return them as a file to read."""
        return _Stretch(self.file, self.first, self.size)


class _Stretch(io.RawIOBase):
    """Some bytes of a file that others read too."""

    def __init__(self, file: _Nameless, first: int, size: int) -> None:
        self._file, self._first, self._size, self._at = file, first, size, 0

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Read on from elsewhere."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as are there, and there is room for."""
        room = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        read = os.preadv(self._file.number, [room], self._first + self._at)
        self._at += read
        return read
