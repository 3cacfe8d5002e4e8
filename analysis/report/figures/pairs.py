"""The values behind a tested pair for print: against each other, and how long each remembers."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from thermograd.analysis.display.palette import (
    BAND_COLOUR,
    DEVICE_COLOURS,
    MARK_COLOURS,
    SOFT_COLOUR,
    TEXT_COLOUR,
)
from thermograd.analysis.report.data.evidence import Evidence, Memory
from thermograd.analysis.report.figures.timeline import draw_frame, figure_text, new_figure, plain_text
from thermograd.analysis.run.event_tests import AroundSpikes

_POINTS = 250


def evidence_figure(evidence: Evidence, label: str) -> Figure:
    """Draw raw values and residuals of a pair with time as colour, and both autocorrelations.

    Parameters
    ----------
    evidence
        From `evidence.pair_evidence`.
    label
        Name of the pair, any text.
    """
    with new_figure(3.5, 3.55) as figure:
        grid = figure.add_gridspec(
            2, 2, left=0.135, right=0.985, top=0.88, bottom=0.11, hspace=0.62, wspace=0.42
        )
        axes = [figure.add_subplot(grid[i]) for i in range(4)]
        raw, left, first, second = axes
        signed = f"{evidence.lag_s:+.0f} s".replace("-", "\u2212")
        _cloud(raw, evidence.time_s, evidence.x, evidence.y, f"raw, r = {evidence.naive_r:+.2f}")
        _cloud(
            left,
            evidence.residual_time_s,
            evidence.residual_x,
            evidence.residual_y,
            f"residuals at {signed}, r = {evidence.r:+.2f}",
        )
        raw.set_ylabel(figure_text(evidence.y_name, 24), color=TEXT_COLOUR, labelpad=2)
        raw.set_xlabel(figure_text(evidence.x_name, 24), color=TEXT_COLOUR, labelpad=2)
        left.set_ylabel(
            figure_text(f"{evidence.y_name}, residual (sd)", 30), color=TEXT_COLOUR, labelpad=2, size=6
        )
        left.set_xlabel(figure_text(f"{evidence.x_name}, residual (sd)", 30), color=TEXT_COLOUR, labelpad=2)
        for ax, memory in zip((first, second), evidence.memory, strict=True):
            _memory(ax, memory, evidence)
        first.set_ylabel("autocorrelation", color=TEXT_COLOUR, labelpad=2)
        title = figure.text(0.015, 0.985, figure_text(label, 58), va="top", size=7, color=TEXT_COLOUR)
        plain_text(title)
    return figure


def spikes_figure(course: AroundSpikes) -> Figure:
    """Draw the mean course of a hardware signal around spikes with its 95 % interval."""
    with new_figure(3.5, 1.9) as figure:
        ax = figure.add_axes((0.15, 0.2, 0.825, 0.66))
        draw_frame(ax)
        ax.fill_between(course.offset_s, course.low, course.high, color=BAND_COLOUR, linewidth=0)
        ax.axhline(0, color=SOFT_COLOUR, linewidth=0.6)
        ax.axvline(0, color=MARK_COLOURS["spike"], linewidth=0.6, linestyle=(0, (4, 3)))
        ax.plot(
            course.offset_s,
            course.mean,
            ".-",
            color=DEVICE_COLOURS[0],
            linewidth=1,
            markersize=3,
            gid="mean",
        )
        ax.set_xlabel(
            f"seconds after a spike; n = {course.n_spikes:,} spikes; band: 95 %",
            color=TEXT_COLOUR,
            labelpad=2,
        )
        ax.set_ylabel(f"change ({course.unit})" if course.unit else "change", color=TEXT_COLOUR)
        title = ax.set_title(figure_text(course.label, 56), loc="left", size=7, color=TEXT_COLOUR, pad=4)
        plain_text(title)
    return figure


def _cloud(ax: Axes, time_s: Any, x: Any, y: Any, title: str) -> None:
    draw_frame(ax)
    every = slice(None, None, max(1, x.size // _POINTS))
    ax.scatter(x[every], y[every], c=time_s[every], cmap="viridis", s=4, linewidths=0)
    ax.locator_params(nbins=4)
    ax.set_title(title.replace("-", "\u2212"), loc="left", size=6, color=TEXT_COLOUR, pad=3)


def _memory(ax: Axes, memory: Memory, evidence: Evidence) -> None:
    draw_frame(ax)
    bound = 1.96 / max(1, evidence.residual_x.size) ** 0.5
    ax.axhspan(-bound, bound, color=BAND_COLOUR, linewidth=0)
    lags = [lag * evidence.period_s for lag in range(max(memory.raw.size, memory.residual.size))]
    ax.plot(lags[: memory.raw.size], memory.raw, ".-", color=SOFT_COLOUR, linewidth=0.8, markersize=2)
    ax.vlines(lags[: memory.residual.size], 0, memory.residual, color=DEVICE_COLOURS[0], linewidth=1.2)
    ax.set_ylim(-0.5, 1.05)
    ax.set_xlabel("lag (s); grey raw, blue residual", color=TEXT_COLOUR, labelpad=2, size=6)
    ax.set_title(figure_text(memory.name, 24), loc="left", size=6, color=TEXT_COLOUR, pad=3)
