"""What heat may change in a training, read from a step, and the evidence of it: live and after the run."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from thermograd.store.experiment.e_process import EProcess, pair_contrasts
from thermograd.store.experiment.schedules import Schedule

StepValues = Mapping[str, Any]
Outcome = Callable[[StepValues], float | None]


def _column(name: str) -> Outcome:
    def read(values: StepValues) -> float | None:
        value = values.get(name)
        return None if value is None else float(value)

    return read


def _log_grad_norm(values: StepValues) -> float | None:
    norm = _column("grad_norm")(values)
    return math.log(norm) if norm is not None and 0.0 < norm < math.inf else None


QUESTIONS: dict[str, Outcome] = {"log_grad_norm": _log_grad_norm, "loss": _column("loss")}
CONTROLS: dict[str, Outcome] = {"step_time_s": _column("step_time_s")}  # that heat is expected to move
OUTCOMES = QUESTIONS | CONTROLS
COLUMNS = ("grad_norm", "loss", "step_time_s")  # of a step, that they are read from


def outcome_evidence(schedule: Schedule, outcome: str, steps: Iterable[StepValues]) -> EProcess:
    """Return the evidence of a switchback's effect on an outcome: to the bit what the alert had.

    Parameters
    ----------
    schedule
        Of a switchback.
    outcome
        One of `OUTCOMES`.
    steps
        Of rank 0, as logged, in the order of their times; of one that was done again the first counts, as
        it did live.
    """
    known = [values for values in steps if values.get("step") is not None]
    read, process = OUTCOMES[outcome], EProcess()
    for contrast in pair_contrasts(schedule, (int(each["step"]) for each in known), map(read, known)):
        process.update(contrast.d)
    return process
