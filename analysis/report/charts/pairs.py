"""The charts of tested pairs of signals: r over lag, values against each other, memory, around spikes.

All take the position of the pair that is shown as the parameter ``pair``; the one of the courses around
spikes that of the signal as ``which``.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from thermograd.analysis.display.numbers import DASH, seconds_text
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
from thermograd.analysis.report.charts.vega_lite import Part, channel, layered, parameter, part, value
from thermograd.analysis.report.data.evidence import Evidence
from thermograd.analysis.run.event_tests import AroundSpikes
from thermograd.analysis.run.pair import FADING, ONE_DELAY, Pair

_WORDS = {
    "reverse": "reverse (the hardware leads)",
    "simultaneous": "simultaneous",
    "forward": "forward (the training leads)",
}
_ONLY = "datum.k === pair"
_MOST_POINTS = 400  # of a cloud; more are a blot
_SIDE = {"reverse": -1, "simultaneous": 0, "forward": 1}
_LAG_TITLE = "lag in s (above 0 the training leads)"
_MEMORY_TITLE = "memory in s (right: the training leads)"
_KINDS = "residual", "fading sum of residuals"
_MOST_LABELS = 6  # on either side; of more every second is named
_R_TITLE = "residual correlation r"
_SHARES = [0.66, 0.34]  # of the width, for lags and for slow answers


_Across = tuple[Part, Part]  # scale, axis


class _Drawn(NamedTuple):
    points: list[dict[str, Any]]
    bands: list[dict[str, Any]]


# -- r over lag ------------------------------------------------------------------------------------


def lag_chart(pairs: list[tuple[str, list[Pair]]]) -> Spec | None:
    """Return r over lag, beside it of slow answers, with each family's 95 % bands; None for no pair."""
    return specification(lambda rows: _profiles(rows, pairs)) if pairs else None


def _profiles(rows: Rows, pairs: list[tuple[str, list[Pair]]]) -> Part:
    tested = [(k, pair) for k, (_, families) in enumerate(pairs) for pair in families]
    memories = sorted({memory for _, pair in tested for memory in pair.memories_s})
    reach = min(1.0, 1.15 * max(max(map(abs, [*_shown_r(pair), _widest(pair)])) for _, pair in tested))
    y = channel("r:Q", scale=part(domain=[-reach, reach], nice=False))
    lags = _stems(rows, "lags", _lag_rows(tested), _lag_axis(tested), _on_axis(y, title=_R_TITLE))
    chosen = parameter("pair", 0)
    if not memories:
        return lags | part(width=WIDTH, height=200, **chosen)
    slow = _slow_rows(tested, memories)
    right = _stems(rows, "slow", slow, _memory_axis(memories), _on_axis(y, title=None))
    plots = [_titled(rows, "lags", lags, ONE_DELAY), _titled(rows, "slow", right, FADING)]
    return part(concat=plots, columns=2, usermeta={"shares": _SHARES}, **chosen)


def _on_axis(y: Part, title: str | None) -> Part:
    return y | part(axis=part(title=title, tickCount=5))


def _shown_r(pair: Pair) -> list[float]:
    return [r for _, r in pair.own] + pair.slow_profile


def _widest(pair: Pair) -> float:
    return max(pair.half_width, pair.slow_half_width if pair.memories_s else 0.0)


def _stems(rows: Rows, key: str, drawn: _Drawn, across: tuple[Part, Part], y: Part) -> Part:
    """Return r as stems over a band for each family, what is outside its band circled."""
    bound, family, r = ("95 % bound ±", ".3f"), ("family", ""), ("r", "+.3f")
    over = tooltip(high=bound, family=family)
    at = tooltip(told=("answer", ""), r=r, bound=bound, family=family)
    band = named(rows, f"bands-{key}", drawn.bands).where(_ONLY).mark("rect", style="band")
    base = named(rows, f"points-{key}", drawn.points).where(_ONLY)
    dots = base.mark("circle", size=46, opacity=1, style="stem-dot")
    peaks = base.where("datum.outside === 1")
    peaks = peaks.mark("point", style="peak", filled=False, size=150, strokeWidth=1.8)
    scale, axis = across
    start, x = channel("from:Q", scale=scale, axis=axis), channel("at:Q", scale=scale, axis=axis)
    layers = [
        band.encode(x=start, x2="to:Q", y="low:Q", y2="high:Q", tooltip=over),
        named(rows, f"zero-{key}", [{"r": 0}]).mark("rule", style="zero-line", strokeWidth=1).encode(y=y),
        base.mark("rule", style="stem", strokeWidth=2).encode(x=x, y=y, y2={"datum": 0}),
        dots.encode(x=x, y=y, tooltip=at),
        peaks.encode(x=x, y=y),
    ]
    return layered(layers, height=200)


def _titled(rows: Rows, key: str, plot: Part, title: str) -> Part:
    width = round(WIDTH * _SHARES[key == "slow"])
    layers = [*plot["layer"], heading(named(rows, f"title-{key}", [{"name": title}]))]
    return layered(layers, width=width, height=200, name=key)


