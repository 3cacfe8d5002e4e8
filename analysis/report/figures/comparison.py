"""The comparison for print: forest plot and overlays, as wide as a column of a paper."""

from matplotlib.figure import Figure
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.display.palette import TEXT_COLOUR
from thermograd.analysis.report.charts.comparison import build_overlays, draw_overlay, time_axis
from thermograd.analysis.report.figures.timeline import figure_text, new_figure, plain_text
from thermograd.analysis.report.forest import draw_forest, forest_rows
from thermograd.analysis.report.text.comparison import best_of

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
