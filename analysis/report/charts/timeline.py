"""The interactive timeline of the report: panels on one clock, as one Vega-Lite specification."""

import math
from collections.abc import Iterable
from typing import Any

import altair as alt
from thermograd.analysis.display.palette import DEVICE_COLOURS, SEVERITY_COLOURS
from thermograd.analysis.report.charts.style import (
    WIDTH,
    Rows,
    Spec,
    checked_later,
    named,
    number,
    zoom_param,
)
from thermograd.analysis.report.data.curves import Line
from thermograd.analysis.report.data.panel import KIND_NAMES, Kind, Mark, Panel, Panels

_DASHES = ([1, 0], [5, 2], [1.5, 1.5], [8, 3, 2, 3])
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
_EXTENT = 46


def panels_chart(panels: Panels) -> Spec | None:
    """Return the panels that have something to show as one specification; None where none has.

    Zoom and pan in time are shared by all.
    ``usermeta`` tells the page which data to read out at the cursor.
    """
    shown = [panel for panel in panels.panels if not panel.reason]
    if not shown:
        return None
    rows: Rows = {}
    with checked_later(False):
        lowest = None if panels.alerts else shown[-1]
        charts = [_panel_chart(panel, panels, rows, panel is lowest) for panel in shown]
        if panels.alerts:
            charts.append(_alerts_chart(panels, rows))
        specification: Spec = alt.vconcat(*charts, spacing=10).to_dict(validate=False)
    specification["params"] = [zoom_param([view["layer"][0]["name"] for view in specification["vconcat"]])]
    cursor = {"unit": panels.clock.symbol, "unit_s": panels.clock.seconds}
    cursor |= {"scale": f"{shown[0].key}_x", "panels": [_readout(panel, rows) for panel in shown]}
    cursor |= {"alerts": [name for name in rows if name.startswith("alerts-") and name != "alerts-lanes"]}
    return specification | {"datasets": rows, "usermeta": {"cursor": cursor}}


def _readout(panel: Panel, rows: Rows) -> dict[str, Any]:
    marks = [name for name in rows if name.startswith(f"{panel.key}-mark-")]
    return {"title": panel.title, "unit": panel.unit, "curves": panel.key, "marks": marks}


def _x(panels: Panels, is_lowest: bool) -> alt.X:
    """Return the shared axis of time, which is written below the lowest panel."""
    scale = alt.Scale(domain=[_number(limit, panels) for limit in panels.limits_s], nice=False, zero=False)
    title = f"{panels.clock.name} since the run's first event" if is_lowest else None
    return alt.X("t:Q", scale=scale, axis=alt.Axis(title=title, labels=is_lowest, grid=False, tickCount=8))


def _number(time_s: float, panels: Panels) -> float | None:
    return number(time_s / panels.clock.seconds)


def _panel_chart(panel: Panel, panels: Panels, rows: Rows, is_lowest: bool) -> alt.LayerChart:
    y = alt.Y(
        "v:Q",
        scale=_y_scale(panel),
        axis=alt.Axis(
            title=panel.axis_title,
            tickCount=4,
            minExtent=_EXTENT,
            maxExtent=_EXTENT,
            titlePadding=8,
            values=_decades(panel) if panel.log else alt.Undefined,
        ),
    )
    first, *others = _layers(panel, panels, rows, _x(panels, is_lowest), y)
    layers = [first.properties(name=f"{panel.key}-curves"), *others]
    return alt.LayerChart(layer=layers, width=WIDTH, height=_HEIGHT, name=panel.key, description=panel.title)


def _y_scale(panel: Panel) -> alt.Scale:
    if not any(line.shown for line in panel.lines):  # Vega warns of a range it cannot find
        return alt.Scale(domain=[0, 1])
    return alt.Scale(type="log", padding=8) if panel.log else alt.Scale(zero=False, padding=8)


