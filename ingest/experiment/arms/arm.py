"""What every arm is to the conductor that applies the schedule."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from thermograd.store.experiment.schedules import Assignment


class Refusal(Exception):
    """An arm cannot do safely here what is asked; the sentence says why, and what can be done instead."""


@dataclass
class Scene:
    """What an arm may know of the process that it works in.

    `model` and `optimizers` give what is trained, as far as it is known by now; `note` writes a `note` mark.
    `rest` sleeps so many seconds, or until the run is closed or Ctrl-C comes, and returns how long it did:
    time that counts as no step's. `typical_step_s`: the median of steps that nothing was done to.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    run_dir: Any = None
    model: Callable[[], Any] = lambda: None
    optimizers: Callable[[], list[Any]] = list
    note: Callable[..., object] = lambda text, **detail: None
    rest: Callable[[float], float] = lambda seconds: 0.0
    typical_step_s: Callable[[], float | None] = lambda: None


@dataclass
class Done:
    """What an arm did since the last assignment began, for the ``applied`` mark."""

    steps: int = 0
    idle_s: float | None = None
    failed: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


class Arm:
    """One way to intervene. Every method is called from the training's own thread, between its steps.

    An arm may raise anything: the conductor counts it, marks the assignment as not applied, and training goes
    on. `Refusal` from `prepare` ends the experiment before it has begun, with its sentence on stderr and in a
    `note` mark. What is not overridden does nothing.
    """

    name: ClassVar[str]
    design: ClassVar[str]  # "switchback" or "pulses"
    kinds: tuple[str, ...] = ("pulse",)  # of pulses
    sees_optimizers: ClassVar[bool] = False  # whether `before_optimizer_step` is called

    @classmethod
    @abstractmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the arm with a user's options; ValueError in one sentence for what is not allowed."""

    def options(self) -> dict[str, Any]:
        """Return the options as plain values, for the schedule in the log."""
        return {}

    def prepare(self, scene: Scene) -> bool | None:
        """Look at what is trained, before the first assignment; Refusal where it is not safe.

        Called when a step has ended; after False, it has to see a step more, again after the next one.
        """
        return None

    def begin(self, assignment: Assignment) -> None:
        """Begin an assignment: a block's level holds from here on; its mark has been written."""

    def pulse(self, assignment: Assignment) -> None:
        """Give the pulse of a stratum: called once, when the step `pulse_step` has ended."""

    def before_optimizer_step(self, optimizer: Any) -> None:
        """Act before an optimizer steps."""

    def after_step(self, step: int, busy_s: float | None) -> None:
        """Do what comes after a step inside an assignment; `busy_s`: what it took, without our gaps."""

    def end(self) -> Done:
        """End the assignment: everything as it was found; return what was done."""
        return Done()

    def close(self) -> None:
        """Put everything back, for good; called once more than `end`, also on errors, and at exit."""
