"""The charts of an experiment: blocks under the signals, the response over lag, what chance alone gives.

The last two take the place of the outcome that is shown as the parameter ``outcome``.
"""

from collections.abc import Sequence
from typing import Any

from thermograd.analysis.display.numbers import shown_number
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
from thermograd.analysis.report.charts.vega_lite import Part, View, channel, layered, parameter, part, value
from thermograd.analysis.report.data.experiment import Course, ShownExperiment, Stretch, TestedOutcome
from thermograd.analysis.report.data.panel import Panels

_ONLY = "datum.k === outcome"
_HEIGHT = 132
_LEFT: dict[str, Any] = {"minExtent": 46, "maxExtent": 46}
_SHARES = [0.56, 0.44]
SIMULATED = "SIMULATED hardware"
_TITLE = 17  # letters that have room beside a panel


def blocks_chart(shown: ShownExperiment, panels: Panels) -> Spec | None:
    """Return the signals over time on what was assigned; None where there is no signal."""
    if not shown.courses:
        return None
    return specification(lambda rows: _stacked(rows, shown, panels))


def _stacked(rows: Rows, shown: ShownExperiment, panels: Panels) -> Part:
    last = len(shown.courses) - 1
    charts = [_panel(rows, shown, course, panels, k, k == last) for k, course in enumerate(shown.courses)]
    return part(vconcat=charts, spacing=10)


def _panel(
    rows: Rows, shown: ShownExperiment, course: Course, panels: Panels, place: int, is_lowest: bool
) -> Part:
    unit_s = panels.clock.seconds
    ends = shown.span_s if shown.stretches else panels.limits_s
    scale = part(domain=[number(end / unit_s) for end in ends], nice=False, zero=False)
    title = f"{panels.clock.name} since the run's first event" if is_lowest else None
    x = channel("t:Q", scale=scale, axis=part(title=title, labels=is_lowest, grid=False, tickCount=8))
    y = channel("v:Q", scale=part(zero=False, padding=8 if shown.is_switchback else 22))
    y |= part(axis=part(title=_axis_title(course, shown.courses), tickCount=4, titlePadding=8, **_LEFT))
    layers = _assigned(rows, shown, unit_s, x)
    curve = named(rows, f"course-{place}-{course.key}", _points(course, unit_s))
    style = "course" if course.middles else "training"
    layers.append(curve.mark("line", strokeWidth=1.2, clip=True, style=style).encode(x=x, y=y))
    for kind in ("hot", "cool"):
        middles = [
            _middle(each.stretch, each.value, unit_s) for each in course.middles if each.stretch.kind == kind
        ]
        if not middles:
            continue
        data = named(rows, f"middle-{place}-{course.key}-{kind}", middles)
        told = tooltip(told=("block", ""), v=("median", ".5~g"))
        rule = data.mark("rule", strokeWidth=3, style=f"{kind}-middle", clip=True, strokeCap="butt")
        layers.append(rule.encode(x=x, x2="to:Q", y=y, tooltip=told))
    if shown.result.simulated and not place:
        layers.append(heading(named(rows, "simulated", [{"name": SIMULATED}])))
    return layered(
        layers, width=WIDTH, height=_HEIGHT, name=f"on-{place}-{course.key}", description=course.title
    )


def _axis_title(course: Course, courses: Sequence[Course]) -> str | list[str]:
    """Return a title that has room beside a panel; where several devices are shown, with the device."""
    name, _, device = course.title.partition(" of ")
    unit = f" ({course.unit})" if course.unit else ""
    title = f"{name}{unit}"[: 2 * _TITLE]
    devices = {each.title.partition(" of ")[2] for each in courses} - {""}
    return [title, device[: 2 * _TITLE]] if device and len(devices) > 1 else title


def _points(course: Course, unit_s: float) -> list[dict[str, Any]]:
    times, values = (course.line.time_s / unit_s).tolist(), course.line.values.tolist()
    return [{"t": number(t), "v": number(v)} for t, v in zip(times, values, strict=True)]


def _middle(stretch: Stretch, value: float, unit_s: float) -> dict[str, Any]:
    ends = {"t": number(stretch.start_s / unit_s), "to": number(stretch.end_s / unit_s)}
    return ends | {"v": number(value), "told": stretch.kind}


def _assigned(rows: Rows, shown: ShownExperiment, unit_s: float, x: Part) -> list[View]:
    """Return the blocks as bands; of pulses a line at each."""
    if not shown.is_switchback:
        return [_pulses(rows, shown, unit_s, x, place) for place in range(len(shown.kinds))]
    layers = []
    for kind in ("hot", "cool"):
        bands = [_middle(each, 0.0, unit_s) for each in shown.stretches if each.kind == kind]
        data = named(rows, f"assigned-{kind}", bands).mark("rect", style=f"{kind}-block", clip=True)
        layers.append(data.encode(x=x, x2="to:Q", y=value(0), y2=value(_HEIGHT)))
    return layers


def _pulses(rows: Rows, shown: ShownExperiment, unit_s: float, x: Part, place: int) -> View:
    """Return the pulses of a kind as ticks along the upper edge, a row a kind."""
    kind = shown.kinds[place]
    pulses = [{"t": number(e.start_s / unit_s), "told": e.kind} for e in shown.stretches if e.kind == kind]
    style = ("hot-middle", "cool-middle")[place % 2]
    ticks = named(rows, f"pulses-{place}", pulses).mark(
        "tick", orient="vertical", style=style, size=7, thickness=1.6, clip=True, opacity=1
    )
    return ticks.encode(x=x, y=value(4 + 9 * place), tooltip=tooltip(told=("pulse", "")))


