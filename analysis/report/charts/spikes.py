"""The chart of what the hardware does around spikes; parameter ``which`` chooses the signal."""

from typing import Any

import altair as alt
from thermograd.analysis.report.charts.style import (
    WIDTH,
    Rows,
    Spec,
    heading,
    named,
    number,
    specification,
    tooltip,
)
from thermograd.analysis.run.event_tests import AroundSpikes

_CHOSEN = "datum.k === which"


def spikes_chart(found: list[AroundSpikes]) -> Spec | None:
    """Return each signal's mean course with its 95 % interval; None where there is none."""
    return specification(lambda rows: _course(rows, found)) if found else None


def _rows(k: int, each: AroundSpikes) -> list[dict[str, Any]]:
    columns = (each.offset_s, each.mean, each.low, each.high)
    return [
        {"k": k, "t": number(t), "v": number(v), "low": number(low), "high": number(high)}
        for t, v, low, high in zip(*columns, strict=True)
    ]


def _course(rows: Rows, found: list[AroundSpikes]) -> alt.LayerChart:
    points = [row for k, each in enumerate(found) for row in _rows(k, each)]
    titles = [
        {"k": k, "name": f"{each.label}{f' ({each.unit})' * bool(each.unit)}"} for k, each in enumerate(found)
    ]
    ends = [min(row["t"] for row in points), max(row["t"] for row in points)]
    x = alt.X("t:Q", scale=alt.Scale(domain=ends, nice=False, padding=8))
    x = x.axis(title="seconds after a spike of the gradient norm", grid=False)
    y = alt.Y("v:Q", scale=alt.Scale(zero=True, padding=6))
    y = y.axis(title="change against quiet times", tickCount=5)
    base = named(rows, "course", points).transform_filter(_CHOSEN)
    spike = named(rows, "spike", [{"t": 0, "v": 0}])
    told = tooltip(
        t=("s after the spike", "+.1f"),
        v=("mean change", "+.3~g"),
        low=("95 % from", "+.3~g"),
        high=("to", "+.3~g"),
    )
    layers = [
        base.mark_area(style="band", opacity=1).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        spike.mark_rule(style="zero-line", strokeWidth=1).encode(y=y),
        spike.mark_rule(style="peak", strokeWidth=1, strokeDash=[4, 3]).encode(x=x),
        base.mark_line(style="stem", strokeWidth=1.6).encode(x=x, y=y),
        base.mark_circle(style="stem-dot", size=34, opacity=1).encode(x=x, y=y, tooltip=told),
        heading(named(rows, "signal", titles).transform_filter(_CHOSEN)),
    ]
    chart = alt.LayerChart(layer=layers).add_params(alt.param(name="which", value=0))
    sized: alt.LayerChart = chart.properties(width=WIDTH, height=200)
    return sized