def _lag_axis(tested: list[tuple[int, Pair]]) -> _Across:
    ends = [min(pair.span_s[0] for _, pair in tested), max(pair.span_s[1] for _, pair in tested)]
    scale = part(domain=[number(end) for end in ends], nice=False, padding=12)
    return scale, part(title=_LAG_TITLE, grid=False)


def _lag_rows(tested: list[tuple[int, Pair]]) -> _Drawn:
    points = [
        {"k": k, "at": number(lag), "told": f"after {lag:+.3g} s".replace("-", "−")}
        | _point(pair, r, pair.half_width)
        for k, pair in tested
        for lag, r in pair.own
    ]
    return _Drawn(points, [_band(k, pair, *pair.span_s, pair.half_width) for k, pair in tested])


def _memory_axis(memories: list[float]) -> _Across:
    """Return an axis with a place for each memory: the training leads at the right, else follows."""
    count = len(memories)
    every = 1 if count <= _MOST_LABELS else 2
    names = [seconds_text(m).removesuffix(" s") * (k % every == 0) for k, m in enumerate(memories)]
    labels = [*names[::-1], "", *names]
    places = [place for place in range(-count, count + 1) if place]
    scale = part(domain=[-count - 0.6, count + 0.6], nice=False, padding=4)
    axis = part(
        title=_MEMORY_TITLE,
        grid=False,
        values=places,
        labelExpr=f"{labels}[datum.value + {count}]",
        labelOverlap=False,
    )
    return scale, axis


def _slow_rows(tested: list[tuple[int, Pair]], memories: list[float]) -> _Drawn:
    slow = [(k, pair, _SIDE[pair.family]) for k, pair in tested if pair.memories_s]
    points = [
        {"k": k, "at": side * (memories.index(memory) + 1), "told": f"fading over {seconds_text(memory)}"}
        | _point(pair, r, pair.slow_half_width)
        for k, pair, side in slow
        for memory, r in zip(pair.memories_s, pair.slow_profile, strict=True)
    ]
    farthest = len(memories) + 0.5
    bands = [
        _band(k, pair, *((0.5, farthest) if side > 0 else (-farthest, -0.5)), pair.slow_half_width)
        for k, pair, side in slow
    ]
    return _Drawn(points, bands)


def _point(pair: Pair, r: float, bound: float) -> dict[str, Any]:
    row = {"r": number(r), "bound": number(bound), "outside": int(abs(r) > bound)}
    return row | {"family": _WORDS[pair.family]}


def _band(k: int, pair: Pair, start: float, stop: float, bound: float) -> dict[str, Any]:
    ends = {"from": number(start), "to": number(stop), "low": number(-bound), "high": number(bound)}
    return {"k": k, "family": _WORDS[pair.family], **ends}


# -- values against each other ---------------------------------------------------------------------


def cross_chart(evidence: list[Evidence], most_points: int = _MOST_POINTS) -> Spec | None:
    """Return raw values and residuals of each pair against each other, time as colour."""
    return specification(lambda rows: _clouds(rows, evidence, most_points)) if evidence else None


def _clouds(rows: Rows, evidence: list[Evidence], most: int) -> Part:
    raw = [row for e in evidence for row in _cloud(e.place, most, e.time_s, e.x, e.y)]
    left = [
        row for e in evidence for row in _cloud(e.place, most, e.residual_time_s, e.residual_x, e.residual_y)
    ]
    titles = [
        {
            "k": each.place,
            "raw": f"raw values: n = {each.x.size:,}, naive r = {_signed(each.naive_r)}",
            "left": f"residuals{_where(each)}: n = {each.residual_x.size:,}, r = {_signed(each.r)}",
            "x": f"{_name(each.x_name)} →",
            "y": f"↑ {each.y_name}",
            "left_x": f"{_name(each.x_name)}, {_KINDS[each.slow == 'x']} (sd) →",
            "left_y": f"↑ {each.y_name}, {_KINDS[each.slow == 'y']} (sd)",
        }
        for each in evidence
    ]
    return _beside([_cloud_plot(rows, "raw", raw, titles), _cloud_plot(rows, "left", left, titles)], evidence)


def _where(each: Evidence) -> str:
    if each.memory_s is not None:
        return f", memory {seconds_text(each.memory_s)}"
    return f" at lag {_signed(each.lag_s, 1)} s"


def _beside(plots: list[Part], evidence: list[Evidence]) -> Part:
    return part(concat=plots, columns=2, **parameter("pair", evidence[0].place))


def _cloud(k: int, most: int, time_s: Any, x: Any, y: Any) -> list[dict[str, Any]]:
    every = np.unique(np.linspace(0, max(0, x.size - 1), min(most, x.size)).astype(int))
    columns = (time_s[every].tolist(), x[every].tolist(), y[every].tolist())
    return [{"k": k, "t": round(t), "x": _brief(a), "y": _brief(b)} for t, a, b in zip(*columns, strict=True)]


