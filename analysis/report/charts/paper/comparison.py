"""A comparison for print: the forest plot, and the curves of all runs over each other."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from thermograd.analysis.comparison.result import Comparison, best_of
from thermograd.analysis.display.numbers import shown_number
from thermograd.analysis.display.palette import MANY_COLOUR, RUN_COLOURS, SOFT_COLOUR, TEXT_COLOUR
from thermograd.analysis.report.alt.comparison import simulated_runs
from thermograd.analysis.report.charts.paper.axes import draw_value_axis, tick_text
from thermograd.analysis.report.charts.paper.canvas import (
    EDGE_EMS,
    ROW_EMS,
    Entry,
    draw_frame,
    legend,
    new_figure,
    write,
)
from thermograd.analysis.report.charts.paper.marks import MARKERS, draw_band, spread
from thermograd.analysis.report.charts.paper.style import PrintStyle
from thermograd.analysis.report.charts.paper.text import ems, figure_text, fitted, wrapped
from thermograd.analysis.report.data.comparison import (
    BY_STEP,
    Along,
    ForestRow,
    Overlay,
    axis_end,
    drawn_runs,
    forest_rows,
    overlays_by_step,
    overlays_by_time,
    time_of,
)
from thermograd.store.errors import ConfigError
from thermograd.store.telling.quantities import counted

_PANEL_EMS, _ALONE_EMS, _LEAST_EMS, _FOREST_ROW_EMS = 9.0, 16.0, 4.5, 1.6
_BETWEEN_EMS, _RIGHT_EMS, _BELOW_EMS = 1.6, 1.6, 4.2
_TICKS, _MOST_RUNS = 8, len(RUN_COLOURS)
_FOREST_TITLE = "residual correlation r, 95 % interval"
_NUMBERS_EMS, _LEAST_PLOT_EMS = 12.5, 8.0  # r and its interval beside a row, where the plot keeps room


class Part(NamedTuple):
    """One plot of the figure: how high, whether that is fixed, and what draws it into so much room.

    `draw` returns how wide what stands left of the plot is; `finish` is told how wide the
    plot has become, and whether what stands right of it has room.
    """

    key: str
    height_ems: float
    fixed: bool
    ends: bool  # whether its numbers and title stand below it
    draw: Callable[[Axes, float], float]
    finish: Callable[[Axes, float, bool], None]
    right_ems: float = _RIGHT_EMS


def parts_of(comparison: Comparison, alone: bool = False) -> list[Part]:
    """Return every plot that a comparison has: the forest, the signals by step, then by time.

    Each that stands `alone` has its own axis below it.
    """
    best, drawn = best_of(comparison), list(drawn_runs(comparison))
    rows = forest_rows(comparison, best) if best else []
    by_step, by_time = overlays_by_step(comparison), overlays_by_time(comparison)
    parts = [_forest(rows)] if rows else []
    for name, overlays, along in (("step", by_step, BY_STEP), ("time", by_time, time_of(by_time))):
        parts += [
            _overlay(overlay, f"{name}_{overlay.key}", overlays, along, drawn, alone) for overlay in overlays
        ]
    return parts


def comparison_figure(
    comparison: Comparison,
    style: PrintStyle | None = None,
    parts: Sequence[Part] | None = None,
) -> Figure | None:
    """Draw the plots of a comparison below one another; None where there is none.

    Raises `ConfigError` where the style's height leaves no room.
    """
    style, parts = style or PrintStyle(), parts_of(comparison) if parts is None else parts
    if not parts:
        return None
    width = style.width_in / style.em_in
    room = width - 2 * EDGE_EMS
    title = fitted(_title(comparison), room)
    curves = any(not part.fixed for part in parts)
    told = legend(_entries(comparison) if curves else [], style)
    below = wrapped(simulated_runs(comparison), room, 2)
    top = EDGE_EMS + ROW_EMS + told.height_ems + 0.3
    bottom = EDGE_EMS + ROW_EMS * len(below)
    each, height = _heights(parts, top + bottom, style)
    with new_figure(style, height) as figure:
        write(figure, height - EDGE_EMS, style, title, va="top", color=TEXT_COLOUR)
        told.draw(figure, style, EDGE_EMS + ROW_EMS)
        for place, line in enumerate(reversed(below)):
            write(figure, EDGE_EMS + ROW_EMS * place, style, line, va="bottom", color=SOFT_COLOUR)
        _draw(figure, parts, height - top, each, (width, height), style)
    return figure


def _title(comparison: Comparison) -> str:
    best, count = best_of(comparison), len(comparison.runs)
    return f"{count} runs" + (f": {best.x} ~ {best.y}" if best else "")


def _heights(parts: Sequence[Part], around: float, style: PrintStyle) -> tuple[float, float]:
    """Return how high each plot that is not fixed and the whole figure are."""
    count = sum(not part.fixed for part in parts)
    fixed = around + sum(part.height_ems for part in parts if part.fixed) + sum(map(_below, parts))
    if style.height_in is None:
        each = _ALONE_EMS if len(parts) == 1 else _PANEL_EMS
        return each, fixed + each * count
    height = style.height_in / style.em_in
    if height < fixed + _LEAST_EMS * count:
        least_mm = (fixed + _LEAST_EMS * count) * style.em_in * 25.4 + 1
        panels = counted(len(parts), "panel")
        raise ConfigError(
            f"a height of {style.height_mm:g} mm has no room for {panels} in letters of "
            f"{style.font_size_pt:g} pt; expected at least {least_mm:.0f} mm, or smaller letters"
        )
    return (height - fixed) / max(1, count), height


def _below(part: Part) -> float:
    return _BELOW_EMS if part.ends else _BETWEEN_EMS


def _draw(
    figure: Figure,
    parts: Sequence[Part],
    top: float,
    each: float,
    size: tuple[float, float],
    style: PrintStyle,
) -> None:
    axes, left, (width, height) = [], {True: 0.0, False: 0.0}, size
    for part in parts:
        high = part.height_ems if part.fixed else each
        ax = figure.add_axes((0.2, (top - high) / height, 0.7, high / height), label=part.key)
        draw_frame(ax, style)
        left[part.fixed] = max(left[part.fixed], part.draw(ax, high) + EDGE_EMS + 0.4)
        axes.append(ax)
        top -= high + _below(part)
    for ax, part in zip(axes, parts, strict=True):
        _, bottom, _, high = ax.get_position().bounds
        begin = left[part.fixed]
        beside = width - begin - part.right_ems >= _LEAST_PLOT_EMS
        room = width - begin - (part.right_ems if beside else _RIGHT_EMS)
        ax.set_position((begin / width, bottom, room / width, high))
        ax.yaxis.set_label_coords((EDGE_EMS - begin) / room, 0.5)
        part.finish(ax, room, beside)


def _entries(comparison: Comparison) -> list[Entry]:
    """Return the legend: each run that has a curve of its own, as it is drawn, then the band of all."""
    drawn, labels = drawn_runs(comparison), comparison.labels()
    entries = []
    for place, (label, why) in enumerate(drawn.items()):
        name = labels[int(label.removeprefix("run ")) - 1]
        look: dict[str, Any] = {"color": RUN_COLOURS[place], "marker": MARKERS[place], "markersize": 3.5}
        told = f"{label}: {name}{f' ({why})' * bool(why)}"
        entries.append(Entry(Line2D([], [], linewidth=1.2, **look), told))
    if len(drawn) < len(labels):
        band = f"all {len(labels)} runs, lowest to highest"
        entries.append(Entry(Patch(facecolor=MANY_COLOUR, edgecolor="none"), band))
        entries.append(Entry(Line2D([], [], color=SOFT_COLOUR, linewidth=1.2), "their median"))
    return entries


def _overlay(
    overlay: Overlay, key: str, overlays: list[Overlay], along: Along, drawn: list[str], alone: bool
) -> Part:
    end, is_last = axis_end(overlays, along, _TICKS), alone or overlay is overlays[-1]

    def draw(ax: Axes, height: float) -> float:
        if overlay.log:
            ax.set_yscale("log", nonpositive="mask")
            ax.minorticks_off()
        if overlay.band:
            draw_band(ax, overlay.band, along.size)
        for line in overlay.lines:
            place, time = drawn.index(line.label), line.time_s / along.size
            look: dict[str, Any] = {"color": RUN_COLOURS[place], "marker": MARKERS[place], "markersize": 3.5}
            look |= {"markevery": spread(time, place), "markeredgewidth": 0.0, "gid": line.label}
            ax.plot(time, line.values, linewidth=0.8, **look)
        ax.set_xlim(0, end)
        return draw_value_axis(ax, overlay.axis_title, height, overlay.curves if overlay.log else None)

    def finish(ax: Axes, width: float, beside: bool) -> None:
        ax.xaxis.set_major_locator(MaxNLocator(max(2, min(_TICKS, int(width / 4)))))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
        ax.tick_params(labelbottom=is_last)
        if is_last:
            ax.set_xlabel(fitted(along.title, width), color=TEXT_COLOUR, labelpad=1)

    return Part(key, _PANEL_EMS, False, is_last, draw, finish)


def _forest(rows: Sequence[ForestRow]) -> Part:
    names = [figure_text(row.label, 24) for row in rows]

    def draw(ax: Axes, _height: float) -> float:
        last = len(rows) - 1
        ax.axvline(0, color=SOFT_COLOUR, linewidth=0.6)
        for place, row in enumerate(rows):
            pooled = row.place is None
            colour = TEXT_COLOUR if pooled or len(rows) > _MOST_RUNS + 1 else RUN_COLOURS[row.place or 0]
            ax.plot((row.low, row.high), (last - place,) * 2, color=colour, linewidth=1.4, gid="interval")
            marker, size = ("D", 5.0) if pooled else ("o", 3.6)
            ax.plot([row.r], [last - place], marker, color=colour, markersize=size, gid="r")
        ax.set_ylim(-0.6, last + 0.6)
        ax.set_yticks([last - place for place in range(len(rows))], names)
        for text in ax.get_yticklabels():
            text.set_parse_math(False)
        ax.grid(False)
        return max(map(ems, names)) + 0.65

    def finish(ax: Axes, width: float, beside: bool) -> None:
        low, high = ax.get_xlim()
        reach = max(abs(low), abs(high))
        ax.set_xlim(-reach, reach)
        ax.xaxis.set_major_locator(MaxNLocator(max(2, min(6, int(width / 4))), steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(round(value, 9))))
        title = _FOREST_TITLE if ems(_FOREST_TITLE) <= width else "residual r"
        ax.set_xlabel(title, color=TEXT_COLOUR, labelpad=1)
        across = ax.get_yaxis_transform()
        for place, row in enumerate(rows if beside else []):
            each = [shown_number(value, "+.2f") for value in (row.r, row.low, row.high)]
            told = "{} [{}, {}]".format(*each)
            ax.text(1.02, len(rows) - 1 - place, told, transform=across, va="center", color=SOFT_COLOUR)

    height = _FOREST_ROW_EMS * len(rows)
    return Part("forest", height, True, True, draw, finish, _NUMBERS_EMS + 1)
