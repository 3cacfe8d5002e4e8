"""What the analysis of one experiment gives; plain values and arrays, no run and no picture."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.store.text import without_nan

ExperimentVerdict = Literal["effect", "no_effect", "inconclusive", "insufficient"]
Interval = tuple[float, float]
# By design, pairs of blocks or strata: of five pairs not even the most extreme draw has p <= .05.
FEWEST_UNITS = {"switchback": 6, "pulses": 10}
OF_HEAT = ("temperature_c", "memory_temperature_c", "power_w")  # signals that say whether a device was hot


@dataclass(frozen=True, slots=True)
class Manipulation:
    """Whether an assignment moved what it was to move.

    `difference`: hot less cool (or after less before a pulse), in `unit`; `needed`: the least that counts, in
    the direction that heat has (of a clock in either); `p`: of the randomisation test, `p_family`: with all
    signals and devices taken into account, by which it `passed`; None where the sensor does not exist.
    """

    outcome: str
    device: str | None
    unit: str
    hot: float | None
    cool: float | None
    difference: float | None
    p: float | None
    needed: float
    passed: bool
    p_family: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """An outcome's response over time, with a band that holds all of it with the stated probability.

    `lags_s`: shape (k,), s after the intervention began; `effect_sd`, `low_sd`, `high_sd`: shape (k,), in sd
    of the cleaned outcome; `unit_per_sd` turns them into `unit`.
    """

    lags_s: Floats
    effect_sd: Floats
    low_sd: Floats
    high_sd: Floats
    unit: str
    unit_per_sd: float
    level: float = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """What was tested on one outcome.

    Attributes
    ----------
    outcome, device, unit
        ``log_grad_norm``, ``loss``, ``step_time_s`` (device None), or a device's signal.
    is_control
        Expected to answer (step time to heat, power to load): proves that the experiment works, is no answer.
    is_competition
        Of such a control that it answers to what the arm takes from the training, heat or no heat (step time
        beside a burner): it proves nothing.
    n
        Steps or bins that were compared.
    p, p_family
        Of the randomisation test; with all outcomes of its family taken into account (Westfall-Young).
    statistic, redrawn
        The observed value, and shape (r,) those of schedules drawn anew.
    effect_sd, interval_sd
        Above 0: hot, or the pulse, makes the outcome larger; sd of the outcome about its trend, without the
        estimated effect and without spikes that are set back: what plans count in too. Of heat the size is
        what a block makes at its end, and the interval inverts the test through every thermal memory that is
        tried where there is an effect, else through those within a factor of two of the device's, or up to
        1.5 times the longest of the test; of pulses it is the
        simultaneous band of the response at the lag where it stands out most, and may hold 0 where the test,
        which takes lags together, finds an effect. None without.
    effect, interval
        The same in `unit`.
    delay_s
        Thermal memory that explains most of the outcome, or lag at which it is largest, s.
    e_value, e_largest
        Of the pairs or strata so far; the largest on the way.
    detectable_sd
        The smallest effect that the experiment would have shown with power .9, all outcomes of its family
        taken into account: through the device's thermal time constant where that is known, else through the
        worst of the memories.
    verdict
        Of this outcome.
    typical
        The outcome's median over the experiment, in `unit`: what an effect is a share of; None: not known.
    response
        The curve over lag; None where none was made.
    contrast
        Of pulses of two kinds: which is compared with which, as ``noise less zeros``; "" for the intervention
        as such.
    """

    outcome: str
    device: str | None
    unit: str
    is_control: bool
    n: int
    p: float | None
    p_family: float | None
    statistic: float | None
    redrawn: Floats
    effect_sd: float | None
    interval_sd: Interval | None
    effect: float | None
    interval: Interval | None
    delay_s: float | None
    e_value: float | None
    e_largest: float | None
    detectable_sd: float | None
    verdict: ExperimentVerdict
    response: Response | None = None
    contrast: str = ""
    is_competition: bool = False
    typical: float | None = None


def untested(
    outcome: str, unit: str, is_control: bool, n: int, verdict: ExperimentVerdict, contrast: str = ""
) -> Effect:
    """Return what is known of an outcome that could not be tested."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(Effect))
    known = {"outcome": outcome, "unit": unit, "is_control": is_control, "n": n, "verdict": verdict}
    left = {"redrawn": np.zeros(0), "contrast": contrast, "is_competition": False}
    return Effect(**{**nothing, **known, **left})


@dataclass(eq=False)
class ExperimentResult:
    """One experiment of a run.

    Attributes
    ----------
    arm, design, seed, options
        As logged; design is "switchback" or "pulses".
    question
        "heat to training" or "training to hardware".
    units
        Pairs of blocks, or strata, that were completed.
    assigned, applied
        How many assignments were logged, and how many of them applied as a whole.
    not_applied
        A sentence each: which, and why. They are analysed as assigned.
    manipulation
        Checked first; unless one passes, the verdict is "insufficient".
    effects
        Of every outcome, the question's first.
    verdict, sentence
        Of all outcomes that are no control; in words how large, which way, with what delay.
    planned_sd
        The effect that the experiment was planned for, sd; "no_effect" is above it.
    plan
        What ``--plan`` wrote into the run; None without.
    simulated
        Devices whose readings come from a model.
    schedule
        For figures, one entry a block or pulse: ``first_time_ns``, ``last_time_ns``, ``level`` or ``kind``.
    moved
        Signals by which the blocks moved the devices as they were to: temperature or power among them where
        any device measures either, else clock or utilisation, which tell of idleness and not of heat. Empty
        where the manipulation failed, and of pulses.
    """

    arm: str
    design: str
    seed: int
    options: dict[str, Any]
    question: str
    units: int
    assigned: int
    applied: int
    not_applied: list[str]
    manipulation: list[Manipulation]
    effects: list[Effect]
    verdict: ExperimentVerdict
    sentence: str
    planned_sd: float | None = None
    plan: dict[str, Any] | None = None
    simulated: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    schedule: list[dict[str, Any]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without the redrawn values; what is not known is null."""
        document = {
            name: value for name, value in vars(self).items() if name not in ("manipulation", "effects")
        }
        document["manipulation"] = [_plain(each) for each in self.manipulation]
        document["effects"] = [_plain(each) for each in self.effects]
        return without_nan(document)  # type: ignore[no-any-return]


def _plain(result: Any) -> dict[str, Any]:
    told = {name: getattr(result, name) for name in result.__slots__ if name != "redrawn"}
    if isinstance(told.get("response"), Response):
        told["response"] = _plain(told["response"])
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in told.items()}
