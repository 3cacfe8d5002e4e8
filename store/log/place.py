"""The directory of a run for who writes to it: absolute, followed when it is moved, made anew when gone."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from thermograd.store.files import UNFINISHED, open_dir, overwrite_json, read_json, write_json, writer_file
from thermograd.store.locks import ProcessLock, is_held, sign_of_life
from thermograd.store.places.shipped import is_arriving, is_mirrored
from thermograd.store.processes import is_alive

WRITER_LOCK = "writer"
_SILENCE_S = 300.0


class WriterPlace:
    """Where one writer of a run writes, and the lock that says that it lives.

    Attributes
    ----------
    run_dir, directory
        The run's directory and that of the writer's live files; both may change, see `settle`.

    Raises
    ------
    OSError
        If the files cannot be made; FileExistsError if the writer's name is not new.
    """

    def __init__(self, run_dir: Path, writer: str, facts: dict[str, object]) -> None:
        self.run_dir = Path(os.path.abspath(run_dir))
        self._writer, self._facts = writer, facts
        self._run_facts = self._read_run_facts()  # at once: the directory may be gone at the next look
        self.directory = open_dir(self.run_dir, writer)
        self.directory.mkdir(parents=True)
        self._lock = self._sign_in()
        self._handle = self._open()

    def _read_run_facts(self) -> dict[str, object]:
        return dict(read_json(self.run_dir / "run.json"))

    def _open(self) -> int | None:
        """Hold the run's directory, where the platform can, so that it is found again."""
        with suppress(OSError):
            return os.open(self.run_dir, os.O_RDONLY | os.O_DIRECTORY) if hasattr(os, "O_DIRECTORY") else None
        return None

    def _sign_in(self) -> ProcessLock:
        """Write who writes here, and take the lock that says that we live."""
        write_json(writer_file(self.run_dir, self._writer), self._facts)
        lock = ProcessLock(self.directory, WRITER_LOCK)
        for _ in range(100):  # who looks whether it is held holds it for a moment
            if lock.acquire():
                break
        return lock

    def settle(self) -> str | None:
        """Follow the directory, or make it anew; return a sentence where files go elsewhere from now on.

        OSError where that cannot be done; call it again.
        """
        if self._is_ours(self.run_dir):
            self._run_facts = self._run_facts or self._read_run_facts()
            if self.directory.is_dir() and self._lock.is_there():
                return None
            if not self._is_ours(self.run_dir):  # renamed since we looked
                return self.settle()
            said = f"files of the run were taken away from {self.run_dir}; it goes on with new ones"
        elif (moved := self._moved_to()) is not None:
            before, self.run_dir = self.run_dir, moved
            self.directory = open_dir(moved, self._writer)
            self._lock.path = self.directory / self._lock.path.name
            said = f"the run's directory {before} is now {moved}; it goes on there"
            if self.directory.is_dir() and self._lock.is_there():
                return said
        else:
            self._make_anew()
            said = f"the run's directory was taken away; it goes on in {self.run_dir}"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock.release()
        self._lock = self._sign_in()
        return said

    def _is_ours(self, path: Path) -> bool:
        try:
            there = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return self._handle is None or os.path.samestat(os.fstat(self._handle), there)

    def _moved_to(self) -> Path | None:
        """Return where the directory is now; None where it is nowhere, or the platform does not tell."""
        if self._handle is None:
            return None
        path = None
        with suppress(OSError, ValueError):
            if os.path.isdir("/proc/self/fd"):
                path = os.readlink(f"/proc/self/fd/{self._handle}")
            else:
                path = _path_by_fcntl(self._handle)
        return Path(path) if path and self._is_ours(Path(path)) else None

    def moved_directory(self) -> Path | None:
        """Return where files are now if the run's directory has another name; None if that is not known."""
        moved = self._moved_to()
        return None if moved is None or moved == self.run_dir else open_dir(moved, self._writer)

    def _make_anew(self) -> None:
        """Make the run's directory again, beside what stands in its place if it is none."""
        with suppress(FileExistsError):
            self.run_dir.mkdir(parents=True, exist_ok=True)
        if not self.run_dir.is_dir():
            self.run_dir = self.run_dir.with_name(f"{self.run_dir.name}-again")
            self.run_dir.mkdir(exist_ok=True)
        self.directory = open_dir(self.run_dir, self._writer)
        if self._run_facts and not (self.run_dir / "run.json").exists():
            write_json(self.run_dir / "run.json", self._run_facts)
        handle, self._handle = self._handle, self._open()
        if handle is not None:
            os.close(handle)

    def beat(self) -> None:
        """Give a sign of life."""
        self._lock.refresh()

    def leave(self, closed_time_ns: int, ended: Mapping[str, object] | None, is_whole: bool) -> None:
        """Say that the writer has ended, and how; in order, if its files are whole.

        OSError where that cannot be written.
        """
        self._facts["closed_time_ns"] = closed_time_ns
        if not is_whole:
            self._facts[UNFINISHED] = True
        self.tell_end(ended)
        self._lock.release()
        with suppress(OSError):
            if self._handle is not None:
                os.close(self._handle)
        self._handle = None

    def tell_end(self, ended: Mapping[str, object] | None) -> None:
        """Write how the writer ended; on a full disk over what stands there, which needs no new room."""
        path = writer_file(self.run_dir, self._writer)
        facts = self._facts | ({"ended": dict(ended)} if ended else {})
        try:
            write_json(path, facts)
        except OSError:
            overwrite_json(path, facts)


def is_live(run_dir: Path, writer: str) -> bool:
    """Return whether a writer that has not said that it ended still lives.

    Logs of before there were locks: the process is asked for by its id, which another container or a clock
    that was set can make wrong, so a file that has just been written to counts as well.
    """
    if Path(writer).name != writer:
        return False
    directory = open_dir(run_dir, writer)
    facts = read_json(writer_file(run_dir, writer))
    if is_mirrored(run_dir):  # its lock is on another machine
        return "closed_time_ns" not in facts and is_arriving(run_dir, writer)
    held = False if "closed_time_ns" in facts else is_held(directory / f"{WRITER_LOCK}.lock")
    if held is not None:
        return held
    times = [0.0]
    with suppress(OSError):
        times += [entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(directory)]
    return time.time() - max(times) < _SILENCE_S or is_alive(facts, max(times), _SILENCE_S)


def sign_of_life_of(run_dir: Path, writer: str) -> tuple[str, int] | None:
    """Return the last sign of life that a writer has given in its lock's file; None where it has none."""
    return sign_of_life(open_dir(run_dir, writer) / f"{WRITER_LOCK}.lock")


def _path_by_fcntl(handle: int) -> str | None:
    import fcntl

    if not hasattr(fcntl, "F_GETPATH"):
        return None
    return os.fsdecode(fcntl.fcntl(handle, fcntl.F_GETPATH, b"\0" * 1024).rstrip(b"\0"))
