"""Reading the Hugging Face Trainer's ``trainer_state.json``: steps without a clock.

The file says what was logged at which step, not when. Its times are estimated, from when the training
began and how long a step took, and the run says so; or it is refused.
"""

import re
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.recording import Format, Head, Hints, Recording, of_no_use
from thermograd.ingest.importers.steps.metric_names import EntryReader
from thermograd.ingest.importers.text_files import LeftOutError, json_of
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError


def _is_state(head: Head) -> bool:
    return head.text.startswith("{") and bool(re.search(r'"log_history"\s*:\s*\[', head.text))


def _read_state(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "step", TRAINER_STATE.name)
    recording.clock, recording.account.place = "--started-at", "entry"
    state = json_of(recording.path)
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise ImportFormatError(f"{recording.path}: log_history is not a list; allowed is a list of objects")
    began, step_time_s, recording.estimated = _clock(recording.path, history, hints)
    reader = EntryReader(recording, hints.columns)
    for number, entry in enumerate(history, start=1):
        with recording.row(number, entry):
            values = _row(reader, entry)
            moment = Moment(began.ns + round(values["step"] * step_time_s * 1e9), began.naive)
            recording.add(number, moment, values)
    reader.finish()
    recording.ignored += of_no_use("name", reader.unused)
    return [recording]


def _clock(path: Path, history: list[Any], hints: Hints) -> tuple[Moment, float, str]:
    """Return when step 0 was, how long a step took, and in words where that is from."""
    if hints.started_at is None:
        raise ImportFormatError(
            f"{path}: the Trainer's state has steps but no times, so it is no time series; give --started-at "
            "TIME to have them estimated, or import the TensorBoard or W&B log of the same training"
        )
    began = read_time(hints.started_at)
    if began is None:
        raise ImportFormatError(
            f"--started-at {hints.started_at!r} is no time; give one such as 2026-11-24T10:00:00Z"
        )
    if hints.step_time_s is not None:
        return began, hints.step_time_s, _estimate(hints, hints.step_time_s, "as --step-time says")
    for entry in reversed(history):
        logged = entry if isinstance(entry, dict) else {}
        runtime_s, step = logged.get("train_runtime"), logged.get("step")
        if isinstance(runtime_s, int | float) and isinstance(step, int) and runtime_s > 0 and step > 0:
            source = f"train_runtime, {runtime_s:g} s, over {step} steps"
            return began, runtime_s / step, _estimate(hints, runtime_s / step, source)
    raise ImportFormatError(
        f"{path}: there is no train_runtime in it to estimate a step's time from (only the state saved "
        "at the end of a training has one); give --step-time SECONDS"
    )


def _estimate(hints: Hints, step_time_s: float, source: str) -> str:
    return f"estimated: --started-at {hints.started_at} plus {step_time_s:.6g} s a step ({source})"


def _row(reader: EntryReader, entry: Any) -> dict[str, Any]:
    values = reader.values(entry)
    if values["loss"] is None and values["grad_norm"] is None:
        raise LeftOutError("evaluation or summary row (no loss and no grad_norm)")
    return values


TRAINER_STATE = Format(
    "a Hugging Face trainer_state.json", ("step",), _is_state, _read_state, has_clock=False
)
