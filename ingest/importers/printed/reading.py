"""Reading the log of a program: which it is, and its steps one after the other, in little memory."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.printed.bar import Bar
from thermograd.ingest.importers.printed.clock import Clock, clock_of
from thermograd.ingest.importers.printed.lines import Printed, pieces, read_detail, read_line
from thermograd.ingest.importers.printed.own_pattern import program_of, require_quick
from thermograd.ingest.importers.printed.programs import (
    ELAPSED,
    PROGRAMS,
    SKIPPED,
    SKIPPED_SO_FAR,
    Program,
)
from thermograd.ingest.importers.printed.ranks import (
    NearSteps,
    OtherRanks,
    copies_of,
    differs,
    is_stand_in,
    rank_of,
)
from thermograd.ingest.importers.recording import Head, Recording
from thermograd.ingest.importers.steps.metric_names import ColumnNames
from thermograd.ingest.importers.text_files import (
    LeftOutError,
    OddCellError,
    is_known,
    signal,
    text_lines,
)

_FIRST = 64  # steps that tell what a log is like
_SEVERAL = 3  # steps' lines without which a text is no log of a program
_MANY = 10  # or it is a page that shows some
_SIGNALS = frozenset({"loss", "grad_norm", "learning_rate", "step_time_s", "skipped", "tokens"})  # of a step
_OTHER_LINE = "a line that tells nothing of a step (a message, a warning, a progress bar)"
_OTHER_RANK = "a line of another rank than the one that is read"
_COPY = "a step's line of another process, without its rank"
_COPIES = (
    "each step is there {0} times, as if {0} processes printed without their ranks; the first line of each "
    "is read"
)
_DOUBLED = "most steps are there more than once, as if several processes printed without their ranks"
_STAND_IN = ", which stands for none (of a stage of a pipeline without a loss)"
_NO_STEP = "a step's line that does not say which step it is"
_NO_BAR = f"{_NO_STEP}, nor does a progress bar beside it (trainer_state.json does)"
_AGAIN = "a step that is printed again, with the same values"
_NO_VALUES = "a step's line without a value"
_BEFORE = "a line about step 0, before the first step"
_CUT = "torn row: the line has no end, its last number may be cut short"


class Kind(NamedTuple):
    """What a log is: the program that printed it, and whether its lines say when."""

    program: Program
    is_timed: bool


def lines_of(head: Head) -> list[str]:
    """Return the lines at the beginning and the end of a file, as they were on the screen."""
    return [piece for line in (*head.lines, *head.tail.split("\n")) for piece, _ in pieces(line + "\n")]


def kind_by_pattern(head: Head, pattern: str) -> Kind | None:
    """Return what a person's pattern finds in a text; None where it finds nothing."""
    program, lines = program_of(pattern), lines_of(head)
    require_quick(pattern, tuple(lines))
    entries = [printed for line in lines if (printed := read_line(program, line)) is not None]
    return Kind(program, _is_timed(entries)) if entries else None


def kind_of(head: Head) -> Kind | None:
    """Return what program's log a text is, by several of its lines; None for none."""
    lines = lines_of(head)
    found: list[tuple[int, Kind]] = []
    for program in PROGRAMS:
        entries = [
            p for p in (read_line(program, line) for line in lines) if p is not None and not p.is_aside
        ]
        if _is_several(program, entries, lines):
            found.append((len(entries), Kind(program, _is_timed(entries))))
    return max(found, key=lambda one: one[0])[1] if found else None


def _is_several(program: Program, entries: list[Printed], lines: list[str]) -> bool:
    different = len({(printed.step, tuple(printed.columns.items())) for printed in entries})
    if different >= _SEVERAL and not any(line.lstrip().startswith("```") for line in lines):
        return True
    if different != _SEVERAL - 1:
        return different >= _MANY
    return 2 * len(entries) >= sum(read_detail(program, line) is None for line in lines)


def _is_timed(entries: list[Printed]) -> bool:
    """Whether most steps have a time, on any of their lines."""
    steps = [
        [printed.moment is not None for printed in group]
        for step, group in itertools.groupby(entries, key=lambda printed: printed.step)
        if step is not None
    ] or [[printed.moment is not None] for printed in entries]
    return 2 * sum(map(any, steps)) > len(steps)


@dataclass(slots=True)
class _Step:
    """A step while its lines are read."""

    printed: Printed
    line: int
    bar_before: int | None = None  # what the progress bar had said, where no line had taken it yet
    lines: int = 1


def _as_metrics(printed: Printed) -> dict[str, float]:
    """Return all values of what is no step: of its columns only how far the training was, by our name."""
    return printed.metrics | {n: v for n, v in printed.columns.items() if not n.startswith("_")}


