"""One row a step out of values that a log has by tag, each at its own time; all others are metrics."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from thermograd.ingest.importers.recording import Recording
from thermograd.ingest.importers.rows.metric_values import NO_STEP, NOT_KEPT
from thermograd.ingest.importers.steps.entries import BATCH_ENTRIES, Entries, Entry, Numbers
from thermograd.ingest.importers.steps.merging import first_places
from thermograd.ingest.importers.steps.metric_names import (
    NO_SIGNAL,
    ColumnNames,
    choose_step,
    has_signal,
)
from thermograd.ingest.importers.text_files import LeftOutError, signal, whole_number
from thermograd.ingest.importers.timezones import Moment

_MOST_LAYOUTS = 1024
_PART = 1 << 16
_Steps = NDArray[np.signedinteger]


class _Layout(NamedTuple):
    """What the names of a row are."""

    known: dict[str, str]  # the column that each is about
    others: tuple[str, ...]
    rank: str | None


@dataclass(slots=True)
class _Row:
    entries: list[Entry]
    step: int | None
    values: dict[str, float | None]  # by column


@dataclass
class StepRows:
    """Collects what is logged and merges it into one row a step; what is no column is a metric.

    A step that logs the same signal again (after a restart from a checkpoint) begins another row: both
    happened. Which name is taken for a column is chosen once all have come: until then the entries wait,
    beyond some size on the disk.
    """

    recording: Recording
    names: ColumnNames
    step_tags: Sequence[str]
    _entries: Entries = field(default_factory=Entries)
    _counters: dict[str, Numbers] = field(default_factory=dict)  # of each entry, NO_STEP where unknown
    _layouts: dict[tuple[str, ...], _Layout] = field(default_factory=dict)
    _count: int = 0
    repeated: int = 0  # rows that have the step and rank of the one before
    _last: tuple[int | None, float | None] = (None, None)

    @property
    def unknown(self) -> set[str]:
        """The names of what holds no values."""
        return self.recording.metrics.no_values

    def counters_in(self, values: Mapping[str, Any]) -> dict[str, int]:
        """Return what a row counts steps by: those of `step_tags` that are whole numbers in it."""
        found = {tag: whole_number(values.get(tag)) for tag in self.step_tags}
        return {tag: count for tag, count in found.items() if count is not None}

    def put(self, line: int, moment: Moment, steps: Mapping[str, int], values: Mapping[str, Any]) -> None:
        """Add what was logged at one time: signals that become steps, and anything else by name."""
        known, others, rank_tag = self._layout(tuple(values))
        named = {tag: values[tag] for tag in others}
        rank = self.recording.value("rank", values[rank_tag]) if rank_tag is not None else None
        whole = None if rank is None else int(rank)
        if not self.recording.add_metrics(line, moment, self._count, named, whole) and not known:
            raise LeftOutError(NO_SIGNAL)
        if known:
            numbers = {tag: self.recording.value(column, values[tag]) for tag, column in known.items()}
            self._entries.add(self._count, self.recording.account.reading, line, moment, numbers)
            self.recording.account.hold()
        self._note(steps)

    def _layout(self, tags: tuple[str, ...]) -> _Layout:
        """Return what the names of a row are; rows have few sets of names."""
        layout = self._layouts.get(tags)
        if layout is None:
            known = {tag: column[0] for tag in tags if (column := self.names.column_of(tag))}
            others = tuple(tag for tag in tags if tag not in known)
            rank = next((tag for tag, column in known.items() if column == "rank"), None)
            layout = _Layout(known if len(known) > (rank is not None) else {}, others, rank)
            if len(self._layouts) < _MOST_LAYOUTS:
                self._layouts[tags] = layout
        return layout

    def _note(self, steps: Mapping[str, int]) -> None:
        for tag in steps.keys() - self._counters.keys():
            self._counters[tag] = Numbers(NO_STEP, self._count)
        for tag, numbers in self._counters.items():
            numbers.append(steps.get(tag, NO_STEP))
        self._count += 1

    def finish(self) -> None:
        """Choose one tag for each column and give the rows to the recording."""
        frequency = self._entries.frequency()
        chosen = {tag: column for column, tag in self.names.chosen(frequency).items()}
        metrics = self.recording.metrics
        names = frequency.keys() | metrics.counts().keys() | metrics.no_values | self._counters.keys()
        self.names.require(self.recording, names)
        self.recording.columns = {column: tag for tag, column in chosen.items()}
        own = self._own_steps(chosen)
        steps = _latest(own)
        for row in self._rows(chosen, own):
            self._give(row, chosen, steps)
        self._entries.close()
        metrics.put_at(steps)

    def _own_steps(self, chosen: Mapping[str, str]) -> _Steps:
        """Return what the counter of the steps says of every entry, NO_STEP where it says nothing."""
        signals = self._entries.numbers[self._have(chosen)]
        counts = {tag: self._counters[tag].all()[signals] for tag in self.step_tags if tag in self._counters}
        counter = choose_step(
            self.step_tags, {tag: n[n != NO_STEP] for tag, n in counts.items()}, len(signals)
        )
        return (self._counters.get(counter) or Numbers(NO_STEP, self._count)).all()

    def _have(self, chosen: Mapping[str, str]) -> NDArray[np.bool_]:
        """Return which of the held entries have a tag that was chosen."""
        have = [not chosen.keys().isdisjoint(tags) for tags in self._entries.layouts]
        of_entries: NDArray[np.bool_] = np.array(have, bool)[self._entries.codes]
        return of_entries

    def _rows(self, chosen: Mapping[str, str], own: _Steps) -> Iterator[_Row]:
        """Yield the rows in the order of their first entries."""
        for entries in self._entries_of_rows(self._first_places(chosen, own)):
            step: int | None = int(own[entries[0].number])
            row = _Row(entries, None if step == NO_STEP else step, {})
            for entry in entries:
                for tag, column in chosen.items():
                    if tag in entry.values and column not in row.values:
                        row.values[column] = signal(column, entry.values[tag])
            yield row

    def _first_places(self, chosen: Mapping[str, str], own: _Steps) -> _Steps:
        """Return the place of the first entry of each entry's row."""
        once = [tag for tag, column in chosen.items() if column != "epoch"]
        bits = [
            sum(1 << bit for bit, tag in enumerate(once) if tag in tags) for tags in self._entries.layouts
        ]
        steps, codes = own[self._entries.numbers], self._entries.codes
        masks = np.array(bits, np.int32)[codes]
        return first_places(steps, masks, self._have(chosen) & (steps != NO_STEP))

    def _entries_of_rows(self, first: _Steps) -> Iterator[list[Entry]]:
        if not (first[1:] <= first[:-1]).any():  # each is a row of its own
            for begin in range(0, len(first), BATCH_ENTRIES):
                places = np.arange(begin, min(begin + BATCH_ENTRIES, len(first)))
                yield from ([entry] for entry in self._entries.read(places))
            return
        order = np.argsort(first, kind="stable")
        ordered = first[order]
        for begin in range(0, len(first), BATCH_ENTRIES):
            part = slice(*np.searchsorted(ordered, [begin, begin + BATCH_ENTRIES]).tolist())
            edges = np.flatnonzero(np.diff(ordered[part], prepend=-1, append=-1)).tolist()
            entries = self._entries.read(order[part])
            yield from (entries[a:b] for a, b in itertools.pairwise(edges))

    def _give(self, row: _Row, chosen: Mapping[str, str], steps: _Steps) -> None:
        account, first = self.recording.account, row.entries[0]
        account.reading = first.path
        is_step = has_signal(row.values)
        with account.settle(len(row.entries), first.line, f"step {row.step}"):
            if row.step is None and is_step:
                steps[[entry.number for entry in row.entries]] = NOT_KEPT
                raise LeftOutError("torn row: no step that is a whole number >= 0")
            if is_step:
                now = row.step, row.values.get("rank")
                self.repeated, self._last = self.repeated + (now == self._last), now
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


def _latest(own: _Steps) -> _Steps:
    """Return the step of every entry: its own, or the last that was logged before it."""
    steps, last = own.copy(), NO_STEP
    for begin in range(0, len(own), _PART):
        part = steps[begin : begin + _PART]
        latest = np.maximum.accumulate(np.where(part == NO_STEP, -1, np.arange(len(part))))
        part[:] = np.where(latest < 0, last, part[latest])
        last = part[-1]
    return steps
