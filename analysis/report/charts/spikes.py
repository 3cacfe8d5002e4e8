"""The chart of what the hardware does around spikes; parameter ``which`` chooses the signal."""

from typing import Any

import altair as alt
from thermograd.analysis.report.charts.style import WIDTH, Rows, Spec, checked_later, named, number
from thermograd.analysis.run.event_tests import AroundSpikes

_CHOSEN = "datum.k === which"


def spikes_chart(found: list[AroundSpikes]) -> Spec | None:
    """Return each signal's mean course with its 95 % interval; None where there is none."""
    if not found:
        return None
    rows: Rows = {}
    points = [row for k, each in enumerate(found) for row in _rows(k, each)]
    titles = [
        {"k": k, "name": f"{each.label}{f' ({each.unit})' * bool(each.unit)}"} for k, each in enumerate(found)
    ]
    with checked_later(False):
        specification: Spec = _layers(rows, points, titles).to_dict(validate=False)
    return specification | {"datasets": rows}


def _rows(k: int, each: AroundSpikes) -> list[dict[str, Any]]:
    columns = (each.offset_s, each.mean, each.low, each.high)
    return [
        {"k": k, "t": number(t), "v": number(v), "low": number(low), "high": number(high)}
        for t, v, low, high in zip(*columns, strict=True)
    ]


def _layers(rows: Rows, points: list[dict[str, Any]], titles: list[dict[str, Any]]) -> alt.LayerChart:
    ends = [min(row["t"] for row in points), max(row["t"] for row in points)]
    x = alt.X(
        "t:Q",
        scale=alt.Scale(domain=ends, nice=False, padding=8),
        axis=alt.Axis(title="seconds after a spike of the gradient norm", grid=False),
    )
    y = alt.Y(
        "v:Q",
        scale=alt.Scale(zero=True, padding=6),
        axis=alt.Axis(title="change against quiet times", tickCount=5),
    )
    base = alt.Chart(named(rows, "course", points)).transform_filter(_CHOSEN)
    spike = alt.Chart(named(rows, "spike", [{"t": 0, "v": 0}]))
    tooltip = [
        alt.Tooltip("t:Q", title="s after the spike", format="+.1f"),
        alt.Tooltip("v:Q", title="mean change", format="+.3~g"),
        alt.Tooltip("low:Q", title="95 % from", format="+.3~g"),
        alt.Tooltip("high:Q", title="to", format="+.3~g"),
    ]
    title = alt.Chart(named(rows, "signal", titles)).transform_filter(_CHOSEN)
    layers = [
        base.mark_area(style="band", opacity=1).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        spike.mark_rule(style="zero-line", strokeWidth=1).encode(y=y),
        spike.mark_rule(style="peak", strokeWidth=1, strokeDash=[4, 3]).encode(x=x),
        base.mark_line(style="stem", strokeWidth=1.6).encode(x=x, y=y),
        base.mark_circle(style="stem-dot", size=34, opacity=1).encode(x=x, y=y, tooltip=tooltip),
        title.mark_text(align="left", baseline="bottom", fontSize=11, dy=-4).encode(
            x=alt.value(0), y=alt.value(0), text="name:N"
        ),
    ]
    chart = alt.LayerChart(layer=layers).add_params(alt.param(name="which", value=0))
    sized: alt.LayerChart = chart.properties(width=WIDTH, height=200)
    return sized
