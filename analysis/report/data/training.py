"""The panels of the training: its signals, with spikes, faults and values that are no numbers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats, Ints, Mask
from thermograd.analysis.display.numbers import without_middle
from thermograd.analysis.report.data.curves import buckets_of, decimation_notes, make_line
from thermograd.analysis.report.data.event_marks import onsets_s
from thermograd.analysis.report.data.panel import KIND_NAMES, Kind, Mark, Panel
from thermograd.analysis.run.series import RunSeries
from thermograd.store.runs.own_values.metrics import Metric
from thermograd.store.telling.columns import signal

_BUCKETS = 800  # of marks at the edge
_DECADES = {"loss": 3.0, "grad_norm": 1.0, "learning_rate": np.inf}  # above which an axis is logarithmic
_FEWEST_DECADES = 3.0  # of every other signal
_EVALUATION = ("eval", "val", "test")  # with which the names of evaluations begin
_MOST_METRICS, _LONGEST_NAME = 12, 40
_NEAR = 10.0  # times the highest norm, or below the lowest: a bound farther away would press the curve flat


def training_panel(
    data: RunSeries, origin_ns: int, name: str, buckets: int, marks: Sequence[Mark] = (), folded: bool = False
) -> Panel:
    """Return the panel of a signal of the steps; values that are not finite or zero become marks too."""
    if not data.step_time_ns.size:
        return Panel(name, reason="no training step was recorded in this run", folded=folded)
    values, measured = _measured(data, name)
    if not measured.any():
        return Panel(name, reason=f"{signal(name).name} was not recorded in this run", folded=folded)
    time_s = (data.step_time_ns - origin_ns) / 1e9
    log = _spans(values, _DECADES.get(name, _FEWEST_DECADES))
    at_edge = _edge_marks("nonfinite", data, time_s, values, ~np.isfinite(values) & measured)
    if log:
        at_edge += _edge_marks("zero", data, time_s, values, values == 0)
        values = np.where(values > 0, values, np.nan)
    alerts = onsets_s(data, origin_ns)
    line = make_line(signal(name).name, None, time_s[measured], values[measured], buckets, alerts)
    notes = decimation_notes([line]) + (("logarithmic scale.",) if log else ())
    return Panel(name, (line,), tuple(at_edge) + tuple(marks), log=log, notes=notes, folded=folded)


def metric_panels(data: RunSeries, origin_ns: int, buckets: int) -> list[Panel]:
    """Return a panel for each number that the script logged of its own, evaluations first; of many some."""
    known = [metric for metric in data.metrics.values() if np.isfinite(metric.value).any()]
    known.sort(key=lambda metric: not metric.name.lower().startswith(_EVALUATION))
    panels = [
        _metric_panel(metric, place, origin_ns, buckets) for place, metric in enumerate(known[:_MOST_METRICS])
    ]
    if len(known) > _MOST_METRICS:
        more = f"{len(known) - _MOST_METRICS} more metrics are in the log (view metrics)."
        panels[-1] = replace(panels[-1], notes=(*panels[-1].notes, more))
    return panels


def _metric_panel(metric: Metric, place: int, origin_ns: int, buckets: int) -> Panel:
    time_s = (metric.time_ns - origin_ns) / 1e9
    log = _spans(metric.value, _FEWEST_DECADES)
    values = np.where(metric.value > 0, metric.value, np.nan) if log else metric.value
    line = make_line(without_middle(metric.name, _LONGEST_NAME), None, time_s, values, buckets)
    notes = decimation_notes([line]) + (("logarithmic scale.",) if log else ())
    return Panel(f"metric_{place}", (line,), log=log, notes=notes, folded=True, name=line.label)


def _measured(data: RunSeries, name: str) -> tuple[Floats, Mask]:
    """Return a signal of the steps, and where it was recorded."""
    if name == "tokens_per_s":
        tokens, seconds = data.training("tokens"), data.training("step_time_s")
        rate = np.divide(tokens, seconds, out=np.full(tokens.size, np.nan), where=seconds > 0)
        return rate, np.isfinite(rate)
    return data.training(name), np.asarray(data.steps.column(name).is_valid())


def with_clip_bound(panel: Panel, data: RunSeries, origin_ns: int, buckets: int) -> Panel:
    """Return the panel of the gradient norm with the bound at which it is clipped, where that is near."""
    bound, norms = data.training("max_grad_norm"), data.training("grad_norm")
    known = np.isfinite(bound) & (bound > 0)
    if panel.reason or not known.any() or not np.isfinite(norms).any():
        return panel
    both = known & np.isfinite(norms)
    clipped = float((norms[both] > bound[both]).mean()) if both.any() else 0.0
    name = signal("max_grad_norm").name
    told = f"clipped were {100 * clipped:.0f} % of the steps, with a norm above the bound."
    if not _is_near(bound[known], panel):
        low, high = float(bound[known].min()), float(bound[known].max())
        shown = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
        return replace(panel, notes=(*panel.notes, f"the {name}, {shown}, is far from the norms; {told}"))
    time_s = (data.step_time_ns - origin_ns) / 1e9
    changes = np.flatnonzero(
        np.append(True, np.diff(bound[known]) != 0) | np.append(np.diff(bound[known]) != 0, True)
    )
    line = make_line(name, None, time_s[known][changes], bound[known][changes], buckets, dashed=True)
    return replace(panel, lines=(*panel.lines, line), notes=(*panel.notes, told))


def _is_near(bound: Floats, panel: Panel) -> bool:
    (line,) = panel.lines
    if not line.shown:
        return False
    reach = _NEAR if panel.log else 1.5
    return bool(bound.max() <= reach * line.highest and bound.min() >= line.lowest / reach)


def happened_marks(data: RunSeries, origin_ns: int, kinds: Sequence[Kind]) -> list[Mark]:
    """Return what happened at one time as the log has it: injected faults, evaluations, checkpoints."""
    return [
        Mark(kind, (mark["time_ns"] - origin_ns) / 1e9, None, _mark_text(mark, KIND_NAMES[kind]))
        for kind in kinds
        for mark in data.marks
        if mark["mark"] == kind
    ]


def _mark_text(mark: dict[str, Any], otherwise: str) -> str:
    where = "" if mark["step"] is None else f"before step {mark['step']}: "
    return where + str(mark["text"] or otherwise)


def _spans(values: Floats, decades: float) -> bool:
    """Whether values are all at least 0 and the positive ones span more than so many powers of ten."""
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    if not positive.size or (finite < 0).any():
        return False
    return float(np.log10(positive.max()) - np.log10(positive.min())) > decades


def _edge_marks(kind: Kind, data: RunSeries, time_s: Floats, values: Floats, chosen: Mask) -> list[Mark]:
    """Return a mark for every chosen step; those too near for a screen are one mark that counts them."""
    index = np.flatnonzero(chosen)
    if not index.size:
        return []
    steps = data.steps.column("step")
    starts = np.unique(buckets_of(time_s, _BUCKETS)[index], return_index=True)[1]
    return [
        Mark(kind, float(time_s[group[0]]), None, _edge_text(group, values, steps), group.size)
        for group in np.split(index, starts[1:])
    ]


def _edge_text(group: Ints, values: Floats, steps: Any) -> str:
    first = f"step {steps[int(group[0])]}: {float(values[group[0]]):g}"
    if group.size == 1:
        return first
    return f"{first}, and {group.size - 1} more until step {steps[int(group[-1])]}"