def _brief(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _cloud_plot(rows: Rows, key: str, points: list[dict[str, Any]], titles: list[Any]) -> Part:
    scale = part(zero=False, nice=False, padding=10)  # so that no point is cut at the edge
    dots = named(rows, f"cloud-{key}", points).where(_ONLY).mark("circle", size=20, opacity=0.85)
    words = named(rows, "titles", titles).where(_ONLY)
    above = words.mark("text", align="left", baseline="bottom", fontSize=11, dy=-18)
    side = words.mark("text", align="left", baseline="bottom", fontSize=11, dy=-4, dx=-28)
    below = words.mark("text", align="right", baseline="top", fontSize=11, dy=22)
    corner = {"x": value(0), "y": value(0)}
    prefix = "left_" if key == "left" else ""
    layers = [
        dots.encode(
            x=channel("x:Q", scale=scale, axis=part(title=None, grid=False, tickCount=5)),
            y=channel("y:Q", scale=scale, axis=part(title=None, tickCount=5, minExtent=34)),
            color=channel("t:Q", scale=part(range="ramp", zero=False), legend=None),
            tooltip=tooltip(x=("training", ".4~g"), y=("hardware", ".4~g"), t=("time, s", ",.1f")),
        ),
        above.encode(text=f"{key}:N", **corner),
        side.encode(text=f"{prefix}y:N", **corner),
        below.encode(text=f"{prefix}x:N", x={"value": "width"}, y={"value": "height"}),
    ]
    return layered(layers, width=WIDTH // 2, height=230, name=key)


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


def _memory_plot(rows: Rows, side: int, evidence: list[Evidence]) -> Part:
    points = [row for each in evidence for row in _memory_rows(each, side)]
    titles = [{"k": e.place, "name": _memory_title(e, side)} for e in evidence]
    bounds = [{"k": e.place, "low": -_white(e), "high": _white(e)} for e in evidence if _white(e) < 1]
    reach = [-1, max((row["lag"] for row in points), default=1) + 1]
    x = channel("lag:Q", scale=part(domain=reach, nice=False), axis=part(title="lag in s", grid=False))
    lowest = min((row["r"] for row in points), default=0.0)
    y = channel("r:Q", scale=part(domain=[min(-0.4, lowest), 1], nice=False, padding=4))
    y |= part(axis=part(title="autocorrelation", tickCount=4, minExtent=34))
    told = tooltip(what=("of", ""), lag=("lag, s", ".2~f"), r=("autocorrelation", "+.2f"))
    band = named(rows, f"white-{side}", bounds).where(_ONLY).mark("rect", style="band")
    data = named(rows, f"memory-{side}", points)
    raw = data.where(f"{_ONLY} && datum.what === 'raw'")
    left = data.where(f"{_ONLY} && datum.what === 'residual'")
    layers = [
        band.encode(x=value(0), x2={"value": "width"}, y=channel("low:Q"), y2="high:Q"),
        raw.mark("line", style="raw", strokeWidth=1.5).encode(x=x, y=y),
        raw.mark("circle", style="raw-dot", size=18, opacity=1).encode(x=x, y=y, tooltip=told),
        left.mark("rule", style="stem", strokeWidth=2).encode(x=x, y=y, y2={"datum": 0}),
        left.mark("circle", style="stem-dot", size=28, opacity=1).encode(x=x, y=y, tooltip=told),
        heading(named(rows, f"memory-title-{side}", titles).where(_ONLY)),
    ]
    return layered(layers, width=WIDTH // 2, height=150, name=f"memory{side}")


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


def _course(rows: Rows, found: list[AroundSpikes]) -> Part:
    points = [row for k, each in enumerate(found) for row in _course_rows(k, each)]
    titles = [
        {"k": k, "name": f"{each.label}{f' ({each.unit})' * bool(each.unit)}"} for k, each in enumerate(found)
    ]
    ends = [min(row["t"] for row in points), max(row["t"] for row in points)]
    x = channel("t:Q", scale=part(domain=ends, nice=False, padding=8))
    x |= part(axis=part(title="seconds after a spike of the gradient norm", grid=False))
    y = channel("v:Q", scale=part(zero=True, padding=6))
    y |= part(axis=part(title="change against quiet times", tickCount=5))
    base = named(rows, "course", points).where("datum.k === which")
    spike = named(rows, "spike", [{"t": 0, "v": 0}])
    form = "+.3~g"
    ends_told = {"low": ("95 % from", form), "high": ("to", form)}
    told = tooltip(t=("s after the spike", "+.1f"), v=("mean change", form), **ends_told)
    layers = [
        base.mark("area", style="band", opacity=1).encode(x=x, y=channel("low:Q"), y2="high:Q"),
        spike.mark("rule", style="zero-line", strokeWidth=1).encode(y=y),
        spike.mark("rule", style="peak", strokeWidth=1, strokeDash=[4, 3]).encode(x=x),
        base.mark("line", style="stem", strokeWidth=1.6).encode(x=x, y=y),
        base.mark("circle", style="stem-dot", size=34, opacity=1).encode(x=x, y=y, tooltip=told),
        heading(named(rows, "signal", titles).where("datum.k === which")),
    ]
    return layered(layers, width=WIDTH, height=200, **parameter("which", 0))
