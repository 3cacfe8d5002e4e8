"""The same signal of several runs in one panel, time counted from each training's beginning."""

import math
from typing import Any

import altair as alt
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
    run_style,
    time_axis,
)
from thermograd.analysis.report.data.curves import Line

_HEIGHT = 120


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


def _chart(overlay: Overlay, rows: Rows, runs: int, end: float, is_last: bool) -> alt.LayerChart:
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
        layer=[line], width=WIDTH, height=_HEIGHT, name=overlay.key, description=overlay.axis_title
    )


def _decades(lines: list[Line]) -> list[float]:
    """Return at most six powers of ten that span the curves."""
    first = math.floor(math.log10(min(line.lowest for line in lines)))
    last = math.ceil(math.log10(max(line.highest for line in lines)))
    return [10.0**k for k in range(first, last + 1, 1 + (last - first) // 6)]


_ROW = 22  # pixels


def forest_chart(rows: list[ForestRow], runs: int) -> Spec | None:
    """Return the plot as a Vega-Lite specification, of so many runs; None where nothing is pooled."""
    if not rows:
        return None
    data: Rows = {}
    entries = [
        {"label": "pooled" if row.place is None else f"run {row.place + 1}", "name": row.name}
        | {"r": number(row.r), "low": number(row.low), "high": number(row.high)}
        for row in rows
    ]
    single, pooled = entries[:-1], entries[-1:]
    axis = alt.Axis(title=TITLE, tickCount=7, labelSeparation=8)
    x = alt.X("low:Q", scale=alt.Scale(domain=reach(rows)), axis=axis)
    y = alt.Y("label:N", sort=None, scale=alt.Scale(domain=[entry["label"] for entry in entries]))
    y = y.axis(title=None, labelLimit=64, minExtent=46, grid=False, ticks=False, domain=False)
    layers = [
        alt.Chart(named(data, "forest-zero", [{"r": 0}])).mark_rule(style="zero-line").encode(x="r:Q"),
        *_layers(named(data, "forest-runs", single), x, y, "circle", 60, runs=runs),
        *_layers(named(data, "forest-pooled", pooled), x, y, "diamond", 150),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH, height=_ROW * len(rows), description=TITLE)
    spec: Spec = chart.to_dict()
    return spec | {"datasets": data}


TITLE = "residual correlation r, 95 % interval"


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


def reach(rows: list[ForestRow]) -> list[float]:
    """Return the ends of the axis of r that hold every interval."""
    farthest = max(abs(limit) for row in rows for limit in (row.low, row.high))
    limit = min(1.0, math.ceil(11 * farthest) / 10)
    return [-limit, limit]
