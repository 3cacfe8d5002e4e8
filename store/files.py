"""Where things lie in a run's directory, and small files written whole or not at all.

::

    runs/<run_id>/
      run.json                                  static facts
      tags.json                                 tags and notes that people gave
      shipping.json                             of a run that goes to a URL: how far it is there
      writers/<writer>.json                     who wrote: host, process, clock pair
      open/<writer>/<kind>-<first>.arrows       live Arrow IPC stream, whole batches
      open/<writer>/<kind>-<first>.tail         the batch that is still filling
      sealed/<kind>/<writer>-<first>-<last>.parquet
      quarantine/                               files that failed their checksums, untouched
      watched/<writer>.json                     what the agent's monitor makes of the run so far
"""

import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EEXIST, EFBIG, EINVAL, ENOSPC
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from thermograd.store.events import KINDS

UNFINISHED = "unfinished"  # of a writer that has closed its log, but could not end its files
MOST_SEQ = 10**12  # file names have twelve digits
_KIND = "|".join(KINDS)
WRITER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_OPEN = re.compile(rf"(?P<kind>{_KIND})-(?P<first>[0-9]{{12}})\.(?P<suffix>arrows|tail)")
_SEALED = re.compile(rf"(?P<writer>{WRITER.pattern})-(?P<first>[0-9]{{12}})-(?P<last>[0-9]{{12}})\.parquet")
_READ = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)
_MOST_JSON_BYTES = 4 << 20
_MOST_JSON_LEVELS = 64


_WRITE_OVER = os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
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


def has_open_folders(run_dir: Path) -> bool:
    """Return whether there may be live files: a run whose events are all sealed has no folder for them."""
    return next(_folders(run_dir / "open"), None) is not None


def open_segments(run_dir: Path, suffix: str, of: str | None = None) -> list[Segment]:
    """List the live files with a suffix (``arrows`` or ``tail``), by writer, kind and first `seq`.

    `of`: those of one writer.
    """
    one = [(of, str(open_dir(run_dir, of)))] if of is not None and is_folder(open_dir(run_dir, of)) else []
    return sorted(
        segment
        for writer, folder in (_folders(run_dir / "open") if of is None else one)
        if WRITER.fullmatch(writer)
        for name in _names(folder)
        if name.endswith(suffix) and (segment := _open(writer, folder, name))
    )


def sealed_segments(run_dir: Path, kind: str | None = None) -> list[Segment]:
    """List the sealed files, by writer, kind and first `seq`."""
    return sorted(
        segment
        for its_kind, folder in _folders(run_dir / "sealed")
        if its_kind in KINDS and kind in (None, its_kind)
        for name in _names(folder)
        if (segment := _sealed(its_kind, folder, name))
    )


@lru_cache(maxsize=1024)  # who follows a run lists it five times a second
def _open(writer: str, folder: str, name: str) -> Segment | None:
    match = _OPEN.fullmatch(name)
    return Segment(writer, match["kind"], int(match["first"]), None, Path(folder, name)) if match else None


def _sealed(kind: str, folder: str, name: str) -> Segment | None:
    told = told_by_name(name)
    return Segment(told[0], kind, *told[1:], Path(folder, name)) if told else None


def told_by_name(name: str) -> tuple[str, int, int] | None:
    """Return writer, first and last `seq` by the name of a sealed file; None where it is none."""
    match = _SEALED.fullmatch(name)
    return (match["writer"], int(match["first"]), int(match["last"])) if match else None


def leftovers(run_dir: Path) -> list[Path]:
    """List what killed sealers left half-written."""
    return [
        Path(folder, name)
        for _, folder in _folders(run_dir / "sealed")
        for name in _names(folder)
        if name.startswith(".") and name.endswith(".tmp")
    ]


def quarantined(run_dir: Path) -> list[Path]:
    """List the files that were put away as damaged."""
    return _entries(run_dir / "quarantine")


def strangers(run_dir: Path) -> Iterator[tuple[Path, str]]:
    """Iterate over what in a run's directory is not read because it is not what should be there, and why."""
    for name in ("open", "sealed", "writers", "quarantine"):
        folder = run_dir / name
        if os.path.lexists(folder) and not is_folder(folder):
            yield folder, "not a directory"
    for place, known in (("open", WRITER), ("sealed", re.compile(_KIND))):
        for path in _entries(run_dir / place):
            if not is_folder(path):
                yield path, "not a directory"
            elif not known.fullmatch(path.name):
                yield path, "a directory that thermograd does not know"
            else:
                yield from _unknown_files(path, _OPEN if place == "open" else _SEALED)
    for path in [run_dir / "run.json", run_dir / "tags.json", *writer_files(run_dir)]:
        if os.path.lexists(path) and (reason := json_damage(path)[1]):
            yield path, reason


def _unknown_files(folder: Path, known: re.Pattern[str]) -> Iterator[tuple[Path, str]]:
    for path in _entries(folder):
        if path.suffix in (".tail", ".arrows", ".parquet") and not known.fullmatch(path.name):
            yield path, "a name that thermograd does not give"


def _entries(folder: Path) -> list[Path]:
    return sorted(Path(folder, name) for name in _names(str(folder))) if is_folder(folder) else []


