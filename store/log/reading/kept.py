"""What was found in files, kept from one command to the next in the user's own cache.

A value counts only while each file that it was found in is the one that was looked at: its name, size, inode
and times are compared at every use. A cache that is missing, damaged, of another version or another user's
is an empty one, as is one that other code has found; where it cannot be written, nothing is kept. A file
that changed within the last two seconds is not kept of: the clock of a file system is coarse, and it may
change once more without showing it.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from thermograd.store.errors import PlaceError
from thermograd.store.files import whole_content, write_file
from thermograd.store.places.cache import kept_folder
from thermograd.store.version import __version__

_FORMAT = 2
_MOST_ENTRIES = 50_000  # those that were used last
_MOST_BYTES = 64 << 20
_MOST_FILES = 1000  # of a user: those that were written last
_FRESH_NS = 2_000_000_000
_NOT_THERE = (-1, 0, 0, -1)
_LIBRARIES = frozenset({"duckdb", "numpy", "pyarrow", "scipy"})

Identity = list[int]


def identity(paths: Iterable[str | os.PathLike[str]]) -> Identity:
    """Return what changes when one of these files does, comes or goes; they are given in a fixed order.

    Of a folder: what changes when a file in it comes, goes, or gets another name.

    Examples
    --------
    >>> identity([tmp / "nowhere"])
    [-1, 0, 0, -1]
    """
    found: Identity = []
    for path in paths:
        try:
            status = os.lstat(path)
        except OSError:
            found += _NOT_THERE
        else:
            found += (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return found


class Kept:
    """Values by name, each with the identity of the files that it was found in.

    Parameters
    ----------
    folder
        What the values are of: a folder of runs, or a run.
    topic
        What they tell; where values get another form, another topic.

    Examples
    --------
    >>> now = identity([os.__file__])
    >>> kept = Kept(tmp, "lengths")
    >>> kept.get("os", now) is None
    True
    >>> kept.put("os", now, 1000)
    >>> kept.get("os", now)
    1000
    """

    def __init__(self, folder: Path, topic: str) -> None:
        path = os.path.abspath(folder)
        self._of = [_FORMAT, __version__, path]
        name = f"{topic}-{crc32(os.fsencode(path)):08x}.json"
        self._code: list[str] = []
        self._path: Path | None = None
        with suppress(PlaceError):  # there is no home
            self._path = kept_folder() / name
        self._entries: dict[str, Sequence[Any]] = self._read()  # identity and value
        self._is_changed = False

    def _read(self) -> dict[str, Sequence[Any]]:
        with suppress(OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            if self._path is None:
                return {}
            status = os.lstat(self._path)
            if status.st_size > _MOST_BYTES or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
                return {}
            head, _, body = whole_content(self._path).partition(b"\n")
            told = json.loads(head)
            code, was = told["code"]
            if told["of"] == self._of and told["crc32"] == crc32(body) and was == identity(code):
                entries: dict[str, Sequence[Any]] = json.loads(body)
                self._code = code
                return entries
        return {}

    def get(self, name: str, now: Identity) -> Any:
        """Return the value of a name; None where there is none that was found in files as they are now."""
        entry = self._entries.get(name)
        return entry[1] if entry is not None and entry[0] == now else None

    def put(self, name: str, now: Identity, value: Any) -> None:
        """Keep a value, which JSON can hold, with the identity that its files had before it was found."""
        self._entries.pop(name, None)
        if not _is_fresh(now):
            self._entries[name] = (now, value)
            self._is_changed = True

    def told_by(self, path: Path, name: str, find: Callable[[], Any]) -> Any:
        """Return the value of a name as one file tells it: as it was found, or else what `find` returns."""
        now = identity([path])
        value = self.get(name, now)
        if value is None and (value := find()) is not None:
            self.put(name, now, value)
        return value

    def get_with_files(self, name: str, root: str | os.PathLike[str]) -> Any:
        """Return the value of a name as `get` does, by the files below `root` that it was put with."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        files, value = entry[1]
        return value if entry[0] == identity(os.path.join(root, file) for file in files) else None

    def put_with_files(self, name: str, files: Sequence[str], now: Identity, value: Any) -> None:
        """Keep a value for `get_with_files`."""
        self.put(name, now, [files, value])

    def save(self) -> None:
        """Write what was put, where that is possible; nothing where nothing was."""
        if not self._is_changed or self._path is None:
            return
        while len(self._entries) > _MOST_ENTRIES:
            self._entries.pop(next(iter(self._entries)))
        with suppress(OSError, ValueError, TypeError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            code = sorted({*self._code, *_code()})
            body = json.dumps(self._entries, separators=(",", ":")).encode()
            head = {"of": self._of, "code": [code, identity(code)], "crc32": crc32(body)}
            is_new = not self._path.exists()
            write_file(self._path, json.dumps(head).encode() + b"\n" + body)
            if is_new:
                _sweep(self._path.parent)
        self._is_changed = False


def _sweep(folder: Path) -> None:
    """Remove what was written longest ago where there are too many files: folders of runs come and go."""
    written = {entry.path: entry.stat(follow_symlinks=False).st_mtime_ns for entry in os.scandir(folder)}
    for path in sorted(written, key=written.__getitem__)[:-_MOST_FILES]:
        os.unlink(path)


def _code() -> set[str]:
    """Return the files of what has found values in this process: our modules, and the libraries' own."""
    names = [name for name in sys.modules if name in _LIBRARIES or name.partition(".")[0] == "thermograd"]
    files = (getattr(sys.modules[name], "__file__", None) for name in names)
    return {file for file in files if file}


def _is_fresh(now: Identity) -> bool:
    """Return whether a file of an identity changed so lately that it may change once more unseen."""
    return max((*now[1::4], *now[2::4]), default=0) > time.time_ns() - _FRESH_NS
