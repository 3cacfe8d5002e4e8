"""The charts of a comparison: signals of several runs over each other, and the forest plot."""

import math
from typing import Any

from thermograd.analysis.comparison.result import Comparison, best_of
from thermograd.analysis.display.palette import RUN_COLOURS
from thermograd.analysis.report.charts.style import (
    PRINTED_WIDTH,
    WIDTH,
    Rows,
    Spec,
    band_layers,
    band_rows,
    colour,
    curves,
    named,
    number,
    over_time,
    specification,
    tooltip,
    value_scale,
)
from thermograd.analysis.report.charts.vega_lite import Part, View, channel, layered, part, value
from thermograd.analysis.report.data.comparison import (
    BY_STEP,
    Along,
    ForestRow,
    Overlay,
    axis_end,
    drawn_runs,
    forest_rows,
    overlays_by_step,
    overlays_by_time,
    time_of,
)
from thermograd.analysis.report.data.curves import decades

_HEIGHT = 120
_ROW = 22  # pixels
_PRINTED_FOREST = [115, 270]  # between names and numbers
_FOREST_TITLE = "residual correlation r, 95 % interval"
_TICKS = 8


def overlays_chart(overlays: list[Overlay], along: Along, runs: list[str], name: str) -> Spec | None:
    """Return the curves of runs over each other, one panel a signal; None where there is nothing."""
    if not overlays:
        return None
    spec = specification(lambda rows: part(vconcat=_panels(overlays, along, runs, rows, name), spacing=12))
    told = [
        {"title": overlay.signal.name, "unit": overlay.signal.symbol}
        | {"curves": f"{name}-{overlay.key}", "marks": []}
        | ({"band": f"{name}-{overlay.key}-band", "band_name": overlay.band.label} if overlay.band else {})
        for overlay in overlays
    ]
    return over_time(spec, along.unit, along.size, told)


def _panels(overlays: list[Overlay], along: Along, labels: list[str], rows: Rows, name: str) -> list[Part]:
    end = axis_end(overlays, along, _TICKS)
    scale = part(domain=[0, number(end)], nice=False, zero=False)

    def axis(is_last: bool) -> Part:
        title = along.title if is_last else None
        return channel(
            "t:Q", scale=scale, axis=part(title=title, labels=is_last, grid=False, tickCount=_TICKS)
        )

    return [_panel(overlay, labels, rows, along, axis(overlay is overlays[-1]), name) for overlay in overlays]


def _panel(overlay: Overlay, labels: list[str], rows: Rows, along: Along, x: Part, name: str) -> Part:
    entries = [
        {"t": number(t / along.size), "v": number(v), "s": line.label, "d": line.label}
        for line in overlay.lines
        for t, v in zip(line.time_s.tolist(), line.values.tolist(), strict=True)
    ]
    ends = [(line.lowest, line.highest) for line in overlay.curves]
    scale = (
        part(type="log", nice=False, padding=6)
        if overlay.log
        else value_scale(min(low for low, _ in ends), max(high for _, high in ends), 6)
    )
    axis = part(title=overlay.axis_title, tickCount=4, minExtent=46, maxExtent=46, titlePadding=8)
    axis |= {"values": decades(overlay.curves)} if overlay.log else {}
    y = channel("v:Q", scale=scale, axis=axis)
    lines = curves(named(rows, f"{name}-{overlay.key}", entries), labels, x, y)
    key = f"{name}-{overlay.key}-panel".replace("-", "_")  # Vega takes no other names for scales
    size: dict[str, Any] = {"width": WIDTH, "height": _HEIGHT}
    layers = [lines]
    if overlay.band:
        band = named(rows, f"{name}-{overlay.key}-band", band_rows(overlay.band, along.size))
        layers = [*band_layers(band, x, y), lines]
    layers[0] = View(layers[0], name=f"{key}-curves")
    return layered(layers, name=key, description=overlay.axis_title, **size)


def _labels(runs: int) -> list[str]:
    return [f"run {place}" for place in range(1, runs + 1)]


def forest_chart(rows: list[ForestRow], runs: int, printed: bool = False) -> Spec | None:
    """Return the forest plot of so many runs; None where nothing is pooled.

    For print each row has its name and its numbers beside it, which on a screen a pointer tells.
    """
    return specification(lambda data: _forest(data, rows, runs, printed)) if rows else None


