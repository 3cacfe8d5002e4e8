"""Residual correlation over lag for print, beside it that of slow answers."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from thermograd.analysis.display.numbers import seconds_text
from thermograd.analysis.display.palette import (
    BAND_COLOUR,
    DEVICE_COLOURS,
    MARK_COLOURS,
    SOFT_COLOUR,
    TEXT_COLOUR,
)
from thermograd.analysis.report.charts.paper.axes import write_ticks
from thermograd.analysis.report.charts.paper.canvas import EDGE_EMS, ROW_EMS, draw_frame, new_figure, write
from thermograd.analysis.report.charts.paper.style import PrintStyle
from thermograd.analysis.report.charts.paper.text import ems, wrapped
from thermograd.analysis.run.pair import FADING, ONE_DELAY, Pair
from thermograd.store.errors import ConfigError

_PLOT_EMS, _LEAST_EMS = 14.0, 5.0
_LEFT_EMS, _RIGHT_EMS, _BETWEEN_EMS = 6.2, 1.4, 1.6
_SLOW_SHARE = 0.36  # of the width between the margins
_MEMORY = "memory (s): fades to 1/e"
_PLACE_EMS = 1.1  # of a number below a slow answer, beyond its letters

Point = tuple[float, float, float]  # place, r, its bound; or from, to, their bound


def lag_figure(
    pair_label: str, pairs: Sequence[Pair], footer: str = "", style: PrintStyle | None = None
) -> Figure:
    """Draw r over lag of one pair of signals, beside it of slow answers, with each family's 95 % bands.

    Raises `ConfigError` where the style's height leaves no room.
    """
    style = style or PrintStyle()
    width = style.width_in / style.em_in
    memories = sorted({memory for pair in pairs for memory in pair.memories_s})
    title = wrapped(pair_label, width - 2 * EDGE_EMS, 2)
    side = "right of the middle" if memories else "above 0"
    below = (
        f"{side} the training leads; n = {max(pair.n for pair in pairs):,} bins; grey: 95 % bound. {footer}"
    )
    words = wrapped(below, width - 2 * EDGE_EMS, 4)
    first, second = _split(width, bool(memories))
    heads = [wrapped(text, room, 2) for text, room in ((ONE_DELAY, first[1]), (FADING, second[1]))]
    head = max(map(len, heads)) * bool(memories)
    top = EDGE_EMS + ROW_EMS * (len(title) + head) + 0.4
    names = wrapped(_MEMORY, second[1], 2) if memories else []
    bottom = EDGE_EMS + ROW_EMS * (len(words) + 1 + max(1, len(names))) + 0.6
    height = _height(style, top + bottom)
    with new_figure(style, height) as figure:
        low, high = bottom / height, (height - top - bottom) / height
        ax = figure.add_axes((first[0] / width, low, first[1] / width, high))
        draw_frame(ax, style)
        _draw_lags(ax, pairs, first[1], (height - top - bottom))
        if memories:
            beside = figure.add_axes((second[0] / width, low, second[1] / width, high), sharey=ax)
            draw_frame(beside, style)
            _draw_slow(beside, pairs, memories, second[1])
            for each, lines in zip((ax, beside), heads, strict=True):
                each.set_title(
                    "\n".join(lines), loc="left", size=style.font_size_pt, color=SOFT_COLOUR, pad=2
                )
        for place, line in enumerate(title):
            write(figure, height - EDGE_EMS - ROW_EMS * place, style, line, va="top", color=TEXT_COLOUR)
        for place, line in enumerate(reversed(words)):
            write(figure, EDGE_EMS + ROW_EMS * place, style, line, va="bottom", color=SOFT_COLOUR)
    return figure


def _split(width: float, slow: bool) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where both plots begin and how wide they are, in ems."""
    room = width - _LEFT_EMS - _RIGHT_EMS
    right = room * _SLOW_SHARE if slow else 0.0
    left = room - right - _BETWEEN_EMS * slow
    return (_LEFT_EMS, left), (_LEFT_EMS + left + _BETWEEN_EMS, max(right, 1.0))


