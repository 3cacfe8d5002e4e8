"""Where things lie in a run's directory, and small files written whole or not at all.

::

    runs/<run_id>/
      run.json                                  static facts
      writers/<writer>.json                     who wrote: host, process, clock pair
      open/<writer>/<kind>-<first>.arrows       live Arrow IPC stream, whole batches
      open/<writer>/<kind>-<first>.tail         the batch that is still filling
      sealed/<kind>/<writer>-<first>-<last>.parquet
      quarantine/                               files that failed their checksums, untouched
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

_OPEN = re.compile(r"(?P<kind>[a-z]+)-(?P<first>\d{12})\.(?P<suffix>arrows|tail)")
_SEALED = re.compile(r"(?P<writer>.+)-(?P<first>\d{12})-(?P<last>\d{12})\.parquet")


NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | getattr(os, "O_BINARY", 0)
NEW_FILE |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Segment(NamedTuple):
    """One file of the log; `last` is known only for sealed ones."""

    writer: str
    kind: str
    first: int
    last: int | None
    path: Path


def open_dir(run_dir: Path, writer: str) -> Path:
    """Return the directory of a writer's live files."""
    return run_dir / "open" / writer


def writer_file(run_dir: Path, writer: str) -> Path:
    """Return the path of the facts about a writer."""
    return run_dir / "writers" / f"{writer}.json"


def segment_name(kind: str, first: int, suffix: str) -> str:
    """Return the name of a live file from its kind and first `seq`."""
    return f"{kind}-{first:012}.{suffix}"


def open_segments(run_dir: Path, suffix: str) -> list[Segment]:
    """List the live files with a suffix (``arrows`` or ``tail``), by writer, kind and first `seq`."""
    return sorted(
        segment
        for writer, folder in _folders(run_dir / "open")
        for name in _names(folder)
        if name.endswith(suffix) and (segment := _open(writer, folder, name))
    )


def sealed_segments(run_dir: Path, kind: str | None = None) -> list[Segment]:
    """List the sealed files, by writer, kind and first `seq`."""
    return sorted(
        segment
        for its_kind, folder in _folders(run_dir / "sealed")
        if kind in (None, its_kind)
        for name in _names(folder)
        if (segment := _sealed(its_kind, folder, name))
    )


@lru_cache(maxsize=1024)  # who follows a run lists it five times a second
def _open(writer: str, folder: str, name: str) -> Segment | None:
    match = _OPEN.fullmatch(name)
    return Segment(writer, match["kind"], int(match["first"]), None, Path(folder, name)) if match else None


def _sealed(kind: str, folder: str, name: str) -> Segment | None:
    match = _SEALED.fullmatch(name)
    if match is None:
        return None
    return Segment(match["writer"], kind, int(match["first"]), int(match["last"]), Path(folder, name))


def sealed_stamps(run_dir: Path) -> tuple[tuple[str, int], ...]:
    """Return what changes when a file is sealed: the directories and when their content last changed."""
    found = []
    for folder in (str(run_dir / "sealed"), *(path for _, path in _folders(run_dir / "sealed"))):
        with suppress(OSError):
            found.append((folder, os.stat(folder).st_mtime_ns))
    return tuple(found)


def _folders(directory: Path) -> Iterator[tuple[str, str]]:
    """Iterate over name and path of the folders in a directory, which may be absent."""
    with suppress(OSError), os.scandir(directory) as entries:
        yield from ((entry.name, entry.path) for entry in entries if entry.is_dir())


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # gone since it was seen
        return []


@contextmanager
def whole_file(path: Path, sync: bool = False) -> Iterator[IO[bytes]]:
    """Open a file that a reader sees whole when the block has ended well, else not at all.

    `sync`: its content is on the disk before it is seen. What stood there before stays until then. A
    killed process leaves a hidden file that ends with ``.tmp``. Raises OSError where it cannot be written.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:  # also Ctrl-C: nothing half-written stays behind
        with suppress(OSError):
            os.unlink(temporary)
        raise


def write_file(path: Path, content: bytes, sync: bool = False) -> None:
    """Write a file as `whole_file` does."""
    with whole_file(path, sync) as file:
        file.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, and its directory where missing, so that it outlasts a crash of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, (json.dumps(value, indent=2, default=str) + "\n").encode(), sync=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or broken file is an empty one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_whole(handle: int, data: bytes, size: int, path: Path, what: str) -> None:
    """Append data to a file of `size` bytes in one write, or raise OSError and leave it as it was."""
    try:
        if os.write(handle, data) != len(data):
            raise OSError(ENOSPC, f"no space left for {what}", str(path))
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, size)
        raise
