"""The comparison for print: forest plot and overlays, as wide as a column of a paper."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from thermograd.analysis.comparison.result import Comparison, best_of
from thermograd.analysis.display.palette import DEVICE_COLOURS, MARK_COLOURS, SOFT_COLOUR, TEXT_COLOUR
from thermograd.analysis.report.charts.comparison import TITLE, reach
from thermograd.analysis.report.data.comparison import (
    DASHES,
    LONGEST,
    TIME_TITLE,
    ForestRow,
    Overlay,
    build_overlays,
    forest_rows,
    place_of,
    run_style,
    time_axis,
)
from thermograd.analysis.report.figures.timeline import (
    draw_frame,
    figure_text,
    log_axis,
    new_figure,
    plain_text,
)

_WIDTH_IN = 3.5
_ROW_IN, _PANEL_IN = 0.155, 0.95


def comparison_figure(
    comparison: Comparison, *, with_forest: bool = True, with_overlays: bool = True
) -> Figure | None:
    """Draw the forest plot above the curves of all runs; None where there is nothing to draw."""
    best = best_of(comparison)
    rows = forest_rows(comparison, best) if best and with_forest else []
    overlays = build_overlays(comparison) if with_overlays else []
    if not rows and not overlays:
        return None
    forest_in = _ROW_IN * len(rows) + 0.36 if rows else 0.0
    height = 0.34 + forest_in + (_PANEL_IN * len(overlays) + 0.3 if overlays else 0.0)
    with new_figure(_WIDTH_IN, height) as figure:
        title = f"{len(comparison.runs)} runs" + (f": {best.x} ~ {best.y}" if best else "")
        if any(run.truth is not None for run in comparison.runs):
            title += ", simulated"
        drawn = figure.text(
            0.015, 1 - 0.05 / height, figure_text(title, 60), va="top", size=7.5, color=TEXT_COLOUR
        )
        plain_text(drawn)
        if rows:
            bottom = 1 - (0.26 + _ROW_IN * len(rows)) / height
            draw_forest(figure.add_axes((0.31, bottom, 0.39, _ROW_IN * len(rows) / height)), rows)
        for place, overlay in enumerate(overlays):
            bottom = (0.32 + _PANEL_IN * (len(overlays) - 1 - place)) / height
            ax = figure.add_axes((0.15, bottom, 0.82, (_PANEL_IN - 0.12) / height))
            draw_overlay(ax, overlay, time_axis(overlays), is_last=overlay is overlays[-1])
    return figure


def draw_overlay(ax: Axes, overlay: Overlay, axis: tuple[float, float], is_last: bool) -> None:
    """Draw one panel into axes, with the time axis of `time_axis`."""
    draw_frame(ax)
    if overlay.log:
        log_axis(ax, overlay.lines)
    for line in overlay.lines:
        colour, dashes = run_style(place_of(line))
        look: dict[str, Any] = {"color": DEVICE_COLOURS[colour], "linewidth": 0.6, "alpha": 0.85}
        if dashes:
            look["linestyle"] = (0, tuple(DASHES[dashes]))
        ax.plot(line.time_s / 60, line.values, gid=line.label, **look)
    end, step = axis
    ax.set_xlim(0, end)
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.set_ylabel(overlay.axis_title, color=TEXT_COLOUR, labelpad=2)
    ax.tick_params(labelbottom=is_last)
    if is_last:
        ax.set_xlabel(TIME_TITLE, color=TEXT_COLOUR, labelpad=2)


def draw_forest(ax: Axes, rows: list[ForestRow]) -> None:
    """Draw the plot into axes."""
    draw_frame(ax)
    ax.grid(False)
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color=SOFT_COLOUR, linewidth=0.6)
    for place, row in enumerate(rows):
        colour = MARK_COLOURS["spike"]
        if row.place is not None:
            colour = DEVICE_COLOURS[run_style(row.place)[0]]
        look: dict[str, Any] = {"markersize": 5.5 if row.pooled else 3.4, "color": colour}
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=1.1)
        ax.plot([row.r], [place], "D" if row.pooled else "o", gid=row.label, **look)
        text = f"{row.r:+.2f} [{row.low:+.2f}, {row.high:+.2f}]".replace("-", "\u2212")
        ax.text(1.02, place, text, transform=ax.get_yaxis_transform(), size=6, va="center", color=TEXT_COLOUR)
    labels = [figure_text(row.label, LONGEST) for row in rows]
    ax.set_yticks(range(len(rows)), labels, color=TEXT_COLOUR)
    for label in ax.get_yticklabels():
        plain_text(label)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(*reach(rows))
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(TITLE, color=TEXT_COLOUR, labelpad=2)
