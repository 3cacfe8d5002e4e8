"""The duty cycle: in cool blocks the device idles a while after each optimizer step.

No permission is needed and no number is touched: the same batches and the same updates come, only later.
"""

from collections.abc import Mapping
from statistics import median
from typing import Any, ClassVar, Self

from thermograd.ingest.experiment.arms.arm import Arm, Done, Scene
from thermograd.ingest.experiment.devices import wait_for_device
from thermograd.store.experiment.schedules import Assignment

_LONGEST_GAP_S = 30.0
_RECENT = 25  # steps, whose median tells a step from one with an evaluation in it
_MOST_MEDIANS = 3.0
_SURELY_STEP_S = 0.25  # below this it is no evaluation, but a step that waited for the machine
_MOST_AHEAD_S = 2.0  # of idling that was longer than asked, which later gaps are shorter by


class DutyArm(Arm):
    """Gaps that leave the device busy for a share `duty` of a cool block.

    A gap is ``busy * (1 / duty - 1)``, 30 s at most; what a sleep takes too long, which on a busy machine may
    be more than a short step, later gaps of the block are shorter by. In a job of several ranks `busy` is the
    typical step of the hot blocks, not the last one: a rank that waits for another's gap would answer with a
    longer one.
    """

    name: ClassVar[str] = "duty"
    design: ClassVar[str] = "switchback"

    def __init__(self, duty: float) -> None:
        self._duty = duty
        self._scene = Scene()
        self._is_cool = False
        self._done = Done()
        self._recent_s: list[float] = []
        self._owed_s = self._busy_s = self._waited_s = 0.0  # of the block; waited: after the step before

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the arm; of the options it takes `duty`."""
        return cls(float(options["duty"]))

    def options(self) -> dict[str, Any]:
        """Return the share."""
        return {"duty": self._duty}

    def prepare(self, scene: Scene) -> None:
        """Know how to rest."""
        self._scene = scene

    def begin(self, assignment: Assignment) -> None:
        """Let gaps come, or not."""
        self._is_cool = assignment.level == "cool"
        self._done = Done(idle_s=0.0)
        self._owed_s = self._busy_s = self._waited_s = 0.0

    def after_step(self, step: int, busy_s: float | None) -> None:
        """Idle, in a cool block, when the device has done all that it was given."""
        self._done.steps += 1
        if not self._is_cool:
            return
        before_s = self._waited_s
        self._waited_s = wait_for_device()  # else the queue runs through the gap
        if busy_s is not None:  # it holds the wait after the step before
            busy_s += self._waited_s - before_s
        typical_s = self._busy(busy_s)
        if typical_s is None:
            return
        self._busy_s += typical_s if self._scene.world_size > 1 or busy_s is None else busy_s
        self._owed_s += min(typical_s * (1 / self._duty - 1), _LONGEST_GAP_S)
        if self._owed_s > 0:
            rested_s = self._scene.rest(self._owed_s)
            self._done.idle_s = (self._done.idle_s or 0.0) + rested_s
            self._owed_s = max(self._owed_s - rested_s, -_MOST_AHEAD_S)

    def _busy(self, busy_s: float | None) -> float | None:
        """Return how long a step keeps the device busy."""
        if self._scene.world_size > 1:
            return self._scene.typical_step_s()
        if busy_s is None:
            return None
        self._recent_s = [*self._recent_s[1 - _RECENT :], busy_s]
        return min(busy_s, max(_MOST_MEDIANS * median(self._recent_s), _SURELY_STEP_S))

    def end(self) -> Done:
        """Let no gaps come; say of a cool block which share of it the device was busy."""
        done, self._done = self._done, Done()
        whole_s = self._busy_s + (done.idle_s or 0.0)
        if self._is_cool and whole_s > 0:
            done.detail = {"duty": round(self._busy_s / whole_s, 4)}
        self._is_cool = False
        return done
