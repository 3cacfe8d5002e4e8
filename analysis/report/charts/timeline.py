"""The interactive timeline of the report: panels on one clock, as one Vega-Lite specification."""

from collections.abc import Iterable, Sequence
from typing import Any

from thermograd.analysis.display.numbers import without_middle
from thermograd.analysis.display.palette import SEVERITY_COLOURS
from thermograd.analysis.report.charts.style import (
    WIDTH,
    Rows,
    Spec,
    band_layers,
    band_rows,
    colour,
    curves,
    named,
    number,
    of_field,
    over_time,
    specification,
    value_scale,
)
from thermograd.analysis.report.charts.vega_lite import Part, View, channel, layered, part, value
from thermograd.analysis.report.data.curves import Band, Line, decades
from thermograd.analysis.report.data.panel import (
    AT_THE_BOTTOM,
    KIND_NAMES,
    AlertTick,
    Kind,
    Mark,
    Panel,
    Panels,
    Strip,
    shade,
)

_CROSS = "M-.8,-.8L.8,.8M.8,-.8L-.8,.8"
_SHAPES: dict[Kind, str] = {
    "spike": "circle",
    "nonfinite": _CROSS,
    "zero": _CROSS,
    "injection": "triangle-down",
    "collapse": "diamond",
    "reported_collapse": "triangle-down",
    "evaluation": "triangle-up",
    "checkpoint": "square",
}
_RULES = ("injection", "collapse")
_HEIGHT = 118
_LANE = 26
_STRIP = 7
_TITLE = 17  # letters that have room beside a panel
_LARGE = 20_000
_LEFT: dict[str, Any] = {"minExtent": 46, "maxExtent": 46}  # so that all panels begin at one place


def panels_chart(panels: Panels) -> Spec | None:
    """Return what a reader sees first, the alerts below it, as one specification; None for nothing."""
    shown = panels.shown
    if not shown:
        return None
    return _timeline(shown, panels, panels.alerts)


def folded_chart(panels: Panels) -> Spec | None:
    """Return the panels that a reader sees who asks for more; None where there is none."""
    return _timeline(panels.folded, panels, ()) if panels.folded else None


def _timeline(shown: Sequence[Panel], panels: Panels, alerts: Sequence[AlertTick]) -> Spec:
    spec = specification(lambda rows: _stacked(shown, panels, rows, bool(alerts)))
    names = [name for name in spec["datasets"] if name.startswith("alerts-") and name != "alerts-lanes"]
    clock = panels.clock
    spec = over_time(spec, clock.symbol, clock.seconds, [_told(panel, spec) for panel in shown], names)
    if panels.origin_ns:
        spec["usermeta"]["cursor"]["origin_ms"] = panels.origin_ns // 1_000_000
    return spec


def _told(panel: Panel, spec: Spec) -> dict[str, Any]:
    """Return what the page reads out of a panel at the cursor."""
    marks = [
        name for name in spec["datasets"] if name.startswith((f"{panel.key}-mark-", f"{panel.key}-strip-"))
    ]
    told = {"title": panel.title, "unit": panel.unit, "curves": panel.key, "marks": marks}
    if any(line.dashed for line in panel.lines):
        told["dashed"] = f"{panel.key}-dashed"
    return told | ({"band": f"{panel.key}-band", "band_name": panel.band.label} if panel.band else {})


def _stacked(shown: Sequence[Panel], panels: Panels, rows: Rows, alerts: bool) -> Part:
    lowest = None if alerts else shown[-1]
    charts = [_panel_chart(panel, panels, rows, panel is lowest) for panel in shown]
    if alerts:
        charts.append(_alerts_chart(panels, rows))
    return part(vconcat=charts, spacing=10)


def _x(panels: Panels, is_lowest: bool) -> Part:
    """Return the shared axis of time, which is written below the lowest panel."""
    scale = part(domain=[_number(limit, panels) for limit in panels.limits_s], nice=False, zero=False)
    title = f"{panels.clock.name} since the run's first event" if is_lowest else None
    return channel("t:Q", scale=scale, axis=part(title=title, labels=is_lowest, grid=False, tickCount=8))


def _number(time_s: float, panels: Panels) -> float | None:
    return number(time_s / panels.clock.seconds)


