"""A schedule, followed step by step: each assignment marked, applied, ended and marked again."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from thermograd.ingest.experiment.arms.arm import Arm, Done
from thermograd.store.experiment.marks import (
    INTERVENTION,
    Applied,
    applied_detail,
    assigned_detail,
    assigned_text,
)
from thermograd.store.experiment.schedules import Assignment, Pulses, Schedule
from thermograd.store.failures import Guard, warn
from thermograd.store.log.plain import said

_MOST_FAILURES = 3  # assignments in a row
_NOT_READY = "the arm was not ready yet"
_NOT_LOGGED = "its mark could not be written, so that nothing was done"
_JUMPED = "the step numbers jumped over it"
Call = Callable[[], object]


class Following:
    """Applies the assignments of a schedule by an arm, whose failures end an assignment and nothing else.

    Parameters
    ----------
    mark
        Writes a mark: its kind, step, text and detail; False where it is not in the log.
    apart
        What the arm does inside its block is not seen as training, and is no step's time.
    rank
        Rank 0 writes every mark, others only what they could not apply.
    is_losing
        Whether this process cannot write its log just now: then nothing is applied on any rank that knows.

    Attributes
    ----------
    is_ready
        Whether the arm may act; blocks that pass before are assigned all the same, and marked as not applied.
    is_over
        Whether the arm has failed so often that it is not asked again.
    last_step
        Of the training, where it is known: nothing begins after it.
    """

    def __init__(
        self,
        schedule: Schedule,
        arm: Arm,
        mark: Callable[..., object],
        apart: Callable[[], AbstractContextManager[object]],
        rank: int = 0,
        is_losing: Callable[[], bool] = lambda: False,
    ) -> None:
        self.schedule, self.is_over, self.is_ready = schedule, False, True
        self.last_step: int | None = None
        self._is_losing = is_losing
        self._unlogged: list[Assignment] = []  # what the log does not know of
        self._unlogged_in_a_row = 0
        self._arm, self._mark, self._apart, self._rank = arm, mark, apart, rank
        self._guard = Guard("thermograd could not apply its experiment (%(error)s); training goes on")
        self._current: Assignment | None = None
        self._last_index = -1
        self._last_step: int | None = None
        self._steps = 0  # of the current assignment
        self._pulsed = False
        self._failed: str | None = None
        self._failures_in_a_row: dict[str | None, int] = {}  # by level, one may fail alone; None: any
        self._is_first = True

    @property
    def is_touched(self) -> bool:
        """Whether steps are not as they would be: in a cool block."""
        return self._current is not None and self._current.level == "cool"

    def step_ended(self, step: int, busy_s: float | None) -> None:
        """Take that a step has ended, which took `busy_s` without our gaps."""
        before, self._last_step = self._last_step, step
        current = self._current
        if current is not None and not current.first_step - 1 <= step <= current.last_step:
            self._end(step, None if step > current.last_step else "the step numbers went back")
        elif current is not None and step >= current.first_step:
            self._apply(current, step, busy_s)
            if step >= current.last_step and self._current is not None:
                self._end(step)
        if self._current is None and not self.is_over:
            self._begin_next(step, before)

    def finish(self, step: int) -> None:
        """Take the training's last step, after which nothing is done any more."""
        current, self._last_step = self._current, step
        if current is not None and current.first_step <= step:
            self._steps += 1
            if step == current.last_step:
                self._end(step)

    def close(self, why: str) -> None:
        """End what is under way, before its last step, and put everything back."""
        try:
            current = self._current
            if current is not None:
                how = f"after {self._steps} of {_length(current)} steps"
                self._end(self._last_step, f"{why} {how}" if self._steps else f"not begun: {why}")
            self.tell_unlogged()
        finally:
            self._close_arm()

    def tell_unlogged(self) -> None:
        """Say that nothing was done in what the log does not know of, where it takes it now."""
        while self._unlogged:
            if not self._tell(self._unlogged[0], self._last_step, Done(failed=_NOT_LOGGED)):
                return
            del self._unlogged[0]

    def _close_arm(self) -> None:
        if not self.is_over:
            self.is_over = True
            with self._guard, self._apart():
                self._arm.close()

    def _begin_next(self, step: int, before: int | None) -> None:
        """Begin the assignment whose first step comes next, or has come since the step before."""
        following = self.schedule.at(step + 1)
        if following is None or following.index <= self._last_index:
            return
        is_late = following.first_step <= (before if before is not None else step)
        if self.last_step is not None and following.first_step > self.last_step:
            return
        is_first, self._is_first = self._is_first, False
        if is_late:
            if is_first:
                self._last_index = following.index
                if self._rank == 0 and following.index == 0:  # of a later one an earlier process has done it
                    self._assign(following)
                self._tell(following, step, Done(failed="this rank came to the schedule late"))
            return
        self._last_index = following.index
        if not self._is_logged(following):
            self._leave_out(following, step)
            return
        self._unlogged_in_a_row = 0
        self.tell_unlogged()
        self._current = following
        self._steps, self._pulsed, self._failed = 0, False, None
        self._try(lambda: self._arm.begin(following), is_apart=True)

    def _is_logged(self, following: Assignment) -> bool:
        """Return whether an assignment is in the log, by rank 0's mark; another rank knows of its own log."""
        return self._assign(following) if self._rank == 0 else not self._is_losing()

    def _assign(self, assignment: Assignment) -> bool:
        text, detail = assigned_text(self.schedule, assignment), assigned_detail(self.schedule, assignment)
        return self._mark(INTERVENTION, assignment.first_step, text, detail) is not False

    def _leave_out(self, following: Assignment, step: int) -> None:
        """Do nothing in an assignment that the log does not know of; after some of them, in none any more."""
        self._unlogged.append(following)
        self._unlogged_in_a_row += 1
        if self._unlogged_in_a_row >= _MOST_FAILURES:
            self._close_arm()
            text = f"the experiment ends: {_MOST_FAILURES} assignments in a row could not be logged"
            warn("thermograd: %s, and nothing is done that the log does not hold", text)
            self._mark("note", step, text, {"experiment_ended": _NOT_LOGGED})

    def _apply(self, current: Assignment, step: int, busy_s: float | None) -> None:
        self._steps += 1
        if self._failed is None:
            self._try(lambda: self._arm.after_step(step, busy_s), is_apart=False)
        if self._failed is None and not self._pulsed and self._is_due(current, step):
            self._pulsed = True
            self._try(lambda: self._arm.pulse(current), is_apart=True)

    def _is_due(self, current: Assignment, step: int) -> bool:
        """Return whether a pulse belongs after this step: in its bin, where the drawn one is jumped over."""
        design = self.schedule.design
        if current.pulse_step is None or not isinstance(design, Pulses):
            return False
        return current.pulse_step <= step < current.pulse_step + design.bin_steps

    def _end(self, step: int | None, why: str | None = None) -> None:
        current, self._current = self._current, None
        assert current is not None
        done = Done(steps=self._steps)
        if self._failed is None:
            done = self._ended(done, current.level is not None)
        fault = self._failed or done.failed
        if why is None and current.pulse_step is not None and not self._pulsed:
            why = _JUMPED
        done.failed = fault or why
        if fault or self._rank == 0:  # rank 0 says for all that the run has ended
            self._tell(current, step, done)
        if fault != _NOT_READY:
            self._count(current.level, fault, step)

    def _ended(self, done: Done, is_block: bool) -> Done:
        """Return what the arm says that it did."""
        told: list[Done] = []
        self._try(lambda: told.append(self._arm.end()), is_apart=True)
        if told:
            done = told[0]
            if is_block:  # of a pulse only the arm knows in which steps it was
                done.steps = done.steps or self._steps
        return done

    def _try(self, call: Call, is_apart: bool) -> None:
        """Let the arm act; where it fails, it is told to end the assignment, and what failed is kept."""
        if not self.is_ready:
            self._failed = _NOT_READY
            return
        try:
            if is_apart:
                with self._apart():
                    call()
            else:
                call()
        except Exception as error:  # an arm's fault is a counted event, the training goes on
            if not self._guard.keep(error, self._arm.name):
                raise
            self._failed = said(error, str)
            with self._guard, self._apart():
                self._arm.end()

    def _tell(self, assignment: Assignment, step: int | None, done: Done) -> bool:
        """Mark what was done; return whether it is in the log."""
        applied = Applied(assignment.index, done.steps, done.idle_s, done.failed, self._rank, done.detail)
        what = "block" if assignment.level is not None else "pulse"
        how = f"not wholly applied: {done.failed}" if done.failed else f"applied in {done.steps} steps"
        text = f"{self.schedule.arm}: {what} {assignment.index + 1} {how}"
        return self._mark(INTERVENTION, step, text, applied_detail(self.schedule, applied)) is not False

    def _count(self, level: str | None, failed: str | None, step: int | None) -> None:
        """Ask an arm that fails again and again no more."""
        for key in {level, None}:
            self._failures_in_a_row[key] = self._failures_in_a_row.get(key, 0) + 1 if failed else 0
        if max(self._failures_in_a_row.values()) >= _MOST_FAILURES:
            self._close_arm()
            where = "" if self._failures_in_a_row[None] >= _MOST_FAILURES else f" in {level} blocks"
            often = f"{_MOST_FAILURES} times in a row{where}"
            text = f"the experiment ends: the arm {self._arm.name} failed {often}"
            warn("thermograd: %s", text)
            self._mark("note", step, text, {"experiment_ended": failed})


def _length(assignment: Assignment) -> Any:
    return assignment.last_step - assignment.first_step + 1
