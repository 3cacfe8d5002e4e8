"""Facts about a process and its host: who wrote, and is it still alive."""

import json
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any

from thermograd.store.text import slug


def clock_pair() -> dict[str, int]:
    """Return one reading of both clocks, the monotonic one in the middle of two wall readings.

    `uncertainty_ns` is half the time between the wall readings: the pair is known to this much.
    """
    before = time.time_ns()
    monotonic = time.monotonic_ns()
    after = time.time_ns()
    return {
        "time_ns": (before + after) // 2,
        "monotonic_ns": monotonic,
        "uncertainty_ns": max(after - before, 0) // 2,
    }


def _boot_id() -> str | None:
    """Return the kernel's id of this boot; monotonic clocks of one boot can be compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def host_facts() -> dict[str, Any]:
    """Return the host's name, boot and platform."""
    import platform

    import psutil

    return {
        "host": socket.gethostname(),
        "boot_id": _boot_id(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def process_facts() -> dict[str, Any]:
    """Return what identifies this process for good: host, pid, and when it was created."""
    import psutil

    return {
        "host": socket.gethostname(),
        "boot_id": _boot_id(),
        "pid": os.getpid(),
        "process_created_s": psutil.Process().create_time(),
        "clock": clock_pair(),
    }


def is_alive(facts: dict[str, Any], newest_write_s: float, silence_s: float = 60.0) -> bool:
    """Return whether the process that wrote `process_facts` still runs.

    On another host that cannot be asked, so a process counts as alive for `silence_s` after its last
    write (`newest_write_s`, epoch seconds). A recycled pid is told by the creation time.
    """
    import psutil

    if facts.get("host") != socket.gethostname() or facts.get("boot_id") != _boot_id():
        return time.time() - newest_write_s < silence_s
    try:
        process = psutil.Process(int(facts["pid"]))
        same = abs(process.create_time() - float(facts["process_created_s"])) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def host_label() -> str:
    """Return this host's name as a part of file names."""
    return slug(socket.gethostname(), 32, "host")


def new_writer_name(role: str) -> str:
    """Return a name that no other writer has: host, role or rank, process, and a random end."""
    return f"{host_label()}-{role}-{os.getpid()}-{secrets.token_hex(3)}"


_HALF_WRITTEN_S = 5.0


class ProcessLock:
    """The right to be the one process that does something, `name`, in a directory.

    A holder on another host cannot be asked whether it lives: it counts as gone a minute after it last
    wrote its file, see `refresh`.

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
        """Try once to get the lock; whether it is now ours. OSError if the directory cannot be written."""
        newest = self._newest()
        if self._is_held(self._path(newest)):
            return False
        path = self._path(newest + 1)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:  # another was quicker
            return False
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(process_facts(), file)
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

    def _newest(self) -> int:
        numbers = [path.name.split(".")[-2] for path in self._directory.glob(f"{self._stem}.*.lock")]
        return max((int(number) for number in numbers if number.isdecimal()), default=-1)

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