def _panel_chart(panel: Panel, panels: Panels, rows: Rows, is_lowest: bool) -> Part:
    y = channel("v:Q", scale=_y_scale(panel))
    axis = part(title=_title(panel), tickCount=4, titlePadding=8, **_form(panel), **_LEFT)
    y["axis"] = axis | ({"values": decades(panel.curves)} if panel.log else {})
    first, *others = _layers(panel, panels, rows, _x(panels, is_lowest), y)
    layers = [View(first, name=f"{panel.key}-curves"), *others]
    return layered(layers, width=WIDTH, height=_HEIGHT, name=panel.key, description=panel.title)


def _title(panel: Panel) -> str | list[str]:
    """Return the title of the vertical axis, in two lines where a panel is not high enough for one."""
    if len(panel.axis_title) <= _TITLE:
        return panel.axis_title
    return [panel.title, f"({panel.unit})"] if panel.unit else without_middle(panel.title, _TITLE)


def _form(panel: Panel) -> Part:
    """Return how values are written: large ones with k or M, for which there is room."""
    highest = max((abs(curve.highest) for curve in panel.curves if curve.total), default=0.0)
    return {"format": "~s"} if highest >= _LARGE else {}


def _y_scale(panel: Panel) -> Part:
    if not panel.band and not any(line.shown for line in panel.lines):  # Vega warns of a range it cannot find
        return part(domain=[0, 1])
    padding = 8 + _STRIP * len(panel.strips)
    if panel.log:
        return part(type="log", nice=False, padding=padding)
    ranges: list[Line | Band] = [
        *(line for line in panel.lines if line.shown),
        *([panel.band] if panel.band else []),
    ]
    return value_scale(min(each.lowest for each in ranges), max(each.highest for each in ranges), padding)


def _layers(panel: Panel, panels: Panels, rows: Rows, x: Part, y: Part) -> list[View]:
    of_devices = any(line.device is not None for line in panel.lines)
    labels = list(panels.devices.values())
    layers = []
    if panel.band:
        band = named(rows, f"{panel.key}-band", band_rows(panel.band, panels.clock.seconds))
        layers += band_layers(band, x, y)
    measured = named(rows, panel.key, _line_rows([line for line in panel.lines if not line.dashed], panels))
    training = measured.mark("line", strokeWidth=1.3, clip=True, style="training")
    layers.append(curves(measured, labels, x, y) if of_devices else training.encode(x=x, y=y, detail="s:N"))
    if dashed := [line for line in panel.lines if line.dashed]:
        data = named(rows, f"{panel.key}-dashed", _line_rows(dashed, panels))
        layers.append(_dashed(data, labels if of_devices else [], x, y))
    if lonely := _line_rows(panel.lines, panels, alone=True):  # values that no curve shows
        dots = named(rows, f"{panel.key}-alone", lonely)
        dots = dots.mark("point", filled=True, size=22, clip=True, opacity=1, style="training-dot")
        layers.append(dots.encode(x=x, y=y, **({"color": colour(labels)} if of_devices else {})))
    for place, strip in enumerate(panel.strips):
        data = named(rows, f"{panel.key}-strip-{strip.kind}", _strip_rows(strip, panels))
        layers.append(_strip(data, f"{strip.kind}", x, 1 + place * _STRIP))
    for kind in KIND_NAMES:
        marks = [mark for mark in panel.marks if mark.kind == kind]
        at_edge = [mark for mark in marks if mark.value is None]
        at_value = [mark for mark in marks if mark.value is not None]
        if at_edge:
            data = named(rows, f"{panel.key}-mark-{kind}-edge", _mark_rows(at_edge, panels))
            edge = value(_HEIGHT - 5 if kind in AT_THE_BOTTOM else 5)
            layers += [_rules(kind, data, x)] * (kind in _RULES) + [_symbols(kind, data, x, edge)]
        if at_value:
            data = named(rows, f"{panel.key}-mark-{kind}", _mark_rows(at_value, panels))
            layers.append(_symbols(kind, data, x, y))
    return layers


def _dashed(lines: View, labels: list[str], x: Part, y: Part) -> View:
    look: dict[str, Any] = {"strokeWidth": 1.2, "strokeDash": [5, 3], "clip": True, "style": "bound"}
    chart = lines.mark("line", **look).encode(x=x, y=y, detail="s:N")
    return chart.encode(color=colour(labels)) if labels else chart


def _strip_rows(strip: Strip, panels: Panels) -> list[dict[str, Any]]:
    """Return a strip's stretches, the fullest of them opaque."""
    columns = (strip.start_s.tolist(), strip.shades.tolist(), strip.texts())
    return [
        {"t": _number(start_s + strip.width_s / 2, panels), "from": _number(start_s, panels)}
        | {"to": _number(start_s + strip.width_s, panels), "v": None, "o": number(shade)}
        | {"what": KIND_NAMES[strip.kind], "text": text}
        for start_s, shade, text in zip(*columns, strict=True)
    ]


