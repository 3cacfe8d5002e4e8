"""The charts of tested pairs of signals: r over lag, values against each other, autocorrelation.

All take the position of the pair that is shown as the parameter ``pair``.
"""

import math
from collections.abc import Iterable
from typing import Any

import altair as alt
import numpy as np
from thermograd.analysis.report.charts.style import WIDTH, Rows, Spec, checked_later, named, number
from thermograd.analysis.report.data.evidence import Evidence
from thermograd.analysis.run.result import Pair

_WORDS = {
    "reverse": "reverse (the hardware leads)",
    "simultaneous": "simultaneous",
    "forward": "forward (the training leads)",
}
_ONLY = "datum.k === pair"
_MOST_POINTS = 400  # of a cloud; more are a blot
_LAG_TITLE = "lag in s (above 0 the training leads)"


# -- r over lag ------------------------------------------------------------------------------------


def lag_chart(pairs: list[tuple[str, list[Pair]]]) -> Spec | None:
    """Return r over lag with the simultaneous 95 % band of each family; None for no pair."""
    if not pairs:
        return None
    rows: Rows = {}
    points = [row for k, (_, families) in enumerate(pairs) for row in _profile_rows(k, families)]
    bands = [_band_row(k, pair) for k, (_, families) in enumerate(pairs) for pair in families]
    reach = max(max(abs(row["r"]) for row in points), max(row["high"] for row in bands))
    with checked_later(False):
        chart = _lag_layers(rows, points, bands, min(1.0, 1.15 * reach))
        specification: Spec = chart.to_dict(validate=False)
    return specification | {"datasets": rows}


def _lag_layers(
    rows: Rows, points: list[dict[str, Any]], bands: list[dict[str, Any]], reach: float
) -> alt.LayerChart:
    chosen = alt.param(name="pair", value=0)
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    ends = [min(row["from"] for row in bands), max(row["to"] for row in bands)]
    across = alt.Scale(domain=ends, nice=False, padding=12)
    x = alt.X("lag:Q", scale=across, axis=alt.Axis(title=_LAG_TITLE, grid=False))
    y = alt.Y("r:Q", scale=scale, axis=alt.Axis(title="residual correlation r", tickCount=5))
    only = alt.datum.k == chosen
    band = (
        alt.Chart(named(rows, "bands", bands))
        .mark_rect(style="band")
        .encode(
            x=alt.X("from:Q", scale=across), x2="to:Q", y=alt.Y("low:Q"), y2="high:Q", tooltip=_band_tooltip()
        )
        .transform_filter(only)
    )
    zero = alt.Chart(named(rows, "zero", [{"r": 0}])).mark_rule(style="zero-line", strokeWidth=1).encode(y=y)
    base = alt.Chart(named(rows, "points", points)).transform_filter(only)
    stems = base.mark_rule(style="stem", strokeWidth=2).encode(x=x, y=y, y2=alt.datum(0))
    dots = base.mark_circle(size=46, opacity=1, style="stem-dot").encode(x=x, y=y, tooltip=_profile_tooltip())
    peaks = (
        base.transform_filter(alt.datum.outside == 1)
        .mark_point(style="peak", filled=False, size=150, strokeWidth=1.8)
        .encode(x=x, y=y)
    )
    chart = alt.LayerChart(layer=[band, zero, stems, dots, peaks]).add_params(chosen)
    sized: alt.LayerChart = chart.properties(width=WIDTH, height=200, description=_LAG_TITLE)
    return sized


def _profile_rows(k: int, families: list[Pair]) -> list[dict[str, Any]]:
    widths = {pair.family: pair.half_width for pair in families}
    rows = []
    for lag, r in zip(families[0].lags_s, families[0].profile, strict=True):
        family = "simultaneous" if lag == 0 else "forward" if lag > 0 else "reverse"
        bound = widths.get(family)
        if bound is not None:
            outside = int(abs(r) > bound)
            row = {"k": k, "lag": number(lag), "r": number(r), "bound": number(bound), "outside": outside}
            rows.append(row | {"family": _WORDS[family]})
    return rows


def _band_row(k: int, pair: Pair) -> dict[str, Any]:
    half, end = pair.period_s / 2, max(pair.lags_s) + pair.period_s / 2
    start, stop = {"reverse": (-end, -half), "simultaneous": (-half, half), "forward": (half, end)}[
        pair.family
    ]
    row = {
        "k": k,
        "from": number(start),
        "to": number(stop),
        "low": number(-pair.half_width),
        "high": number(pair.half_width),
    }
    return row | {"family": _WORDS[pair.family]}


