"""What the picture of an experiment shows: blocks under the signals, each effect, what chance gives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Times
from thermograd.analysis.experiment.result import Effect, ExperimentResult
from thermograd.analysis.report.data.curves import Line, make_line
from thermograd.analysis.run.experiment.exposure import SIGNALS
from thermograd.analysis.run.experiment.sentences import labelled
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.telling.columns import signal

_BUCKETS = 500
_BARS = 44  # of the histogram
_MOST_BLOCKS = 400  # blocks; more are thinner than a line
_FEWEST_REDRAWN = 20
_MOST_ANSWERS = 3  # signals under pulses
_ROOM = 0.02  # of the experiment's length, before it


@dataclass(frozen=True, slots=True)
class Stretch:
    """A block, or what follows a pulse, on the clock of the picture; `kind`: "hot", "cool" or the pulse's."""

    start_s: float
    end_s: float
    kind: str


@dataclass(frozen=True, slots=True)
class Middle:
    """A signal's median over a block: one spike says nothing of a block."""

    stretch: Stretch
    value: float


@dataclass(frozen=True, eq=False)
class Course:
    """A signal over the run, and its median in each block."""

    key: str
    title: str
    unit: str
    line: Line
    middles: tuple[Middle, ...] = ()


@dataclass(frozen=True, eq=False)
class Bars:
    """How often schedules drawn anew gave each value of a statistic, and what the run's own gave.

    `edges` has shape (b + 1,), `count` (b,).
    """

    edges: Floats
    count: Floats
    observed: float


@dataclass(frozen=True, eq=False)
class TestedOutcome:
    """One outcome of the picture: its label, its effect, and what chance gives."""

    label: str
    effect: Effect
    bars: Bars | None


@dataclass(frozen=True, eq=False)
class ShownExperiment:
    """One experiment as the page shows it."""

    result: ExperimentResult
    stretches: tuple[Stretch, ...]
    courses: tuple[Course, ...]
    tested: tuple[TestedOutcome, ...]

    @property
    def span_s(self) -> tuple[float, float]:
        """From a little before the first assignment to the end of the last."""
        return _span_s(self.stretches)

    @property
    def kinds(self) -> list[str]:
        """The kinds of what was assigned, each once."""
        return sorted({each.kind for each in self.stretches})

    @property
    def is_switchback(self) -> bool:
        """Whether blocks were assigned, hot and cool, and not pulses."""
        return self.result.design == "switchback"


def shown_experiment(data: RunSeries, result: ExperimentResult, origin_ns: int) -> ShownExperiment:
    """Return what the page shows of an experiment; times in s since the origin, UTC epoch ns."""
    stretches = tuple(
        Stretch(
            ((each.get("pulse_time_ns") or each["first_time_ns"]) - origin_ns) / 1e9,
            (each["last_time_ns"] - origin_ns) / 1e9,
            str(each.get("level") or each.get("kind") or "pulse"),
        )
        for each in result.schedule
    )
    blocks = stretches if result.design == "switchback" else ()
    span_s = _span_s(stretches)
    if result.design == "switchback":
        hardware = _hardware(data, result, origin_ns, blocks, span_s)
        courses = [hardware, _training(data, origin_ns, blocks, span_s)]
    else:
        courses = _answering(data, result, origin_ns, span_s)
    every = [TestedOutcome(labelled(each), each, bars_of(each)) for each in result.effects]
    tested = [each for each in every if each.bars is not None or each.effect.response is not None]
    return ShownExperiment(
        result, stretches, tuple(each for each in courses if each is not None), tuple(tested)
    )


def _span_s(stretches: Sequence[Stretch]) -> tuple[float, float]:
    if not stretches:
        return 0.0, math.inf
    begin, end = stretches[0].start_s, stretches[-1].end_s
    return begin - _ROOM * (end - begin), end


def _answering(
    data: RunSeries, result: ExperimentResult, origin_ns: int, span_s: tuple[float, float]
) -> list[Course | None]:
    """Return the signals that answered pulses most; where none did, those that were tested."""
    asked = [each for each in result.effects if not each.is_control]
    found = [each for each in asked if each.verdict == "effect"] or asked
    found = sorted(found, key=lambda each: -abs(each.effect_sd or 0.0))
    courses: dict[tuple[str, str], Course] = {}
    for each in found:
        device = data.devices.get(each.device or "")
        if device is not None and device.measures(each.outcome):
            key = (device.name, each.outcome)
            courses.setdefault(key, _device_course(device, each.outcome, origin_ns, (), span_s))
    known: list[Course | None] = list(courses.values())
    return known[:_MOST_ANSWERS] or [_hardware(data, result, origin_ns, (), span_s)]


def _hardware(
    data: RunSeries,
    result: ExperimentResult,
    origin_ns: int,
    blocks: Sequence[Stretch],
    span_s: tuple[float, float],
) -> Course | None:
    """Return the signal that shows best that the device was moved."""
    passed = [(c.device, c.outcome) for c in result.manipulation if c.passed]
    found = [(e.device, e.outcome) for e in result.effects if e.device is not None and e.verdict == "effect"]
    measured = [(device.name, name) for device in data.devices.values() for name in SIGNALS]
    for device_name, name in (*passed, *found, *measured):
        device = data.devices.get(device_name or "")
        if device is not None and name in SIGNALS and device.measures(name):
            return _device_course(device, name, origin_ns, blocks, span_s)
    return None


def _device_course(
    device: Device, name: str, origin_ns: int, blocks: Sequence[Stretch], span_s: tuple[float, float]
) -> Course:
    values = device.signal(name)
    assert values is not None
    known = signal(name)
    title = f"{known.title} of {device.label}"
    return _course(name, title, known.symbol, device.time_ns, values, origin_ns, blocks, span_s)


def _training(
    data: RunSeries, origin_ns: int, blocks: Sequence[Stretch], span_s: tuple[float, float]
) -> Course | None:
    for name in ("grad_norm", "loss"):
        if data.has_training(name):
            times, values = data.training_series(name)
            return _course(name, signal(name).title, "", times, values, origin_ns, blocks, span_s)
    return None


def _course(
    key: str,
    title: str,
    unit: str,
    times: Times,
    values: Floats,
    origin_ns: int,
    blocks: Sequence[Stretch],
    span_s: tuple[float, float],
) -> Course:
    time_s = (times - origin_ns) / 1e9
    inside = (time_s >= span_s[0]) & (time_s <= span_s[1])
    time_s, values = time_s[inside], values[inside]
    line = make_line(title, None, time_s, values, _BUCKETS)
    middles = []
    for block in blocks[:_MOST_BLOCKS]:
        of_block = values[(time_s > block.start_s) & (time_s <= block.end_s)]
        known = of_block[np.isfinite(of_block)]
        if known.size:
            middles.append(Middle(block, float(np.median(known))))
    return Course(key, title, unit, line, tuple(middles))


def bars_of(effect: Effect) -> Bars | None:
    """Return the histogram of a statistic under schedules drawn anew; None where none was drawn."""
    redrawn = effect.redrawn[np.isfinite(effect.redrawn)]
    if redrawn.size < _FEWEST_REDRAWN or effect.statistic is None or not np.isfinite(effect.statistic):
        return None
    low, high = float(redrawn.min()), float(redrawn.max())
    count, edges = np.histogram(redrawn, _BARS, (low, high if high > low else low + 1.0))
    return Bars(edges.astype(float), count.astype(float), float(effect.statistic))
