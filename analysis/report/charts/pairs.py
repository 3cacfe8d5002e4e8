"""The charts of tested pairs of signals: r over lag, values against each other, memory, around spikes.

All take the position of the pair that is shown as the parameter ``pair``; the one of the courses around
spikes that of the signal as ``which``.
"""

import math
from typing import Any

import altair as alt
import numpy as np
from thermograd.analysis.display.numbers import DASH
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
from thermograd.analysis.report.data.evidence import Evidence
from thermograd.analysis.run.event_tests import AroundSpikes
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
    return specification(lambda rows: _profiles(rows, pairs)) if pairs else None


def _profiles(rows: Rows, pairs: list[tuple[str, list[Pair]]]) -> alt.LayerChart:
    points = [row for k, (_, families) in enumerate(pairs) for row in _profile_rows(k, families)]
    bands = [_band_row(k, pair) for k, (_, families) in enumerate(pairs) for pair in families]
    reach = max(max(abs(row["r"]) for row in points), max(row["high"] for row in bands))
    reach = min(1.0, 1.15 * reach)
    ends = [min(row["from"] for row in bands), max(row["to"] for row in bands)]
    across = alt.Scale(domain=ends, nice=False, padding=12)
    x = alt.X("lag:Q", scale=across, axis=alt.Axis(title=_LAG_TITLE, grid=False))
    y = alt.Y("r:Q", scale=alt.Scale(domain=[-reach, reach], nice=False))
    y = y.axis(title="residual correlation r", tickCount=5)
    bound, family = ("95 % bound ±", ".3f"), ("family", "")
    over = tooltip(high=bound, family=family)
    at = tooltip(lag=("lag, s", "+.2f"), r=("r", "+.3f"), bound=bound, family=family)
    band = named(rows, "bands", bands).transform_filter(_ONLY).mark_rect(style="band")
    base = named(rows, "points", points).transform_filter(_ONLY)
    dots = base.mark_circle(size=46, opacity=1, style="stem-dot")
    peaks = base.transform_filter("datum.outside === 1")
    peaks = peaks.mark_point(style="peak", filled=False, size=150, strokeWidth=1.8)
    layers = [
        band.encode(x=alt.X("from:Q", scale=across), x2="to:Q", y=alt.Y("low:Q"), y2="high:Q", tooltip=over),
        named(rows, "zero", [{"r": 0}]).mark_rule(style="zero-line", strokeWidth=1).encode(y=y),
        base.mark_rule(style="stem", strokeWidth=2).encode(x=x, y=y, y2=alt.datum(0)),
        dots.encode(x=x, y=y, tooltip=at),
        peaks.encode(x=x, y=y),
    ]
    chart = alt.LayerChart(layer=layers).add_params(alt.param(name="pair", value=0))
    sized: alt.LayerChart = chart.properties(width=WIDTH, height=200, description=_LAG_TITLE)
    return sized


def _profile_rows(k: int, families: list[Pair]) -> list[dict[str, Any]]:
    return [
        {"k": k, "lag": number(lag), "r": number(r), "bound": number(pair.half_width)}
        | {"outside": int(abs(r) > pair.half_width), "family": _WORDS[pair.family]}
        for pair in sorted(families, key=lambda pair: pair.span_s)
        for lag, r in pair.own
    ]


def _band_row(k: int, pair: Pair) -> dict[str, Any]:
    start, stop = map(number, pair.span_s)
    row = {"k": k, "from": start, "to": stop, "family": _WORDS[pair.family]}
    return row | {"low": number(-pair.half_width), "high": number(pair.half_width)}


# -- values against each other ---------------------------------------------------------------------


def cross_chart(evidence: list[Evidence], most_points: int = _MOST_POINTS) -> Spec | None:
    """Return raw values and residuals of each pair against each other, time as colour."""
    return specification(lambda rows: _clouds(rows, evidence, most_points)) if evidence else None


