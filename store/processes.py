"""Facts about a process and its host: who wrote, and is it still alive."""

import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermograd.store.text import slug

if TYPE_CHECKING:
    import psutil

_RANK = re.compile(r".*-r(?P<rank>[0-9]{1,9})-[0-9]+-[0-9a-f]{6}")


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


@cache
def boot_id() -> str | None:
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
        "boot_id": boot_id(),
        "platform": _platform(),
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _platform() -> str:
    """Return what `platform.platform` does, on Linux without the process that it asks for the processor."""
    import platform

    if not sys.platform.startswith("linux"):
        return platform.platform()
    system = os.uname()
    library = "".join(platform.libc_ver())
    parts = [system.sysname, system.release, system.machine, *(("with", library) if library else ())]
    return "-".join(parts).replace(" ", "_").replace("/", "-")


def process_facts() -> dict[str, Any]:
    """Return what identifies this process for good: host, pid, and when it was created."""
    import psutil

    return {
        "host": socket.gethostname(),
        "boot_id": boot_id(),
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

    if facts.get("host") != socket.gethostname() or facts.get("boot_id") != boot_id():
        return time.time() - newest_write_s < silence_s
    try:
        process = process_of(facts)
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def process_of(facts: Mapping[str, Any]) -> "psutil.Process | None":
    """Return the process of this host that wrote `process_facts`; None where it is not, or cannot be seen."""
    import psutil

    try:
        process = psutil.Process(int(facts["pid"]))
        same = abs(process.create_time() - float(facts["process_created_s"])) < 1.0
    except (psutil.Error, KeyError, TypeError, ValueError):
        return None
    return process if same else None


def host_label() -> str:
    """Return this host's name as a part of file names."""
    return slug(socket.gethostname(), 32, "host")


def new_writer_name(role: str) -> str:
    """Return a name that no other writer has: host, role or rank, process, and a random end."""
    return f"{host_label()}-{role}-{os.getpid()}-{secrets.token_hex(3)}"


def rank_of_writer(writer: str) -> int | None:
    """Return the rank that `new_writer_name` has put into a name; None where there is none.

    Examples
    --------
    >>> rank_of_writer("node-3-r12-4711-0a1b2c"), rank_of_writer("node-r1-agent-4711-0a1b2c")
    (12, None)
    """
    match = _RANK.fullmatch(writer)
    return int(match["rank"]) if match is not None else None
