"""Reading the CSV of a chart of W&B's page: an axis, and of runs' metrics value, minimum and maximum.

The axis is a step, a time, or another metric. Only one of wall time says when things happened.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.csv_table import Table, csv_format
from thermograd.ingest.importers.hints.use import require_no_period
from thermograd.ingest.importers.recording import Hints, Recording
from thermograd.ingest.importers.steps.metric_names import STEP_TAGS, ColumnNames
from thermograd.ingest.importers.steps.step_clock import since, started, step_clock
from thermograd.ingest.importers.steps.step_rows import StepRows
from thermograd.ingest.importers.stores.runs import StoredRun, chosen_run
from thermograd.ingest.importers.stores.told import ToldOfRun
from thermograd.ingest.importers.text_files import LeftOutError, cells_of, text_lines, whole_number
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError
from thermograd.store.telling.quantities import counted

_BETWEEN = " - "  # a run's name and a metric's
_BOUNDS = ("__MIN", "__MAX")
_STEP = "_step"
_STEPS = frozenset({"step", _STEP, *STEP_TAGS})
_PASSED = ("relative time (process)", "relative time (wall)", "relative time")
_WALL = "wall time"
_WHAT = "the chart of W&B"
_NO_STEPS = "the chart has times and no steps: its values are metrics at their times"
_MEANS = (
    "values are means of several steps, as the chart has fewer points than the run; run.history() has all"
)


def _is_chart(cells: list[str]) -> bool:
    named = [cell for cell in cells[1:] if _BETWEEN in cell]
    bounds = {cell.removesuffix(end) for cell in named for end in _BOUNDS if cell.endswith(end)}
    return bool(bounds) and all(_BETWEEN in cell or not cell for cell in cells[1:])


def _runs_of(header: list[str]) -> list[StoredRun]:
    names = dict.fromkeys(cell.rpartition(_BETWEEN)[0] for cell in header[1:])
    return [StoredRun(name) for name in names if name]


def _runs(path: Path) -> list[StoredRun]:
    return _runs_of(cells_of(next(line for _, line in text_lines(path) if line.strip())))


class _Chart(Table):
    """The CSV of a chart while it is read."""

    kinds = ("step",)
    head_lines = 1
    has_clock = False
    hints = frozenset({"run"})

    def __init__(self, paths: tuple[Path, ...], format: str, hints: Hints) -> None:
        super().__init__(paths, format, hints)
        self._hints = hints
        self._rows = StepRows(self.recording, ColumnNames(hints.columns), (_STEP,))
        self._names: dict[int, str] = {}  # of the run's metrics, by the number of their columns
        self._bounds: dict[int, tuple[int, int]] = {}  # of minimum and maximum, by that of the value
        self._means = 0
        self._has_steps = False  # until a header has said so

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are an axis without a clock, and runs' metrics with their bounds."""
        return _is_chart(cells) and cells[0].lower() != _WALL

    def begin(self, number: int) -> None:
        """Find the run that is meant, its columns, and what the axis is."""
        columns = [cell.rpartition(_BETWEEN)[::2] for cell in self.header]
        values = [(n, *pair) for n, pair in enumerate(columns) if n and not pair[1].endswith(_BOUNDS)]
        run = chosen_run(self.recording.path, _runs_of(self.header), self._hints.run).id
        self.recording.told = ToldOfRun("W&B", name=run)
        self._names = {n: name for n, its, name in values if its == run}
        places = {cell: n for n, cell in enumerate(self.header)}
        for n in self._names:
            low, high = (places.get(self.header[n] + end) for end in _BOUNDS)
            if low is not None and high is not None:
                self._bounds[n] = low, high
        self._set_clock(self.header[0].lower().strip())

    def _set_clock(self, axis: str) -> None:
        path, recording = self.recording.path, self.recording
        self._has_steps = axis in _STEPS or _STEP in self._names.values()
        self._steps = step_clock(path, _WHAT, self._hints) if axis not in (*_PASSED, _WALL) else None
        self._began = started(path, _WHAT, self._hints) if axis in _PASSED else None
        if self._began is not None:
            require_no_period(path, self.header[0], self._hints)
        recording.clock = "--started-at" if axis != _WALL else self.header[0]
        if self._steps is not None:
            recording.estimated = self._steps.estimated
        elif self._began is not None:
            recording.estimated = f"estimated: --started-at {self._hints.started_at} plus {self.header[0]}"
        if not self._has_steps and self._steps is None:
            recording.notes["steps"] = {"step": _NO_STEPS}
        elif not self._has_steps:
            raise ImportFormatError(
                f"{path}: the axis of this chart of W&B, {self.header[0]}, is no step, and it has no "
                f"{_STEP}; export it with Step as its axis, or the history with the API's run.history()"
            )

    def row(self, number: int, cells: list[str]) -> tuple[()]:
        """Give what the run has at a point of the axis to its step."""
        self.recording.require_new(tuple(cells))
        values: dict[str, Any] = {name: cells[n] for n, name in self._names.items() if cells[n]}
        self._means += any(self._is_mean(n, cells) for n in self._names)
        step = values.pop(_STEP, None)
        if self.header[0].lower() in _STEPS:
            step = cells[0]
        whole = whole_number(_number(step)) if step is not None else None
        if not values:
            raise LeftOutError("a point at which this run has no value")
        if self._has_steps and whole is None:
            raise LeftOutError("torn row: step is not a whole number >= 0", step)
        moment = self._moment(cells[0], whole)
        if whole is None:
            self.recording.add_metrics(number, moment, None, values)
        else:
            self._rows.put(number, moment, {_STEP: whole}, values)
        return ()

    def _is_mean(self, n: int, cells: list[str]) -> bool:
        low, high = self._bounds.get(n, (n, n))
        return cells[low] != cells[high]

    def _moment(self, text: str, step: int | None) -> Moment:
        if self._steps is not None:
            return self._steps.after(step or 0)
        if self._began is not None:
            passed = _number(text)
            if not isinstance(passed, float) or passed < 0:
                raise LeftOutError(f"torn row: {self.header[0]} is no number of seconds", text)
            return since(self._began, passed)
        moment = read_time(text) or read_time(_seconds(text))
        if moment is None:
            raise LeftOutError(f"torn row: {self.header[0]} is no time", text)
        return moment

    def read(self) -> list[Recording]:
        """Read the file."""
        recordings = super().read()
        if self._has_steps:
            self._rows.finish()
        if self._means:
            self.recording.notes["values"] = {"mean": f"{counted(self._means, 'row')}: {_MEANS}"}
        return recordings


class _TimedChart(_Chart):
    """One whose axis is wall time."""

    has_clock = True

    @staticmethod
    def is_header(cells: list[str]) -> bool:
        """Whether the columns are wall time, and runs' metrics with their bounds."""
        return _is_chart(cells) and cells[0].lower() == _WALL


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _seconds(text: str) -> str:
    """Return milliseconds as seconds."""
    return f"{text[:-3]}.{text[-3:]}" if text.isdecimal() and len(text) == 13 else ""


WANDB_CHART = replace(csv_format("a chart of W&B (CSV)", _Chart), runs=_runs)
WANDB_CHART_TIMED = replace(csv_format("a chart of W&B over wall time (CSV)", _TimedChart), runs=_runs)
