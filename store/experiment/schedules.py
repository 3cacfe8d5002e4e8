"""Which step gets what: a schedule of blocks or pulses, drawn by a seed and indexed by optimizer steps.

Steps, not seconds, so that every rank of a job follows the same schedule without a word between them, and
that a schedule can be drawn again from the log.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from thermograd.store.errors import ThermogradError
from thermograd.store.experiment.draws import uniform

Level = Literal["hot", "cool"]
ARMS = ("duty", "shadow", "burner", "cap", "lr")
PULSE_ARMS = ("shadow", "lr")  # of the others the design is a switchback


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a stretch of steps, both ends included, gets.

    Of a switchback it is a block with its `level`; of pulses it is a stratum, with `pulse_step`, the step
    after which the pulse comes, and its `kind`. `draw` is the number of [0, 1) that decided, `kind_draw` the
    one of the kind.
    """

    index: int  # of the block or stratum, from 0
    first_step: int
    last_step: int
    draw: float
    pair: int | None = None  # of the block: 2 in each
    level: Level | None = None
    pulse_step: int | None = None
    bin: int | None = None  # of the pulse, in its stratum, from 0
    kind: str | None = None
    kind_draw: float | None = None


@dataclass(frozen=True, slots=True)
class Switchback:
    """Pairs of blocks, hot-cool or cool-hot by a fair coin a pair."""

    name: ClassVar[str] = "switchback"
    block_steps: int

    def __post_init__(self) -> None:
        _at_least(1, block_steps=self.block_steps)

    @property
    def stretch_steps(self) -> int:
        """Steps of one assignment."""
        return self.block_steps

    def assign(self, seed: int, index: int, first_step: int) -> Assignment:
        """Return a block; `first_step` is its own."""
        pair, is_second = divmod(index, 2)
        draw = uniform(seed, "pair", pair)
        level: Level = "hot" if (draw < 0.5) != bool(is_second) else "cool"
        return Assignment(index, first_step, first_step + self.block_steps - 1, draw, pair, level)


@dataclass(frozen=True, slots=True)
class Pulses:
    """Strata of bins, one pulse in each, at a bin drawn uniformly from its first `places`.

    The rest is washout: a response of up to `lag_bins` bins ends within its stratum. Of several `kinds` a
    draw of its own takes one.
    """

    name: ClassVar[str] = "pulses"
    bin_steps: int
    stratum_bins: int = 20
    lag_bins: int = 10
    kinds: tuple[str, ...] = ("pulse",)

    def __post_init__(self) -> None:
        _at_least(1, bin_steps=self.bin_steps, lag_bins=self.lag_bins, kinds=len(self.kinds))
        _at_least(self.lag_bins + 2, stratum_bins=self.stratum_bins)
        object.__setattr__(self, "kinds", tuple(self.kinds))

    @property
    def stretch_steps(self) -> int:
        """Steps of one assignment."""
        return self.bin_steps * self.stratum_bins

    @property
    def places(self) -> int:
        """Bins that a pulse may come at, the first of each stratum."""
        return self.stratum_bins - self.lag_bins - 1

    def assign(self, seed: int, index: int, first_step: int) -> Assignment:
        """Return a stratum; `first_step` is its own."""
        draw, kind_draw = uniform(seed, "place", index), uniform(seed, "kind", index)
        place = int(draw * self.places)
        return Assignment(
            index,
            first_step,
            first_step + self.stretch_steps - 1,
            draw,
            pulse_step=first_step + place * self.bin_steps,
            bin=place,
            kind=self.kinds[int(kind_draw * len(self.kinds))],
            kind_draw=kind_draw,
        )


Design = Switchback | Pulses
_DESIGNS: dict[str, type[Switchback] | type[Pulses]] = {each.name: each for each in (Switchback, Pulses)}


@dataclass(frozen=True, slots=True)
class Schedule:
    """A design, begun at a step, with the seed that draws it.

    Attributes
    ----------
    arm
        What is done; one of `ARMS`.
    start_step
        First step of assignment 0: the pulse, or the first gap, comes after it at the earliest.
    options
        Of the arm, as `duty`; numbers and texts.

    Examples
    --------
    >>> schedule = Schedule("duty", Switchback(100), seed=7, start_step=51)
    >>> schedule.at(50) is None, schedule.at(51).index, schedule.at(151).index
    (True, 0, 1)
    """

    arm: str
    design: Design
    seed: int
    start_step: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.arm not in ARMS:
            raise ScheduleError(f"the arm is {self.arm!r}; allowed: {', '.join(ARMS)}")
        _at_least(0, start_step=self.start_step, seed=self.seed)

    def assignment(self, index: int) -> Assignment:
        """Return an assignment by its number, from 0."""
        return self.design.assign(self.seed, index, self.start_step + index * self.design.stretch_steps)

    def at(self, step: int) -> Assignment | None:
        """Return the assignment that a step belongs to; None before the first."""
        if step < self.start_step:
            return None
        return self.assignment((step - self.start_step) // self.design.stretch_steps)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        described = {"arm": self.arm, "seed": self.seed, "start_step": self.start_step}
        design = {"name": self.design.name, **asdict(self.design)}
        return {**described, "design": design, "options": dict(self.options)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Schedule":
        """Return what `to_json` described; ScheduleError for what it cannot have written."""
        try:
            design = dict(document["design"])
            made = _DESIGNS[design.pop("name")](**design)
            options = document.get("options", {})
            return cls(document["arm"], made, document["seed"], document["start_step"], options)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ScheduleError(
                f"this is no schedule of an experiment ({error}): {document!r:.200}"
            ) from None


class ScheduleError(ThermogradError, ValueError):
    """A schedule that cannot be."""


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if type(value) is not int or value < least:
            raise ScheduleError(f"{name} is {value!r}; allowed: a whole number from {least}")
