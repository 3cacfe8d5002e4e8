"""What changes when a run on this disk changes, from the listing of its folder: no file is opened."""

import os
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple


class Stamps(NamedTuple):
    """Of a run's row, of its events, and when anything of it last changed, UTC epoch ns."""

    row: str
    events: str
    changed_ns: int


def stamps(run_dir: str) -> Stamps:
    """Return the stamps of a run.

    Name, size and time of every file: what overwrites a file in place changes its time. The events' stamp
    is empty where a live file is left: only what is sealed can be folded.
    """
    row, events, newest_ns, is_open = blake2b(digest_size=12), blake2b(digest_size=12), 0, False
    for part, name, size, time_ns in _files(run_dir):
        told = f"{part}/{name}\0{size}\0{time_ns}\n".encode("utf-8", "surrogateescape")
        row.update(told)
        if part.startswith("sealed"):
            events.update(told)
        is_open |= part.startswith("open")
        newest_ns = max(newest_ns, time_ns)
    return Stamps(row.hexdigest(), "" if is_open else events.hexdigest(), newest_ns)


def _files(run_dir: str) -> Iterator[tuple[str, str, int, int]]:
    folders = ["", "writers", "open", "sealed", "report"]
    for part in folders:
        try:
            with os.scandir(os.path.join(run_dir, part)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if part in ("open", "sealed"):
                    folders.append(f"{part}/{entry.name}")
            elif not entry.name.endswith((".lock", ".tmp")):
                status = entry.stat(follow_symlinks=False)
                yield part, entry.name, status.st_size, status.st_mtime_ns
