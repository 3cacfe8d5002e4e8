"""What the figures of a comparison draw: curves of all runs over each other, and the forest."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.comparison.compared_runs import PairAcross
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.display.palette import RUN_COLOURS
from thermograd.analysis.report.data.bands import make_band
from thermograd.analysis.report.data.curves import Band, Line, make_line
from thermograd.analysis.report.data.panel import clock_for
from thermograd.analysis.run.series import RunSeries
from thermograd.store.telling.columns import Signal, signal

_BUCKETS = 300
_SPARE = 0.05  # of the time axis
_LONGEST = 14  # of a name beside its interval
_HARDWARE = ("power_w", "temperature_c", "sm_clock_mhz")
_BY_TIME = ("grad_norm", "loss", "step_time_s")
_MOST_METRICS = 8
_BY_STEP = ("grad_norm", "loss", "learning_rate", "step_time_s")


class Along(NamedTuple):
    """What the axis that all panels share counts: its unit, how much of `x` that is, and its title."""

    unit: str
    size: float
    title: str


@dataclass(frozen=True)
class Overlay:
    """One panel: a signal's curves, one a run, along the time since its training began, s, or the step."""

    key: str
    signal: Signal
    log: bool
    lines: list[Line]
    band: Band | None = None

    @property
    def curves(self) -> list[Line | Band]:
        """All that has a range."""
        return [*self.lines, self.band] if self.band else [*self.lines]

    @property
    def axis_title(self) -> str:
        """Name and unit for the vertical axis."""
        return f"{self.signal.name}, {self.signal.symbol}" if self.signal.unit else self.signal.name


def overlays_by_time(comparison: Comparison) -> list[Overlay]:
    """Return norm, loss, step time and the first device's hardware, where two runs have them."""
    training = [
        _training(comparison, name, _since_the_beginning) for name in ("grad_norm", "loss", "step_time_s")
    ]
    asked = [(pair.y, pair.role) for pair in comparison.chosen[:1]]
    role = asked[0][1] if asked else next((role for data in comparison.series for role in data.roles), "")
    shown = dict.fromkeys([*asked, *((name, role) for name in _HARDWARE)])
    return _shared(comparison, [*training, *(_hardware(comparison, *each) for each in shown)])


def overlays_by_step(comparison: Comparison) -> list[Overlay]:
    """Return what each step measured, along the number of the step, where two runs have it."""
    names = dict.fromkeys(name for data in comparison.series for name in data.metrics)
    logged = [_logged(comparison, name, f"metric-{place}") for place, name in enumerate(names)]
    by_step = _shared(comparison, [_training(comparison, name, _number_of_step) for name in _BY_STEP])
    return [*by_step, *_shared(comparison, logged)[:_MOST_METRICS]]


def drawn_runs(comparison: Comparison) -> dict[str, str]:
    """Return which runs have a curve of their own, each with why; of many the first and the extreme ones.

    Of few runs why is empty, and of many all are a band together.
    """
    if len(comparison.runs) <= len(RUN_COLOURS):
        return dict.fromkeys((f"run {place}" for place in range(1, len(comparison.runs) + 1)), "")
    labels: dict[str, str] = {}
    for place, run in enumerate(comparison.runs, 1):
        labels.setdefault(run.run_id, f"run {place}")  # a copy at another place has the same id
    loss = comparison.reproducibility.final_loss
    known = {run_id: value for run_id in labels if math.isfinite(value := loss.get(run_id) or math.nan)}
    found = {next(iter(labels.values())): ["the first"]}
    for why, extreme in (("lowest final loss", min), ("highest final loss", max)):
        if known:
            found.setdefault(labels[extreme(known, key=known.__getitem__)], []).append(why)
    return {label: ", ".join(why) for label, why in found.items()}


def _shared(comparison: Comparison, overlays: list[Overlay]) -> list[Overlay]:
    drawn = drawn_runs(comparison)
    shared = [overlay for overlay in overlays if len(overlay.lines) > 1]
    return shared if len(drawn) == len(comparison.runs) else [_crowded(overlay, drawn) for overlay in shared]


def _crowded(overlay: Overlay, drawn: Mapping[str, str]) -> Overlay:
    """Return the curves of the runs that are drawn over a band of all."""
    courses = {}
    for line in overlay.lines:
        known = np.isfinite(line.values)
        courses[line.label] = line.time_s[known], line.values[known]
    band = make_band(f"all {len(courses)} runs, lowest to highest", courses, _last(overlay) or 1.0, _BUCKETS)
    return replace(overlay, lines=[line for line in overlay.lines if line.label in drawn], band=band)


