"""The four panels for print: one matplotlib figure, as wide as a column of a paper.

Only the object API is used, so nothing global is changed and no display is needed. The same run
gives the same bytes.
"""

import io
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator
from thermograd.analysis.display.numbers import seconds_text
from thermograd.analysis.display.palette import (
    BAND_COLOUR,
    DEVICE_COLOURS,
    GRID_COLOUR,
    MARK_COLOURS,
    SOFT_COLOUR,
    TEXT_COLOUR,
    colour_of,
    dashes_of,
)
from thermograd.analysis.report.data.curves import Line
from thermograd.analysis.report.data.panel import KIND_NAMES, Kind, Mark, Panel, Panels
from thermograd.analysis.run.pair import FADING, ONE_DELAY, Pair

_WIDTH_IN = 3.5  # one column of a two-column paper
_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 7.0,
    "text.usetex": False,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "thermograd",
    "path.simplify": False,  # the data are thinned already, and every extreme has to stay
    "axes.unicode_minus": True,
}
_FEW_DECADES = 300.0
_SYMBOLS: dict[Kind, dict[str, Any]] = {
    "spike": {"marker": "o", "markersize": 5, "markerfacecolor": "none", "markeredgewidth": 0.9},
    "nonfinite": {"marker": "x", "markersize": 4, "markeredgewidth": 1.0},
    "zero": {"marker": "x", "markersize": 4, "markeredgewidth": 1.0},
    "injection": {"marker": "v", "markersize": 3.2},
    "collapse": {"marker": "D", "markersize": 2.8},
    "reported_collapse": {"marker": "v", "markersize": 2.6},
}
_RULES: dict[str, Any] = {"injection": (0, (3, 2)), "collapse": "-"}


def build_figure(panels: Panels, title: str, footer: str) -> Figure:
    """Draw the four panels, with any text above and below."""
    handles, labels = _legend_handles(panels)
    legend_rows = -(-len(handles) // 2)
    with _new_figure(5.15 + 0.14 * legend_rows) as figure:
        height = figure.get_figheight()
        top, bottom = 1 - (0.3 + 0.14 * legend_rows) / height, 0.52 / height
        grid = figure.add_gridspec(4, 1, left=0.15, right=0.95, top=top, bottom=bottom, hspace=0.17)
        axes = [figure.add_subplot(grid[i]) for i in range(4)]
        for ax, panel in zip(axes, panels.printed, strict=True):
            _draw(ax, panel, panels, is_last=ax is axes[-1])
        figure.align_ylabels(axes)
        _write(figure, 1 - 0.06 / height, figure_text(title, 46), va="top", size=7.5, color=TEXT_COLOUR)
        _write(figure, 0.05 / height, figure_text(footer, 88), va="bottom", size=5, color=SOFT_COLOUR)
        if handles:
            _legend(figure, handles, labels, 1 - 0.19 / height)
    return figure


def lag_figure(pair_label: str, pairs: list[Pair]) -> Figure:
    """Draw r over lag of one pair of signals, beside it of slow answers, with each family's 95 % bands."""
    memories = sorted({memory for pair in pairs for memory in pair.memories_s})
    with _new_figure(2.05 if memories else 1.9) as figure:
        bottom, height = (0.22, 0.61) if memories else (0.2, 0.66)
        ax = figure.add_axes((0.15, bottom, 0.475 if memories else 0.825, height))
        bands = [(*pair.span_s, pair.half_width) for pair in pairs]
        points = [(lag, r, pair.half_width) for pair in pairs for lag, r in pair.own]
        _draw_stems(ax, sorted(points), bands)
        bins = f"n = {max(pair.n for pair in pairs):,} bins; grey: 95 % bound"
        ax.set_ylabel("residual r", color=TEXT_COLOUR)
        alone = f"lag (s), above 0 the training leads; {bins}"
        ax.set_xlabel("lag (s)" if memories else alone, color=TEXT_COLOUR, labelpad=2, size=6)
        if memories:
            beside = figure.add_axes((0.675, bottom, 0.3, height), sharey=ax)
            _draw_slow(beside, pairs, memories)
            for each, title in ((ax, ONE_DELAY), (beside, FADING)):
                each.set_title(title, loc="left", size=6, color=SOFT_COLOUR, pad=3)
            words = f"right of the middle the training leads; {bins}"
            _write(figure, 0.015, words, va="bottom", size=5.5, color=SOFT_COLOUR)
        _write(figure, 0.975, figure_text(pair_label, 66), va="top", size=6.8, color=TEXT_COLOUR)
    return figure


def _draw_slow(ax: Axes, pairs: list[Pair], memories: list[float]) -> None:
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
    places = [place for place in range(-count, count + 1) if place]
    every = 2 if count < 7 else 3  # there is no room for all
    names = [seconds_text(m).removesuffix(" s") * (k % every == 0) for k, m in enumerate(memories)]
    ax.set_xticks(places, [names[abs(place) - 1] for place in places])
    ax.tick_params(axis="y", labelleft=False)
    ax.tick_params(axis="x", labelsize=6)
    ax.set_xlabel("memory (s): fades to 1/e", color=TEXT_COLOUR, labelpad=2, size=6)


def _draw_stems(
    ax: Axes, points: list[tuple[float, float, float]], bands: list[tuple[float, float, float]]
) -> None:
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
    _draw_frame(ax)


def encode_figure(figure: Figure, file_format: str) -> bytes:
    """Return a figure as png, pdf or svg, without dates; fonts are embedded, text of SVG is paths."""
    buffer = io.BytesIO()
    metadata = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[file_format]
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format=file_format, metadata=metadata, facecolor="white")
    return buffer.getvalue()


