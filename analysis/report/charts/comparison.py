"""The charts of a comparison: signals of several runs over each other, and the forest plot."""

import math
from collections.abc import Mapping
from typing import Any

import altair as alt
from thermograd.analysis.comparison.result import Comparison, best_of
from thermograd.analysis.report.charts.style import (
    WIDTH,
    Rows,
    Spec,
    checked_later,
    named,
    number,
    zoom_param,
)
from thermograd.analysis.report.data.comparison import (
    DASHES,
    TICKS,
    TIME_TITLE,
    ForestRow,
    Overlay,
    build_overlays,
    forest_rows,
    run_style,
    time_axis,
)
from thermograd.analysis.report.data.curves import Line

_HEIGHT = 120
_ROW = 22  # pixels
_PRINTED_WIDTH = 400
_PRINTED_FOREST = [115, 270]  # between names and numbers


def overlays_chart(overlays: list[Overlay], runs: int, printed: bool = False) -> Spec | None:
    """Return the panels as one Vega-Lite specification; None where there is nothing to show.

    Zoom, pan and cursor are shared by all panels, as in the timeline of a run.
    """
    if not overlays:
        return None
    rows: Rows = {}
    end = time_axis(overlays)[0]
    with checked_later(False):
        width = _PRINTED_WIDTH if printed else WIDTH
        charts = [_chart(overlay, rows, runs, end, width, overlay is overlays[-1]) for overlay in overlays]
        spec: Spec = alt.vconcat(*charts, spacing=12).to_dict(validate=False)
    spec["params"] = [zoom_param([view["layer"][0]["name"] for view in spec["vconcat"]])]
    cursor = {"unit": "min", "unit_s": 60, "scale": f"{overlays[0].key}_x"}
    panels = [
        {"title": title, "unit": unit, "curves": f"overlay-{overlay.key}", "marks": []}
        for overlay in overlays
        for title, _, unit in [overlay.axis_title.partition(", ")]
    ]
    return spec | {"datasets": rows, "usermeta": {"cursor": cursor | {"panels": panels}}}


def _chart(overlay: Overlay, rows: Rows, runs: int, end: float, width: int, is_last: bool) -> alt.LayerChart:
    entries = [
        {"t": number(t / 60), "v": number(v), "s": line.label, "d": line.label}
        for line in overlay.lines
        for t, v in zip(line.time_s.tolist(), line.values.tolist(), strict=True)
    ]
    labels = [f"run {place}" for place in range(1, runs + 1)]
    dashes = [DASHES[run_style(place)[1]] for place in range(runs)]
    axis = alt.Axis(title=TIME_TITLE if is_last else None, labels=is_last, grid=False, tickCount=TICKS)
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
        layer=[line], width=width, height=_HEIGHT, name=overlay.key, description=overlay.axis_title
    )


