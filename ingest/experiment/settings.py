"""What a user may ask of an experiment: the same in Python, in the environment and on the command line."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Self

from thermograd.store.experiment.schedules import ARMS, PULSE_ARMS
from thermograd.store.log.plain import said

VARIABLE = "THERMOGRAD_EXPERIMENT"  # JSON of the options, or the name of an arm
BLOCK_S, BIN_S, PLANNED_SD = 60.0, 1.0, 0.3  # where neither the user nor a plan says otherwise
_Check = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class ExperimentOptions:
    """The options of an experiment inside a run.

    Attributes
    ----------
    arm
        What is done: ``"duty"`` (idle gaps), ``"shadow"``, ``"burner"``, ``"cap"`` or ``"lr"``.
    seed
        Of the schedule; drawn where not given.
    block_s, block_steps
        Length of a block (of duty, burner, cap), in seconds of a block without gaps, which the measured
        step time turns into steps; or in steps outright. Not given, it is the plan's, or `BLOCK_S`.
    bin_s, bin_steps, stratum_bins, lag_bins
        Pulses (shadow, lr): length of a bin likewise (or `BIN_S`), bins of a stratum, bins that a response
        may last.
    start_step
        First step of the schedule, where steps are given outright.
    duty
        Share of the time that the device is busy in a cool block.
    shapes, repeats, power_w, load, factor
        Of the arms shadow (`repeats`: passes of a pulse), cap, burner and lr.
    effect_sd
        The planned effect, in standard deviations of the outcome.
    plan
        Whether a probe comes first, and the schedule from what was planned of it.
    wall_clock_schedule
        Whether something in the training goes by the clock on the wall: then nothing is done to it.
    """

    arm: str = "duty"
    seed: int | None = None
    block_s: float | None = None
    block_steps: int | None = None
    bin_s: float | None = None
    bin_steps: int | None = None
    stratum_bins: int = 20
    lag_bins: int = 10
    start_step: int | None = None
    duty: float = 0.6
    shapes: str = "zeros,noise"
    repeats: int | None = None
    power_w: float | None = None
    load: Any = None
    factor: float | None = None
    effect_sd: float = PLANNED_SD
    plan: bool = False
    wall_clock_schedule: bool = False

    def __post_init__(self) -> None:
        for name, (is_allowed, allowed) in _ALLOWED.items():
            value = getattr(self, name)
            if not is_allowed(value):
                raise ValueError(f"the experiment's {name} is {said(value)}; allowed: {allowed}")
        if self.stratum_bins < self.lag_bins + 2:
            allowed = f"{self.lag_bins + 2} or more, lag_bins + 2"
            raise ValueError(f"the experiment's stratum_bins is {self.stratum_bins}; allowed: {allowed}")
        for name in _WHOLE:  # numpy's too
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, int(value))

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return the options that an arm's name, a mapping or JSON stands for; ValueError in one sentence."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = _from_text(value)
        if not isinstance(value, Mapping):
            raise ValueError(f"the experiment is {said(value)}; allowed: the name of an arm, or a mapping")
        given = {str(name): item for name, item in value.items()}
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in given if name not in known]:
            raise ValueError(f"the experiment knows no {', '.join(unknown)}; allowed: {', '.join(known)}")
        _refuse_without_effect(given)
        if isinstance(given.get("shapes"), list | tuple):
            given["shapes"] = ",".join(map(str, given["shapes"]))
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return them as plain values that `parse` takes; what is not set, or not of the arm, is left out."""
        values = {name: getattr(self, name) for name in options_of(self.arm)}
        return {name: value for name, value in values.items() if value is not None}


def options_of(arm: str) -> list[str]:
    """Return the names of the options that an arm takes."""
    return [field.name for field in fields(ExperimentOptions) if arm in _ARMS_OF.get(field.name, ARMS)]


def _refuse_without_effect(given: Mapping[str, Any]) -> None:
    """Refuse what would be ignored: options of other arms, and of two that exclude each other."""
    arm, names = given.get("arm", ARMS[0]), {name for name, value in given.items() if value is not None}
    if not isinstance(arm, str) or arm not in ARMS:
        return  # said elsewhere
    allowed = options_of(arm)
    if others := [name for name in given if name in names and name not in allowed]:
        raise ValueError(f"the arm {arm} takes no {', '.join(others)}; allowed: {', '.join(allowed)}")
    length = "bin" if arm in PULSE_ARMS else "block"
    seconds, steps = f"{length}_s", f"{length}_steps"
    if {seconds, steps} <= names:
        raise ValueError(f"the experiment has {seconds} and {steps}; allowed: one of them")
    if "start_step" in names and steps not in names:
        raise ValueError(f"the experiment has start_step without {steps}; allowed: both, or neither")
    if steps in names and given.get("plan") is True:
        raise ValueError(f"the experiment has plan and {steps}; allowed: plan with {seconds}, or without")


def _from_text(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[", '"')):
        return {"arm": text.strip()}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the experiment is no JSON ({error}): {said(text)}") from None
    return {"arm": value} if isinstance(value, str) else value


def _number(value: Any, above: float, most: float = float("inf")) -> bool:
    is_number = type(value) is not bool and isinstance(value, Real)
    return is_number and above < float(value) <= most


def _positive(value: Any) -> bool:
    return _number(value, 0, 1e9)


def _count(value: Any, least: int) -> bool:
    return type(value) is not bool and isinstance(value, Integral) and least <= int(value) < 2**31


def _or_none(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


_SWITCHBACKS = tuple(arm for arm in ARMS if arm not in PULSE_ARMS)
_ARMS_OF: dict[str, tuple[str, ...]] = {  # options that not every arm takes
    **dict.fromkeys(("block_s", "block_steps"), _SWITCHBACKS),
    **dict.fromkeys(("bin_s", "bin_steps", "stratum_bins", "lag_bins"), PULSE_ARMS),
    **dict.fromkeys(("shapes", "repeats"), ("shadow",)),
    "duty": ("duty",),
    "power_w": ("cap",),
    "load": ("burner",),
    "factor": ("lr",),
}
_STEPS = (_or_none(lambda value: _count(value, 1)), "a whole number from 1, below 2**31")
_SECONDS_OR_NONE = (_or_none(_positive), "seconds above 0")
_WHOLE = ("seed", "block_steps", "bin_steps", "stratum_bins", "lag_bins", "start_step", "repeats")
_FLAG = (lambda value: isinstance(value, bool), "true, false")
_ALLOWED: dict[str, tuple[_Check, str]] = {
    "arm": (lambda value: isinstance(value, str) and value in ARMS, ", ".join(ARMS)),
    "seed": (_or_none(lambda value: _count(value, 0)), "a whole number from 0, below 2**31"),
    "block_s": _SECONDS_OR_NONE,
    "block_steps": _STEPS,
    "bin_s": _SECONDS_OR_NONE,
    "bin_steps": _STEPS,
    "stratum_bins": (lambda value: _count(value, 3), "a whole number from 3"),
    "lag_bins": (lambda value: _count(value, 1), "a whole number from 1"),
    "start_step": _STEPS,
    "duty": (lambda value: _number(value, 0.0499, 0.95), "0.05 to 0.95 of the time"),
    "shapes": (lambda value: isinstance(value, str) and bool(value.strip()), "names with commas"),
    "repeats": _STEPS,
    "power_w": (_or_none(_positive), "watts above 0"),
    "factor": (_or_none(lambda value: _number(value, -1e-300, 1e6)), "a number from 0"),
    "effect_sd": (_positive, "standard deviations above 0"),
    "plan": _FLAG,
    "wall_clock_schedule": _FLAG,
}