def _clouds(rows: Rows, evidence: list[Evidence], most: int) -> alt.ConcatChart:
    raw = [row for e in evidence for row in _cloud(e.place, most, e.time_s, e.x, e.y)]
    left = [
        row for e in evidence for row in _cloud(e.place, most, e.residual_time_s, e.residual_x, e.residual_y)
    ]
    titles = [
        {
            "k": each.place,
            "raw": f"raw values: n = {each.x.size:,}, naive r = {_signed(each.naive_r)}",
            "left": f"residuals at lag {_signed(each.lag_s, 1)} s: n = {each.residual_x.size:,}, "
            f"r = {_signed(each.r)}",
            "x": f"{_name(each.x_name)} →",
            "y": f"↑ {each.y_name}",
            "left_x": f"{_name(each.x_name)}, residual (sd) →",
            "left_y": f"↑ {each.y_name}, residual (sd)",
        }
        for each in evidence
    ]
    return _beside([_cloud_plot(rows, "raw", raw, titles), _cloud_plot(rows, "left", left, titles)], evidence)


def _beside(plots: list[alt.LayerChart], evidence: list[Evidence]) -> alt.ConcatChart:
    chosen = alt.param(name="pair", value=evidence[0].place)
    chart: alt.ConcatChart = alt.concat(*plots, columns=2).add_params(chosen)
    return chart


def _cloud(k: int, most: int, time_s: Any, x: Any, y: Any) -> list[dict[str, Any]]:
    every = np.unique(np.linspace(0, max(0, x.size - 1), min(most, x.size)).astype(int))
    columns = (time_s[every].tolist(), x[every].tolist(), y[every].tolist())
    return [{"k": k, "t": round(t), "x": _brief(a), "y": _brief(b)} for t, a, b in zip(*columns, strict=True)]


