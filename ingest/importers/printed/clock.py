"""When a printed step was: by its line's own time, or by the start of the training and the steps' lengths."""

import itertools
from collections import deque
from pathlib import Path
from statistics import median

from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.hints.units import TIME, unit_named
from thermograd.ingest.importers.printed.lines import Printed
from thermograd.ingest.importers.printed.programs import ELAPSED, TIME_PASSED, Program
from thermograd.ingest.importers.steps.step_clock import (
    PassedTime,
    given_step_time,
    is_positive,
    since,
    started,
    step_clock,
)
from thermograd.ingest.importers.text_files import LeftOutError
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.errors import ImportFormatError

_REMEMBERED = 31  # step times: of the steps between two lines, each took as long as their median
_NO_TIME = "a step without a time, in a log whose other lines have one"


class LineClock:
    """The clock of a log whose lines say when they were printed."""

    estimated: str | None = None
    word = "its lines' time"
    _latest: Moment | None = None

    def moment(self, printed: Printed) -> Moment:
        """Return when a step was."""
        if printed.moment is None:
            raise LeftOutError(_NO_TIME)
        self._latest = printed.moment
        return printed.moment

    def aside(self, printed: Printed) -> Moment:
        """Return when something beside the steps was: at its line's time, or that of the step before it."""
        moment = printed.moment or self._latest
        if moment is None:
            raise LeftOutError(_NO_TIME)
        return moment


class GivenClock:
    """The clock of a log that says nothing of times."""

    word = "--started-at"

    def __init__(self, path: Path, program: Program, hints: Hints) -> None:
        self._clock = step_clock(path, f"this log of {program.name}", hints)
        self.estimated = self._clock.estimated
        self._first, self._made = program.first_step, 0

    def moment(self, printed: Printed) -> Moment:
        """Return when a step was."""
        self._made = (printed.step or 0) + 1 - self._first
        return self._clock.after(self._made)

    def aside(self, _: Printed) -> Moment:
        """Return when something beside the steps was: after the step before it."""
        return self._clock.beside(self._made)


class StepTimeClock:
    """The clock of a log that says how long its steps took, and not when they were.

    A line says it of its own step or, as a mean, of all since the line before. The steps of which no line
    tells took as long as the median of those around them.
    """

    word = "--started-at"

    def __init__(self, path: Path, program: Program, hints: Hints, first: list[Printed]) -> None:
        self._began = started(path, f"this log of {program.name}", hints)
        self.estimated = f"estimated: --started-at {hints.started_at} plus the step times that the log has"
        self._program = program
        steps = [printed.step for printed in first if printed.step is not None]
        self._every = next((b - a for a, b in itertools.pairwise(steps) if b > a), 1)
        taken = [printed.columns.get("step_time_s") for printed in first]
        self._recent = deque((t for t in taken if t is not None and is_positive(t)), _REMEMBERED)
        self._passed_s = 0.0
        self._step: int | None = None

    def moment(self, printed: Printed) -> Moment:
        """Return when a step was; steps have to come in the order of the log."""
        step, own_s = printed.step or 0, printed.columns.get("step_time_s")
        if own_s is not None and is_positive(own_s):
            self._recent.append(own_s)
        else:
            own_s = None
        self._passed_s += self._took(self._steps_since(step), own_s)
        self._step = step
        return since(self._began, self._passed_s)

    def aside(self, _: Printed) -> Moment:
        """Return when something beside the steps was: after the step before it."""
        return since(self._began, self._passed_s)

    def _steps_since(self, step: int) -> int:
        before = self._program.first_step - 1 if self._step is None else self._step
        is_next = step > before and (self._step is not None or step - before <= self._every)
        return step - before if is_next else self._every

    def _took(self, steps: int, own_s: float | None) -> float:
        usual_s = median(self._recent)
        if own_s is None:
            return steps * usual_s
        return steps * own_s if self._program.is_mean else own_s + (steps - 1) * usual_s


class ElapsedClock:
    """The clock of a log that says how much time had passed since the training began."""

    word = "--started-at"

    def __init__(self, path: Path, program: Program, hints: Hints) -> None:
        self._passed = PassedTime(started(path, f"this log of {program.name}", hints))
        self._unit = unit_named(TIME, dict(hints.units).get(TIME, "s"))
        self.estimated = (
            f"estimated: --started-at {hints.started_at} plus the time that the log says had passed"
        )

    def moment(self, printed: Printed) -> Moment:
        """Return when a step was."""
        passed = printed.columns.get(TIME_PASSED)
        if passed is None or self._unit is None:
            return self._passed.moment(printed.columns.get(ELAPSED))
        return self._passed.moment(self._unit.ours(passed))

    aside = moment


Clock = LineClock | GivenClock | StepTimeClock | ElapsedClock


def clock_of(path: Path, program: Program, hints: Hints, first: list[Printed], is_timed: bool) -> Clock:
    """Return the clock of a log, by its first steps; refuse one that has none where nobody gave one."""
    said = dict(hints.units).get(TIME)
    if said is not None and (is_timed or all(TIME_PASSED not in printed.columns for printed in first)):
        raise ImportFormatError(
            f"{path}: --unit time={said} is for times that count from the start, as numbers, but the lines "
            "of this log have no such times"
        )
    if is_timed:
        return LineClock()
    if given_step_time(hints) is not None:
        return GivenClock(path, program, hints)
    if any(not {ELAPSED, TIME_PASSED}.isdisjoint(printed.columns) for printed in first):
        return ElapsedClock(path, program, hints)
    if any(is_positive(printed.columns.get("step_time_s")) for printed in first):
        return StepTimeClock(path, program, hints, first)
    return GivenClock(path, program, hints)
