"""A lock in a directory that outlives no process: one agent a node, one sealer a run.

Lock files are numbered, ``<name>.0.lock`` and so on; the highest one that exists is the lock. It is
created with ``O_EXCL``, so only one process gets it. One whose process is gone is taken over by
creating the next number: nothing is removed, so two that take over at once cannot both win.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from thermograd.store.host import is_alive, process_facts

_HALF_WRITTEN_S = 5.0


class ProcessLock:
    """The right to be the one process that does something in a directory.

    A holder on another host cannot be asked whether it lives: it counts as gone a minute after it last
    wrote its file, see `refresh`.

    Parameters
    ----------
    directory
        Where the lock file lies, e.g. a run's directory.
    name
        What the right is to.

    Examples
    --------
    >>> lock = ProcessLock(tmp, "seal")
    >>> lock.acquire(), ProcessLock(tmp, "seal").acquire()
    (True, False)
    >>> lock.release()
    >>> ProcessLock(tmp, "seal").acquire()
    True
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._stem = name
        self._held: Path | None = None

    def acquire(self) -> bool:
        """Try once to get the lock; whether it is now ours.

        Raises
        ------
        OSError
            If the directory cannot be written.
        """
        newest = self._newest()
        if newest is not None and self._is_held(self._path(newest)):
            return False
        path = self._path(0 if newest is None else newest + 1)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:  # another was quicker
            return False
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(process_facts()))
        self._held = path
        return True

    def refresh(self) -> None:
        """Tell other hosts that the holder lives."""
        if self._held is not None:
            self._held.touch()

    def release(self) -> None:
        """Give the lock back; without effect where it is not ours."""
        if self._held is not None:
            self._held.unlink(missing_ok=True)
            self._held = None

    def _path(self, number: int) -> Path:
        return self._directory / f"{self._stem}.{number}.lock"

    def _newest(self) -> int | None:
        numbers = [path.name.split(".")[-2] for path in self._directory.glob(f"{self._stem}.*.lock")]
        return max((int(number) for number in numbers if number.isdecimal()), default=None)

    @staticmethod
    def _is_held(path: Path) -> bool:
        try:
            facts: Any = json.loads(path.read_text(encoding="utf-8"))
            age_s = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return False
        except ValueError:  # being written, or its process was killed while it wrote
            return time.time() - path.stat().st_mtime < _HALF_WRITTEN_S
        return is_alive(facts, time.time() - age_s) if isinstance(facts, dict) else False
