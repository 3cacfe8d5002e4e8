"""An experiment in the log: `intervention` marks, written before what they say is done, and their reading.

Rank 0 writes one ``assigned`` mark an assignment before it is applied and one ``applied`` mark after its end.
Another rank writes only what it could not apply. Whoever reads draws the schedule again and compares.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from thermograd.store.experiment.schedules import Assignment, Schedule, ScheduleError

INTERVENTION = "intervention"  # the mark


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done of an assignment, as the process that did it tells.

    `steps`: of the assignment, that it was applied in; `idle_s`: gaps of a duty cycle, s; `failed`: why it
    was not, or not wholly, applied; `detail`: more of the arm.
    """

    index: int
    steps: int
    idle_s: float | None = None
    failed: str | None = None
    rank: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assigned:
    """An assignment as it stands in the log."""

    assignment: Assignment
    time_ns: int
    monotonic_ns: int
    writer: str | None = None


@dataclass
class Recorded:
    """One experiment of a run, read from its marks.

    Attributes
    ----------
    assigned
        By their numbers; of one that was written twice (a restarted job) the last.
    applied
        What rank 0 did of each; one that is missing was not applied, or not to its end.
    failures
        What any rank could not apply.
    faults
        Marks that are not what the seed draws, a sentence each: then nothing can be concluded.
    """

    schedule: Schedule
    assigned: dict[int, Assigned] = field(default_factory=dict)
    applied: dict[int, Applied] = field(default_factory=dict)
    failures: list[Applied] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def assigned_detail(schedule: Schedule, assignment: Assignment) -> dict[str, Any]:
    """Return the detail of the mark that comes before an assignment is applied."""
    told = {name: value for name, value in asdict(assignment).items() if value is not None}
    return {"experiment": schedule.to_json(), "assigned": told}


def applied_detail(schedule: Schedule, applied: Applied) -> dict[str, Any]:
    """Return the detail of the mark that comes after it."""
    return {"experiment": schedule.to_json(), "applied": asdict(applied) | {"detail": dict(applied.detail)}}


def assigned_text(schedule: Schedule, assignment: Assignment) -> str:
    """Return the mark's text, for people."""
    steps = f"steps {assignment.first_step} to {assignment.last_step}"
    if assignment.level is not None:
        return f"{schedule.arm}: block {assignment.index + 1} is {assignment.level}, {steps}"
    return f"{schedule.arm}: {assignment.kind} after step {assignment.pulse_step}, of {steps}"


def read_experiments(marks: Iterable[Mapping[str, Any]]) -> list[Recorded]:
    """Return the experiments of a run, in order, from its marks (mappings by column, in the log's order)."""
    found: dict[str, Recorded] = {}
    for mark in marks:
        if mark.get("mark") != INTERVENTION or not mark.get("detail"):
            continue
        try:
            detail = json.loads(mark["detail"])
            document = detail["experiment"]
            schedule = Schedule.from_json(document)
        except (ValueError, KeyError, TypeError):  # a script's own mark of that name
            continue
        key = json.dumps(document, sort_keys=True)
        recorded = found.setdefault(key, Recorded(schedule))
        _take(recorded, detail, mark)
    return list(found.values())


def note_of(mark: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return what a note holds that may hold one of these keys; nothing where it is no such note."""
    text = mark.get("detail") or ""
    if mark.get("mark") != "note" or not any(key in text for key in keys):
        return {}
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):  # a script's own note
        return {}
    return told if isinstance(told, dict) else {}


def _take(recorded: Recorded, detail: Mapping[str, Any], mark: Mapping[str, Any]) -> None:
    try:
        if "assigned" in detail:
            _take_assigned(recorded, Assignment(**detail["assigned"]), mark)
        elif "applied" in detail:
            applied = Applied(**detail["applied"])
            if applied.failed:
                recorded.failures.append(applied)
            if applied.rank == 0:
                recorded.applied[applied.index] = applied
    except (TypeError, ScheduleError) as error:
        recorded.faults.append(f"a mark at step {mark.get('step')} cannot be read: {error}")


def _take_assigned(recorded: Recorded, said: Assignment, mark: Mapping[str, Any]) -> None:
    drawn = recorded.schedule.assignment(said.index)
    if drawn != said:
        recorded.faults.append(
            f"assignment {said.index} in the log is not what seed {recorded.schedule.seed} draws"
        )
    at = Assigned(drawn, mark["time_ns"], mark["monotonic_ns"], mark.get("writer"))
    recorded.assigned[said.index] = at