def _height(style: PrintStyle, around: float) -> float:
    if style.height_in is None:
        return around + _PLOT_EMS
    height = style.height_in / style.em_in
    if height < around + _LEAST_EMS:
        least_mm = (around + _LEAST_EMS) * style.em_in * 25.4
        raise ConfigError(
            f"a height of {style.height_mm:g} mm has no room for the lag profile in letters of "
            f"{style.font_size_pt:g} pt; expected at least {least_mm:.0f} mm, or smaller letters"
        )
    return height


def _draw_lags(ax: Axes, pairs: Sequence[Pair], width_ems: float, height_ems: float) -> None:
    bands = [(*pair.span_s, pair.half_width) for pair in pairs]
    points = [(lag, r, pair.half_width) for pair in pairs for lag, r in pair.own]
    _draw_stems(ax, sorted(points), bands)
    ax.set_ylabel("residual r", color=TEXT_COLOUR)
    ax.set_xlabel("lag (s)", color=TEXT_COLOUR, labelpad=1)
    ax.xaxis.set_major_locator(MaxNLocator(max(2, min(9, int(width_ems / 3.5))), steps=[1, 2, 4, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(max(2, min(6, int(height_ems / 2))), steps=[1, 2, 2.5, 5, 10]))
    write_ticks(ax)


def _draw_slow(ax: Axes, pairs: Sequence[Pair], memories: list[float], width_ems: float) -> None:
    """Draw r of slow answers: at the right those of the hardware, at the left those of the training."""
    count, bands, points = len(memories), [], []
    for pair in pairs:
        side = 1 if pair.family == "forward" else -1
        if pair.memories_s:
            start, stop = sorted((0.5 * side, (count + 0.5) * side))
            bands.append((start, stop, pair.slow_half_width))
        for memory, r in zip(pair.memories_s, pair.slow_profile, strict=True):
            points.append((side * (memories.index(memory) + 1.0), r, pair.slow_half_width))
    _draw_stems(ax, sorted(points), bands)
    names = [seconds_text(memory).removesuffix(" s") for memory in memories]
    every = _every(names, width_ems / (2 * count + 1))
    names = [name * (place % every == 0) for place, name in enumerate(names)]
    places = [place for place in range(-count, count + 1) if place]
    ax.set_xticks(places, [names[abs(place) - 1] for place in places])
    ax.tick_params(axis="y", labelleft=False)
    ax.set_xlabel("\n".join(wrapped(_MEMORY, width_ems, 2)), color=TEXT_COLOUR, labelpad=1)


def _every(names: Sequence[str], apart_ems: float) -> int:
    """Return which of the numbers below the answers are written, so that each has room."""
    widest = max(map(ems, names)) + _PLACE_EMS / 2
    return max(1, min(len(names), -int(-widest // apart_ems)))


def _draw_stems(ax: Axes, points: list[Point], bands: list[Point]) -> None:
    """Draw points (place, r, its bound) over bands (from, to, their bound); what is outside is ringed."""
    for start, stop, bound in bands:
        ax.fill_between((start, stop), -bound, bound, color=BAND_COLOUR, linewidth=0)
    places, profile = [at for at, *_ in points], [r for _, r, _ in points]
    ax.axhline(0, color=SOFT_COLOUR, linewidth=0.6)
    ax.vlines(places, 0, profile, color=DEVICE_COLOURS[0], linewidth=1.2)
    ax.plot(places, profile, "o", color=DEVICE_COLOURS[0], markersize=2.4)
    outside = [(at, r) for at, r, bound in points if abs(r) > bound]
    ring: dict[str, Any] = {"markeredgecolor": MARK_COLOURS["spike"], "markerfacecolor": "none"}
    ax.plot([at for at, _ in outside], [r for _, r in outside], "o", gid="outside", markersize=5, **ring)
