"""When and how processes end that are not our children, as the kernel tells: which of several went first.

Each is held by a pidfd, which becomes readable at its end. Linux from 6.15 on tells the exit code by it;
before, it is to be seen until its parent has asked for it, and else is not known.
"""

import os
import select
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from thermograd.store.failures import Guard

_INFO = struct.Struct("=2Q12I")  # struct pidfd_info, its first version
_GET_INFO = (3 << 30) | (_INFO.size << 16) | (0xFF << 8) | 11  # _IOWR(0xFF, 11, struct pidfd_info)
_EXIT = 1 << 3
_EXIT_CODE = 51  # in /proc/PID/stat, field 52
_REAPED_S = 0.5  # until its parent has asked
_POLL_S = 0.01


@dataclass(frozen=True)
class Death:
    """When a process ended, and its exit code as a shell has it, 128 + n by signal n; None: not known."""

    time_ns: int
    exit_code: int | None


class Deaths:
    """Follows processes to their end, in a thread; where the system has no pidfd, nothing is known."""

    def __init__(self) -> None:
        self._known: dict[int, Death] = {}
        self._followed: dict[int, int] = {}
        self._poll = select.epoll() if hasattr(os, "pidfd_open") and hasattr(select, "epoll") else None
        self._guard = Guard("thermograd's agent cannot tell how processes end: %(error)r")

    def follow(self, pid: int) -> None:
        """Follow a process from now on."""
        if self._poll is None:
            return
        with suppress(OSError):  # it is gone, or the system does not let us
            number = os.pidfd_open(pid)
            is_first, self._followed[number] = not self._followed, pid
            self._poll.register(number, select.EPOLLIN)
            if is_first:
                follow = self._guard(self._follow)
                threading.Thread(
                    target=follow, args=(self._poll,), name="thermograd-ends", daemon=True
                ).start()

    def of(self, pid: int) -> Death | None:
        """Return how a process ended; None where that is not known."""
        return self._known.get(pid)

    def _follow(self, poll: "select.epoll") -> None:
        while True:
            numbers, time_ns = [number for number, _ in poll.poll()], time.time_ns()
            for number in numbers:
                pid = self._followed[number]
                self._known[pid] = Death(time_ns, None)
                poll.unregister(number)
            for number in numbers:
                self._known[pid] = Death(time_ns, _exit_code(number, pid := self._followed[number]))
                os.close(number)


def _exit_code(number: int, pid: int) -> int | None:
    """Return the exit code of a process that has ended, in the shell's way."""
    until_s = time.monotonic() + _REAPED_S
    while (status := _status(number, pid)) is None and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    if status is None:
        return None
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _status(number: int, pid: int) -> int | None:
    import fcntl

    with suppress(OSError):
        told = _INFO.unpack(fcntl.ioctl(number, _GET_INFO, _INFO.pack(_EXIT, *[0] * 13)))
        if told[0] & _EXIT:
            return int(told[-1])
    with suppress(OSError, IndexError, ValueError):
        words = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        if words[0] in "ZX":
            return (
                int(words[_EXIT_CODE - 2]) or None
            )  # 0 is what is told to whom it is none of their business
    return None
