"""What a power limit was before an experiment set it: on the disk before the first set, and until it is back.

There is a *record* of each GPU whose limit is in our hands, twice: in the run's directory, for its agent and
for who comes to the machine after a container is gone, and in this machine's own folder, beside the *lock*
that the process that sets the limit holds for as long as it lives. Who puts a limit back holds that lock,
looks at it first, and leaves one alone that is not the one we set: then somebody else has set it since.
"""

import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from thermograd.ingest.devices.power.limits import GpuLimit
from thermograd.store.files import read_json, write_json
from thermograd.store.locks import ProcessLock, is_held
from thermograd.store.processes import boot_id, host_label

_log = logging.getLogger("thermograd")
_SYSTEM = Path("/run")  # empty after a start of the machine, as are the limits
_ROUNDED_MW = 1000  # a driver may round what it is given
_TRIES, _PAUSE_S = 10, 0.02
FOLDER = "power_limits"  # in a run's directory

Outcome = Literal["restored", "as found", "changed since"]


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """A GPU's limit as it was found, and the one that an experiment sets, mW; whose that is."""

    uuid: str
    found_mw: int
    set_mw: int
    run_id: str
    run_dir: str
    pid: int
    host: str
    boot_id: str | None
    time_ns: int

    def is_set(self, now_mw: int) -> bool:
        """Return whether the present limit is the one that we set."""
        return abs(now_mw - self.set_mw) <= _ROUNDED_MW


def machine_folder() -> Path:
    """Return the folder of this machine's records; ``$THERMOGRAD_STATE`` names another."""
    if named := os.environ.get("THERMOGRAD_STATE"):
        return Path(named) / FOLDER
    of_system = _SYSTEM / "thermograd" / FOLDER
    if os.access(_SYSTEM, os.W_OK) or os.path.isdir(of_system):  # of os: no error where we may not look
        return of_system
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(home).absolute() / "thermograd" / FOLDER


def run_folder(run_dir: Path) -> Path:
    """Return the folder of a run's records."""
    return run_dir / FOLDER


class Claim:
    """The right to set one GPU's limit: its lock, and its record in both places."""

    def __init__(self, uuid: str, run_dir: Path) -> None:
        self.uuid = uuid
        folder = machine_folder()
        self.paths = (run_folder(run_dir) / f"{host_label()}-{uuid}.json", folder / f"{uuid}.json")
        self._lock = ProcessLock(folder, uuid)

    def take(self) -> bool:
        """Try to be the one who sets this limit. OSError where the folder cannot be written."""
        self._lock.path.parent.mkdir(parents=True, exist_ok=True)
        return acquired(self._lock)

    def holder(self) -> LimitRecord | None:
        """Return the record of who has the right, as far as it is written."""
        return read_record(self.paths[1])

    def write(self, record: LimitRecord) -> None:
        """Put the record on the disk, whole and synced, in both places."""
        for path in self.paths:
            write_json(path, asdict(record))

    def is_written(self) -> bool:
        """Return whether the record in the run's directory is there: nobody has put the limit back."""
        return self.paths[0].exists()

    def give_back(self) -> None:
        """Remove the record, then let the right go."""
        forget(self.paths)
        self.let_go()

    def let_go(self) -> None:
        """Let the right go, and leave what is recorded."""
        self._lock.release()


def acquired(lock: ProcessLock) -> bool:
    """Return whether a lock is now ours: who asks whether it is held has it for a moment."""
    for _ in range(_TRIES):
        if lock.acquire():
            return True
        time.sleep(_PAUSE_S)
    return False


def forget(paths: Iterable[Path]) -> None:
    """Remove records, and the folder in a run's directory when it is empty."""
    for path in paths:
        with suppress(OSError):
            path.unlink()
        if path.parent != machine_folder():
            with suppress(OSError):
                path.parent.rmdir()


def read_record(path: Path) -> LimitRecord | None:
    """Return a record; None where there is none that we could have written."""
    found: dict[str, Any] = read_json(path)
    try:
        record = LimitRecord(**found)
    except TypeError:
        return None
    numbers = (record.found_mw, record.set_mw, record.pid, record.time_ns)
    texts = (record.uuid, record.run_id, record.run_dir, record.host)
    are_sound = all(type(value) is int for value in numbers) and all(type(text) is str for text in texts)
    return record if are_sound else None


def records_in(folder: Path) -> list[LimitRecord]:
    """Return a folder's records of this start of this machine, by GPU; the limits of an earlier are gone."""
    found = {}
    for path in _files(folder, ".json"):
        record = read_record(path)
        if record is not None and (record.boot_id == boot_id() or record.boot_id is None):
            found[record.uuid] = record
    return list(found.values())


def is_owned(record: LimitRecord) -> bool:
    """Return whether the process that sets this limit lives."""
    return bool(is_held(machine_folder() / f"{record.uuid}.lock"))


def paths_of(record: LimitRecord, run_dir: Path | None = None) -> list[Path]:
    """Return where a record is; `run_dir` where the run's directory is not where it was."""
    name = f"{record.uuid}.json"
    folders = dict.fromkeys((run_dir or Path(record.run_dir), Path(record.run_dir)))
    in_runs = [path for each in folders for path in _files(run_folder(each), f"-{name}")]
    ours = machine_folder() / name
    there = read_record(ours)
    return [*in_runs, *([ours] if there is not None and there.run_id == record.run_id else [])]


def _files(folder: Path, end: str) -> list[Path]:
    """Return a folder's files whose name ends so; the folder may vanish meanwhile, as a limit is put back."""
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(end))
    except OSError:
        return []


def put_back(gpu: GpuLimit, record: LimitRecord) -> Outcome:
    """Set a limit to what was found, if it is the one that we set. Raises `LimitError` where that fails."""
    now_mw = gpu.now_mw()
    if now_mw == record.found_mw:
        return "as found"
    if not record.is_set(now_mw):
        return "changed since"
    gpu.set_mw(record.found_mw)
    return "restored"
