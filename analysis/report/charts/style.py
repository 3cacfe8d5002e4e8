"""What the interactive charts share: colours for light and dark, data beside the specification.

Colours that depend on light or dark live in the two configurations of `theme`, which the page hands
to Vega; the specifications only name styles. Text from the run is data here, never an expression.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import altair as alt
from altair.utils.schemapi import debug_mode
from thermograd.analysis.display.palette import DEVICE_COLOURS, MARK_COLOURS, RUN_COLOURS, SEVERITY_COLOURS
from thermograd.analysis.report.data.curves import Band
from thermograd.analysis.report.data.panel import Kind

Spec = dict[str, Any]
Rows = dict[str, list[dict[str, Any]]]
Theme = Literal["light", "dark"]

WIDTH = 760  # until the page sets it to the room there is
PRINTED_WIDTH = 400
_DARK_MARKS: dict[Kind, str] = {
    "spike": "#F0843C",
    "nonfinite": "#F0843C",
    "zero": "#F0843C",
    "injection": "#9D9D9D",
    "evaluation": "#A3ABB6",
    "checkpoint": "#A3ABB6",
}
_DARK_DEVICES = ("#4AA3DF", "#E69F00", "#2DBE91", "#8CD0F5", "#B0B0B0")  # the same hues, lighter
_DARK_RUNS = (*_DARK_DEVICES, "#F0843C", "#DD95BE", "#9F8FE8")
_TIME_COLOURS: dict[Theme, tuple[str, ...]] = {  # viridis; on dark ground its beginning would not be seen
    "light": ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"),
    "dark": ("#7a6fd0", "#4a9bc0", "#35b779", "#a0da39", "#fde725"),
}
_INK: dict[Theme, dict[str, str]] = {
    "light": {
        "text": "#3a3f47",
        "soft": "#5f6772",
        "grid": "#e9ebee",
        "line": "#30343b",
        "band": "#e1e5ea",
        "many": "#ccd2d9",
        "bound": "#8a94a1",
    },
    "dark": {
        "text": "#d5d8dd",
        "soft": "#a3abb6",
        "grid": "#2b3037",
        "line": "#d9dce1",
        "band": "#333a43",
        "many": "#454d58",
        "bound": "#7d8794",
    },
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # the converter aborts


def theme(name: Theme) -> Spec:
    """Return the Vega configuration for light or dark pages."""
    ink = _INK[name]
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
    axis = {
        "domainColor": ink["soft"],
        "tickColor": ink["soft"],
        "gridColor": ink["grid"],
        "labelColor": ink["soft"],
        "titleColor": ink["text"],
        "titleFontWeight": "normal",
        "titleFontSize": 12,
        "labelFontSize": 11,
        "labelFont": font,
        "titleFont": font,
    }
    stem = (DEVICE_COLOURS if name == "light" else _DARK_DEVICES)[0]
    marks = MARK_COLOURS if name == "light" else MARK_COLOURS | _DARK_MARKS
    colours = marks | {
        "training": ink["line"],
        "training-dot": ink["line"],
        "band": ink["band"],
        "many": ink["many"],
        "bound": ink["bound"],
        "many-middle": ink["soft"],
        "zero-line": ink["soft"],
        "raw": ink["soft"],
        "raw-dot": ink["soft"],
        "stem": stem,
        "stem-dot": stem,
        "peak": marks["spike"],
    }
    colours |= {f"severity-{severity}": colour for severity, colour in SEVERITY_COLOURS.items()}
    legend = {"labelColor": ink["soft"], "titleColor": ink["text"], "titleFontWeight": "normal"}
    return {
        "background": "transparent",
        "font": font,
        "axis": axis,
        "legend": legend | {"labelFont": font, "titleFont": font},
        "title": {"color": ink["text"], "font": font, "fontSize": 12, "fontWeight": "normal"}
        | {"subtitleColor": ink["soft"], "subtitleFont": font, "subtitleFontSize": 11},
        "view": {"stroke": None, "fill": "transparent"},  # a fill, so that drag and wheel find it
        "text": {"color": ink["soft"], "font": font},
        "range": {
            "category": list(RUN_COLOURS if name == "light" else _DARK_RUNS),
            "ramp": list(_TIME_COLOURS[name]),
        },
        "style": {style: {"color": colour} for style, colour in colours.items()},
    }


def printed(spec: Spec) -> Spec:
    """Return a chart as wide as a column of print, its letters as large as there."""
    if "concat" in spec:  # side by side
        return spec | {"concat": [view | {"width": PRINTED_WIDTH // 2 + 40} for view in spec["concat"]]}
    if "vconcat" in spec:
        return spec | {"vconcat": [view | {"width": PRINTED_WIDTH} for view in spec["vconcat"]]}
    return spec | {"width": PRINTED_WIDTH}


def image(spec: Spec) -> bytes:
    """Return a chart as it looks on paper, as SVG."""
    import vl_convert

    config = theme("light") | {"aria": False, "background": "white"}
    given = {name: value for name, value in printed(spec).items() if name != "usermeta"} | {"config": config}
    drawn: str = vl_convert.vegalite_to_svg(_as_xml_has_it(given))
    return drawn.encode()


def _as_xml_has_it(value: Any) -> Any:
    """Return a specification without the characters that no SVG may hold, as names of strangers do."""
    if isinstance(value, str):
        return _NOT_XML.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_as_xml_has_it(key): _as_xml_has_it(item) for key, item in value.items()}
    return [_as_xml_has_it(item) for item in value] if isinstance(value, list | tuple) else value


def images(spec: Spec) -> dict[str, bytes]:
    """Return a chart as SVG, as PNG of 2.2 times its size in pixels, and as PDF."""
    import vl_convert

    svg = image(spec)
    png = vl_convert.svg_to_png(svg.decode(), scale=2.2)
    return {"png": png, "pdf": vl_convert.svg_to_pdf(svg.decode()), "svg": svg}


def specification(draw: Callable[[Rows], Any]) -> Spec:
    """Return the chart that a function draws, with the rows that it names beside it.

    Altair checks each piece against the schema as it is made, which takes most of the time; the tests check
    whole specifications instead.
    """
    rows: Rows = {}
    with debug_mode(False):
        spec: Spec = draw(rows).to_dict(validate=False)
    return spec | {"datasets": rows}


def over_time(spec: Spec, unit: str, unit_s: float, panels: list[Spec], alerts: Sequence[str] = ()) -> Spec:
    """Return panels over time that zoom and pan as one; the page reads `panels` and `alerts` at the cursor.

    Shift and the wheel zoom: a wheel alone scrolls the page. Not by Altair's ``add_params``, which also
    lists views under names that it then changes.
    """
    views = [view["layer"][0]["name"] for view in spec["vconcat"]]
    select = {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey]"}
    zoom = {"name": "zoom", "select": select, "bind": "scales", "views": views}
    cursor = {"unit": unit, "unit_s": unit_s, "scale": f"{spec['vconcat'][0]['name']}_x"}
    cursor |= {"panels": panels, "alerts": list(alerts)}
    return spec | {"params": [zoom], "usermeta": {"cursor": cursor}}


def named(rows: Rows, name: str, new: list[dict[str, Any]]) -> alt.Chart:
    """Return a chart of rows beside the specification: Altair would copy and check each, several times."""
    rows[name] = new
    return alt.Chart(alt.NamedData(name=name))


def curves(lines: alt.Chart, labels: list[str], x: alt.X, y: alt.Y) -> alt.Chart:
    """Return one line a series ``s``, each label ``d`` with its colour."""
    marks = lines.mark_line(strokeWidth=1.3, clip=True)
    chart: alt.Chart = marks.encode(x=x, y=y, detail="s:N", color=colour(labels))
    return chart


def band_rows(band: Band, unit: float) -> list[dict[str, Any]]:
    """Return a band as rows: place ``t`` in a unit, lowest ``v``, middle ``m``, highest ``h``."""
    columns = (band.time_s / unit, band.low, band.middle, band.high)
    return [
        {"t": number(t), "v": number(low), "m": number(middle), "h": number(high)}
        for t, low, middle, high in zip(*(column.tolist() for column in columns), strict=True)
    ]


def band_layers(band: alt.Chart, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Return an area from the lowest to the highest of many, and a thin line in their middle."""
    area = band.mark_area(style="many", clip=True, opacity=1)
    line = band.mark_line(style="many-middle", clip=True, strokeWidth=1)
    return [area.encode(x=x, y=y, y2="h:Q"), line.encode(x=x, y=of_field(y, "m:Q"))]


def of_field(channel: Any, field: str) -> Any:
    """Return a channel with the same scale and axis for another field."""
    other = channel.copy(deep=False)
    other["shorthand"] = field
    return other


def colour(labels: list[str], field: str = "d:N") -> alt.Color:
    """Return the colours of labels, which the page's own key explains."""
    return alt.Color(field, scale=alt.Scale(domain=labels), legend=None)


def heading(chart: alt.Chart) -> alt.Chart:
    """Return the ``name`` of rows as text above a plot."""
    text = chart.mark_text(align="left", baseline="bottom", fontSize=11, dy=-4)
    above: alt.Chart = text.encode(x=alt.value(0), y=alt.value(0), text="name:N")
    return above


def tooltip(**told: tuple[str, str]) -> list[alt.Tooltip]:
    """Return what a pointer is told: by field its title and its format, which is empty for text."""
    return [
        alt.Tooltip(f"{field}:Q", title=title, format=form)
        if form
        else alt.Tooltip(f"{field}:N", title=title)
        for field, (title, form) in told.items()
    ]


def number(value: float | None) -> float | None:
    """Return six digits of a number, None where it is not finite: JSON has no NaN."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}") if abs(value) < 1e5 else round(value, 2)
