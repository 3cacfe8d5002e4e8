"""The interactive timeline of the report: panels on one clock, as one Vega-Lite specification."""

from collections.abc import Iterable
from typing import Any

import altair as alt
from thermograd.analysis.display.palette import SEVERITY_COLOURS
from thermograd.analysis.report.charts.style import (
    WIDTH,
    Rows,
    Spec,
    colour,
    curves,
    named,
    number,
    over_time,
    specification,
)
from thermograd.analysis.report.data.curves import Line, decades
from thermograd.analysis.report.data.panel import KIND_NAMES, Kind, Mark, Panel, Panels

_CROSS = "M-.8,-.8L.8,.8M.8,-.8L-.8,.8"
_SHAPES: dict[Kind, str] = {
    "spike": "circle",
    "nonfinite": _CROSS,
    "zero": _CROSS,
    "injection": "triangle-down",
    "collapse": "diamond",
    "reported_collapse": "triangle-down",
}
_RULES = ("injection", "collapse")
_HEIGHT = 118
_LANE = 26
_LEFT: dict[str, Any] = {"minExtent": 46, "maxExtent": 46}  # so that all panels begin at one place


def panels_chart(panels: Panels) -> Spec | None:
    """Return the panels that have something to show as one specification; None where none has."""
    shown = [panel for panel in panels.panels if not panel.reason]
    if not shown:
        return None
    spec = specification(lambda rows: _stacked(shown, panels, rows))
    told = [
        {"title": panel.title, "unit": panel.unit, "curves": panel.key}
        | {"marks": [name for name in spec["datasets"] if name.startswith(f"{panel.key}-mark-")]}
        for panel in shown
    ]
    alerts = [f"alerts-{severity}" for severity in SEVERITY_COLOURS] if panels.alerts else []
    return over_time(spec, panels.clock.symbol, panels.clock.seconds, told, alerts)


def _stacked(shown: list[Panel], panels: Panels, rows: Rows) -> alt.VConcatChart:
    lowest = None if panels.alerts else shown[-1]
    charts = [_panel_chart(panel, panels, rows, panel is lowest) for panel in shown]
    if panels.alerts:
        charts.append(_alerts_chart(panels, rows))
    chart: alt.VConcatChart = alt.vconcat(*charts, spacing=10)
    return chart


def _x(panels: Panels, is_lowest: bool) -> alt.X:
    """Return the shared axis of time, which is written below the lowest panel."""
    scale = alt.Scale(domain=[_number(limit, panels) for limit in panels.limits_s], nice=False, zero=False)
    title = f"{panels.clock.name} since the run's first event" if is_lowest else None
    return alt.X("t:Q", scale=scale, axis=alt.Axis(title=title, labels=is_lowest, grid=False, tickCount=8))


def _number(time_s: float, panels: Panels) -> float | None:
    return number(time_s / panels.clock.seconds)


def _panel_chart(panel: Panel, panels: Panels, rows: Rows, is_lowest: bool) -> alt.LayerChart:
    values = decades(panel.lines) if panel.log else alt.Undefined
    y = alt.Y("v:Q", scale=_y_scale(panel))
    y = y.axis(title=panel.axis_title, tickCount=4, titlePadding=8, values=values, **_LEFT)
    first, *others = _layers(panel, panels, rows, _x(panels, is_lowest), y)
    layers = [first.properties(name=f"{panel.key}-curves"), *others]
    return alt.LayerChart(layer=layers, width=WIDTH, height=_HEIGHT, name=panel.key, description=panel.title)


def _y_scale(panel: Panel) -> alt.Scale:
    if not any(line.shown for line in panel.lines):  # Vega warns of a range it cannot find
        return alt.Scale(domain=[0, 1])
    return alt.Scale(type="log", padding=8) if panel.log else alt.Scale(zero=False, padding=8)


