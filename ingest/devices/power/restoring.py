"""Putting back the power limits that a dead training had set: by its agent, or by who comes later."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from thermograd.ingest.devices.base import DeviceUnavailableError
from thermograd.ingest.devices.power.limits import LimitError, PowerLimits, watts
from thermograd.ingest.devices.power.records import (
    LimitRecord,
    Outcome,
    acquired,
    forget,
    is_owned,
    machine_folder,
    paths_of,
    put_back,
    records_in,
    run_folder,
)
from thermograd.store.failures import Guard
from thermograd.store.locks import ProcessLock, is_held
from thermograd.store.processes import host_label

_IDLE_S, _WATCHING_S = 1.0, 0.2
_BEAT_S = 60.0  # for a file system without locks
_WAIT_S = 4.0  # for NVML, at the end


@dataclass(frozen=True)
class Restored:
    """What became of one GPU's limit: `outcome`, or why it could not be put back.

    `is_left`: the training that had set it is gone.
    """

    record: LimitRecord
    by: str
    label: str
    outcome: Outcome | None
    error: str | None = None
    is_left: bool = True

    @property
    def text(self) -> str:
        """The sentence for people."""
        record, found, cap = self.record, watts(self.record.found_mw), watts(self.record.set_mw)
        owner = f"run {record.run_id} (process {record.pid})"
        whose = f"{owner} had set it to {cap}" + (" and is gone" if self.is_left else "")
        if self.error is not None:
            to_do = f"as root: nvidia-smi -i {record.uuid} -pl {record.found_mw / 1e3:g}"
            return f"the power limit of {self.label} may still be {cap}: {whose}; {self.error}; {to_do}"
        if self.outcome == "changed since":
            return f"the power limit of {self.label} is left as it is, somebody has changed it since: {whose}"
        if self.outcome == "as found":
            return f"the power limit of {self.label} is {found}, as {owner} had found it"
        return f"the power limit of {self.label} is again {found}, put back by {self.by}: {whose}"

    def mark(self) -> dict[str, Any]:
        """Return the columns of its mark."""
        detail = asdict(self.record) | {"by": self.by, "outcome": self.outcome, "error": self.error}
        return {"mark": "note", "text": self.text, "detail": json.dumps({"power_limit": detail})}


def restore(record: LimitRecord, by: str, limits: PowerLimits, run_dir: Path | None = None) -> Restored:
    """Put one limit back and forget its record, whoever lives; where that fails, the record stays."""
    label, is_left = record.uuid, not is_owned(record)
    try:
        gpu = limits.of(record.uuid)
        label = gpu.label
        outcome = put_back(gpu, record)
    except LimitError as error:
        return Restored(record, by, label, None, str(error), is_left)
    forget(paths_of(record, run_dir))
    return Restored(record, by, label, outcome, None, is_left)


def restore_left(by: str, runs: Path | None = None) -> list[Restored]:
    """Put back what trainings have left that are gone, and their agents too; return what became of each.

    Of this machine's own folder, and of the runs in `runs` where that is given. A limit whose owner lives is
    none of ours.
    """
    found = {record.uuid: record for record in _left_in(runs)}
    found |= {record.uuid: record for record in records_in(machine_folder())}
    left = [record for record in found.values() if not is_owned(record)]
    if not left:
        return []
    try:
        limits = PowerLimits()
    except DeviceUnavailableError as error:
        return [Restored(record, by, record.uuid, None, str(error)) for record in left]
    try:
        return [done for record in left if (done := _locked(record, by, limits)) is not None]
    finally:
        limits.close()


def _left_in(runs: Path | None) -> list[LimitRecord]:
    """Return the records in a directory of runs of which nobody writes any more."""
    from thermograd.store.runs.catalogue import Run

    found: list[LimitRecord] = []
    if runs is None:
        return found
    with suppress(OSError):  # there is no such directory, or it may not be read
        for name in os.listdir(runs):
            records = records_in(run_folder(runs / name))
            if records and not Run(runs / name).live_writers():
                found += records
    return found


def _locked(
    record: LimitRecord, by: str, limits: PowerLimits, run_dir: Path | None = None
) -> Restored | None:
    """Put one back that nobody owns any more, and have its lock meanwhile; None where someone else has."""
    folder = machine_folder()
    lock = ProcessLock(folder, record.uuid)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if not acquired(lock):
            return None
    try:
        if not paths_of(record, run_dir):  # somebody has been quicker
            return None
        return replace(restore(record, by, limits, run_dir), is_left=True)
    finally:
        lock.release()


class LimitKeeper:
    """The agent's watch over the limits that the trainings of this run on this host have set.

    While there are records in the run's directory it holds a lock there, by which the training knows that
    somebody will put its limits back should it be killed; without that it sets none.
    """

    def __init__(
        self,
        where: Callable[[], Path],
        append: Callable[..., object],
        say: Callable[[str], object],
        stop: threading.Event,
    ) -> None:
        self._where, self._append, self._say, self._stop = where, append, say, stop
        self._limits: PowerLimits | None = None
        self._lock: ProcessLock | None = None
        self._failed: set[str] = set()
        self._beat_s = 0.0
        self.guard = Guard("thermograd's agent cannot look after power limits: %(error)s")

    def run(self) -> None:
        """Look until told to stop; then put back whatever is not, whoever lives: nobody is left to look."""
        with self.guard:
            for done in restore_left("an agent that began later"):
                self._tell(done)
        is_over = False
        while not is_over:
            is_over = self._stop.wait(_IDLE_S if self._lock is None else _WATCHING_S)
            with self.guard:
                self._look(is_over)
        if self._lock is not None:
            self._lock.release()
        if self._limits is not None:
            self._limits.close()

    def _look(self, is_over: bool) -> None:
        run_dir = self._where()
        found = [each for each in records_in(run_folder(run_dir)) if each.host == host_label()]
        records = found if is_over else [each for each in found if each.uuid not in self._failed]
        if not records:
            return
        self._limits = self._limits or PowerLimits()
        self._be_seen(run_dir)
        for record in records:
            if not is_owned(record):
                done = _locked(record, "its agent", self._limits, run_dir)
                if done is not None:
                    self._tell(done)
            elif is_over:
                self._tell(restore(record, "its agent, which ends", self._limits, run_dir))

    def _be_seen(self, run_dir: Path) -> None:
        if self._lock is None:
            lock = keeper_lock(run_dir)
            self._lock = lock if lock.acquire() else None
        elif time.monotonic() > self._beat_s:
            self._lock.refresh()
            self._beat_s = time.monotonic() + _BEAT_S

    def _tell(self, done: Restored) -> None:
        if done.error is not None:
            self._failed.add(done.record.uuid)
        self._append("mark", **done.mark())
        self._say(f"thermograd: {done.text}")


def keeper_lock(run_dir: Path) -> ProcessLock:
    """Return the lock that the agent of this host holds while it looks after limits."""
    return ProcessLock(run_dir, f"power-keeper-{host_label()}")


def is_kept(run_dir: Path) -> bool:
    """Return whether an agent looks after the limits of a run on this host."""
    return bool(is_held(keeper_lock(run_dir).path))


@contextmanager
def limits_kept(
    where: Callable[[], Path],
    append: Callable[..., object],
    say: Callable[[str], object],
    stop: threading.Event,
) -> Iterator[None]:
    """Let a keeper look beside what the block does, until that ends or `stop` is set, and then once more."""
    keeper = LimitKeeper(where, append, say, stop)
    thread = threading.Thread(target=keeper.run, name="thermograd-power-limits", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_WAIT_S)
