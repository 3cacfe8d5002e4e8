"""Learning pulses: another learning rate for one step. The one arm that changes what is trained."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Self

from thermograd.ingest.experiment.arms.arm import Arm, Done, Refusal, Scene
from thermograd.store.experiment.schedules import Assignment
from thermograd.store.failures import warn

SAID = "THERMOGRAD_EXPERIMENT_SAID"  # 1: whoever started the training has said what is changed in it
FACTOR = 2.0


def changes_text(factor: float) -> str:
    """Return what learning pulses change, loudly."""
    return (
        f"THIS CHANGES THE TRAINING: the learning rate is multiplied by {factor:g} in one step of every "
        "stratum. Use its weights for nothing else."
    )


class LearningRateArm(Arm):
    """Multiplies the learning rate of every group for the one step that follows the pulse.

    Nobody but the optimizer's own step sees it: the very number is put back when the step has ended, before a
    scheduler looks; where the step raises, as soon as that exception has been dealt with. Learning rates that
    live in tensors change in place.

    Parameters
    ----------
    factor
        By which the learning rate is multiplied; 0 leaves out one update, as far as it is the rate's.
    """

    name: ClassVar[str] = "lr"
    design: ClassVar[str] = "pulses"
    sees_optimizers: ClassVar[bool] = True

    def __init__(self, factor: float = FACTOR) -> None:
        self._factor = factor
        self._pulse_step: int | None = None  # after which the step comes
        self._given: set[int] = set()  # ids of optimizers
        self._changed: dict[int, list[tuple[dict[str, Any], Any]]] = {}
        self._hooked: dict[int, list[Any]] = {}
        self._done = Done()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the arm for `factor`, a number from 0 to 100 other than 1."""
        factor = options.get("factor", FACTOR)
        is_number = isinstance(factor, int | float) and not isinstance(factor, bool)
        if not is_number or not 0 <= factor <= 100 or factor == 1:
            raise ValueError(f"factor is {factor!r}; allowed: a number from 0 to 100, not 1")
        return cls(float(factor))

    def options(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return {"factor": self._factor}

    def prepare(self, scene: Scene) -> None:
        """Say loudly that the training is changed; Refusal in a job of several ranks."""
        if scene.world_size > 1:
            raise Refusal(
                "a learning pulse that one rank missed would leave the ranks with different weights; "
                "idle gaps (the arm duty) are safe there"
            )
        text = changes_text(self._factor)
        if scene.rank == 0 and os.environ.get(SAID) != "1":  # else the launcher has
            warn("thermograd: %s", text)
        scene.note(text, learning_pulses=self.options())

    def begin(self, assignment: Assignment) -> None:
        """Begin a stratum."""
        self._done, self._pulse_step = Done(), None

    def pulse(self, assignment: Assignment) -> None:
        """Let the next step be the one."""
        self._done = Done(failed="no optimizer stepped after the pulse")
        self._pulse_step = assignment.pulse_step
        self._given.clear()

    def before_optimizer_step(self, optimizer: Any) -> None:
        """Change the rates of an optimizer for the step that it begins."""
        self._put_back(id(optimizer))
        if self._pulse_step is None or id(optimizer) in self._given:
            return
        if id(optimizer) not in self._hooked:
            self._hooked[id(optimizer)] = [
                optimizer.register_step_pre_hook(self._begin_step),
                optimizer.register_step_post_hook(self._end_step),
            ]
        self._given.add(id(optimizer))
        changed = self._changed.setdefault(id(optimizer), [])
        for group in optimizer.param_groups:
            rate = group.get("lr")
            if hasattr(rate, "mul_"):  # in a tensor, which a captured graph reads
                changed.append((group, rate.detach().clone()))
                rate.data.mul_(self._factor)
            elif rate is not None:
                changed.append((group, rate))
                group["lr"] = rate * self._factor
        self._done = Done(1, detail={"factor": self._factor})

    def _begin_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Leave something in the step's frame that puts back when the frame is gone, however it went."""
        if id(optimizer) not in self._changed:
            return None
        held = _Held(args)
        held.then = partial(self._put_back, id(optimizer))
        return held, kwargs

    def _end_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._put_back(id(optimizer))

    def _put_back(self, optimizer_id: int) -> None:
        for group, rate in self._changed.pop(optimizer_id, ()):
            if hasattr(rate, "mul_"):
                group["lr"].data.copy_(rate)
            else:
                group["lr"] = rate

    def after_step(self, step: int, busy_s: float | None) -> None:
        """End the pulse with the step that had it."""
        if self._pulse_step is not None and step > self._pulse_step:
            self._pulse_step = None

    def end(self) -> Done:
        """Return what was done since `begin`."""
        self._pulse_step = None
        done, self._done = self._done, Done()
        return done

    def close(self) -> None:
        """Put everything back."""
        self._pulse_step = None
        for optimizer_id in list(self._changed):
            self._put_back(optimizer_id)
        for handles in self._hooked.values():
            for handle in handles:
                handle.remove()
        self._hooked.clear()


class _Held(tuple[Any, ...]):
    """Arguments of a step; when they are let go of, something is done."""

    then: Callable[[], None]

    def __del__(self) -> None:
        self.then()
