"""Panels for print: one matplotlib figure on one time axis, or each panel alone, in any size.

Only the object API is used, so nothing global is changed and no display is needed. The same run
gives the same bytes.
"""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from thermograd.analysis.display.palette import MANY_COLOUR, MARK_COLOURS, SOFT_COLOUR, TEXT_COLOUR
from thermograd.analysis.report.charts.paper.axes import draw_time_axis, draw_value_axis, write_name
from thermograd.analysis.report.charts.paper.canvas import (
    EDGE_EMS,
    ROW_EMS,
    Entry,
    Legend,
    draw_frame,
    legend,
    new_figure,
    write,
)
from thermograd.analysis.report.charts.paper.marks import (
    DASHES,
    dashed_colour,
    draw_panel,
    line_colour,
    marker_of,
    symbol,
)
from thermograd.analysis.report.charts.paper.style import PrintStyle
from thermograd.analysis.report.charts.paper.text import ems, fitted, wrapped
from thermograd.analysis.report.charts.paper.throttling import cause_patch, draw_lanes, lane_label, lanes_ems
from thermograd.analysis.report.data.panel import Kind, Panel, Panels, legend_of
from thermograd.analysis.report.data.throttling import Lane
from thermograd.store.errors import ConfigError
from thermograd.store.telling.quantities import counted

_PANEL_EMS, _LEAST_EMS, _ALONE_EMS = 10.5, 4.5, 16.0  # height of a panel: usual, the least, of one alone
_BETWEEN_EMS = 1.6
_LANES_SHARE = 0.3  # at most, of a figure whose height is given
_WIDE = 1.3  # times as wide as high: two columns
_RIGHT_EMS = 1.6  # room for half of the last number of the time axis
_MOST_LINES = 4


def build_figure(
    panels: Panels,
    title: str = "",
    footer: str = "",
    style: PrintStyle | None = None,
    shown: Sequence[Panel] | None = None,
    throttling: bool = True,
) -> Figure:
    """Draw panels below one another, by default the printed four, and below them who was throttled.

    Parameters
    ----------
    panels
        The run's; their clock is the time axis.
    title, footer
        Text above and below.
    style
        Size of the figure and its letters.
    shown
        Which of the panels.
    throttling
        Whether the lanes of throttling are drawn, where a device was.

    Raises
    ------
    ConfigError
        If the style's height leaves no room.
    """
    style = style or PrintStyle()
    return _Stack(panels, panels.printed if shown is None else shown, throttling, style).drawn(title, footer)


