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
from thermograd.store.experiment.schedules import Assignment, Schedule
from thermograd.store.failures import Guard
from thermograd.store.log.plain import said

_MOST_FAILURES = 3  # assignments in a row
_NOT_READY = "the arm was not ready yet"
Call = Callable[[], object]


class Following:
    """Applies the assignments of a schedule by an arm, whose failures end an assignment and nothing else.

    Parameters
    ----------
    mark
        Writes a mark: its kind, step, text and detail.
    apart
        What the arm does inside its block is not seen as training, and is no step's time.
    rank
        Rank 0 writes every mark, others only what they could not apply.

    Attributes
    ----------
    is_ready
        Whether the arm may act; blocks that pass before are assigned all the same, and marked as not applied.
    is_over
        Whether the arm has failed so often that it is not asked again.
    """

    def __init__(
        self,
        schedule: Schedule,
        arm: Arm,
        mark: Callable[..., object],
        apart: Callable[[], AbstractContextManager[object]],
        rank: int = 0,
    ) -> None:
        self.schedule, self.is_over, self.is_ready = schedule, False, True
        self._arm, self._mark, self._apart, self._rank = arm, mark, apart, rank
        self._guard = Guard("thermograd could not apply its experiment (%(error)s); training goes on")
        self._current: Assignment | None = None
        self._last_index = -1
        self._last_step: int | None = None
        self._steps = 0  # of the current assignment
        self._pulsed = False
        self._failed: str | None = None
        self._failures_in_a_row = 0
        self._is_first = True

    @property
    def is_touched(self) -> bool:
        """Whether steps are not as they would be: in a cool block."""
        return self._current is not None and self._current.level == "cool"

    @property
    def failures(self) -> int:
        """How often the arm has failed."""
        return self._guard.failures

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

    def close(self, why: str) -> None:
        """End what is under way, before its last step, and put everything back."""
        try:
            current = self._current
            if current is not None:
                self._end(self._last_step, f"{why} after {self._steps} of {_length(current)} steps")
        finally:
            self._close_arm()

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
        is_first, self._is_first = self._is_first, False
        if is_late:
            if is_first:
                self._last_index = following.index
                if self._rank == 0 and following.index == 0:  # of a later one an earlier process has done it
                    self._assign(following)
                self._tell(following, step, Done(failed="this rank came to the schedule late"))
            return
        self._last_index, self._current = following.index, following
        self._steps, self._pulsed, self._failed = 0, False, None
        if self._rank == 0:
            self._assign(following)
        self._try(lambda: self._arm.begin(following), is_apart=True)

    def _assign(self, assignment: Assignment) -> None:
        text, detail = assigned_text(self.schedule, assignment), assigned_detail(self.schedule, assignment)
        self._mark(INTERVENTION, assignment.first_step, text, detail)

    def _apply(self, current: Assignment, step: int, busy_s: float | None) -> None:
        self._steps += 1
        if self._failed is None:
            self._try(lambda: self._arm.after_step(step, busy_s), is_apart=False)
        if self._failed is None and not self._pulsed and step >= (current.pulse_step or step + 1):
            self._pulsed = True
            self._try(lambda: self._arm.pulse(current), is_apart=True)

    def _end(self, step: int | None, why: str | None = None) -> None:
        current, self._current = self._current, None
        assert current is not None
        done = Done(steps=self._steps)
        if self._failed is None:
            done = self._ended(done, current.level is not None)
        fault = self._failed or done.failed
        done.failed = fault or why
        if fault or self._rank == 0:  # rank 0 says for all that the run has ended
            self._tell(current, step, done)
        if fault != _NOT_READY:
            self._count(fault, step)

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

    def _tell(self, assignment: Assignment, step: int | None, done: Done) -> None:
        applied = Applied(assignment.index, done.steps, done.idle_s, done.failed, self._rank, done.detail)
        what = "block" if assignment.level is not None else "pulse"
        how = f"not wholly applied: {done.failed}" if done.failed else f"applied in {done.steps} steps"
        text = f"{self.schedule.arm}: {what} {assignment.index + 1} {how}"
        self._mark(INTERVENTION, step, text, applied_detail(self.schedule, applied))

    def _count(self, failed: str | None, step: int | None) -> None:
        """Ask an arm that fails again and again no more."""
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
        if self._failures_in_a_row >= _MOST_FAILURES:
            self._close_arm()
            text = f"the experiment ends: the arm {self._arm.name} failed {_MOST_FAILURES} times in a row"
            self._mark("note", step, text, {"experiment_ended": failed})


def _length(assignment: Assignment) -> Any:
    return assignment.last_step - assignment.first_step + 1