def writer_files(run_dir: Path) -> list[Path]:
    """List the files of facts about the writers of a run."""
    return [path for path in _entries(run_dir / "writers") if path.suffix == ".json" and path.name[0] != "."]


def folder_stamps(folder: Path) -> tuple[tuple[str, int], ...]:
    """Return what changes when a file comes or goes below: each folder, and when its content last changed."""
    found = []
    for folder_path in (str(folder), *(path for _, path in _folders(folder))):
        with suppress(OSError):
            found.append((folder_path, os.stat(folder_path).st_mtime_ns))
    return tuple(found)


def _folders(directory: Path) -> Iterator[tuple[str, str]]:
    """Iterate over name and path of the folders in a directory, which may be absent; links lead nowhere."""
    if is_folder(directory):
        with suppress(OSError), os.scandir(directory) as entries:
            yield from ((e.name, e.path) for e in entries if e.is_dir(follow_symlinks=False))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # gone since it was seen
        return []


def is_folder(path: Path) -> bool:
    """Return whether a path is a directory itself, not a link to one."""
    return _is(stat.S_ISDIR, path)


def is_plain_file(path: Path) -> bool:
    """Return whether a path is a file itself: no link, pipe or device, which could lead anywhere."""
    return _is(stat.S_ISREG, path)


def _is(what: Callable[[int], bool], path: Path) -> bool:
    try:
        return what(os.lstat(path).st_mode)
    except (OSError, ValueError):  # not there, or a name that no file can have
        return False


def open_file(path: Path) -> IO[bytes]:
    """Open a plain file to read it. Raises OSError for anything else, without having opened it."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise OSError(EINVAL, "not a plain file", str(path))
    return os.fdopen(os.open(path, _READ), "rb")


def read_file(path: Path, most_bytes: int) -> bytes:
    """Read a plain file as far as `most_bytes` and one more, which tells that there is more."""
    with open_file(path) as file:
        return file.read(most_bytes + 1)


def whole_content(path: Path) -> bytes:
    """Read a plain file that is our own, whole."""
    with open_file(path) as file:
        return file.read()


@contextmanager
def whole_file(path: Path, sync: bool = False) -> Iterator[IO[bytes]]:
    """Open a file that a reader sees whole when the block has ended well, else not at all.

    `sync`: its content is on the disk before it is seen. What stood there before stays until then. A
    killed process leaves a hidden file that ends with ``.tmp``. Raises OSError where it cannot be written;
    a device or a pipe, which root could replace, stays what it is.
    """
    if _is_no_file(path):
        raise FileExistsError(EEXIST, "it is a device or a pipe, not a file", str(path))
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


def _is_no_file(path: Path) -> bool:
    if os.path.islink(path) and os.path.abspath(path).startswith("/dev/"):  # /dev/stdout, say
        return True
    with suppress(OSError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def write_file(path: Path, content: bytes, sync: bool = False) -> None:
    """Write a file as `whole_file` does."""
    with whole_file(path, sync) as file:
        file.write(content)


def write_json(path: Path, value: Any, make_folder: bool = True) -> None:
    """Write a JSON file, and its directory where missing, so that it outlasts a crash of the machine."""
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, (json.dumps(value, indent=2, default=str) + "\n").encode(), sync=True)


def overwrite_json(path: Path, value: Any) -> None:
    """Write over a JSON file that is there, which needs no room on the disk; OSError where that fails."""
    before = read_file(path, _MOST_JSON_BYTES)
    content = (json.dumps(value, default=str) + "\n").encode().ljust(len(before))
    with os.fdopen(os.open(path, _WRITE_OVER), "wb", buffering=0) as file:
        if file.write(content) != len(content):
            file.seek(0)
            file.write(before)
            file.truncate(len(before))
            raise OSError(ENOSPC, "no space left to write over it", str(path))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; one that is missing, broken, larger than 4 MB or too deep is an empty one."""
    return json_damage(path)[0]


def json_damage(path: Path) -> tuple[dict[str, Any], str]:
    """Read a JSON object as `read_json` does, and say why it is empty; nothing where it is whole."""
    try:
        content = read_file(path, _MOST_JSON_BYTES)
        if len(content) > _MOST_JSON_BYTES:
            raise OSError(EFBIG, f"larger than {_MOST_JSON_BYTES >> 20} MB")
        value = json.loads(content.decode())
    except (ValueError, RecursionError):
        return {}, "no JSON"
    except OSError as error:
        return {}, error.strerror or str(error)
    if not isinstance(value, dict):
        return {}, "no JSON object"
    return (value, "") if _is_shallow(value) else ({}, f"more than {_MOST_JSON_LEVELS} levels deep")


def _is_shallow(value: Any) -> bool:
    """Return whether JSON is nested so little that functions that call themselves can take it."""
    level = [value]
    for _ in range(_MOST_JSON_LEVELS):
        parts = (part.values() if isinstance(part, dict) else part for part in level)
        level = [item for part in parts for item in part if isinstance(item, dict | list)]
        if not level:
            return True
    return False


def write_whole(handle: int, data: bytes, size: int, path: Path, what: str) -> None:
    """Append data to a file of `size` bytes in one write, or raise OSError and leave it as it was."""
    try:
        if os.write(handle, data) != len(data):
            raise OSError(ENOSPC, f"no space left for {what}", str(path))
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, size)
        raise
