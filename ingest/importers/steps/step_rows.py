"""One row a step out of values that a log has by tag, each at its own time; all others are metrics."""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thermograd.ingest.importers.metric_values import NO_STEP, NOT_KEPT
from thermograd.ingest.importers.recording import Recording
from thermograd.ingest.importers.steps.metric_names import (
    NO_SIGNAL,
    ColumnNames,
    choose_step,
    has_signal,
)
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment


@dataclass(slots=True)
class _Entry:
    """What was logged at one time, of the steps' columns."""

    number: int  # of all that were logged
    path: Path
    line: int
    moment: Moment
    steps: Mapping[str, int]  # by the name of the counter
    values: dict[str, float | None]  # by tag


@dataclass(slots=True)
class _Row:
    entries: list[_Entry]
    step: int | None
    values: dict[str, float | None]  # by column


@dataclass
class StepRows:
    """Collects what is logged and merges it into one row a step; what is no column is a metric.

    A step that logs the same signal again (after a restart from a checkpoint) begins another row: both
    happened.
    """

    recording: Recording
    names: ColumnNames
    step_tags: Sequence[str]
    _entries: list[_Entry] = field(default_factory=list)
    _counters: dict[str, "array[int]"] = field(default_factory=dict)  # of each entry, NO_STEP where unknown
    _count: int = 0

    @property
    def unknown(self) -> set[str]:
        """The names of what holds no values."""
        return self.recording.metrics.no_values

    def put(self, line: int, moment: Moment, steps: Mapping[str, int], values: Mapping[str, Any]) -> None:
        """Add what was logged at one time: signals that become steps, and anything else by name."""
        known = {tag: column[0] for tag in values if (column := self.names.column_of(tag))}
        others = {tag: value for tag, value in values.items() if tag not in known}
        if not self.recording.add_metrics(line, moment, self._count, others) and not known:
            raise LeftOutError(NO_SIGNAL)
        if known:
            numbers = {tag: self.recording.value(column, values[tag]) for tag, column in known.items()}
            reading = self.recording.account.reading
            self._entries.append(_Entry(self._count, reading, line, moment, steps, numbers))
            self.recording.account.hold()
        self._note(steps)

    def _note(self, steps: Mapping[str, int]) -> None:
        for tag in steps.keys() - self._counters.keys():
            self._counters[tag] = array("q", [NO_STEP]) * self._count
        for tag, numbers in self._counters.items():
            numbers.append(steps.get(tag, NO_STEP))
        self._count += 1

    def finish(self) -> None:
        """Choose one tag for each column and give the rows to the recording."""
        frequency = Counter(tag for entry in self._entries for tag in entry.values)
        chosen = {tag: column for column, tag in self.names.chosen(frequency).items()}
        metrics = self.recording.metrics
        names = frequency.keys() | metrics.counts().keys() | metrics.no_values | self._counters.keys()
        self.names.require(self.recording, names)
        self.recording.columns = {column: tag for tag, column in chosen.items()}
        signals = [entry for entry in self._entries if not chosen.keys().isdisjoint(entry.values)]
        counter = choose_step(self.step_tags, [entry.steps for entry in signals])
        steps = self._steps(counter)
        for row in self._rows(chosen, counter):
            self._give(row, chosen, steps)
        metrics.put_at(steps)

    def _steps(self, counter: str) -> NDArray[np.int64]:
        """Return the step of every entry: its own, or the last that was logged before it."""
        own = np.frombuffer(self._counters.get(counter, array("q", [NO_STEP]) * self._count), np.int64)
        latest = np.maximum.accumulate(np.where(own == NO_STEP, -1, np.arange(len(own))))
        return np.where(latest < 0, NO_STEP, own[latest])

    def _rows(self, chosen: Mapping[str, str], counter: str) -> list[_Row]:
        rows: list[_Row] = []
        latest: dict[int, _Row] = {}
        for entry in self._entries:
            step = entry.steps.get(counter)
            values = {column: entry.values[tag] for tag, column in chosen.items() if tag in entry.values}
            row = latest.get(step) if step is not None else None
            if row is not None and values and (values.keys() - {"epoch"}).isdisjoint(row.values):
                row.values |= {column: value for column, value in values.items() if column not in row.values}
                row.entries.append(entry)
                continue
            rows.append(_Row([entry], step, values))
            if step is not None and values:
                latest[step] = rows[-1]
        return rows

    def _give(self, row: _Row, chosen: Mapping[str, str], steps: NDArray[np.int64]) -> None:
        account, first = self.recording.account, row.entries[0]
        account.reading = first.path
        is_step = has_signal(row.values)
        with account.settle(len(row.entries), first.line, f"step {row.step}"):
            if row.step is None and is_step:
                steps[[entry.number for entry in row.entries]] = NOT_KEPT
                raise LeftOutError("torn row: no step that is a whole number >= 0")
            if is_step:
                self.recording.add(first.line, first.moment, {"step": row.step} | row.values)
            if not self._give_others(row, chosen if is_step else {}) and not is_step:
                raise LeftOutError(NO_SIGNAL)

    def _give_others(self, row: _Row, chosen: Mapping[str, str]) -> bool:
        """Give what a row's entries have under names that no column is taken from, as metrics."""
        given = False
        for entry in row.entries:
            others = {tag: value for tag, value in entry.values.items() if tag not in chosen}
            given |= bool(self.recording.add_metrics(entry.line, entry.moment, entry.number, others))
        return given
