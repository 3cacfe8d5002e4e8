"""One row a step out of values that a log has by tag, each at its own time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.recording import Recording, of_no_use
from thermograd.ingest.importers.steps.metric_names import (
    NO_SIGNAL,
    ColumnNames,
    choose_step,
    has_signal,
)
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment

_ANOTHER_NAME = "another name for a column that is taken from one with more rows"


@dataclass(slots=True)
class _Entry:
    """What was logged at one time."""

    path: Path
    line: int
    moment: Moment
    steps: Mapping[str, int]  # by the name of the counter
    values: dict[str, float | None]  # by tag


@dataclass(slots=True)
class _Row:
    first: _Entry
    step: int | None
    values: dict[str, float | None]  # by column
    entries: int = 1


@dataclass
class StepRows:
    """Collects what is logged and merges it into one row a step.

    A step that logs the same signal again (after a restart from a checkpoint) begins another row: both
    happened.
    """

    recording: Recording
    names: ColumnNames
    step_tags: Sequence[str]
    unknown: set[str] = field(default_factory=set)
    _entries: list[_Entry] = field(default_factory=list)

    def put(self, line: int, moment: Moment, steps: Mapping[str, int], values: Mapping[str, Any]) -> None:
        """Add what was logged at one time; unknown tags are remembered by name only."""
        known = {tag: column[0] for tag in values if (column := self.names.column_of(tag))}
        self.unknown.update(values.keys() - known.keys())
        if not known:
            raise LeftOutError(NO_SIGNAL)
        numbers = {tag: self.recording.value(column, values[tag]) for tag, column in known.items()}
        self._entries.append(_Entry(self.recording.account.reading, line, moment, steps, numbers))
        self.recording.account.hold()

    def finish(self) -> None:
        """Choose one tag for each column and give the rows to the recording."""
        frequency = Counter(tag for entry in self._entries for tag in entry.values)
        chosen = {tag: column for column, tag in self.names.chosen(frequency).items()}
        others = self.unknown | (frequency.keys() - chosen.keys())
        counters = {name for entry in self._entries for name in entry.steps}
        self.names.require(self.recording, others | chosen.keys() | counters)
        self.recording.columns = {column: tag for tag, column in chosen.items()}
        self.recording.ignored += of_no_use("name", others)
        for row in self._rows(chosen):
            self._give(row)

    def _rows(self, chosen: Mapping[str, str]) -> list[_Row]:
        signals = [entry for entry in self._entries if not chosen.keys().isdisjoint(entry.values)]
        counter = choose_step(self.step_tags, [entry.steps for entry in signals])
        rows: list[_Row] = []
        latest: dict[int, _Row] = {}
        for entry in self._entries:
            step = entry.steps.get(counter)
            values = {column: entry.values[tag] for tag, column in chosen.items() if tag in entry.values}
            row = latest.get(step) if step is not None else None
            if row is not None and values and (values.keys() - {"epoch"}).isdisjoint(row.values):
                row.values |= {column: value for column, value in values.items() if column not in row.values}
                row.entries += 1
                continue
            rows.append(_Row(entry, step, values))
            if step is not None and values:
                latest[step] = rows[-1]
        return rows

    def _give(self, row: _Row) -> None:
        account = self.recording.account
        account.reading = row.first.path
        with account.settle(row.entries, row.first.line, f"step {row.step}"):
            if row.step is None:
                raise LeftOutError("torn row: no step that is a whole number >= 0")
            if not has_signal(row.values):
                raise LeftOutError(NO_SIGNAL if row.values else _ANOTHER_NAME)
            self.recording.add(row.first.line, row.first.moment, {"step": row.step} | row.values)