def _profile_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("lag:Q", title="lag, s", format="+.2f"),
        alt.Tooltip("r:Q", title="r", format="+.3f"),
        alt.Tooltip("bound:Q", title="95 % bound ±", format=".3f"),
        alt.Tooltip("family:N", title="family"),
    ]


def _band_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("high:Q", title="95 % bound ±", format=".3f"),
        alt.Tooltip("family:N", title="family"),
    ]


# -- values against each other ---------------------------------------------------------------------


def cross_chart(evidence: list[Evidence], most_points: int = _MOST_POINTS) -> Spec | None:
    """Return raw values and residuals of each pair against each other, time as colour."""
    if not evidence:
        return None
    rows: Rows = {}
    raw = [row for each in evidence for row in _cloud(each.place, most_points, each.time_s, each.x, each.y)]
    left = [
        row
        for e in evidence
        for row in _cloud(e.place, most_points, e.residual_time_s, e.residual_x, e.residual_y)
    ]
    titles = [
        {
            "k": each.place,
            "raw": _raw_title(each),
            "left": _left_title(each),
            "x": f"{_name(each.x_name)} →",
            "y": f"↑ {each.y_name}",
            "left_x": f"{_name(each.x_name)}, residual (sd) →",
            "left_y": f"↑ {each.y_name}, residual (sd)",
        }
        for each in evidence
    ]
    with checked_later(False):
        chosen = alt.param(name="pair", value=evidence[0].place)
        plots = [_cloud_plot(rows, "raw", raw, titles), _cloud_plot(rows, "left", left, titles)]
        chart = alt.concat(*plots, columns=2).add_params(chosen)
        specification: Spec = chart.to_dict(validate=False)
    return specification | {"datasets": rows}


def _cloud(k: int, most: int, time_s: Any, x: Any, y: Any) -> list[dict[str, Any]]:
    every = np.unique(np.linspace(0, max(0, x.size - 1), min(most, x.size)).astype(int))
    columns = (time_s[every].tolist(), x[every].tolist(), y[every].tolist())
    return [{"k": k, "t": round(t), "x": _brief(a), "y": _brief(b)} for t, a, b in zip(*columns, strict=True)]