class _Stack:
    """Panels and lanes below one another, in units of the letters' size (em), from the upper edge down.

    In a figure that is wide and low they stand in two columns.
    """

    def __init__(self, panels: Panels, shown: Sequence[Panel], throttling: bool, style: PrintStyle) -> None:
        self._panels, self._style = panels, style
        self._lanes = panels.throttling.lanes if throttling and panels.throttling.causes else ()
        self._width = style.width_in / style.em_in
        self._lanes_ems = lanes_ems(len(self._lanes))
        half = -(-len(shown) // 2)
        wide = style.height_in is not None and style.width_in > _WIDE * style.height_in and len(shown) > 1
        self._columns = [tuple(shown[:half]), tuple(shown[half:])] if wide else [tuple(shown)]
        self._shown = tuple(shown)

    def drawn(self, title: str, footer: str) -> Figure:
        """Return the figure."""
        room = self._width - 2 * EDGE_EMS
        title, below = fitted(title, room) if title else "", wrapped(footer, room, _MOST_LINES)
        told = legend(legend_entries(self._panels, self._shown, bool(self._lanes)), self._style)
        top = EDGE_EMS + ROW_EMS * bool(title) + told.height_ems + 0.3
        bottom = 2 * ROW_EMS + 0.8 + ROW_EMS * len(below) + EDGE_EMS
        height = self._height(top + bottom)
        with new_figure(self._style, height) as figure:
            self._write(figure, title, below, told, height)
            share = self._width / len(self._columns)
            for place, shown in enumerate(self._columns):
                lanes = self._lanes if place == len(self._columns) - 1 else ()
                each = self._each(height - top - bottom, shown, lanes)
                size = (self._width, height)
                column = _Column(figure, self._panels, self._style, size, each, self._lanes_ems)
                column.draw(shown, lanes, height - top, share - 8.0)
                column.place(place * share, share)
        return figure

    def _height(self, around: float) -> float:
        """Return how high the whole figure is."""
        usual = _PANEL_EMS if len(self._shown) > 1 else _ALONE_EMS
        if self._style.height_in is None:
            return around + self._taken(self._shown, self._lanes) + usual * len(self._shown)
        height = self._style.height_in / self._style.em_in
        self._lanes_ems = min(self._lanes_ems, (_LANES_SHARE if self._shown else 1) * (height - around))
        least = around + self._taken(self._columns[-1], self._lanes) + _LEAST_EMS * len(self._columns[0])
        if height < least:
            count = counted(len(self._shown), "panel")
            raise ConfigError(
                f"a height of {self._style.height_mm:g} mm has no room for {count} "
                f"in letters of {self._style.font_size_pt:g} pt; expected at least "
                f"{math.ceil(least * self._style.em_in * 25.4)} mm, or smaller letters"
            )
        return height

    def _taken(self, shown: Sequence[Panel], lanes: Sequence[Lane]) -> float:
        """Return how much of a column's height is not of its panels."""
        return self._lanes_ems * bool(lanes) + _BETWEEN_EMS * (len(shown) + bool(lanes) - 1)

    def _each(self, room: float, shown: Sequence[Panel], lanes: Sequence[Lane]) -> float:
        return (room - self._taken(shown, lanes)) / max(1, len(shown))

    def _write(self, figure: Figure, title: str, below: Sequence[str], told: Legend, height: float) -> None:
        if title:
            write(figure, height - EDGE_EMS, self._style, title, va="top", color=TEXT_COLOUR)
        told.draw(figure, self._style, EDGE_EMS + ROW_EMS * bool(title))
        for place, line in enumerate(reversed(below)):
            from_bottom = EDGE_EMS + ROW_EMS * place
            write(figure, from_bottom, self._style, line, va="bottom", color=SOFT_COLOUR)


class _Column:
    """The axes of one column, all as far from its left edge as the widest of their labels needs."""

    def __init__(
        self,
        figure: Figure,
        panels: Panels,
        style: PrintStyle,
        size: tuple[float, float],
        each: float,
        lanes_ems: float,
    ) -> None:
        self._figure, self._panels, self._style = figure, panels, style
        self._size, self._each, self._lanes_ems = size, each, lanes_ems
        self._axes: list[Axes] = []
        self._left = 0.0

    def draw(self, shown: Sequence[Panel], lanes: Sequence[Lane], top: float, room: float) -> None:
        """Draw panels and lanes from so far above the lower edge down, with so much room for a sentence."""
        for panel in shown:
            ax = self._add(panel.key, top, self._each)
            draw_panel(ax, panel, self._panels, self._style, (room, self._each))
            self._left = max(self._left, self._beside(ax, panel))
            top -= self._each + _BETWEEN_EMS
        if lanes:
            ax = self._add("throttling", top, self._lanes_ems)
            draw_lanes(ax, lanes, self._panels.clock.seconds, self._lanes_ems)
            widest = max(ems(lane_label(lane)) for lane in lanes)
            self._left = max(self._left, widest + ROW_EMS + 0.65)

    def _beside(self, ax: Axes, panel: Panel) -> float:
        """Write what stands left of a panel; return how wide it is."""
        if panel.reason:
            return write_name(ax, panel.axis_title, self._each)
        return draw_value_axis(ax, panel.axis_title, self._each, panel.curves if panel.log else None)

    def _add(self, name: str, top: float, height: float) -> Axes:
        bottom = (top - height) / self._size[1]
        ax = self._figure.add_axes((0.2, bottom, 0.75, height / self._size[1]), label=name)
        draw_frame(ax, self._style)
        self._axes.append(ax)
        return ax

    def place(self, begin: float, room: float) -> None:
        """Give the axes their room from side to side, and the axis of time."""
        left = self._left + EDGE_EMS + 0.4
        width = room - left - _RIGHT_EMS
        for ax in self._axes:
            _, bottom, _, height = ax.get_position().bounds
            ax.set_position(((begin + left) / self._size[0], bottom, width / self._size[0], height))
            ax.yaxis.set_label_coords((EDGE_EMS - left) / width, 0.5)
            draw_time_axis(ax, self._panels, width, is_last=ax is self._axes[-1])


# -- legend ----------------------------------------------------------------------------------------


def legend_entries(panels: Panels, shown: Sequence[Panel] | None = None, lanes: bool = True) -> list[Entry]:
    """Return what the legend tells: every curve, band, mark and cause of throttling, as it is drawn."""
    told = legend_of(panels, panels.printed if shown is None else shown)
    order = list(panels.devices)
    entries = [
        Entry(_stroke(line_colour(name, order), marker_of(name, order)), label)
        for name, label in told.devices.items()
    ]
    entries += [Entry(Patch(facecolor=MANY_COLOUR, edgecolor="none"), label) for label in told.bands]
    entries += [Entry(_stroke(SOFT_COLOUR), "their median")] * bool(told.bands)
    entries += [
        Entry(_stroke(dashed_colour(device, order), linestyle=DASHES), label) for label, device in told.dashed
    ]
    entries += [Entry(_mark(kind), told.told(kind)) for kind in told.kinds]
    entries += [
        Entry(Patch(facecolor=MARK_COLOURS[kind], edgecolor="none"), strip.label)
        for kind, strip in told.strips.items()
    ]
    causes = panels.throttling.causes if lanes else []
    return entries + [Entry(cause_patch(cause), panels.throttling.named(cause)) for cause in causes]


def _stroke(colour: str, marker: str = "", linestyle: Any = "-") -> Line2D:
    return Line2D([], [], color=colour, linestyle=linestyle, linewidth=1.2, marker=marker, markersize=3.5)


def _mark(kind: Kind) -> Line2D:
    return Line2D([], [], linestyle="none", **symbol(kind))
