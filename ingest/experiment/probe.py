"""The probe before a planned experiment: a hot and a cool stretch, then the plan of it."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from thermograd.ingest.experiment.arms.arm import Arm
from thermograd.ingest.experiment.schedule_file import PLAN, PROBE, document_of
from thermograd.store.experiment.schedules import Assignment, Level
from thermograd.store.files import write_json

PROBE_S = 60.0  # of each stretch without gaps: with a duty cycle the cool one takes 1 / duty times as long
_LONGEST_WAIT_S = 60.0  # for the plan
_LEVELS: tuple[Level, ...] = ("hot", "cool")


class Probe:
    """Two stretches of the same steps on every rank: no part of the schedule, told by `note` marks.

    Where the arm gives pulses, nothing is done in them: the noise is what they are for.
    """

    def __init__(
        self,
        arm: Arm,
        run_dir: Path,
        rank: int,
        note: Callable[..., object],
        apart: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._arm, self._run_dir, self._rank, self._note, self._apart = arm, run_dir, rank, note, apart
        self._stretches: list[Assignment] = []
        self._current: Assignment | None = None
        self._waits_since_ns: int | None = None
        self.is_begun = False

    @property
    def is_touched(self) -> bool:
        """Whether steps are not as they would be."""
        return self._current is not None and self._current.level == "cool"

    @property
    def is_done(self) -> bool:
        """Whether both stretches are over."""
        return self.is_begun and not self._stretches and self._current is None

    def begin(self, first_step: int, block_steps: int) -> None:
        """On rank 0: say, for all ranks, where the probe begins and how long its stretches are."""
        document = {"first_step": first_step, "block_steps": block_steps, "block_s": PROBE_S}
        write_json(self._run_dir / PROBE, document)
        self._follow(document)

    def look(self) -> None:
        """On the other ranks: look whether rank 0 has begun it."""
        if not self.is_begun and (document := document_of(self._run_dir, PROBE)) is not None:
            self._follow(document)

    def _follow(self, document: dict[str, Any]) -> None:
        first, length = int(document["first_step"]), int(document["block_steps"])
        self._stretches = [
            Assignment(-1, first + i * length, first + (i + 1) * length - 1, 0.0, level=level)
            for i, level in enumerate(_LEVELS)
        ]
        self.is_begun = True

    def step_ended(self, step: int, busy_s: float | None) -> None:
        """Take that a step has ended."""
        current = self._current
        if current is not None and step >= current.first_step and self._is_switchback:
            self._arm.after_step(step, busy_s)
        if current is not None and step >= current.last_step:
            self._end()
        if self._stretches and self._current is None and step + 1 >= self._stretches[0].first_step:
            self._begin_stretch(step)

    @property
    def _is_switchback(self) -> bool:
        return self._arm.design == "switchback"

    def _begin_stretch(self, step: int) -> None:
        stretch = self._current = self._stretches.pop(0)
        level = stretch.level if self._is_switchback else None
        steps = f"steps {stretch.first_step} to {stretch.last_step}"
        what = f"a {level} block" if level else "nothing is done"
        told = {"level": level, "first_step": stretch.first_step, "last_step": stretch.last_step}
        if self._rank == 0:
            self._note(f"probe of the experiment: {what}, {steps}", step=step, experiment_probe=told)
        if self._is_switchback:
            with self._apart():
                self._arm.begin(stretch)

    def _end(self) -> None:
        self._current = None
        if self._is_switchback:
            with self._apart():
                self._arm.end()

    def plan(self) -> dict[str, Any] | None:
        """Return what was planned of the probe; None while it is waited for, empty where none came."""
        if (document := document_of(self._run_dir, PLAN)) is not None:
            return document
        now_ns = time.monotonic_ns()
        if self._waits_since_ns is None:
            self._waits_since_ns = now_ns
        return {} if now_ns - self._waits_since_ns >= _LONGEST_WAIT_S * 1e9 else None