class PrintedLog:
    """A program's log while it is read."""

    def __init__(self, recording: Recording, program: Program, hints: Hints, is_timed: bool) -> None:
        self._names = ColumnNames(hints.columns)
        self._seen: set[str] = set()  # names that lines have, where a person says one
        self._recording, self._program = recording, program.with_columns(self._names.named)
        program = self._program
        first = list(itertools.islice(self._entries(), _FIRST))
        if program.counts_from_what_comes:
            self._program = program = replace(program, first_step=int(all(p.step != 0 for p in first)))
        self._rank = rank_of(program, first)
        own = [printed for printed in first if printed.rank in (None, self._rank)]
        self._clock: Clock = clock_of(recording.path, program, hints, own, is_timed)
        recording.estimated, recording.clock = self._clock.estimated, self._clock.word
        if program.note:
            recording.notes["steps"] = {"loss": f"{program.name}: {program.note}"}
        self._open: _Step | None = None
        self._is_below = False  # whether lines may belong to the open step
        self._last_step: int | None = None
        self._skipped_so_far = 0.0
        self._passed_s = 0.0
        self._bar = Bar(program)
        self._others, self._near = OtherRanks(), NearSteps()
        self._copies = copies_of(first) if self._rank is None else 1

    def _entries(self) -> Iterator[Printed]:
        for _, line in text_lines(self._recording.path, "latin-1"):
            for piece, _ in pieces(line):
                printed = read_line(self._program, piece)
                if printed is not None and not printed.is_aside:
                    yield printed

    def read(self) -> None:
        """Read the file: every line is counted, and kept, merged or left out with a reason."""
        for number, line in text_lines(self._recording.path, "latin-1"):
            self._bar.begin_line(line)
            for piece, is_whole in pieces(line):
                self._line(number, piece, is_whole)
            self._bar.end_line(line)
        self._close()
        for held in self._others.rest():
            self._give(_Step(held.printed, held.line))
        self._names.require(self._recording, self._seen)
        if self._copies > 1 or self._near.are_doubled:
            told = _COPIES.format(self._copies) if self._copies > 1 else _DOUBLED
            self._recording.notes.setdefault("steps", {})["step"] = f"{self._program.name}: {told}"

    def _line(self, number: int, piece: str, is_whole: bool) -> None:
        printed = read_line(self._program, piece)
        if self._bar.shows(piece) and self._open is not None and self._open.printed.step is None:
            self._open.printed = self._open.printed._replace(step=self._bar.step)
        if printed is not None and printed.step is None:
            printed = printed._replace(step=self._bar.step_in(piece))
        if printed is not None and (printed.is_aside or self._is_new(printed)):
            self._close()
        with self._recording.row(number, piece):
            if printed is None:
                self._detail(piece, is_whole)
                return
            self._is_below = False
            if not is_whole:
                raise LeftOutError(_CUT)
            if printed.is_aside:
                self._aside(number, printed)
            else:
                self._entry(number, printed)

    def _aside(self, number: int, printed: Printed) -> None:
        """Keep the values of an evaluation, at the step that it is of."""
        if printed.rank not in (None, self._rank):
            raise LeftOutError(_OTHER_RANK)
        known = (printed.step, self._bar.step, self._last_step)
        step = next((number for number in known if number is not None), None)
        moment = self._clock.aside(printed)
        if not self._recording.add_metrics(number, moment, step, _as_metrics(printed)):
            raise LeftOutError(_NO_VALUES)

    def _is_new(self, printed: Printed) -> bool:
        """Whether a line begins another step than the open one."""
        if self._open is None or printed.rank not in (None, self._rank):
            return False
        known = self._open.printed
        return printed.step != known.step or (self._copies == 1 and differs(known, printed))

    def _detail(self, piece: str, is_whole: bool) -> None:
        detail = read_detail(self._program, piece) if self._is_below else None
        if detail is None or self._open is None:
            self._is_below = False
            raise LeftOutError(_OTHER_LINE)
        if not is_whole:
            raise LeftOutError(_CUT)
        if self._names.named:
            self._note_seen(detail)
        self._add(detail)

    def _note_seen(self, printed: Printed) -> None:
        """Remember what a step's line calls its values."""
        groups = {name for name in printed.columns if name not in printed.names and not name.startswith("_")}
        self._seen.update(printed.names.values(), printed.metrics, groups, (name for name, _ in printed.odd))
        if printed.step is not None and "step" not in printed.names:
            self._seen.add("step")

    def _entry(self, number: int, printed: Printed) -> None:
        if self._names.named:
            self._note_seen(printed)
        if printed.step is None and self._program.bar is None:
            raise LeftOutError(_NO_STEP)
        if printed.step is not None and printed.step < self._program.first_step:
            raise LeftOutError(_BEFORE)
        if printed.rank not in (None, self._rank):
            if not self._others.hold(number, printed):
                raise LeftOutError(_OTHER_RANK)
            self._recording.account.hold()
            return
        if self._open is None:
            self._settle_others(printed)
            self._open = _Step(printed, number, self._bar.take())
            self._recording.account.hold()
        elif self._copies > 1:
            raise LeftOutError(_COPY)
        elif self._is_again(printed, self._open.printed):
            raise LeftOutError(_AGAIN)
        else:
            self._add(printed)
        self._is_below = True

    def _settle_others(self, printed: Printed) -> None:
        """Give the steps that other ranks alone have, before a step of the rank that is read."""
        if self._rank is None or printed.step is None:
            return
        alone, same = self._others.settle(printed.step, self._last_step)
        for held in alone:
            self._give(_Step(held.printed, held.line))
        if same is not None:
            with self._recording.account.settle(1, same.line, f"step {printed.step}"):
                raise LeftOutError(_OTHER_RANK)

    @staticmethod
    def _is_again(printed: Printed, known: Printed) -> bool:
        return (
            printed.columns.keys() <= known.columns.keys()
            and printed.metrics.items() <= known.metrics.items()
        )

    def _add(self, printed: Printed) -> None:
        step = self._open
        assert step is not None
        columns = printed.columns | step.printed.columns
        metrics = printed.metrics | step.printed.metrics
        moment = step.printed.moment or printed.moment
        names = printed.names | step.printed.names
        step.printed = step.printed._replace(columns=columns, metrics=metrics, names=names, moment=moment)
        step.lines += 1
        self._recording.account.hold()

    def _close(self) -> None:
        """Give the open step to the recording."""
        step, self._open = self._open, None
        if step is not None:
            self._give(step)

    def _give(self, step: _Step) -> None:
        printed = step.printed
        if printed.step is None:
            printed = printed._replace(step=step.bar_before)
        with self._recording.account.settle(step.lines, step.line, f"step {printed.step}"):
            if printed.step is None:
                raise LeftOutError(_NO_BAR)
            moment, columns = self._clock.moment(printed), self._columns(printed)
            is_step = not _SIGNALS.isdisjoint(name for name, value in columns.items() if value is not None)
            if is_step:
                self._recording.add(step.line, moment, {"step": printed.step} | columns)
                self._note_names(printed)
            metrics = printed.metrics if is_step else _as_metrics(printed)
            if not self._recording.add_metrics(step.line, moment, printed.step, metrics) and not is_step:
                raise LeftOutError(_NO_VALUES)
        self._last_step = printed.step
        if printed.step is not None:
            self._near.note(printed.step)

    def _note_names(self, printed: Printed) -> None:
        for column, name in printed.names.items():
            if not column.startswith("_"):
                self._recording.columns.setdefault(column, name)

    def _columns(self, printed: Printed) -> dict[str, float | bool | None]:
        for name, text in printed.odd:
            if is_known(text):
                self._recording.account.null(name, OddCellError(text))
        given = {n: v for n, v in printed.columns.items() if not n.startswith("_")}
        columns: dict[str, float | bool | None] = {n: self._value(n, v) for n, v in given.items()}
        if (skipped := self._skipped(printed)) is not None:
            columns["skipped"] = skipped
        if (
            ELAPSED in printed.columns
            and "step_time_s" not in columns
            and (step_time_s := self._step_time(printed)) is not None
        ):
            columns["step_time_s"] = step_time_s
        return columns

    def _value(self, name: str, value: float) -> float | None:
        convert = self._recording.units.get(name)
        try:
            if name == "loss" and is_stand_in(self._program, value):
                raise OddCellError(value, _STAND_IN)
            return signal(name, value if convert is None else convert(value))
        except OddCellError as error:
            self._recording.account.null(name, error)
            return None

    def _skipped(self, printed: Printed) -> bool | None:
        """Return whether the step was skipped, where the number of those since the last line says that."""
        if (own := printed.columns.get("skipped")) is not None:
            return own > 0
        count = printed.columns.get(SKIPPED)
        if (so_far := printed.columns.get(SKIPPED_SO_FAR)) is not None:
            count, self._skipped_so_far = so_far - self._skipped_so_far, so_far
        steps = self._steps_since(printed)
        if count is None or steps < 1 or 0 < count < steps:
            return None
        return count > 0

    def _step_time(self, printed: Printed) -> float | None:
        """Return how long a step took: the mean since the last line, where only the passed time is known."""
        passed_s = printed.columns.get(ELAPSED, math.nan)
        before_s, self._passed_s = self._passed_s, passed_s
        steps = self._steps_since(printed)
        return round((passed_s - before_s) / steps, 9) if steps > 0 and passed_s > before_s else None

    def _steps_since(self, printed: Printed) -> int:
        before = self._program.first_step - 1 if self._last_step is None else self._last_step
        return (printed.step or 0) - before