def _strip(data: View, style: str, x: Part, top: float) -> View:
    """Return rectangles below the upper edge of a panel, so many pixels from it."""
    start = of_field(x, "from:Q")
    opacity = channel("o:Q", scale=None, legend=None)
    return data.mark("rect", style=style, clip=True).encode(
        x=start, x2="to:Q", y=value(top), y2=value(top + _STRIP - 1), opacity=opacity
    )


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


def _rules(kind: Kind, data: View, x: Part) -> View:
    dash = [4, 3] if kind == "injection" else [1, 0]
    chart = data.mark("rule", style=kind, clip=True, strokeWidth=1, strokeDash=dash, opacity=0.75)
    return chart.encode(x=x)


def _symbols(kind: Kind, data: View, x: Part, y: Any) -> View:
    hollow = kind in ("spike", "nonfinite", "zero")
    size = 90 if kind == "spike" else 45
    look: dict[str, Any] = {"filled": not hollow, "strokeWidth": 1.8 if hollow else 0, "opacity": 1}
    chart = data.mark("point", style=kind, shape=_SHAPES[kind], size=size, clip=True, **look)
    return chart.encode(x=x, y=y)


# -- alerts ----------------------------------------------------------------------------------------


def _alerts_chart(panels: Panels, rows: Rows) -> Part:
    """Return one lane a kind of alert, its name above the ticks, a tick an alert."""
    lanes = list(dict.fromkeys(alert.name for alert in panels.alerts))
    x = _x(panels, True)
    y = channel("lane:Q", scale=part(domain=[len(lanes), 0], nice=False))
    y |= part(axis=part(title="Alerts", labels=False, ticks=False, grid=False, **_LEFT))
    layers = []
    for severity in SEVERITY_COLOURS:
        told = [alert for alert in panels.alerts if alert.severity == severity]
        layers += _alert_layers(severity, told, lanes, panels, rows, x, y)
    names = named(rows, "alerts-lanes", [{"lane": k, "name": name} for k, name in enumerate(lanes)])
    text = names.mark("text", align="left", baseline="top", fontSize=10, dx=3, dy=1)
    layers = [View(layers[0], name="alerts-ticks"), *layers[1:]]
    layers.append(text.encode(x=value(0), y=y, text="name:N"))
    height = _LANE * len(lanes)
    return layered(layers, width=WIDTH, height=height, name="alerts", description="Alerts")


def _alert_layers(
    severity: str, told: list[AlertTick], lanes: list[str], panels: Panels, rows: Rows, x: Part, y: Part
) -> list[View]:
    """Return the ticks of a severity, and of crowded lanes the rectangles."""
    style = f"severity-{severity}"
    look: dict[str, Any] = {"orient": "vertical", "size": 13, "thickness": 2, "clip": True, "opacity": 1}
    single = [_alert_row(alert, lanes, panels) for alert in told if not alert.width_s]
    ticks = named(rows, f"alerts-{severity}", single).mark("tick", style=style, **look).encode(x=x, y=y)
    most = {name: max(each.events for each in panels.alerts if each.name == name) for name in lanes}
    crowded = [
        _alert_row(alert, lanes, panels)
        | {"from": _number(alert.time_s, panels), "to": _number(alert.time_s + alert.width_s, panels)}
        | {"o": number(shade(alert.events / most[alert.name] if alert.share is None else alert.share))}
        | {"top": lanes.index(alert.name) + 0.44, "bottom": lanes.index(alert.name) + 0.92}
        for alert in told
        if alert.width_s
    ]
    if not crowded:
        return [ticks]
    data = named(rows, f"alerts-strip-{severity}", crowded).mark("rect", style=style, clip=True)
    start, top = of_field(x, "from:Q"), of_field(y, "top:Q")
    opacity = channel("o:Q", scale=None, legend=None)
    return [ticks, data.encode(x=start, x2="to:Q", y=top, y2="bottom:Q", opacity=opacity)]


def _alert_row(alert: AlertTick, lanes: list[str], panels: Panels) -> dict[str, Any]:
    return {
        "t": _number(alert.time_s + alert.width_s / 2, panels),
        "lane": lanes.index(alert.name) + 0.68,
        "what": alert.name,
        "text": alert.text,
    }
