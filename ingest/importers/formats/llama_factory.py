"""Reading LLaMA-Factory's ``trainer_log.jsonl``: steps with the time that had passed, to the second."""

import json
import re
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.recording import Format, Head, Hints, Recording
from thermograd.ingest.importers.steps.metric_names import ColumnNames
from thermograd.ingest.importers.steps.step_clock import (
    PassedTime,
    StepClock,
    given_step_time,
    started,
    step_clock,
)
from thermograd.ingest.importers.steps.step_rows import StepRows
from thermograd.ingest.importers.text_files import LeftOutError, require_whole, text_lines, whole_number
from thermograd.ingest.importers.timezones import Moment

_STEP = "current_steps"
_BEGINNING = re.compile(r'\{"current_steps": \d+, "total_steps": \d+')
_PASSED = re.compile(r"(?:(?P<days>\d{1,6}) days?, )?(?P<hours>\d{1,6}):(?P<minutes>\d\d):(?P<seconds>\d\d)")
_PROGRESS = frozenset({_STEP, "total_steps", "percentage", "elapsed_time", "remaining_time"})
_WHAT = "LLaMA-Factory's trainer_log.jsonl"


def _is_log(head: Head) -> bool:
    return bool(head.lines) and _BEGINNING.match(head.lines[0].strip()) is not None


def _read_log(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "step", LLAMA_FACTORY.name, hints=hints)
    clock = _Clock(paths[0], hints)
    recording.clock, recording.estimated = "--started-at", clock.estimated
    rows = StepRows(recording, ColumnNames(hints.columns), (_STEP,))
    for number, line in text_lines(recording.path):
        if line.strip():
            with recording.row(number, line):
                require_whole(line)
                _put(rows, clock, number, line)
    rows.finish()
    if clock.doubts:
        recording.notes["steps"] = {"time": "; ".join(clock.doubts)}
    return [recording]


def _put(rows: StepRows, clock: "_Clock", number: int, line: str) -> None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LeftOutError("torn row: no JSON") from error
    if not isinstance(entry, dict):
        raise LeftOutError("torn row: an entry that is not an object")
    step = whole_number(entry.get(_STEP))
    if step is None:
        raise LeftOutError(f"torn row: {_STEP} is not a whole number >= 0", entry.get(_STEP))
    moment = clock.moment(step, entry.get("elapsed_time"))
    values = {name: value for name, value in entry.items() if name not in _PROGRESS}
    rows.put(number, moment, {_STEP: step}, values)


class _Clock:
    """When its steps were: after the time that had passed, or after so many steps of a given length."""

    def __init__(self, path: Path, hints: Hints) -> None:
        self._steps: StepClock | None = None
        if given_step_time(hints) is not None:
            self._steps = step_clock(path, _WHAT, hints)
            self.estimated = self._steps.estimated
            return
        self._passed = PassedTime(started(path, _WHAT, hints))
        self.estimated = f"estimated: --started-at {hints.started_at} plus its elapsed_time, in whole seconds"

    def moment(self, step: int, elapsed: Any) -> Moment:
        """Return when a step was."""
        if self._steps is not None:
            return self._steps.after(step)
        match = _PASSED.fullmatch(elapsed) if isinstance(elapsed, str) else None
        if match is None:
            raise LeftOutError("torn row: elapsed_time is no time", elapsed)
        days, hours, minutes, seconds = (int(text or 0) for text in match.groups())
        return self._passed.moment(((days * 24 + hours) * 60 + minutes) * 60 + seconds)

    @property
    def doubts(self) -> list[str]:
        """What is not known of the times."""
        return self._passed.doubts if self._steps is None else []


LLAMA_FACTORY = Format(
    "LLaMA-Factory's trainer_log.jsonl",
    ("step",),
    _is_log,
    _read_log,
    has_clock=False,
    hints=frozenset({"units"}),
)
