"""Who works here: a lock on a file for as long as the process lives, and signs of life beside it.

Process ids mean nothing in another container, and clocks are set. What tells a living process from a dead
one is a lock that the kernel takes back when the process ends, however it ends (``flock``). Another machine
may not see it, and some file systems have none: the holder therefore writes a *beat* into the file from time
to time, and counts as living until that is minutes old.
"""

import json
import os
import secrets
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.store.processes import boot_id

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_SILENCE_S = 300.0
_BEAT_BYTES = 512  # one size, so that a beat overwrites the one before
_LOCKED_BYTE = 1 << 30  # where Windows locks, which keeps others from reading what is locked
_TRIES = 50
_OPEN = os.O_CLOEXEC if hasattr(os, "O_CLOEXEC") else 0
_OPEN |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_held_here: "weakref.WeakSet[ProcessLock]" = weakref.WeakSet()


class _Beat(NamedTuple):
    """A holder's sign of life: when, by which clock, and whether the kernel holds a lock for it."""

    boot_id: str | None
    monotonic_ns: int
    token: str
    locked: bool


class ProcessLock:
    """The right to be the one process that does something, `name`, in a directory.

    In a forked child it is not held.

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
        self.path = directory / f"{name}.lock"
        self._handle: int | None = None
        self._locked = False
        self._token = secrets.token_hex(8)

    def acquire(self) -> bool:
        """Try once to get the lock; whether it is now ours. OSError if the directory cannot be written."""
        return self._take(shared=False) and self._claim()

    def keep_free(self) -> bool:
        """Try once to keep anybody from getting the lock, where nobody has it; whether that is now so.

        Who asks by `is_held` is told, meanwhile too, that nobody has it.
        """
        return self._take(shared=True)

    def _take(self, shared: bool) -> bool:
        for _ in range(_TRIES):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | _OPEN, 0o644)
            try:
                locked = _try_lock(handle, shared)
                if locked is False or _lives_elsewhere(handle, bool(locked)):
                    return False
                if not self.is_there(handle):  # its holder has just removed it
                    continue
                self._handle, self._locked, handle = handle, bool(locked), -1
            finally:
                if handle >= 0:
                    os.close(handle)
            _held_here.add(self)
            return True
        return False

    def _claim(self) -> bool:
        """Write the first beat; where there are no locks, see whether it stays ours."""
        self.refresh()
        if not self._locked:
            time.sleep(0.05)
            assert self._handle is not None
            beat = _read_beat(self._handle)
            if beat is None or beat.token != self._token:
                self._let_go()
                return False
        return True

    def refresh(self) -> None:
        """Give a sign of life, for those who cannot see the lock; without effect where it is not ours."""
        if self._handle is not None:
            beat = _Beat(boot_id(), time.monotonic_ns(), self._token, self._locked)
            _write_beat(self._handle, json.dumps({"pid": os.getpid()} | beat._asdict()))  # the pid for people

    def is_there(self, handle: int | None = None) -> bool:
        """Return whether the file that we hold is still the one at its place."""
        handle = self._handle if handle is None else handle
        try:
            return handle is not None and os.path.samestat(os.fstat(handle), os.stat(self.path))
        except OSError:
            return False

    def release(self) -> None:
        """Give the lock back; without effect where it is not ours."""
        if self._handle is not None:
            if self.is_there():
                with suppress(OSError):
                    self.path.unlink()
            self._let_go()

    def _let_go(self) -> None:
        handle, self._handle = self._handle, None
        _held_here.discard(self)
        if handle is not None:
            with suppress(OSError):
                os.close(handle)


def is_held(path: Path, patience_s: float = _SILENCE_S) -> bool | None:
    """Return whether a living process holds the lock with this file; None where there is no such file.

    Nothing is written. A holder that this machine cannot ask is living until its last beat is
    `patience_s` old.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _OPEN)
    except FileNotFoundError:
        return None
    except OSError:  # not ours to read, or no plain file
        return _age_s(os.lstat(path)) < patience_s
    try:
        locked = _try_lock(handle, shared=True)
        return locked is False or _lives_elsewhere(handle, bool(locked), patience_s)
    finally:
        os.close(handle)


def sign_of_life(path: Path) -> tuple[str, int] | None:
    """Return the last beat that a holder has written: whose, and when by its clock; None where there is none.

    It changes while the holder lives, whoever may ask the kernel for the lock.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _OPEN)
    except OSError:
        return None
    try:
        beat = _read_beat(handle)
        return None if beat is None else (str(beat.token), beat.monotonic_ns)
    finally:
        os.close(handle)


def _try_lock(handle: int, shared: bool = False) -> bool | None:
    """Take the lock of an open file: True, False where another has it, None where files have no locks."""
    try:
        if sys.platform == "win32":
            os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _lives_elsewhere(handle: int, locked: bool, patience_s: float = _SILENCE_S) -> bool:
    """Return whether the last holder may live although `locked` says that we could have its lock."""
    beat = _read_beat(handle)
    if beat is None:
        return False  # it has never held it
    if beat.boot_id is not None and beat.boot_id == boot_id():
        if locked and beat.locked:
            return False  # of this kernel, which would know
        return (time.monotonic_ns() - beat.monotonic_ns) / 1e9 < patience_s
    return _age_s(os.fstat(handle)) < patience_s


def _age_s(status: os.stat_result) -> float:
    return time.time() - status.st_mtime


def _read_beat(handle: int) -> _Beat | None:
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        value: Any = json.loads(os.read(handle, _BEAT_BYTES))
        return _Beat(value["boot_id"], int(value["monotonic_ns"]), value["token"], bool(value["locked"]))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _write_beat(handle: int, text: str) -> None:
    with suppress(OSError):  # a full disk: the lock is held all the same
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, text.encode().ljust(_BEAT_BYTES))


def _abandon_all() -> None:
    """In a forked child: what it has of the files would keep the locks beyond its parent's end."""
    for lock in list(_held_here):
        lock._let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
