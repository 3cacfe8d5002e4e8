"""The same signal of several runs in one panel, time counted from each training's beginning."""

import math
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.display.palette import DEVICE_COLOURS, TEXT_COLOUR
from thermograd.analysis.report.charts.style import (
    WIDTH,
    Rows,
    Spec,
    checked_later,
    named,
    number,
    zoom_param,
)
from thermograd.analysis.report.data.curves import Line, make_line
from thermograd.analysis.report.figures.timeline import draw_frame, log_axis
from thermograd.analysis.roles import device_by_role

_BUCKETS = 300
_HEIGHT = 120
_TICKS = 8
_SPARE = 0.05  # of the time axis
_TIME_TITLE = "minutes since the training began"
_DASHES = ([1, 0], [5, 2], [1.5, 1.5], [8, 3, 2, 3])
_AXES = {
    "grad_norm": "gradient norm",
    "loss": "loss",
    "temperature_c": "temperature, °C",
    "power_w": "power, W",
}


@dataclass(frozen=True)
class Overlay:
    """One panel: a signal's curves, one a run, `time_s` of each from its training's beginning."""

    key: str
    axis_title: str
    log: bool
    lines: list[Line]


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
    return Overlay(name, _AXES[name], name == "grad_norm", lines)


def _hardware(comparison: Comparison, name: str, role: str) -> Overlay:
    lines = []
    for place, data in enumerate(comparison.series, 1):
        device = device_by_role(data).get(role)
        values = device.signal(name) if device is not None else None
        if device is not None and values is not None and np.isfinite(values).any():
            first, last = data.step_time_ns[0], data.step_time_ns[-1]
            inside = (device.time_ns >= first) & (device.time_ns <= last)
            time_s = (device.time_ns[inside] - first) / 1e9
            lines.append(make_line(f"run {place}", None, time_s, values[inside], _BUCKETS))
    return Overlay("hardware", _AXES.get(name, name), False, [line for line in lines if line.shown])


def run_style(place: int) -> tuple[int, int]:
    """Return which colour and which dashes the run at a place (from 0) has."""
    return place % len(DEVICE_COLOURS), place // len(DEVICE_COLOURS) % len(_DASHES)


def _place(line: Line) -> int:
    return int(line.label.removeprefix("run ")) - 1


def overlays_chart(overlays: list[Overlay], runs: int) -> Spec | None:
    """Return the panels as one Vega-Lite specification; None where there is nothing to show.

    Zoom, pan and cursor are shared by all panels, as in the timeline of a run.
    """
    if not overlays:
        return None
    rows: Rows = {}
    end = time_axis(overlays)[0]
    with checked_later(False):
        charts = [_chart(overlay, rows, runs, end, overlay is overlays[-1]) for overlay in overlays]
        spec: Spec = alt.vconcat(*charts, spacing=12).to_dict(validate=False)
    spec["params"] = [zoom_param([view["layer"][0]["name"] for view in spec["vconcat"]])]
    cursor = {"unit": "min", "unit_s": 60, "scale": f"{overlays[0].key}_x"}
    panels = [
        {"title": title, "unit": unit, "curves": f"overlay-{overlay.key}", "marks": []}
        for overlay in overlays
        for title, _, unit in [overlay.axis_title.partition(", ")]
    ]
    return spec | {"datasets": rows, "usermeta": {"cursor": cursor | {"panels": panels}}}


def time_axis(overlays: list[Overlay]) -> tuple[float, float]:
    """Return where the time axis that all panels share ends and how far apart its marks are, minutes.

    It ends at a mark where that leaves little room empty, so that its end has a number.
    """
    last = max(float(line.time_s[-1]) / 60 for overlay in overlays for line in overlay.lines) or 1.0
    power = 10.0 ** math.floor(math.log10(last / _TICKS))
    steps = (1, 2, 5, 10)  # as Vega chooses them
    step = power * steps[sum(last / _TICKS / power >= math.sqrt(limit) for limit in (2, 10, 50))]
    mark = step * math.ceil(last / step)
    return (mark if mark - last <= _SPARE * last else last), step


def _chart(overlay: Overlay, rows: Rows, runs: int, end: float, is_last: bool) -> alt.LayerChart:
    entries = [
        {"t": number(t / 60), "v": number(v), "s": line.label, "d": line.label}
        for line in overlay.lines
        for t, v in zip(line.time_s.tolist(), line.values.tolist(), strict=True)
    ]
    labels = [f"run {place}" for place in range(1, runs + 1)]
    dashes = [_DASHES[run_style(place)[1]] for place in range(runs)]
    axis = alt.Axis(title=_TIME_TITLE if is_last else None, labels=is_last, grid=False, tickCount=_TICKS)
    x = alt.X("t:Q", scale=alt.Scale(domain=[0, number(end)], nice=False, zero=False), axis=axis)
    scale = alt.Scale(type="log", padding=6) if overlay.log else alt.Scale(zero=False, padding=6)
    values = _decades(overlay.lines) if overlay.log else alt.Undefined
    look: dict[str, Any] = {"tickCount": 4, "minExtent": 46, "maxExtent": 46, "titlePadding": 8}
    y = alt.Y("v:Q", scale=scale, axis=alt.Axis(title=overlay.axis_title, values=values, **look))
    line = (
        alt.Chart(named(rows, f"overlay-{overlay.key}", entries))
        .mark_line(strokeWidth=1.2, clip=True)
        .encode(
            x=x,
            y=y,
            detail="s:N",
            color=alt.Color("d:N", scale=alt.Scale(domain=labels), legend=None),
            strokeDash=alt.StrokeDash("d:N", scale=alt.Scale(domain=labels, range=dashes), legend=None),
        )
        .properties(name=f"{overlay.key}-curves")
    )
    return alt.LayerChart(
        layer=[line], width=WIDTH, height=_HEIGHT, name=overlay.key, description=overlay.axis_title
    )


def _decades(lines: list[Line]) -> list[float]:
    """Return at most six powers of ten that span the curves."""
    first = math.floor(math.log10(min(line.lowest for line in lines)))
    last = math.ceil(math.log10(max(line.highest for line in lines)))
    return [10.0**k for k in range(first, last + 1, 1 + (last - first) // 6)]


def draw_overlay(ax: Axes, overlay: Overlay, axis: tuple[float, float], is_last: bool) -> None:
    """Draw one panel into axes, with the time axis of `time_axis`."""
    draw_frame(ax)
    if overlay.log:
        log_axis(ax, overlay.lines)
    for line in overlay.lines:
        colour, dashes = run_style(_place(line))
        look: dict[str, Any] = {"color": DEVICE_COLOURS[colour], "linewidth": 0.6, "alpha": 0.85}
        if dashes:
            look["linestyle"] = (0, tuple(_DASHES[dashes]))
        ax.plot(line.time_s / 60, line.values, gid=line.label, **look)
    end, step = axis
    ax.set_xlim(0, end)
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.set_ylabel(overlay.axis_title, color=TEXT_COLOUR, labelpad=2)
    ax.tick_params(labelbottom=is_last)
    if is_last:
        ax.set_xlabel(_TIME_TITLE, color=TEXT_COLOUR, labelpad=2)
