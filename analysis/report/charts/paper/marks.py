"""What is drawn inside a printed panel: curves, bands, marks, strips, or why there is nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from thermograd.analysis.display.palette import (
    BOUND_COLOUR,
    MANY_COLOUR,
    MARK_COLOURS,
    SOFT_COLOUR,
    TEXT_COLOUR,
    colour_of,
)
from thermograd.analysis.report.charts.paper.style import PrintStyle
from thermograd.analysis.report.charts.paper.text import wrapped
from thermograd.analysis.report.data.curves import Band, Line
from thermograd.analysis.report.data.panel import AT_THE_BOTTOM, KIND_NAMES, Kind, Mark, Panel, Panels, Strip

DASHES = (0, (4, 2))
MARKERS = ("", "s", "^", "P", "*", "o", "v", "p")  # of curves, by place: told apart where colours are grey
_STRIP = 0.08  # height of a strip of marks, of its panel's
_MARKED = 6  # places of a curve that have its marker
_SYMBOLS: dict[Kind, dict[str, Any]] = {
    "spike": {"marker": "o", "markersize": 5, "markerfacecolor": "none", "markeredgewidth": 0.9},
    "nonfinite": {"marker": "x", "markersize": 4, "markeredgewidth": 1.0},
    "zero": {"marker": "x", "markersize": 4, "markeredgewidth": 1.0},
    "injection": {"marker": "v", "markersize": 3.2},
    "collapse": {"marker": "D", "markersize": 2.8},
    "reported_collapse": {"marker": "v", "markersize": 2.6},
    "evaluation": {"marker": "^", "markersize": 3.0, "markeredgewidth": 0},
    "checkpoint": {"marker": "s", "markersize": 2.4, "markeredgewidth": 0},
}
_RULES: dict[str, Any] = {"injection": (0, (3, 2)), "collapse": "-"}


def symbol(kind: Kind) -> dict[str, Any]:
    """Return how a mark of a kind looks."""
    return {"color": MARK_COLOURS[kind]} | _SYMBOLS[kind]


def draw_panel(
    ax: Axes, panel: Panel, panels: Panels, style: PrintStyle, room_ems: tuple[float, float]
) -> None:
    """Draw what a panel shows, or why it shows nothing, in so much room from side to side and up."""
    if panel.reason:
        _write_reason(ax, panel.reason, room_ems)
        return
    if panel.log:
        ax.set_yscale("log", nonpositive="mask")
        ax.minorticks_off()
    if panel.strips or any(mark.value is None for mark in panel.marks):
        ax.margins(y=0.12 + _STRIP * len(panel.strips[1:]))  # room for what is marked at the edge
    order, unit_s = list(panels.devices), panels.clock.seconds
    if panel.band:
        draw_band(ax, panel.band, unit_s)
    alone = len({line.device for line in panel.lines}) < 2
    for line in panel.lines:
        _draw_line(ax, line, order, unit_s, style.line_pt, alone)
    for place, strip in enumerate(panel.strips):
        _draw_strip(ax, strip, 1 - _STRIP * (place + 1), unit_s)
    for kind in KIND_NAMES:
        _draw_marks(ax, kind, [mark for mark in panel.marks if mark.kind == kind], unit_s)


def line_colour(device: str | None, order: Sequence[str]) -> str:
    """Return the colour of a curve of a device, or (None) of the training."""
    return TEXT_COLOUR if device is None else colour_of(order.index(device))


def dashed_colour(device: str | None, order: Sequence[str]) -> str:
    """Return the same of what is no measurement."""
    return BOUND_COLOUR if device is None else colour_of(order.index(device))


def marker_of(device: str | None, order: Sequence[str]) -> str:
    """Return the marker of a device's curve; of few or the first none."""
    return "" if device is None else MARKERS[order.index(device)]


def spread(time: Any, place: int) -> list[int]:
    """Return where the marker of a curve stands: a few of its points, others than of the curve before."""
    if not time.size:
        return []
    share = (np.arange(_MARKED) + 0.3 + 0.13 * place) / _MARKED
    wanted = time[0] + share * (time[-1] - time[0])
    return sorted({int(at) for at in np.searchsorted(time, wanted).clip(0, time.size - 1)})


def _draw_line(ax: Axes, line: Line, order: Sequence[str], unit_s: float, width: float, alone: bool) -> None:
    colour, dashes = (dashed_colour, DASHES) if line.dashed else (line_colour, "-")
    time = line.time_s / unit_s
    look: dict[str, Any] = {"color": colour(line.device, order), "gid": line.label}
    if line.device is not None and not (alone or line.dashed):
        marker: dict[str, Any] = {"marker": marker_of(line.device, order), "markersize": 3.5 * width / 0.72}
        look |= marker | {"markevery": spread(time, order.index(line.device)), "markeredgewidth": 0.0}
    ax.plot(time, line.values, linestyle=dashes, linewidth=width, **look)
    lonely = line.isolated
    if lonely.any():
        ax.plot(time[lonely], line.values[lonely], ".", color=look["color"], markersize=2.5)


def draw_band(ax: Axes, band: Band, unit_s: float) -> None:
    """Draw the range of many, and their median."""
    time = band.time_s / unit_s
    look: dict[str, Any] = {"color": MANY_COLOUR, "linewidth": 0.3, "gid": band.label}
    ax.fill_between(time, band.low, band.high, where=np.isfinite(band.low).tolist(), **look)
    ax.plot(time, band.middle, color=SOFT_COLOUR, linewidth=0.6, gid="median of devices")


def _draw_strip(ax: Axes, strip: Strip, bottom: float, unit_s: float) -> None:
    """Draw rectangles at the upper edge, the darker the more began in their stretch of time."""
    colours = [to_rgba(MARK_COLOURS[strip.kind], share) for share in strip.shades.tolist()]
    bars = ax.bar(
        strip.start_s / unit_s,
        _STRIP - 0.015,
        strip.width_s / unit_s,
        bottom,
        align="edge",
        color=colours,
        transform=ax.get_xaxis_transform(),
    )
    for bar in bars:
        bar.set_gid(f"{strip.kind} strip")


def _draw_marks(ax: Axes, kind: Kind, marks: list[Mark], unit_s: float) -> None:
    look: dict[str, Any] = {"linestyle": "none", "zorder": 4} | symbol(kind)
    at_value = [(mark.time_s / unit_s, mark.value) for mark in marks if mark.value is not None]
    at_edge = [mark.time_s / unit_s for mark in marks if mark.value is None]
    if at_value:
        ax.plot(*zip(*at_value, strict=True), gid=kind, **look)
    if not at_edge:
        return
    height = 0.04 if kind in AT_THE_BOTTOM else 0.97
    transform = ax.get_xaxis_transform()
    look |= {"transform": transform, "gid": f"{kind} at edge", "clip_on": False}
    ax.plot(at_edge, [height] * len(at_edge), **look)
    if kind in _RULES:
        rule: dict[str, Any] = {"color": MARK_COLOURS[kind], "linestyle": _RULES[kind], "linewidth": 0.6}
        ax.vlines(at_edge, 0, 1, transform=transform, alpha=0.8, **rule)


def _write_reason(ax: Axes, reason: str, room_ems: tuple[float, float]) -> None:
    ax.set_yticks([])
    ax.grid(False)
    width, height = room_ems
    text = "\n".join(wrapped(reason, width, max(1, int(height / 1.4))))
    look: dict[str, Any] = {"ha": "center", "va": "center", "style": "italic"}
    ax.text(0.5, 0.5, text, transform=ax.transAxes, color=SOFT_COLOUR, parse_math=False, **look)