# -- what was found, and what chance gives ---------------------------------------------------------


def found_chart(shown: ShownExperiment) -> Spec | None:
    """Return each outcome's response over lag beside the histogram of redrawn schedules; None for none."""
    curves = any(each.effect.response is not None for each in shown.tested)
    bars = any(each.bars is not None for each in shown.tested)
    if not curves and not bars:
        return None
    return specification(lambda rows: _found(rows, shown, curves, bars))


def _found(rows: Rows, shown: ShownExperiment, curves: bool, bars: bool) -> Part:
    chosen = parameter("outcome", 0)
    plots = [_response(rows, shown)] * curves + [_chance(rows, shown)] * bars
    if len(plots) == 1:
        return plots[0] | {"width": WIDTH} | chosen
    return part(concat=plots, columns=2, usermeta={"shares": _SHARES}, **chosen)


def _response(rows: Rows, shown: ShownExperiment) -> Part:
    points = [row for k, each in enumerate(shown.tested) for row in _response_rows(k, each)]
    titles = [
        {"k": k, "name": _stamp(shown, f"{each.label}{'' if each.effect.response else ': no response'}")}
        for k, each in enumerate(shown.tested)
    ]
    began = "s after a hot block began" if shown.is_switchback else "s after the pulse"
    axis = part(title=began, grid=False, tickCount=6)
    x = channel("t:Q", scale=part(nice=False, domainMin=0), axis=axis)
    up = part(title="effect in sd", tickCount=5, minExtent=34)
    y = channel("v:Q", axis=up)
    told = tooltip(t=("s after", ".3~g"), v=("effect, sd", "+.3f"), low=("from", "+.3f"), high=("to", "+.3f"))
    told += tooltip(own=("effect", ""))
    base = named(rows, "response", points).where(_ONLY)
    layers = [
        base.mark("area", style="band", opacity=1).encode(x=x, y=channel("low:Q", axis=up), y2="high:Q"),
        named(rows, "zero-response", [{"v": 0}]).mark("rule", style="zero-line", strokeWidth=1).encode(y=y),
        base.mark("line", style="stem", strokeWidth=2).encode(x=x, y=y),
        base.mark("circle", style="stem-dot", size=34, opacity=1).encode(x=x, y=y, tooltip=told),
        heading(named(rows, "title-response", titles).where(_ONLY)),
    ]
    width = round(WIDTH * _SHARES[0])
    return layered(layers, width=width, height=210, name="response")


def _response_rows(k: int, each: TestedOutcome) -> list[dict[str, Any]]:
    response = each.effect.response
    if response is None:
        return []
    columns = (response.lags_s, response.effect_sd, response.low_sd, response.high_sd)
    return [
        {"k": k, "t": number(t), "v": number(v), "low": number(low), "high": number(high)}
        | {"own": f"{shown_number(v * response.unit_per_sd, '+.3g')} {response.unit}".strip()}
        for t, v, low, high in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _chance(rows: Rows, shown: ShownExperiment) -> Part:
    bars = [row for k, each in enumerate(shown.tested) for row in _bar_rows(k, each)]
    own = [
        {"k": k, "v": number(each.bars.observed), "told": "this run"}
        for k, each in enumerate(shown.tested)
        if each.bars is not None
    ]
    titles = [{"k": k, "name": _stamp(shown, _chance_title(each))} for k, each in enumerate(shown.tested)]
    axis = part(title="test statistic", grid=False, tickCount=6)
    scale = part(nice=False, zero=False, padding=10)
    x = channel("from:Q", scale=scale, axis=axis)
    y = channel("n:Q", axis=part(title="schedules drawn anew", tickCount=4, minExtent=34))
    told = tooltip(told=("statistic", ""), n=("schedules", ",d"))
    base = named(rows, "chance", bars).where(_ONLY)
    observed = named(rows, "observed", own).where(_ONLY)
    at = channel("v:Q", scale=scale, axis=axis)
    layers = [
        base.mark("rect", style="many").encode(x=x, x2="to:Q", y=y, y2={"datum": 0}, tooltip=told),
        observed.mark("rule", style="observed", strokeWidth=2.5).encode(
            x=at, tooltip=tooltip(v=("this run", ".3g"))
        ),
        heading(named(rows, "title-chance", titles).where(_ONLY)),
    ]
    width = round(WIDTH * _SHARES[1])
    return layered(layers, width=width, height=210, name="chance")


def _bar_rows(k: int, each: TestedOutcome) -> list[dict[str, Any]]:
    if each.bars is None:
        return []
    edges, bars = each.bars.edges.tolist(), each.bars
    gap = 0.08 * (edges[1] - edges[0])
    return [
        {"k": k, "from": number(low + gap), "to": number(high - gap), "n": n}
        | {"told": f"{shown_number(low, '.3g')} to {shown_number(high, '.3g')}"}
        for low, high, n in zip(edges[:-1], edges[1:], bars.count.astype(int).tolist(), strict=True)
    ]


def _stamp(shown: ShownExperiment, title: str) -> str:
    """Return a title that says where its device is simulated."""
    return f"SIMULATED: {title}" if shown.result.simulated else title


def _chance_title(each: TestedOutcome) -> str:
    p = each.effect.p
    if each.bars is None or p is None:
        return "nothing redrawn"
    return f"line: this run (p = {p:.2g})"
