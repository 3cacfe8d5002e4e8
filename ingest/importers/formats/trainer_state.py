"""Reading the Hugging Face Trainer's ``trainer_state.json``: steps without a clock.

The file says what was logged at which step, not when. Its times are estimated, from when the training
began and how long a step took, and the run says so; or it is refused.
"""

import math
import re
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.steps.metric_names import EntryReader
from thermograd.ingest.importers.steps.step_clock import (
    StepClock,
    command,
    estimate,
    given_step_time,
    is_positive,
    started,
    step_clock,
)
from thermograd.ingest.importers.text_files import OddCellError, json_of, measure, whole_number
from thermograd.store.errors import ImportFormatError

_TOLERANCE = 0.02
_ROUNDING = 5e-5  # of each logged loss, which has four decimals


def _is_state(head: Head) -> bool:
    return head.text.startswith("{") and bool(re.search(r'"log_history"\s*:\s*\[', head.text))


def _read_state(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "step", TRAINER_STATE.name, hints=hints)
    recording.clock, recording.account.place = "--started-at", "entry"
    state = json_of(recording.path)
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise ImportFormatError(f"{recording.path}: log_history is not a list; allowed is a list of objects")
    clock = _clock(recording.path, history, hints)
    recording.estimated = clock.estimated
    reader = EntryReader(recording, hints.columns)
    for number, entry in enumerate(history, start=1):
        with recording.row(number, entry):
            values = reader.values(entry)
            reader.give(number, clock.after(values["step"]), values, entry)
    reader.finish()
    return [recording]


def _clock(path: Path, history: list[Any], hints: Hints) -> StepClock:
    """Return when step 0 was, and how long a step took."""
    if hints.started_at is None:
        raise ImportFormatError(
            f"{path}: the Trainer's state has steps but no times, so it is no time series; give "
            f"--started-at TIME to have them estimated ({command(path, hints, '--started-at')}), or import "
            "the TensorBoard or W&B log of the same training"
        )
    if given_step_time(hints) is not None:
        return step_clock(path, "the Trainer's state", hints)
    began = started(path, "the Trainer's state", hints)
    return StepClock(began, *_from_runtime(path, history, hints))


def _from_runtime(path: Path, history: list[Any], hints: Hints) -> tuple[float, str]:
    """Return what a step took by the file's train_runtime, where that is of all its steps."""
    entries = [entry for entry in history if isinstance(entry, dict)]
    summaries = [entry for entry in entries if is_positive(_number(entry.get("train_runtime")))]
    if not summaries:
        raise ImportFormatError(
            f"{path}: there is no train_runtime in it to estimate a step's time from (only the state saved "
            "at the end of a training has one); give --step-time SECONDS"
        )
    runtime_s, steps = (
        _number(summaries[-1]["train_runtime"]) or math.nan,
        whole_number(summaries[-1].get("step")),
    )
    doubt = _doubt(entries, summaries, steps)
    if doubt or not steps:
        raise ImportFormatError(
            f"{path}: its train_runtime of {runtime_s:g} s is that of the last session, which "
            f"{doubt or 'has no step'}, so it does not tell what a step took; give --step-time SECONDS"
        )
    return runtime_s / steps, estimate(
        hints, runtime_s / steps, f"train_runtime, {runtime_s:g} s, over {steps} steps"
    )


def _doubt(entries: list[dict[str, Any]], summaries: list[dict[str, Any]], steps: int | None) -> str:
    """Return why a session's runtime may not be that of all steps; empty where it is.

    The Trainer's train_loss is the sum of the losses of the session, over the number of all steps: where the
    logged losses add up to more, they are of earlier sessions too.
    """
    if len(summaries) > 1:
        return f"is not the only one ({len(summaries)} are in it)"
    mean = _number(summaries[0].get("train_loss"))
    logged, rounding = _logged_loss(entries)
    if mean is None or not steps or logged is None:
        return "may not be the only one (no train_loss and losses from 0 show that)"
    if not math.isfinite(mean) or not math.isfinite(logged):
        which = "a logged loss" if not math.isfinite(logged) else "train_loss"
        return f"may not be the only one ({which} is not finite, so its sums do not show that)"
    if not logged <= mean * steps * (1 + _TOLERANCE) + rounding:
        sums = f"{mean * steps:.4g}, but the logged losses add up to {logged:.4g}"
        return f"went on from a checkpoint (train_loss x steps is {sums})"
    return ""


def _logged_loss(entries: list[dict[str, Any]]) -> tuple[float | None, float]:
    """Return the sum of the losses of all steps that were logged, and how much of it is rounding.

    A logged loss is the mean of the steps since the one logged before.
    """
    total, covered = 0.0, 0
    for entry in entries:
        step, loss = whole_number(entry.get("step")), _number(entry.get("loss"))
        if step is not None and loss is not None and step > covered:
            if loss < 0:
                return None, 0.0  # sums of both signs show nothing
            total, covered = total + loss * (step - covered), step
    return (total, _ROUNDING * covered) if covered else (None, 0.0)


def _number(value: Any) -> float | None:
    try:
        return measure(value)
    except OddCellError:
        return None


TRAINER_STATE = Format(
    "a Hugging Face trainer_state.json",
    ("step",),
    _is_state,
    _read_state,
    has_clock=False,
    hints=frozenset({"units"}),
)
