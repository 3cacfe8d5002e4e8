"""Reading logs of epochs: Ultralytics' (and YOLOv5's) ``results.csv``, and the file of Keras' CSVLogger.

A row is an epoch, not a step: how many steps an epoch has is in neither file. Where a person says it, a row
is the last step of its epoch; where nobody does, its values are metrics, and there are no steps.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from thermograd.ingest.importers.recording import NO_VALUE, Format, Head, Hints, Recording
from thermograd.ingest.importers.steps.metric_names import ColumnNames
from thermograd.ingest.importers.steps.step_clock import (
    PassedTime,
    StepClock,
    command,
    given_step_time,
    started,
    step_clock,
)
from thermograd.ingest.importers.steps.step_rows import StepRows
from thermograd.ingest.importers.text_files import (
    LeftOutError,
    OddCellError,
    cells_of,
    number_or_text,
    read_cell,
    require_whole,
    text_lines,
    whole_number,
)
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.errors import ImportFormatError

_EPOCH, _STEP, _TIME = "epoch", "step", "time"
_SEPARATORS = (",", ";", "\t", "|")
_NO_STEPS = (
    "{} has epochs, not steps, so all its values are metrics; with --steps-per-epoch N each row is also the "
    "last step of its epoch, which stands for all steps of it"
)
_NOTHING = frozenset({"", "NA"})  # Keras writes NA for what an epoch did not log
_EVALUATED = ("metrics/", "val/", "lr/", "x/lr")


class Cells(NamedTuple):
    """The cells of a line, and what is between them."""

    cells: list[str]
    separator: str


def is_ultralytics(cells: list[str]) -> bool:
    """Whether columns are an epoch, the losses of the training, and those of the evaluation."""
    return cells[:1] == [_EPOCH] and all(
        any(cell.startswith(group) for cell in cells) for group in ("train/", _EVALUATED)
    )


def is_keras(cells: list[str]) -> bool:
    """Whether columns are an epoch, what is logged in order, and, in order, too, that of the validation."""
    logged = [cell for cell in cells[1:] if not cell.startswith("val_")]
    validated = [cell for cell in cells[1:] if cell.startswith("val_")]
    in_order = logged == sorted(logged) and validated == sorted(validated)
    return cells[:1] == [_EPOCH] and "loss" in logged and _STEP not in cells and in_order


def _header(is_header: Callable[[list[str]], bool], line: str) -> Cells | None:
    for separator in _SEPARATORS:
        cells = _split(line, separator)
        if len(cells) > 1 and len(set(cells)) == len(cells) and is_header(cells):
            return Cells(cells, separator)
    return None


def _split(line: str, separator: str) -> list[str]:
    if separator == ",":
        return cells_of(line)
    return [cell.strip().strip('"') for cell in line.rstrip("\r\n").split(separator)]


class EpochLog:
    """A log of epochs while it is read."""

    def __init__(self, recording: Recording, what: str, hints: Hints) -> None:
        self._recording, self._steps = recording, hints.steps_per_epoch
        names = ColumnNames(hints.columns)
        self._rows = StepRows(recording, names, (_STEP,))
        self._what, self._hints = what, hints
        self._clock: StepClock | PassedTime | None = None
        if hints.columns and hints.steps_per_epoch is None:
            raise ImportFormatError(
                f"{recording.path}: --column names the values of steps, but {what} has epochs; say how many "
                "steps an epoch has, with --steps-per-epoch"
            )
        self._first: int | None = None  # what it calls the first epoch

    def read(self, is_header: Callable[[list[str]], bool]) -> None:
        """Read the file: every row is counted, and kept or left out with a reason."""
        header: Cells | None = None
        for number, line in text_lines(self._recording.path):
            if not line.strip():
                continue
            again = _header(is_header, line)
            if header is None and again is not None:
                header = again
                self._clock = self._clock_of(header.cells)
                continue
            with self._recording.row(number, line):
                if again is not None or header is None:
                    raise LeftOutError("repeated header row" if again else "torn row: before the header")
                require_whole(line)
                self._row(number, header.cells, _split(line, header.separator))
        if self._steps is not None:
            self._rows.finish()
        else:
            self._recording.notes["steps"] = {"epochs": _NO_STEPS.format(self._what)}
        if isinstance(self._clock, PassedTime) and self._clock.doubts:
            self._recording.notes["times"] = {"time": "; ".join(self._clock.doubts)}

    def _clock_of(self, names: list[str]) -> StepClock | PassedTime:
        """Return the clock: of the file, where it says how much time had passed, else of so many steps."""
        path, hints, recording = self._recording.path, self._hints, self._recording
        recording.clock = "--started-at"
        if _TIME in names and given_step_time(hints) is None:
            began = started(path, self._what, hints, rows="epochs")
            recording.estimated = f"estimated: --started-at {hints.started_at} plus the seconds in its time"
            return PassedTime(began)
        clock = step_clock(path, self._what, hints, "--steps-per-epoch", rows="epochs")
        if self._steps is None:
            raise ImportFormatError(
                f"{path}: {self._what} does not say how many steps an epoch has; say so: "
                f"{command(path, hints, '--started-at', '--step-time', '--steps-per-epoch')}"
            )
        recording.estimated = clock.estimated
        return clock

    def _row(self, number: int, names: list[str], cells: list[str]) -> None:
        if len(cells) != len(names):
            raise LeftOutError("torn row: not as many cells as the header")
        row = dict(zip(names, cells, strict=True))
        epoch = whole_number(number_or_text(row[_EPOCH]))
        if epoch is None:
            raise LeftOutError("torn row: epoch is not a whole number >= 0", row[_EPOCH])
        if self._first is None:
            self._first = min(epoch, 1)
        steps = (epoch + 1 - self._first) * self._steps if self._steps is not None else None
        moment = self._moment(steps, row.get(_TIME, ""))
        values = {
            name: number_or_text(text) for name, text in row.items() if name != _TIME and text not in _NOTHING
        }
        if steps is not None:
            self._rows.put(number, moment, {_STEP: steps}, values)
        elif not self._recording.add_metrics(number, moment, None, values):
            raise LeftOutError(NO_VALUE)

    def _moment(self, steps: int | None, passed: str) -> Moment:
        if isinstance(self._clock, StepClock):
            return self._clock.after(steps or 0)
        assert self._clock is not None
        try:
            passed_s = read_cell("time", passed)
        except OddCellError:
            passed_s = None
        if passed_s is None:
            raise LeftOutError("torn row: time is no number of seconds", passed)
        return self._clock.moment(passed_s)


def _format(name: str, what: str, is_header: Callable[[list[str]], bool]) -> Format:
    def recognises(head: Head) -> bool:
        return any(_header(is_header, line) for line in head.lines[:1])

    def read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
        recording = Recording(paths, "step", name, hints=hints)
        EpochLog(recording, what, hints).read(is_header)
        return [recording]

    return Format(
        name, ("step",), recognises, read, has_clock=False, hints=frozenset({"units", "steps_per_epoch"})
    )


ULTRALYTICS = _format("an Ultralytics results.csv", "Ultralytics' results.csv", is_ultralytics)
KERAS = _format("a log of Keras' CSVLogger", "the log of Keras' CSVLogger", is_keras)
