"""Small runs that have ended, for the tests of places, mirrors and catalogues."""

import os
import time
from pathlib import Path

from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

OLD_S = 3600.0
ODD_IDS = ("a run", "r#1+%41", "ünï'x")  # of folders that were renamed


def write_run(runs: Path, run_id: str, steps: int = 5, name: str = "tiny") -> Path:
    """Write a run that has ended and is sealed, an hour ago."""
    run = create_run(runs, name, {"devices": {"gpu": {"model": "none"}}}, "new")
    writer = EventWriter(run.path, run.run_id, f"host-r0-{os.getpid()}-{time.time_ns():x}")
    for step in range(steps):
        writer.append("step", step=step, loss=1.0 / (1 + step), grad_norm=float(len(run_id) + step), rank=0)
        writer.append("sample", device="gpu", power_w=100.0 + step)
    writer.append("mark", mark="note", text=run_id)
    writer.close()
    seal_run(run.path, run.run_id)
    path = run.path.rename(runs / run_id)
    age(path)
    return path


def age(path: Path) -> None:
    """Make a run's files old: what has just changed is not folded."""
    for file in path.rglob("*"):
        if file.is_file():
            os.utime(file, (time.time() - OLD_S, time.time() - OLD_S))