def _forest(data: Rows, rows: list[ForestRow], runs: int, printed: bool) -> Part:
    entries = [
        {"label": "pooled" if row.place is None else f"run {row.place + 1}", "name": row.name}
        | {"r": number(row.r), "low": number(row.low), "high": number(row.high), "short": row.label}
        | {"told": f"{row.r:+.2f} [{row.low:+.2f}, {row.high:+.2f}]".replace("-", "\u2212")}
        for row in rows
    ]
    between = {"range": _PRINTED_FOREST} if printed else {}
    x = channel("low:Q", scale={"domain": _reach(rows), **between})
    x |= part(axis=part(title=_FOREST_TITLE, tickCount=5 if printed else 7, labelSeparation=8))
    y = channel("label:N", sort=None, scale=part(domain=[entry["label"] for entry in entries]))
    look: dict[str, Any] = {"labelLimit": 64, "minExtent": 46, "grid": False, "ticks": False, "domain": False}
    y["axis"] = None if printed else part(title=None, **look)
    single, pooled = named(data, "forest-runs", entries[:-1]), named(data, "forest-pooled", entries[-1:])
    layers = [
        named(data, "forest-zero", [{"r": 0}]).mark("rule", style="zero-line").encode(x="r:Q"),
        *_intervals(single, x, y, {"shape": "circle", "size": 60}, **_colours(runs)),
        *_intervals(pooled, x, y, {"shape": "diamond", "size": 150, "style": "peak"}),
        *(layer for each in (single, pooled) * printed for layer in _words(each, y)),
    ]
    height = _ROW * len(rows)
    return layered(layers, width=WIDTH, height=height, description=_FOREST_TITLE)


def _colours(runs: int) -> dict[str, Part]:
    """Return the runs' colours, of more runs than there are none: each has its name beside it."""
    return {"color": colour(_labels(runs), "label:N")} if runs <= len(RUN_COLOURS) else {}


def _intervals(rows: View, x: Part, y: Part, look: dict[str, Any], **colours: Part) -> list[View]:
    form = "+.3f"
    told = {"label": ("which", ""), "name": ("name", ""), "r": ("r", form), "low": ("low", form)}
    rule = rows.mark("rule", strokeWidth=1.8, **{"style": look["style"]} if "style" in look else {})
    return [
        rule.encode(x=x, x2="high:Q", y=y, **colours),
        rows.mark("point", filled=True, opacity=1, **look).encode(
            x="r:Q", y=y, tooltip=tooltip(**told, high=("high", form)), **colours
        ),
    ]


def _words(rows: View, y: Part) -> list[View]:
    left, right = (rows.mark("text", baseline="middle", align=side, limit=130) for side in ("left", "right"))
    return [
        left.encode(text="short:N", x=value(0), y=y),
        right.encode(text="told:N", x=value(PRINTED_WIDTH), y=y),
    ]


def _reach(rows: list[ForestRow]) -> list[float]:
    """Return the ends of the axis of r that hold every interval."""
    farthest = max(abs(limit) for row in rows for limit in (row.low, row.high))
    limit = min(1.0, math.ceil(11 * farthest) / 10)
    return [-limit, limit]


def comparison_charts(comparison: Comparison) -> tuple[dict[str, Spec | None], dict[str, Spec | None]]:
    """Return the charts of the page by name, as they are on a screen and as they are printed."""
    best, runs, drawn = best_of(comparison), len(comparison.runs), list(drawn_runs(comparison))
    rows = forest_rows(comparison, best) if best else []
    by_time, by_step = overlays_by_time(comparison), overlays_by_step(comparison)
    shown = {
        "forest": forest_chart(rows, runs),
        "overlays": overlays_chart(by_time, time_of(by_time), drawn, "overlay"),
        "steps": overlays_chart(by_step, BY_STEP, drawn, "step"),
    }
    printed = {name: spec and _with_key(spec) for name, spec in shown.items() if name != "forest"}
    return shown, {"forest": forest_chart(rows, runs, printed=True)} | printed


def _with_key(spec: Spec) -> Spec:
    """Return overlays with a legend of the runs, which on a screen stands above them."""
    first, *others = spec["vconcat"]
    *layers, lines = first["layer"]
    encoding = lines["encoding"]
    color = encoding["color"] | {
        "legend": {"title": None, "orient": "top", "columns": 4, "symbolType": "stroke"}
    }
    lines = lines | {"encoding": encoding | {"color": color}}
    return spec | {"vconcat": [first | {"layer": [*layers, lines]}, *others]}