def _decades(lines: list[Line]) -> list[float]:
    """Return at most six powers of ten that span the curves."""
    first = math.floor(math.log10(min(line.lowest for line in lines)))
    last = math.ceil(math.log10(max(line.highest for line in lines)))
    return [10.0**k for k in range(first, last + 1, 1 + (last - first) // 6)]


def forest_chart(rows: list[ForestRow], runs: int, printed: bool = False) -> Spec | None:
    """Return the forest plot of so many runs; None where nothing is pooled.

    For print each row has its name and its numbers beside it, which on a screen a pointer tells.
    """
    if not rows:
        return None
    data: Rows = {}
    entries = [
        {"label": "pooled" if row.place is None else f"run {row.place + 1}", "name": row.name}
        | {"r": number(row.r), "low": number(row.low), "high": number(row.high), "short": row.label}
        | {"told": f"{row.r:+.2f} [{row.low:+.2f}, {row.high:+.2f}]".replace("-", "\u2212")}
        for row in rows
    ]
    axis = alt.Axis(title=_FOREST_TITLE, tickCount=5 if printed else 7, labelSeparation=8)
    between: Any = _PRINTED_FOREST if printed else alt.Undefined
    x = alt.X("low:Q", scale=alt.Scale(domain=_reach(rows), range=between), axis=axis)
    y = alt.Y("label:N", sort=None, scale=alt.Scale(domain=[entry["label"] for entry in entries]))
    look: dict[str, Any] = {"labelLimit": 64, "minExtent": 46, "grid": False, "ticks": False, "domain": False}
    y = y.axis(None) if printed else y.axis(title=None, **look)
    single, pooled = named(data, "forest-runs", entries[:-1]), named(data, "forest-pooled", entries[-1:])
    layers = [
        alt.Chart(named(data, "forest-zero", [{"r": 0}])).mark_rule(style="zero-line").encode(x="r:Q"),
        *_layers(single, x, y, "circle", 60, runs=runs),
        *_layers(pooled, x, y, "diamond", 150),
        *(layer for each in (single, pooled) * printed for layer in _words(each, y)),
    ]
    width = _PRINTED_WIDTH if printed else WIDTH
    chart = alt.layer(*layers).properties(width=width, height=_ROW * len(rows), description=_FOREST_TITLE)
    spec: Spec = chart.to_dict()
    return spec | {"datasets": data}


def _words(rows: alt.NamedData, y: alt.Y) -> list[alt.Chart]:
    base = alt.Chart(rows)
    left, right = (base.mark_text(baseline="middle", align=side, limit=130) for side in ("left", "right"))
    return [
        left.encode(text="short:N", x=alt.value(0), y=y),
        right.encode(text="told:N", x=alt.value(_PRINTED_WIDTH), y=y),
    ]


_FOREST_TITLE = "residual correlation r, 95 % interval"


def _layers(
    rows: alt.NamedData, x: alt.X, y: alt.Y, shape: str, size: int, runs: int | None = None
) -> list[alt.Chart]:
    tooltip = [
        alt.Tooltip("label:N", title="which"),
        alt.Tooltip("name:N", title="name"),
        *(alt.Tooltip(f"{each}:Q", title=each, format="+.3f") for each in ("r", "low", "high")),
    ]
    style: dict[str, Any] = {} if runs else {"style": "peak"}
    colour: dict[str, Any] = {}
    if runs:  # the colours of the overlays
        domain = [f"run {place}" for place in range(1, runs + 1)]
        colour["color"] = alt.Color("label:N", scale=alt.Scale(domain=domain), legend=None)
    base = alt.Chart(rows)
    return [
        base.mark_rule(strokeWidth=1.8, **style).encode(x=x, x2="high:Q", y=y, **colour),
        base.mark_point(shape=shape, size=size, filled=True, opacity=1, **style).encode(
            x="r:Q", y=y, tooltip=tooltip, **colour
        ),
    ]


def _reach(rows: list[ForestRow]) -> list[float]:
    """Return the ends of the axis of r that hold every interval."""
    farthest = max(abs(limit) for row in rows for limit in (row.low, row.high))
    limit = min(1.0, math.ceil(11 * farthest) / 10)
    return [-limit, limit]


def comparison_charts(comparison: Comparison, printed: bool = False) -> dict[str, Spec | None]:
    """Return the charts of the page by name, or as they are printed."""
    best, runs = best_of(comparison), len(comparison.runs)
    return {
        "forest": forest_chart(forest_rows(comparison, best) if best else [], runs, printed),
        "overlays": overlays_chart(build_overlays(comparison), runs, printed),
    }


def comparison_figure(comparison: Comparison, printed: Mapping[str, Spec | None]) -> Spec | None:
    """Return the printed charts below one another; None where there is none."""
    forest, overlays = printed["forest"], printed["overlays"]
    if not forest and not overlays:
        return None
    best, runs = best_of(comparison), comparison.runs
    title = f"{len(runs)} runs" + (f": {best.x} ~ {best.y}" if best else "")
    title += ", simulated" * any(run.truth is not None for run in runs)
    views = [forest] * bool(forest) + (overlays or {}).get("vconcat", [])
    rows = {name: row for spec in (forest, overlays) if spec for name, row in spec["datasets"].items()}
    return (overlays or forest or {}) | {"title": title, "vconcat": views, "datasets": rows}