def _layers(panel: Panel, panels: Panels, rows: Rows, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    of_devices = any(line.device is not None for line in panel.lines)
    labels = list(panels.devices.values())
    lines = named(rows, panel.key, _line_rows(panel.lines, panels))
    training = lines.mark_line(strokeWidth=1.3, clip=True, style="training")
    layers = [curves(lines, labels, x, y) if of_devices else training.encode(x=x, y=y, detail="s:N")]
    if lonely := _line_rows(panel.lines, panels, alone=True):  # values that no curve shows
        dots = named(rows, f"{panel.key}-alone", lonely)
        dots = dots.mark_point(filled=True, size=22, clip=True, opacity=1, style="training-dot")
        layers.append(dots.encode(x=x, y=y, **({"color": colour(labels)} if of_devices else {})))
    for kind in KIND_NAMES:
        marks = [mark for mark in panel.marks if mark.kind == kind]
        at_edge = [mark for mark in marks if mark.value is None]
        at_value = [mark for mark in marks if mark.value is not None]
        if at_edge:
            data = named(rows, f"{panel.key}-mark-{kind}-edge", _mark_rows(at_edge, panels))
            edge = alt.value(_HEIGHT - 5 if kind == "zero" else 5)
            layers += [_rules(kind, data, x)] * (kind in _RULES) + [_symbols(kind, data, x, edge)]
        if at_value:
            data = named(rows, f"{panel.key}-mark-{kind}", _mark_rows(at_value, panels))
            layers.append(_symbols(kind, data, x, y))
    return layers


def _line_rows(lines: Iterable[Line], panels: Panels, alone: bool = False) -> list[dict[str, Any]]:
    rows = []
    for line in lines:
        chosen = line.isolated if alone else slice(None)
        device = panels.devices.get(line.device or "", "")
        times, values = (line.time_s[chosen] / panels.clock.seconds).tolist(), line.values[chosen].tolist()
        rows += [
            {"t": number(t), "v": number(v), "s": line.label, "d": device}
            for t, v in zip(times, values, strict=True)
        ]
    return rows


def _mark_rows(marks: Iterable[Mark], panels: Panels) -> list[dict[str, Any]]:
    return [
        {"t": _number(mark.time_s, panels), "v": number(mark.value)}
        | {"what": KIND_NAMES[mark.kind], "text": mark.text}
        for mark in marks
    ]


def _rules(kind: Kind, data: alt.Chart, x: alt.X) -> alt.Chart:
    dash = [4, 3] if kind == "injection" else [1, 0]
    chart = data.mark_rule(style=kind, clip=True, strokeWidth=1, strokeDash=dash, opacity=0.75)
    rules: alt.Chart = chart.encode(x=x)
    return rules


def _symbols(kind: Kind, data: alt.Chart, x: alt.X, y: Any) -> alt.Chart:
    hollow = kind in ("spike", "nonfinite", "zero")
    size = 90 if kind == "spike" else 45
    look: dict[str, Any] = {"filled": not hollow, "strokeWidth": 1.8 if hollow else 0, "opacity": 1}
    chart = data.mark_point(style=kind, shape=_SHAPES[kind], size=size, clip=True, **look)
    symbols: alt.Chart = chart.encode(x=x, y=y)
    return symbols


# -- alerts ----------------------------------------------------------------------------------------


def _alerts_chart(panels: Panels, rows: Rows) -> alt.LayerChart:
    """Return one lane a kind of alert, its name above the ticks, a tick an alert."""
    lanes = list(dict.fromkeys(alert.name for alert in panels.alerts))
    x = _x(panels, True)
    y = alt.Y("lane:Q", scale=alt.Scale(domain=[len(lanes), 0], nice=False))
    y = y.axis(title="Alerts", labels=False, ticks=False, grid=False, **_LEFT)
    layers = []
    for severity in SEVERITY_COLOURS:
        told = [
            {"t": _number(alert.time_s, panels), "lane": lanes.index(alert.name) + 0.68}
            | {"what": alert.name, "text": alert.text}
            for alert in panels.alerts
            if alert.severity == severity
        ]
        ticks = named(rows, f"alerts-{severity}", told)
        look: dict[str, Any] = {"orient": "vertical", "size": 13, "thickness": 2, "clip": True, "opacity": 1}
        layers.append(ticks.mark_tick(style=f"severity-{severity}", **look).encode(x=x, y=y))
    names = named(rows, "alerts-lanes", [{"lane": k, "name": name} for k, name in enumerate(lanes)])
    text = names.mark_text(align="left", baseline="top", fontSize=10, dx=3, dy=1)
    layers = [layers[0].properties(name="alerts-ticks"), *layers[1:]]
    layers.append(text.encode(x=alt.value(0), y=y, text="name:N"))
    height = _LANE * len(lanes)
    return alt.LayerChart(layer=layers, width=WIDTH, height=height, name="alerts", description="Alerts")