def _decades(panel: Panel) -> list[float]:
    """Return at most six powers of ten that span the curves, for the marks of a logarithmic axis."""
    values = [float(v) for line in panel.lines for v in line.values if v > 0]
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**k for k in range(first, last + 1, 1 + (last - first) // 6)]


def _layers(panel: Panel, panels: Panels, rows: Rows, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    curves = named(rows, panel.key, _line_rows(panel.lines, panels))
    layers = [_curves(panel.lines, curves, panels, x, y)]
    lonely = _line_rows(panel.lines, panels, alone=True)
    if lonely:
        data = named(rows, f"{panel.key}-alone", lonely)
        layers.append(_dots(panel.lines, data, panels, x, y))
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


def _curves(lines: Iterable[Line], data: alt.NamedData, panels: Panels, x: alt.X, y: alt.Y) -> alt.Chart:
    chart = alt.Chart(data)
    if all(line.device is None for line in lines):
        plain: alt.Chart = chart.mark_line(strokeWidth=1.3, clip=True, style="training").encode(
            x=x, y=y, detail="s:N"
        )
        return plain
    labels = list(panels.devices.values())
    dashes = [_DASHES[i // len(DEVICE_COLOURS) % len(_DASHES)] for i in range(len(labels))]
    coloured: alt.Chart = chart.mark_line(strokeWidth=1.4, clip=True).encode(
        x=x,
        y=y,
        detail="s:N",
        color=_device_colour(panels),
        strokeDash=alt.StrokeDash("d:N", scale=alt.Scale(domain=labels, range=dashes), legend=None),
    )
    return coloured


def _device_colour(panels: Panels) -> alt.Color:
    return alt.Color("d:N", scale=alt.Scale(domain=list(panels.devices.values())), legend=None)


def _dots(lines: Iterable[Line], data: alt.NamedData, panels: Panels, x: alt.X, y: alt.Y) -> alt.Chart:
    """Return points for the values that no curve shows."""
    of_devices = any(line.device is not None for line in lines)
    colour = {"color": _device_colour(panels)} if of_devices else {}
    chart = alt.Chart(data).mark_point(filled=True, size=22, clip=True, opacity=1, style="training-dot")
    dots: alt.Chart = chart.encode(x=x, y=y, **colour)
    return dots


def _mark_rows(marks: Iterable[Mark], panels: Panels) -> list[dict[str, Any]]:
    return [
        {
            "t": _number(mark.time_s, panels),
            "v": number(mark.value),
            "what": KIND_NAMES[mark.kind],
            "text": mark.text,
        }
        for mark in marks
    ]


def _rules(kind: Kind, data: alt.NamedData, x: alt.X) -> alt.Chart:
    dash = [4, 3] if kind == "injection" else [1, 0]
    chart = alt.Chart(data).mark_rule(style=kind, clip=True, strokeWidth=1, strokeDash=dash, opacity=0.75)
    rules: alt.Chart = chart.encode(x=x)
    return rules


def _symbols(kind: Kind, data: alt.NamedData, x: alt.X, y: Any) -> alt.Chart:
    hollow = kind in ("spike", "nonfinite", "zero")
    chart = alt.Chart(data).mark_point(
        style=kind,
        shape=_SHAPES[kind],
        size=90 if kind == "spike" else 45,
        filled=not hollow,
        strokeWidth=1.8 if hollow else 0,
        opacity=1,
        clip=True,
    )
    symbols: alt.Chart = chart.encode(x=x, y=y)
    return symbols


# -- alerts ----------------------------------------------------------------------------------------


def _alerts_chart(panels: Panels, rows: Rows) -> alt.LayerChart:
    """Return one lane a kind of alert, its name above the ticks, a tick an alert."""
    lanes = list(dict.fromkeys(alert.name for alert in panels.alerts))
    x = _x(panels, True)
    y = alt.Y("lane:Q", scale=alt.Scale(domain=[len(lanes), 0], nice=False), axis=_ALERT_AXIS)
    names = [{"lane": place, "name": name} for place, name in enumerate(lanes)]
    layers = []
    for severity in SEVERITY_COLOURS:
        told = [
            {
                "t": _number(alert.time_s, panels),
                "lane": lanes.index(alert.name) + 0.68,
                "what": alert.name,
                "text": alert.text,
            }
            for alert in panels.alerts
            if alert.severity == severity
        ]
        data = named(rows, f"alerts-{severity}", told)
        tick = alt.Chart(data).mark_tick(
            style=f"severity-{severity}", orient="vertical", size=13, thickness=2, clip=True, opacity=1
        )
        layers.append(tick.encode(x=x, y=y))
    text = alt.Chart(named(rows, "alerts-lanes", names)).mark_text(
        align="left", baseline="top", fontSize=10, dx=3, dy=1
    )
    layers.append(text.encode(x=alt.value(0), y=y, text="name:N"))
    layers[0] = layers[0].properties(name="alerts-ticks")
    height = _LANE * len(lanes)
    return alt.LayerChart(layer=layers, width=WIDTH, height=height, name="alerts", description="Alerts")


_ALERT_AXIS = alt.Axis(
    title="Alerts", labels=False, ticks=False, grid=False, minExtent=_EXTENT, maxExtent=_EXTENT
)