def _since_the_beginning(data: RunSeries) -> Floats:
    time_s: Floats = (data.step_time_ns - data.step_time_ns[0]) / 1e9
    return time_s


def _number_of_step(data: RunSeries) -> Floats:
    return data.training("step")


def _training(comparison: Comparison, name: str, along: Callable[[RunSeries], Floats]) -> Overlay:
    lines = []
    for place, data in enumerate(comparison.series, 1):
        values, x = data.training(name), along(data)
        if name == "grad_norm":
            values = np.where(values > 0, values, np.nan)
        known = np.isfinite(x)
        order = np.argsort(x[known], kind="stable")
        x, values = x[known][order], values[known][order]
        lines += [make_line(f"run {place}", None, x, values, _BUCKETS)] * bool(np.isfinite(values).any())
    return Overlay(name, signal(name), name == "grad_norm", lines)


def _logged(comparison: Comparison, name: str, key: str) -> Overlay:
    """Return a script's own number, along the step at which it was logged."""
    lines = []
    for place, data in enumerate(comparison.series, 1):
        metric = data.metrics.get(name)
        known = np.isfinite(metric.step) & np.isfinite(metric.value) if metric else np.empty(0, dtype=bool)
        if metric and known.any():
            order = np.argsort(metric.step[known], kind="stable")
            step, value = metric.step[known][order], metric.value[known][order]
            lines.append(make_line(f"run {place}", None, step, value, _BUCKETS))
    return Overlay(key, signal(name), False, lines)


def _hardware(comparison: Comparison, name: str, role: str) -> Overlay:
    lines = []
    for place, data in enumerate(comparison.series, 1):
        device = data.roles.get(role)
        values = device.signal(name) if device is not None else None
        if device is not None and values is not None and np.isfinite(values).any():
            first, last = data.step_time_ns[0], data.step_time_ns[-1]
            inside = (device.time_ns >= first) & (device.time_ns <= last)
            time_s = (device.time_ns[inside] - first) / 1e9
            lines.append(make_line(f"run {place}", None, time_s, values[inside], _BUCKETS))
    return Overlay(f"hardware-{name}", signal(name), False, [line for line in lines if line.shown])


def time_of(overlays: list[Overlay]) -> Along:
    """Return the time axis of overlays, in a unit that fits the longest run."""
    clock = clock_for(max((_last(overlay) for overlay in overlays), default=0.0))
    return Along(clock.symbol, clock.seconds, f"{clock.name} since the training began")


BY_STEP = Along("step", 1.0, "optimizer step")


def axis_end(overlays: list[Overlay], along: Along, ticks: int) -> float:
    """Return where the axis that all panels share ends, in its unit.

    It ends at a mark where that leaves little room empty, so that its end has a number.
    """
    last = max(_last(overlay) for overlay in overlays) / along.size or 1.0
    power = 10.0 ** math.floor(math.log10(last / ticks))
    steps = (1, 2, 5, 10)  # as Vega chooses them
    step = power * steps[sum(last / ticks / power >= math.sqrt(limit) for limit in (2, 10, 50))]
    mark = step * math.ceil(last / step)
    return mark if mark - last <= _SPARE * last else last


def _last(overlay: Overlay) -> float:
    return max((float(curve.time_s[-1]) for curve in overlay.curves), default=0.0)


class ForestRow(NamedTuple):
    """One line of the plot: a run with its place (from 0) among those compared, or all of them pooled."""

    place: int | None
    label: str
    name: str
    r: float
    low: float
    high: float


def forest_rows(comparison: Comparison, pair: PairAcross) -> list[ForestRow]:
    """Return the runs that entered a pair's pooling, in the order given, then the pooled effect."""
    swap = pair.swap
    if not math.isfinite(swap.r):
        return []
    places = {run.run_id: place for place, run in reversed(list(enumerate(comparison.runs)))}
    short, names = comparison.labels(_LONGEST), comparison.labels()
    rows = []
    for run_id, r, low, high in zip(pair.run_ids, swap.run_r, swap.run_low, swap.run_high, strict=True):
        place = places[run_id]
        label = f"{place + 1}: {short[place]}"
        rows.append(ForestRow(place, label, names[place], float(r), float(low), float(high)))
    name = f"{swap.n_runs} trainings, random effects"
    return [*rows, ForestRow(None, "pooled", name, swap.r, swap.r_low, swap.r_high)]
