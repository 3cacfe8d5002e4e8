"""How busy the processor is, how fast, and how much memory is in use: what psutil says, for a third of it.

The arithmetic is psutil's, operation by operation, so that the values are its own. Where the kernel's files
are not there, or hold what psutil has a special case for, psutil is asked.
"""

import os
from collections.abc import Callable
from pathlib import Path

import psutil
from thermograd.ingest.devices.kernel.kept_file import KeptFile

_FIRST_LINE_BYTES, _FIRST_LINES_BYTES = 512, 256
_CORES = "sys/devices/system/cpu"
_IDLE, _WAITS, _GUESTS, _FIELDS = 3, 4, (8, 9), 10  # places in the first line of /proc/stat


def processor_load(root: Path = Path("/")) -> Callable[[], float]:
    """Return a function that gives the share of time in which something ran since its last call, percent."""
    stat = KeptFile(root / "proc" / "stat")
    try:
        last_s = _times_s(stat)
    except (OSError, ValueError):
        return psutil.cpu_percent

    def percent() -> float:
        nonlocal last_s
        before_s, last_s = last_s, _times_s(stat)
        passed_s = [max(0, now - before) for before, now in zip(before_s, last_s, strict=True)]
        total_s = sum(passed_s)
        for place in _GUESTS:  # is in the time of users, too
            total_s -= passed_s[place]
        return round((total_s - passed_s[_IDLE] - passed_s[_WAITS]) / total_s * 100, 1) if total_s else 0.0

    return percent


def _times_s(stat: KeptFile) -> list[float]:
    """Return the time that all cores together have spent in each way."""
    name, *counts = stat.read(_FIRST_LINE_BYTES).partition(b"\n")[0].split()
    if name != b"cpu" or len(counts) < _FIELDS:
        raise ValueError("another system's /proc/stat")
    ticks_hz = os.sysconf("SC_CLK_TCK")
    return [float(count) / ticks_hz for count in counts[:_FIELDS]]


def memory_used(root: Path = Path("/")) -> Callable[[], float]:
    """Return a function that gives the memory in use, bytes: all but what could be had without swapping."""
    meminfo = KeptFile(root / "proc" / "meminfo")

    def used() -> float:
        try:
            lines = [line.split() for line in meminfo.read(_FIRST_LINES_BYTES).split(b"\n", 3)[:3]]
            (first, total_kb, _), _, (third, available_kb, _) = lines
            total, available = int(total_kb) * 1024, int(available_kb) * 1024
        except (OSError, ValueError):
            return float(psutil.virtual_memory().used)
        if (first, third) != (b"MemTotal:", b"MemAvailable:") or not 0 < available <= total:
            return float(psutil.virtual_memory().used)
        return float(total - available)

    return used


def frequency_mhz(root: Path = Path("/")) -> Callable[[], float | None]:
    """Return a function that gives the mean frequency of the cores, MHz.

    As psutil, which reads each core's limits, too: of ``/proc/cpuinfo`` where that tells of every core.
    """
    policies = sorted((root / _CORES / "cpufreq").glob("policy[0-9]*"), key=lambda p: int(p.name[6:]))
    now = [KeptFile(policy / "scaling_cur_freq") for policy in policies]
    cpuinfo = KeptFile(root / "proc" / "cpuinfo")

    def by_psutil() -> float | None:
        frequency = psutil.cpu_freq()
        return frequency.current if frequency else None

    def mean() -> float | None:
        try:
            told = [line for line in cpuinfo.read_all().lower().split(b"\n") if line.startswith(b"cpu mhz")]
            if len(told) == len(now):
                khz = [int(float(line.split(b":", 1)[1]) * 1000) for line in told]
            else:
                khz = [file.integer() for file in now]
        except (OSError, ValueError):
            return by_psutil()
        return sum(each / 1000 for each in khz) / float(len(khz))

    return mean if now else by_psutil
