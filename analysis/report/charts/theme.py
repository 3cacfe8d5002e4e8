"""Colours and letters of all charts, for light and dark: plain data, which the live page draws with too."""

from typing import Any, Literal

from thermograd.analysis.display.palette import DEVICE_COLOURS, MARK_COLOURS, RUN_COLOURS, SEVERITY_COLOURS
from thermograd.analysis.report.data.panel import Kind

Theme = Literal["light", "dark"]

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

_BLOCKS: dict[Theme, dict[str, str]] = {  # of an experiment: as assigned, and the middle of each
    "light": {
        "hot-block": "#fbe3d4",
        "cool-block": "#dcebf6",
        "hot-middle": "#c04f00",
        "cool-middle": "#0072B2",
    },
    "dark": {
        "hot-block": "#3d2a20",
        "cool-block": "#1d3140",
        "hot-middle": "#f0843c",
        "cool-middle": "#4AA3DF",
    },
}


def theme(name: Theme) -> dict[str, Any]:
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
    colours |= _BLOCKS[name] | {"course": ink["bound"], "pulse": marks["spike"], "observed": ink["text"]}
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
