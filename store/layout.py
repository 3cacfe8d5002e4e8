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
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "Segment",
    "open_dir",
    "open_segments",
    "read_json",
    "sealed_segments",
    "segment_name",
    "write_json",
    "writer_file",
]

_OPEN = re.compile(r"(?P<kind>[a-z]+)-(?P<first>\d{12})\.(?P<suffix>arrows|tail)")
_SEALED = re.compile(r"(?P<writer>.+)-(?P<first>\d{12})-(?P<last>\d{12})\.parquet")


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
    found = []
    for path in (run_dir / "open").glob(f"*/*.{suffix}"):
        match = _OPEN.fullmatch(path.name)
        if match:
            found.append(Segment(path.parent.name, match["kind"], int(match["first"]), None, path))
    return sorted(found)


def sealed_segments(run_dir: Path, kind: str | None = None) -> list[Segment]:
    """List the sealed files, by writer, kind and first `seq`."""
    found = []
    for path in (run_dir / "sealed").glob(f"{kind or '*'}/*.parquet"):
        match = _SEALED.fullmatch(path.name)
        if match:
            found.append(
                Segment(match["writer"], path.parent.name, int(match["first"]), int(match["last"]), path)
            )
    return sorted(found)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, default=str)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:  # also Ctrl-C: nothing half-written stays behind
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or broken file is an empty one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