def _brief(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _cloud_plot(rows: Rows, key: str, points: list[dict[str, Any]], titles: list[Any]) -> alt.LayerChart:
    scale = alt.Scale(zero=False, nice=False, padding=10)  # so that no point is cut at the edge
    dots = named(rows, f"cloud-{key}", points).transform_filter(_ONLY).mark_circle(size=20, opacity=0.85)
    words = named(rows, "titles", titles).transform_filter(_ONLY)
    above = words.mark_text(align="left", baseline="bottom", fontSize=11, dy=-18)
    side = words.mark_text(align="left", baseline="bottom", fontSize=11, dy=-4, dx=-28)
    below = words.mark_text(align="right", baseline="top", fontSize=11, dy=22)
    corner = {"x": alt.value(0), "y": alt.value(0)}
    prefix = "left_" if key == "left" else ""
    layers = [
        dots.encode(
            x=alt.X("x:Q", scale=scale, axis=alt.Axis(title=None, grid=False, tickCount=5)),
            y=alt.Y("y:Q", scale=scale, axis=alt.Axis(title=None, tickCount=5, minExtent=34)),
            color=alt.Color("t:Q", scale=alt.Scale(range="ramp", zero=False), legend=None),
            tooltip=tooltip(x=("training", ".4~g"), y=("hardware", ".4~g"), t=("time, s", ",.1f")),
        ),
        above.encode(text=f"{key}:N", **corner),
        side.encode(text=f"{prefix}y:N", **corner),
        below.encode(text=f"{prefix}x:N", x={"value": "width"}, y={"value": "height"}),
    ]
    return alt.LayerChart(layer=layers, width=WIDTH // 2, height=230, name=key)


def _signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", "−") if math.isfinite(value) else DASH


def _name(signal: str) -> str:
    return f"log {signal}" if signal == "grad_norm" else signal


# -- autocorrelation -------------------------------------------------------------------------------


def memory_chart(evidence: list[Evidence]) -> Spec | None:
    """Return the autocorrelation of both signals of each pair, raw and as residuals."""
    if not evidence:
        return None
    return specification(
        lambda rows: _beside([_memory_plot(rows, side, evidence) for side in (0, 1)], evidence)
    )


def _memory_rows(each: Evidence, side: int) -> list[dict[str, Any]]:
    signal = each.memory[side]
    return [
        {"k": each.place, "lag": number(lag * each.period_s), "r": number(float(r)), "what": what}
        for what, values in (("raw", signal.raw), ("residual", signal.residual))
        for lag, r in enumerate(values)
    ]


def _memory_plot(rows: Rows, side: int, evidence: list[Evidence]) -> alt.LayerChart:
    points = [row for each in evidence for row in _memory_rows(each, side)]
    titles = [{"k": e.place, "name": _memory_title(e, side)} for e in evidence]
    bounds = [{"k": e.place, "low": -_white(e), "high": _white(e)} for e in evidence if _white(e) < 1]
    reach = [-1, max((row["lag"] for row in points), default=1) + 1]
    x = alt.X("lag:Q", scale=alt.Scale(domain=reach, nice=False), axis=alt.Axis(title="lag in s", grid=False))
    lowest = min((row["r"] for row in points), default=0.0)
    y = alt.Y("r:Q", scale=alt.Scale(domain=[min(-0.4, lowest), 1], nice=False, padding=4))
    y = y.axis(title="autocorrelation", tickCount=4, minExtent=34)
    told = tooltip(what=("of", ""), lag=("lag, s", ".2~f"), r=("autocorrelation", "+.2f"))
    band = named(rows, f"white-{side}", bounds).transform_filter(_ONLY).mark_rect(style="band")
    data = named(rows, f"memory-{side}", points)
    raw = data.transform_filter(f"{_ONLY} && datum.what === 'raw'")
    left = data.transform_filter(f"{_ONLY} && datum.what === 'residual'")
    layers = [
        band.encode(x=alt.value(0), x2={"value": "width"}, y=alt.Y("low:Q"), y2="high:Q"),
        raw.mark_line(style="raw", strokeWidth=1.5).encode(x=x, y=y),
        raw.mark_circle(style="raw-dot", size=18, opacity=1).encode(x=x, y=y, tooltip=told),
        left.mark_rule(style="stem", strokeWidth=2).encode(x=x, y=y, y2=alt.datum(0)),
        left.mark_circle(style="stem-dot", size=28, opacity=1).encode(x=x, y=y, tooltip=told),
        heading(named(rows, f"memory-title-{side}", titles).transform_filter(_ONLY)),
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


# -- around spikes ---------------------------------------------------------------------------------


def spikes_chart(found: list[AroundSpikes]) -> Spec | None:
    """Return each signal's mean course with its 95 % interval; None where there is none."""
    return specification(lambda rows: _course(rows, found)) if found else None


def _course_rows(k: int, each: AroundSpikes) -> list[dict[str, Any]]:
    columns = (each.offset_s, each.mean, each.low, each.high)
    return [
        {"k": k, "t": number(t), "v": number(v), "low": number(low), "high": number(high)}
        for t, v, low, high in zip(*columns, strict=True)
    ]


def _course(rows: Rows, found: list[AroundSpikes]) -> alt.LayerChart:
    points = [row for k, each in enumerate(found) for row in _course_rows(k, each)]
    titles = [
        {"k": k, "name": f"{each.label}{f' ({each.unit})' * bool(each.unit)}"} for k, each in enumerate(found)
    ]
    ends = [min(row["t"] for row in points), max(row["t"] for row in points)]
    x = alt.X("t:Q", scale=alt.Scale(domain=ends, nice=False, padding=8))
    x = x.axis(title="seconds after a spike of the gradient norm", grid=False)
    y = alt.Y("v:Q", scale=alt.Scale(zero=True, padding=6))
    y = y.axis(title="change against quiet times", tickCount=5)
    base = named(rows, "course", points).transform_filter("datum.k === which")
    spike = named(rows, "spike", [{"t": 0, "v": 0}])
    form = "+.3~g"
    ends_told = {"low": ("95 % from", form), "high": ("to", form)}
    told = tooltip(t=("s after the spike", "+.1f"), v=("mean change", form), **ends_told)
    layers = [
        base.mark_area(style="band", opacity=1).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        spike.mark_rule(style="zero-line", strokeWidth=1).encode(y=y),
        spike.mark_rule(style="peak", strokeWidth=1, strokeDash=[4, 3]).encode(x=x),
        base.mark_line(style="stem", strokeWidth=1.6).encode(x=x, y=y),
        base.mark_circle(style="stem-dot", size=34, opacity=1).encode(x=x, y=y, tooltip=told),
        heading(named(rows, "signal", titles).transform_filter("datum.k === which")),
    ]
    chart = alt.LayerChart(layer=layers).add_params(alt.param(name="which", value=0))
    sized: alt.LayerChart = chart.properties(width=WIDTH, height=200)
    return sized
