"""The four panels for print: one matplotlib figure, as wide as a column of a paper.

Only the object API is used, so nothing global is changed and no display is needed. The same run
gives the same bytes.
"""

import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from thermograd.analysis.display.numbers import seconds_text, without_middle
from thermograd.analysis.display.palette import (
    BAND_COLOUR,
    BOUND_COLOUR,
    DEVICE_COLOURS,
    GRID_COLOUR,
    MANY_COLOUR,
    MARK_COLOURS,
    SOFT_COLOUR,
    TEXT_COLOUR,
    colour_of,
)
from thermograd.analysis.report.data.curves import Band, Line
from thermograd.analysis.report.data.panel import KIND_NAMES, Kind, Mark, Panel, Panels, Strip, legend_of
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
_STRIP = 0.08  # height of a strip of marks, of its panel's
_HALF, _LONGEST = 27, 62  # letters of a label, in two columns and in one
_TICK_STEPS = {"h": [1, 2, 3, 4, 6, 10]} | {unit: [1, 2, 5, 10] for unit in ("s", "min", "d")}
_ROW_IN = 0.115  # of the legend
_DASHES = (0, (4, 2))
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
    entries = legend_entries(panels)
    columns = 2 if all(len(entry.label) <= _HALF for entry in entries) else 1
    legend_rows = -(-len(entries) // columns)
    printed = panels.printed
    with _new_figure(0.77 + 1.08 * len(printed) + _ROW_IN * legend_rows) as figure:
        height = figure.get_figheight()
        top, bottom = 1 - (0.27 + _ROW_IN * legend_rows) / height, 0.52 / height
        grid = figure.add_gridspec(
            len(printed), 1, left=0.15, right=0.95, top=top, bottom=bottom, hspace=0.17
        )
        axes = [figure.add_subplot(grid[i]) for i in range(len(printed))]
        for ax, panel in zip(axes, printed, strict=True):
            _draw(ax, panel, panels, is_last=ax is axes[-1])
        figure.align_ylabels(axes)
        _write(figure, 1 - 0.06 / height, figure_text(title, 46), va="top", size=7.5, color=TEXT_COLOUR)
        _write(figure, 0.05 / height, figure_text(footer, 88), va="bottom", size=5, color=SOFT_COLOUR)
        if entries:
            _legend(figure, entries, columns, 1 - 0.19 / height)
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
    return without_middle(shown, longest)


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
    ax.xaxis.set_major_locator(MaxNLocator(8, steps=_TICK_STEPS[panels.clock.symbol]))
    if is_last:
        ax.set_xlabel(f"{panels.clock.name} since the run's first event", color=TEXT_COLOUR, labelpad=2)
    if panel.reason:
        _write_reason(ax, panel.reason)
        return
    if panel.log:
        _log_axis(ax, panel.curves)
    if panel.strips or any(mark.value is None for mark in panel.marks):
        ax.margins(y=0.12 + _STRIP * len(panel.strips[1:]))  # room for what is marked at the edge
    order, unit_s = list(panels.devices), panels.clock.seconds
    if panel.band:
        _draw_band(ax, panel.band, unit_s)
    for line in panel.lines:
        _draw_line(ax, line, order, unit_s)
    for place, strip in enumerate(panel.strips):
        _draw_strip(ax, strip, 1 - _STRIP * (place + 1), unit_s)
    for kind in KIND_NAMES:
        _draw_marks(ax, kind, [mark for mark in panel.marks if mark.kind == kind], unit_s)


def _log_axis(ax: Axes, lines: Iterable[Line | Band]) -> None:
    """Make the axis logarithmic; where it spans few decades, with 2 and 5 between their labels."""
    ax.set_yscale("log", nonpositive="mask")
    ax.minorticks_off()
    spans = [(line.lowest, line.highest) for line in lines if line.lowest > 0]
    lows, highs = [low for low, _ in spans], [high for _, high in spans]
    if lows and highs and max(highs) / min(lows) < _FEW_DECADES:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _line_style(device: str | None, order: Sequence[str]) -> str:
    return TEXT_COLOUR if device is None else colour_of(order.index(device))


def _dashed_colour(device: str | None, order: Sequence[str]) -> str:
    return BOUND_COLOUR if device is None else colour_of(order.index(device))


def _draw_line(ax: Axes, line: Line, order: Sequence[str], unit_s: float) -> None:
    style = _dashed_colour if line.dashed else _line_style
    colour, dashes = style(line.device, order), _DASHES if line.dashed else "-"
    time = line.time_s / unit_s
    ax.plot(time, line.values, color=colour, linestyle=dashes, linewidth=0.7, gid=line.label)
    alone = line.isolated
    if alone.any():
        ax.plot(time[alone], line.values[alone], ".", color=colour, markersize=2.5)


def _draw_band(ax: Axes, band: Band, unit_s: float) -> None:
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
    text = "\n".join(textwrap.wrap(figure_text(reason, 260), 52)[:6])
    options: dict[str, Any] = {"ha": "center", "va": "center", "size": 6.5, "style": "italic"}
    ax.text(0.5, 0.5, text, transform=ax.transAxes, color=SOFT_COLOUR, parse_math=False, **options)


# -- legend ----------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One line of the legend: what is drawn, and its label."""

    handle: Artist
    label: str


def legend_entries(panels: Panels) -> list[Entry]:
    """Return what the legend tells: every curve, band and mark of the printed panels, as it is drawn."""
    told, order = legend_of(panels, panels.printed), list(panels.devices)
    entries = [Entry(_stroke(_line_style(name, order)), label) for name, label in told.devices.items()]
    entries += [Entry(Patch(facecolor=MANY_COLOUR, edgecolor="none"), label) for label in told.bands]
    entries += [Entry(_stroke(SOFT_COLOUR), "their median")] * bool(told.bands)
    entries += [
        Entry(_stroke(_dashed_colour(device, order), _DASHES), label) for label, device in told.dashed
    ]
    entries += [Entry(_symbol(kind), told.told(kind)) for kind in told.kinds]
    entries += [
        Entry(Patch(facecolor=MARK_COLOURS[kind], edgecolor="none"), strip.label)
        for kind, strip in told.strips.items()
    ]
    return [entry._replace(label=figure_text(entry.label, _LONGEST)) for entry in entries]


def _stroke(colour: str, dashes: Any = "-") -> Line2D:
    return Line2D([], [], color=colour, linestyle=dashes, linewidth=1.2)


def _symbol(kind: Kind) -> Line2D:
    return Line2D([], [], linestyle="none", color=MARK_COLOURS[kind], **_SYMBOLS[kind])


def _legend(figure: Figure, entries: list[Entry], columns: int, top: float) -> None:
    place: dict[str, Any] = {"bbox_to_anchor": (0.0, top), "ncols": columns, "frameon": False}
    space: dict[str, Any] = {"handlelength": 1.6, "handletextpad": 0.3}
    space |= {"columnspacing": 1.2, "labelspacing": 0.25}
    look: dict[str, Any] = {"fontsize": 6.2, "labelcolor": TEXT_COLOUR, "borderpad": 0.2}
    handles = [entry.handle for entry in entries]
    labels = [f" {entry.label}".rstrip() for entry in entries]  # the space: what begins with _ is hidden
    for text in figure.legend(handles, labels, loc="upper left", **place, **space, **look).get_texts():
        text.set_parse_math(False)
