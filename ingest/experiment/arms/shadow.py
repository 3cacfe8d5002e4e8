"""Shadow steps: pulses of work like the training's, on values of a chosen shape, that leave no trace."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from thermograd.ingest.experiment.arms.arm import Arm, Done, Refusal, Scene
from thermograd.store.experiment.schedules import Assignment

if TYPE_CHECKING:
    from thermograd.ingest.experiment.arms.shadow_pass.giver import Giver

SHAPES = ("zeros", "noise", "token")
_MOST_STEPS = 8  # that are looked at before an experiment is given up


class ShadowArm(Arm):
    """After an optimizer step, one more forward and backward pass whose gradients are thrown away.

    The passes work on copies (`thermograd.ingest.experiment.arms.shadow_pass.state`), so that the training is
    bit for bit what it would be without; where that cannot be had, `Refusal`. Compiled modules run
    uncompiled in a pass, so that nothing is compiled anew.

    Parameters
    ----------
    shapes
        What the values of a batch look like, one drawn a pulse: *zeros* (of ids: one token, the 0), *noise*,
        *token* (all one token, the largest seen; of floats: ones).
    repeats
        Passes of a pulse, one after the other.
    """

    name: ClassVar[str] = "shadow"
    design: ClassVar[str] = "pulses"

    def __init__(self, shapes: Sequence[str] = ("zeros", "noise"), repeats: int = 1) -> None:
        self.kinds = tuple(shapes)
        self._repeats = repeats
        self._giver: Giver | None = None
        self._looks = 0
        self._refused: Refusal | None = None
        self._done = Done()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the arm for `shapes` (names with commas between, or a list) and `repeats`."""
        given = options.get("shapes", "zeros,noise")
        shapes = [name.strip() for name in given.split(",")] if isinstance(given, str) else list(given)
        repeats = options.get("repeats", 1)
        if not shapes or any(shape not in SHAPES for shape in shapes) or len(set(shapes)) < len(shapes):
            raise ValueError(f"shapes is {given!r}; allowed: one or several of {', '.join(SHAPES)}")
        if type(repeats) is not int or not 1 <= repeats <= 1000:
            raise ValueError(f"repeats is {repeats!r}; allowed: a whole number from 1 to 1000")
        return cls(shapes, repeats)

    def options(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return {"shapes": ",".join(self.kinds), "repeats": self._repeats}

    def prepare(self, scene: Scene) -> bool | None:
        """Find what is trained, see a step of it, and try one pass of each shape; False until then."""
        try:
            return self._prepare(scene)
        except Refusal:
            self.close()
            raise

    def _prepare(self, scene: Scene) -> bool:
        from thermograd.ingest.experiment.arms.shadow_pass.giver import Giver

        self._looks += 1
        if self._giver is None or not self._giver.settle():
            if self._giver is None:
                self._giver = Giver.of(scene.model(), scene.optimizers())
            if self._looks > _MOST_STEPS:
                raise Refusal(
                    f"shadow steps are not given: in {_MOST_STEPS} steps no forward pass was seen of a "
                    "module that holds the optimizer's parameters (compiled or captured whole?); the "
                    "duty cycle (arm=duty) is safe here"
                )
            return False
        self._try(self._giver, scene.note)
        return True

    def _try(self, giver: "Giver", note: Callable[..., object]) -> None:
        loss = giver.try_shapes(self.kinds)
        note(
            f"shadow steps: one more forward and backward pass of {giver.name} on {' or '.join(self.kinds)} "
            f"after a step, the loss: {loss}; nothing of the training was changed by a trial",
            shadow={"modules": giver.name, "loss": loss, **self.options()},
        )

    def begin(self, assignment: Assignment) -> None:
        """Begin a stratum."""
        self._done = Done()

    def pulse(self, assignment: Assignment) -> None:
        """Give the passes; Refusal, and never again, where they have left a trace."""
        if self._refused is not None:
            raise self._refused
        if self._giver is None:
            raise Refusal("shadow steps are not given: nothing has been prepared")
        try:
            begun = time.perf_counter()
            self._giver.give(str(assignment.kind), assignment.index, self._repeats)
        except Refusal as refused:
            self._refused = refused
            raise
        taken_s = time.perf_counter() - begun
        self._done = Done(1, detail={"shape": assignment.kind, "passes": self._repeats, "pulse_s": taken_s})

    def after_step(self, step: int, busy_s: float | None) -> None:
        """Let go of what was called some steps ago."""
        if self._giver is not None:
            self._giver.tick()

    def end(self) -> Done:
        """Return what was done since `begin`."""
        done, self._done = self._done, Done()
        return done

    def close(self) -> None:
        """Look at no batch any more."""
        if self._giver is not None:
            self._giver.close()
