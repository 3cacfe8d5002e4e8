"""The text of a printed figure: what is drawn, and what of it stands over something else."""

from itertools import combinations
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    """Return every text that is drawn."""
    figure.draw_without_rendering()
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for ax in figure.axes:
        found += [*ax.texts, ax.xaxis.label, ax.yaxis.label, ax._left_title]
        found += [*_numbers(ax.xaxis, ax.get_xlim()), *_numbers(ax.yaxis, ax.get_ylim())]
    return [text for text in found if text.get_text().strip()]


def _numbers(axis: Any, limits: tuple[float, float]) -> list[Text]:
    """Return the numbers that lie on an axis: matplotlib makes more of them than it draws."""
    low, high = sorted(limits)
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1 for tick in ticks if tick.label1.get_visible()]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Return pairs of texts that stand over each other."""
    boxes = [(text.get_text(), text.get_window_extent().padded(-1.0)) for text in texts(figure)]
    return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