def figure_text(text: str, longest: int) -> str:
    """Return text as the font can draw it: one line, shortened in the middle, unknown signs replaced."""
    shown = "".join(sign if sign.isprintable() and ord(sign) in _glyphs() else "\ufffd" for sign in text)
    if len(shown) > longest:
        half = (longest - 1) // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    return shown


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


@contextmanager
def _new_figure(height_in: float) -> Iterator[Figure]:
    """Give an empty figure of so many inches; what is drawn in the block has our style."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=300)
        FigureCanvasAgg(figure)
        yield figure


def _write(figure: Figure, height: float, text: str, **look: Any) -> None:
    """Write a text as it is: names are never read as mathematics."""
    figure.text(0.015, height, text, parse_math=False, **look)


# -- one panel -------------------------------------------------------------------------------------


def _draw_frame(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(SOFT_COLOUR)
    ax.tick_params(colors=SOFT_COLOUR, labelsize=6.5, width=0.6, length=2.5, pad=2)
    ax.grid(axis="y", color=GRID_COLOUR, linewidth=0.5)
    ax.set_axisbelow(True)


def _draw(ax: Axes, panel: Panel, panels: Panels, is_last: bool) -> None:
    _draw_frame(ax)
    ax.set_xlim(*(limit / panels.clock.seconds for limit in panels.limits_s))
    ax.set_ylabel(panel.axis_title, color=TEXT_COLOUR, labelpad=2)
    ax.tick_params(labelbottom=is_last)
    if is_last:
        ax.set_xlabel(f"{panels.clock.name} since the run's first event", color=TEXT_COLOUR, labelpad=2)
    if panel.reason:
        _write_reason(ax, panel.reason)
        return
    if panel.log:
        _log_axis(ax, panel.lines)
    if any(mark.value is None for mark in panel.marks):
        ax.margins(y=0.12)  # room for what is marked at the edge
    order, unit_s = list(panels.devices), panels.clock.seconds
    for line in panel.lines:
        _draw_line(ax, line, order, unit_s)
    for kind in KIND_NAMES:
        _draw_marks(ax, kind, [mark for mark in panel.marks if mark.kind == kind], unit_s)


def _log_axis(ax: Axes, lines: Iterable[Line]) -> None:
    """Make the axis logarithmic; where it spans few decades, with 2 and 5 between their labels."""
    ax.set_yscale("log", nonpositive="mask")
    ax.minorticks_off()
    spans = [(line.lowest, line.highest) for line in lines if line.lowest > 0]
    lows, highs = [low for low, _ in spans], [high for _, high in spans]
    if lows and highs and max(highs) / min(lows) < _FEW_DECADES:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _line_style(device: str | None, order: list[str]) -> tuple[str, Any]:
    if device is None:
        return TEXT_COLOUR, "-"
    place = order.index(device)
    dashes = dashes_of(place)
    return colour_of(place), "-" if dashes == [1, 0] else (0, tuple(dashes))


def _draw_line(ax: Axes, line: Line, order: list[str], unit_s: float) -> None:
    colour, dashes = _line_style(line.device, order)
    time = line.time_s / unit_s
    ax.plot(time, line.values, color=colour, linestyle=dashes, linewidth=0.7, gid=line.label)
    alone = line.isolated
    if alone.any():
        ax.plot(time[alone], line.values[alone], ".", color=colour, markersize=2.5)


def _draw_marks(ax: Axes, kind: Kind, marks: list[Mark], unit_s: float) -> None:
    symbol: dict[str, Any] = {"linestyle": "none", "color": MARK_COLOURS[kind], "zorder": 4}
    symbol |= _SYMBOLS[kind]
    at_value = [(mark.time_s / unit_s, mark.value) for mark in marks if mark.value is not None]
    at_edge = [mark.time_s / unit_s for mark in marks if mark.value is None]
    if at_value:
        ax.plot(*zip(*at_value, strict=True), gid=kind, **symbol)
    if not at_edge:
        return
    height = 0.03 if kind == "zero" else 0.97
    transform = ax.get_xaxis_transform()
    symbol |= {"transform": transform, "gid": f"{kind} at edge", "clip_on": False}
    ax.plot(at_edge, [height] * len(at_edge), **symbol)
    if kind in _RULES:
        look: dict[str, Any] = {"color": MARK_COLOURS[kind], "linestyle": _RULES[kind], "linewidth": 0.6}
        ax.vlines(at_edge, 0, 1, transform=transform, alpha=0.8, **look)


def _write_reason(ax: Axes, reason: str) -> None:
    ax.set_yticks([])
    ax.grid(False)
    text = "\n".join(textwrap.wrap(figure_text(reason, 300), 64)[:5])
    options: dict[str, Any] = {"ha": "center", "va": "center", "size": 6.5, "style": "italic"}
    ax.text(0.5, 0.5, text, transform=ax.transAxes, color=SOFT_COLOUR, parse_math=False, **options)


# -- legend ----------------------------------------------------------------------------------------


def _legend_handles(panels: Panels) -> tuple[list[Line2D], list[str]]:
    order = list(panels.devices)
    handles, labels = [], []
    drawn = {line.device for panel in panels.printed for line in panel.lines}
    for name, label in panels.devices.items():
        if name not in drawn:
            continue
        colour, dashes = _line_style(name, order)
        handles.append(Line2D([], [], color=colour, linestyle=dashes, linewidth=1.2))
        labels.append(f" {figure_text(label, 34)}".rstrip())  # the space: matplotlib hides what begins with _
    for kind in panels.kinds(printed=True):
        handles.append(Line2D([], [], linestyle="none", color=MARK_COLOURS[kind], **_SYMBOLS[kind]))
        labels.append(f" {KIND_NAMES[kind]}")
    return handles, labels


def _legend(figure: Figure, handles: list[Line2D], labels: list[str], top: float) -> None:
    place: dict[str, Any] = {"bbox_to_anchor": (0.0, top), "ncols": 2, "frameon": False}
    space: dict[str, Any] = {"handlelength": 1.6, "handletextpad": 0.3}
    space |= {"columnspacing": 1.2, "labelspacing": 0.25}
    look: dict[str, Any] = {"fontsize": 6.2, "labelcolor": TEXT_COLOUR, "borderpad": 0.2}
    for text in figure.legend(handles, labels, loc="upper left", **place, **space, **look).get_texts():
        text.set_parse_math(False)