def _brief(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _cloud_plot(rows: Rows, key: str, points: list[dict[str, Any]], titles: list[Any]) -> alt.LayerChart:
    scale = alt.Scale(zero=False, nice=False, padding=10)  # so that no point is cut at the edge
    dots = (
        alt.Chart(named(rows, f"cloud-{key}", points))
        .mark_circle(size=20, opacity=0.85)
        .encode(
            x=alt.X("x:Q", scale=scale, axis=alt.Axis(title=None, grid=False, tickCount=5)),
            y=alt.Y("y:Q", scale=scale, axis=alt.Axis(title=None, tickCount=5, minExtent=34)),
            color=alt.Color("t:Q", scale=alt.Scale(range="ramp", zero=False), legend=None),
            tooltip=[
                alt.Tooltip("x:Q", title="training", format=".4~g"),
                alt.Tooltip("y:Q", title="hardware", format=".4~g"),
                alt.Tooltip("t:Q", title="time, s", format=",.1f"),
            ],
        )
        .transform_filter(_ONLY)
    )
    words = alt.Chart(named(rows, "titles", titles)).transform_filter(_ONLY)
    place = {"x": alt.value(0), "y": alt.value(0)}
    prefix = "left_" if key == "left" else ""
    layers = [
        dots,
        words.mark_text(align="left", baseline="bottom", fontSize=11, dy=-18).encode(
            text=f"{key}:N", **place
        ),
        words.mark_text(align="left", baseline="bottom", fontSize=11, dy=-4, dx=-28).encode(
            text=f"{prefix}y:N", **place
        ),
        words.mark_text(align="right", baseline="top", fontSize=11, dy=22).encode(
            text=f"{prefix}x:N", x={"value": "width"}, y={"value": "height"}
        ),
    ]
    return alt.LayerChart(layer=layers, width=WIDTH // 2, height=230, name=key)


def _raw_title(each: Evidence) -> str:
    return f"raw values: n = {each.x.size:,}, naive r = {_signed(each.naive_r)}"


def _left_title(each: Evidence) -> str:
    return f"residuals at lag {_signed(each.lag_s, 1)} s: n = {each.residual_x.size:,}, r = {_signed(each.r)}"


def _signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def _name(signal: str) -> str:
    return f"log {signal}" if signal == "grad_norm" else signal


# -- autocorrelation -------------------------------------------------------------------------------


def memory_chart(evidence: list[Evidence]) -> Spec | None:
    """Return the autocorrelation of both signals of each pair, raw and as residuals."""
    if not evidence:
        return None
    rows: Rows = {}
    with checked_later(False):
        chosen = alt.param(name="pair", value=evidence[0].place)
        plots = [_memory_plot(rows, side, evidence) for side in (0, 1)]
        chart = alt.concat(*plots, columns=2).add_params(chosen)
        specification: Spec = chart.to_dict(validate=False)
    return specification | {"datasets": rows}


def _memory_rows(evidence: Iterable[Evidence], side: int) -> list[dict[str, Any]]:
    rows = []
    for each in evidence:
        signal = each.memory[side]
        for what, values in (("raw", signal.raw), ("residual", signal.residual)):
            rows += [
                {"k": each.place, "lag": number(lag * each.period_s), "r": number(float(r)), "what": what}
                for lag, r in enumerate(values)
            ]
    return rows


def _memory_plot(rows: Rows, side: int, evidence: list[Evidence]) -> alt.LayerChart:
    told = _memory_rows(evidence, side)
    data = alt.Chart(named(rows, f"memory-{side}", told))
    titles = [{"k": e.place, "name": _memory_title(e, side)} for e in evidence]
    bounds = [{"k": e.place, "low": -_white(e), "high": _white(e)} for e in evidence if _white(e) < 1]
    reach = [-1, max((row["lag"] for row in told), default=1) + 1]
    x = alt.X("lag:Q", scale=alt.Scale(domain=reach, nice=False), axis=alt.Axis(title="lag in s", grid=False))
    lowest = min((row["r"] for row in told), default=0.0)
    y = alt.Y(
        "r:Q",
        scale=alt.Scale(domain=[min(-0.4, lowest), 1], nice=False, padding=4),
        axis=alt.Axis(title="autocorrelation", tickCount=4, minExtent=34),
    )
    tooltip = [
        alt.Tooltip("what:N", title="of"),
        alt.Tooltip("lag:Q", title="lag, s", format=".2~f"),
        alt.Tooltip("r:Q", title="autocorrelation", format="+.2f"),
    ]
    band = (
        alt.Chart(named(rows, f"white-{side}", bounds))
        .mark_rect(style="band")
        .encode(x=alt.value(0), x2={"value": "width"}, y=alt.Y("low:Q"), y2="high:Q")
        .transform_filter(_ONLY)
    )
    raw = data.transform_filter(f"{_ONLY} && datum.what === 'raw'")
    left = data.transform_filter(f"{_ONLY} && datum.what === 'residual'")
    title = alt.Chart(named(rows, f"memory-title-{side}", titles)).transform_filter(_ONLY)
    layers = [
        band,
        raw.mark_line(style="raw", strokeWidth=1.5).encode(x=x, y=y),
        raw.mark_circle(style="raw-dot", size=18, opacity=1).encode(x=x, y=y, tooltip=tooltip),
        left.mark_rule(style="stem", strokeWidth=2).encode(x=x, y=y, y2=alt.datum(0)),
        left.mark_circle(style="stem-dot", size=28, opacity=1).encode(x=x, y=y, tooltip=tooltip),
        title.mark_text(align="left", baseline="bottom", fontSize=11, dy=-4).encode(
            x=alt.value(0), y=alt.value(0), text="name:N"
        ),
    ]
    return alt.LayerChart(layer=layers, width=WIDTH // 2, height=150, name=f"memory{side}")


def _memory_title(each: Evidence, side: int) -> str:
    signal = each.memory[side]
    if not signal.raw.size:
        return f"{_name(signal.name)}: constant"
    first = signal.raw[1] if signal.raw.size > 1 else math.nan
    return f"{_name(signal.name)}: raw {_signed(float(first))} after one bin"


def _white(each: Evidence) -> float:
    """Return what 95 in 100 autocorrelations of independent values stay below."""
    return 1.96 / math.sqrt(max(1, each.residual_x.size))
