"""What the figures of a comparison draw: curves of all runs over each other, and the forest."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from thermograd.analysis.comparison.compared_runs import ComparedRun, PairAcross
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.report.data.curves import Line, make_line
from thermograd.store.columns import Signal, signal

_BUCKETS = 300
_SPARE = 0.05  # of the time axis
_LONGEST = 20


@dataclass(frozen=True)
class Overlay:
    """One panel: a signal's curves, one a run, `time_s` of each from its training's beginning."""

    key: str
    signal: Signal
    log: bool
    lines: list[Line]

    @property
    def axis_title(self) -> str:
        """Name and unit for the vertical axis."""
        return f"{self.signal.name}, {self.signal.symbol}" if self.signal.unit else self.signal.name


def build_overlays(comparison: Comparison) -> list[Overlay]:
    """Return gradient norm, loss, and the hardware signal of the question, where two runs have them."""
    overlays = [_training(comparison, "grad_norm"), _training(comparison, "loss")]
    if comparison.chosen:
        overlays.append(_hardware(comparison, comparison.chosen[0].y, comparison.chosen[0].role))
    return [overlay for overlay in overlays if len(overlay.lines) > 1]


def _training(comparison: Comparison, name: str) -> Overlay:
    lines = []
    for place, data in enumerate(comparison.series, 1):
        values = data.training(name)
        if name == "grad_norm":
            values = np.where(values > 0, values, np.nan)
        time_s = (data.step_time_ns - data.step_time_ns[0]) / 1e9
        lines += [make_line(f"run {place}", None, time_s, values, _BUCKETS)] * bool(np.isfinite(values).any())
    return Overlay(name, signal(name), name == "grad_norm", lines)


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
    return Overlay("hardware", signal(name), False, [line for line in lines if line.shown])


def time_axis(overlays: list[Overlay], ticks: int) -> float:
    """Return where the time axis that all panels share ends, in minutes.

    It ends at a mark where that leaves little room empty, so that its end has a number.
    """
    last = max(float(line.time_s[-1]) / 60 for overlay in overlays for line in overlay.lines) or 1.0
    power = 10.0 ** math.floor(math.log10(last / ticks))
    steps = (1, 2, 5, 10)  # as Vega chooses them
    step = power * steps[sum(last / ticks / power >= math.sqrt(limit) for limit in (2, 10, 50))]
    mark = step * math.ceil(last / step)
    return mark if mark - last <= _SPARE * last else last


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
    places = {run.run_id: place for place, run in enumerate(comparison.runs)}
    rows = []
    for run_id, r, low, high in zip(pair.run_ids, swap.run_r, swap.run_low, swap.run_high, strict=True):
        run = comparison.runs[places[run_id]]
        place = places[run_id]
        rows.append(ForestRow(place, _label(place, run), run.name, float(r), float(low), float(high)))
    name = f"{swap.n_runs} trainings, random effects"
    return [*rows, ForestRow(None, "pooled", name, swap.r, swap.r_low, swap.r_high)]


def _label(place: int, run: ComparedRun) -> str:
    if len(run.name) <= _LONGEST and run.name != run.run_id:
        return run.name
    return f"run {place + 1}" if run.seed is None else f"run {place + 1}, seed {run.seed}"
