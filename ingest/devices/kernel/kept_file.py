"""A file of the kernel that is read again and again."""

import os
import weakref
from contextlib import suppress
from pathlib import Path

_MOST_BYTES = 1 << 20


class KeptFile:
    """Opened at the first reading, and at once anew where one fails: what it was opened as may be gone.

    Every reading is from the beginning: the kernel then says what is so now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def read(self, most_bytes: int = _MOST_BYTES) -> bytes:
        """Return its beginning. OSError where it cannot be read."""
        if not hasattr(os, "pread"):
            with self.path.open("rb") as file:
                return file.read(most_bytes)
        if self._handle is not None:
            with suppress(OSError):
                return os.pread(self._handle, most_bytes, 0)
            self._close()
        self._handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._let_go = weakref.finalize(self, os.close, self._handle)
        try:
            return os.pread(self._handle, most_bytes, 0)
        except OSError:
            self._close()
            raise

    def read_all(self) -> bytes:
        """Return all of it, of which the kernel may give a page at a time. OSError if it cannot be read."""
        parts, size = [self.read()], -1
        while self._handle is not None and len(parts[-1]) and size < _MOST_BYTES:
            size = sum(map(len, parts))
            parts.append(os.pread(self._handle, _MOST_BYTES, size))
        return b"".join(parts)

    def integer(self) -> int:
        """Return the number that it holds. OSError or ValueError where it holds none."""
        return int(self.read(64))

    def _close(self) -> None:
        self._handle = None
        with suppress(OSError):
            self._let_go()
