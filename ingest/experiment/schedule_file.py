"""The files of a run's directory that carry a schedule from rank 0 to the other processes of a job.

``experiment.json`` is the schedule, with how it was decided; ``experiment_probe.json`` the probe before it,
``experiment_plan.json`` what the launcher has planned of the probe.
"""

from pathlib import Path
from typing import Any

from thermograd.store.experiment.schedules import Schedule, ScheduleError
from thermograd.store.files import read_json, write_json

SCHEDULE = "experiment.json"
PROBE = "experiment_probe.json"
PLAN = "experiment_plan.json"


def write_schedule(run_dir: Path, schedule: Schedule, **more: Any) -> None:
    """Write the schedule for all who follow it, whole or not at all; OSError where that fails."""
    write_json(run_dir / SCHEDULE, {**schedule.to_json(), **more})


def read_schedule(run_dir: Path) -> Schedule | None:
    """Return the schedule of a run; None while there is none."""
    document = document_of(run_dir, SCHEDULE)
    if document is None:
        return None
    try:
        return Schedule.from_json(document)
    except ScheduleError:  # of another version: nobody follows it
        return None


def document_of(run_dir: Path, name: str) -> dict[str, Any] | None:
    """Return one of the files; None while it is not there, or where it cannot be read."""
    path = run_dir / name
    if not path.exists():
        return None
    return read_json(path) or None
