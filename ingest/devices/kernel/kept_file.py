"""A file of the kernel that is read again and again."""

import os
import weakref
from pathlib import Path

_MOST_BYTES = 1 << 20


class KeptFile:
    """Opened at the first reading, and anew after one that failed.

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
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            self._let_go = weakref.finalize(self, os.close, self._handle)
        try:
            return os.pread(self._handle, most_bytes, 0)
        except OSError:
            self._handle = None
            self._let_go()
            raise

    def integer(self) -> int:
        """Return the number that it holds. OSError or ValueError where it holds none."""
        return int(self.read(64))
