"""A picture of 1200 x 630 pixels, as previews of links are: texts that fit their box, panels, and no overlap.

Drawn for a glance: it is read 400 pixels wide, on light ground and on dark. Lengths are pixels from the upper
left corner.
"""

import io
import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import MaxNLocator
from thermograd.analysis.display.numbers import without_middle
from thermograd.analysis.display.palette import (
    GRID_COLOUR,
    MANY_COLOUR,
    MARK_COLOURS,
    SOFT_COLOUR,
    TEXT_COLOUR,
    colour_of,
)
from thermograd.analysis.report.data.panel import Clock, Mark, Panel, Strip

WIDTH, HEIGHT = 1200, 630
HEAT_COLOUR, SIMULATED_COLOUR = "#CC3311", "#B35C00"
_DPI = 100
_LINE = 1.22  # height of a line of text, of its letters' size
_LONGEST = 300
_TICKS_S = (0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
# The first is always there; the others, where they are installed, have what it lacks.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans JP",
    "Noto Sans SC",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Noto Emoji",
)
_STYLE: dict[Any, Any] = {"text.usetex": False, "path.simplify": False, "axes.unicode_minus": True}
_MARKERS: dict[str, dict[str, Any]] = {
    "spike": {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 2},
    "nonfinite": {"marker": "x", "markersize": 8, "markeredgewidth": 2.2},
    "injection": {"marker": "v", "markersize": 6},
}


class Box(NamedTuple):
    """A rectangle: its upper left corner and its size."""

    left: float
    top: float
    width: float
    height: float


class Fitted(NamedTuple):
    """A text in lines that fit a box, and the size of its letters."""

    lines: list[str]
    size: float

    @property
    def height(self) -> float:
        """The height of all lines."""
        return len(self.lines) * self.size * _LINE


class Picture:
    """What is drawn on; its object API changes nothing global and needs no display."""

    def __init__(self) -> None:
        self._figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI, facecolor="white")
        self._renderer: Any = _measuring()
        FigureCanvasAgg(self._figure)

    def png(self) -> bytes:
        """Return the picture; the same picture has the same bytes."""
        buffer = io.BytesIO()
        with mpl.rc_context(_STYLE):
            self._figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
        return buffer.getvalue()

    def rectangle(self, box: Box, colour: str, **look: Any) -> None:
        """Fill a rectangle."""
        corner = (box.left / WIDTH, 1 - (box.top + box.height) / HEIGHT)
        size = (box.width / WIDTH, box.height / HEIGHT)
        look = {"linewidth": 0} | look
        self._figure.add_artist(Rectangle(corner, *size, facecolor=colour, **look))

    def text(
        self, box: Box, text: str, sizes: Sequence[float], bold: bool = False, colour: str = TEXT_COLOUR
    ) -> float:
        """Write a text into a box, in the largest of some sizes that fits; return the height that it took.

        One that fits in none is cut.
        """
        fitted = self.fitted(box, text, sizes, bold)
        top = box.top
        for line in fitted.lines:
            self._write(box.left, top, line, fitted.size, bold, colour)
            top += fitted.size * _LINE
        return fitted.height

    def badge(self, right: float, top: float, text: str, colour: str = SIMULATED_COLOUR) -> float:
        """Write a short text on a coloured ground that ends at `right`; return where it begins."""
        size, pad = 20.0, 10.0
        width = self._width(text, size, bold=True)
        left, height = right - width - 2 * pad, size * _LINE + 8
        corner = (left, HEIGHT - top - height)
        ground = FancyBboxPatch(
            corner,
            width + 2 * pad,
            height,
            boxstyle="round,pad=0,rounding_size=6",
            transform=None,
            facecolor=colour,
            linewidth=0,
        )
        self._figure.add_artist(ground)
        self._write(left + pad, top + 4, text, size, True, "white")
        return left

    def fitted(self, box: Box, text: str, sizes: Sequence[float], bold: bool = False) -> Fitted:
        """Return a text as it fits a box."""
        shown = drawable(text)
        for size in sizes:
            lines = self._wrapped(shown, box.width, size, bold)
            if len(lines) * size * _LINE <= box.height + 1:
                return Fitted(lines, size)
        room = max(1, int(box.height / (sizes[-1] * _LINE)))
        lines = self._wrapped(shown, box.width, sizes[-1], bold)
        last = self._cut(f"{lines[room - 1]} {lines[room]}…", box.width, sizes[-1], bold)
        return Fitted([*lines[: room - 1], last], sizes[-1])

    def _wrapped(self, text: str, width: float, size: float, bold: bool) -> list[str]:
        lines = [""]
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}".strip()
            if self._width(longer, size, bold) <= width:
                lines[-1] = longer
            else:
                lines += self._pieces(word, width, size, bold)
        return [line for line in lines if line] or [""]

    def _pieces(self, word: str, width: float, size: float, bold: bool) -> list[str]:
        """Return a word that may be wider than a line, divided."""
        pieces = [""]
        for sign in word:
            if self._width(pieces[-1] + sign, size, bold) > width and pieces[-1]:
                pieces.append("")
            pieces[-1] += sign
        return pieces

    def _cut(self, text: str, width: float, size: float, bold: bool) -> str:
        while len(text) > 1 and self._width(text, size, bold) > width:
            text = f"{text[:-2].rstrip()}…"
        return text

    def _width(self, text: str, size: float, bold: bool) -> float:
        width, _, _ = self._renderer.get_text_width_height_descent(text, _font(size, bold), False)
        return float(width)

    def _write(self, left: float, top: float, text: str, size: float, bold: bool, colour: str) -> None:
        self._figure.text(
            left / WIDTH,
            1 - (top + 0.95 * size) / HEIGHT,
            text,
            fontproperties=_font(size, bold),
            color=colour,
            va="baseline",
            parse_math=False,
        )

    # -- a panel ---------------------------------------------------------------------------------------

    def panel(
        self,
        box: Box,
        panel: Panel,
        limits_s: tuple[float, float],
        clock: Clock,
        heat: Sequence[tuple[float, float]] = (),
        beside: str = "",
        moment_s: float | None = None,
    ) -> None:
        """Draw a panel with its title, `beside` it whose it is; `heat` is when a device was throttled, s.

        A `moment_s` is marked.
        """
        title = f"{panel.axis_title}{f', {beside}' if beside else ''}"
        told = [("○ spike", "spike")] * any(mark.kind == "spike" for mark in panel.marks)
        kinds = {mark.kind for mark in panel.marks} | {strip.kind for strip in panel.strips}
        told += [("× not finite", "nonfinite")] * ("nonfinite" in kinds)
        right = box.left + box.width
        if heat and not panel.reason:
            right = self._told(right, box.top, "throttled", HEAT_COLOUR)
        for text, kind in told:
            right = self._told(right, box.top, text, MARK_COLOURS[kind])
        self.text(Box(box.left, box.top, right - box.left - 12, 26), title, (20, 18, 16), bold=True)
        axes = Box(box.left + 62, box.top + 32, box.width - 62, box.height - 62)
        if panel.reason:
            self.rectangle(axes._replace(left=box.left, width=box.width), "#f4f5f7")
            inner = Box(box.left + 20, axes.top + 18, box.width - 40, axes.height - 30)
            self.text(inner, panel.reason, (20, 18, 16), colour=SOFT_COLOUR)
            return
        self._draw(axes, panel, limits_s, clock, heat, moment_s)

    def _told(self, right: float, top: float, text: str, colour: str) -> float:
        left = right - self._width(text, 18, bold=True)
        self._write(left, top + 1, text, 18, True, colour)
        return left - 14

    def _draw(
        self,
        box: Box,
        panel: Panel,
        limits_s: tuple[float, float],
        clock: Clock,
        heat: Sequence[tuple[float, float]],
        moment_s: float | None,
    ) -> None:
        with mpl.rc_context(_STYLE):
            bottom = 1 - (box.top + box.height) / HEIGHT
            place = (box.left / WIDTH, bottom, box.width / WIDTH, box.height / HEIGHT)
            ax = self._figure.add_axes(place)
            _frame(ax, panel.log)
            unit_s = clock.seconds
            ax.set_xlim(*(limit / unit_s for limit in limits_s))
            for start_s, end_s in heat:
                ax.axvspan(start_s / unit_s, end_s / unit_s, color=HEAT_COLOUR, alpha=0.22, linewidth=0)
            if panel.band:
                _draw_band(ax, panel, unit_s)
            for line in () if panel.band else panel.lines:
                _draw_line(ax, line, panel, unit_s)
            for kind in _MARKERS:
                _draw_marks(ax, kind, [mark for mark in panel.marks if mark.kind == kind], unit_s)
            for strip in panel.strips:
                _draw_strip(ax, strip, unit_s)
            if not _has_values(panel):
                ax.set_yticks([])  # an axis would have numbers that nobody measured
            zero_s = 0.0 if moment_s is None else moment_s
            if moment_s is not None:
                _mark_moment(ax, moment_s, limits_s)
            ax.xaxis.set_major_formatter(
                lambda value, _: f"{value - zero_s / unit_s:g} {clock.symbol}".replace("-", "−")
            )


def _draw_strip(ax: Axes, strip: Strip, unit_s: float) -> None:
    """Draw where there are too many steps that are not finite for a mark each."""
    if strip.kind == "nonfinite":
        middle_s = strip.start_s[strip.count > 0] + strip.width_s / 2
        _draw_marks(ax, strip.kind, [Mark(strip.kind, float(s), None, "") for s in middle_s], unit_s)


def _has_values(panel: Panel) -> bool:
    return panel.band is not None or any(np.isfinite(line.values).any() for line in panel.lines)


def _mark_moment(ax: Axes, moment_s: float, limits_s: tuple[float, float]) -> None:
    """Draw a line at a moment, and let ticks be round times before and after it."""
    step_s = next((s for s in _TICKS_S if limits_s[1] - limits_s[0] < 6 * s), _TICKS_S[-1])
    first, last = (math.ceil((limit - moment_s) / step_s - (k * 1e-9)) for k, limit in enumerate(limits_s))
    ax.set_xticks([moment_s + step_s * k for k in range(first, last)])
    ax.axvline(moment_s, color=MARK_COLOURS["spike"], linewidth=1.6, linestyle=(0, (4, 3)))


def _frame(ax: Axes, log: bool) -> None:
    ax.margins(y=0.14)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(SOFT_COLOUR)
    ax.grid(axis="y", color=GRID_COLOUR, linewidth=1)
    ax.set_axisbelow(True)
    if log:
        ax.set_yscale("log", nonpositive="mask")
        ax.minorticks_off()
    else:
        ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=False))
    ax.tick_params(colors=SOFT_COLOUR, labelsize=0.72 * 17, length=3)


def _draw_band(ax: Axes, panel: Panel, unit_s: float) -> None:
    band = panel.band
    assert band is not None
    time = band.time_s / unit_s
    ax.fill_between(time, band.low, band.high, color=MANY_COLOUR, linewidth=0)
    ax.plot(time, band.middle, color=TEXT_COLOUR, linewidth=1.6)


def _draw_line(ax: Axes, line: Any, panel: Panel, unit_s: float) -> None:
    if line.dashed:
        return
    devices = list(dict.fromkeys(each.device for each in panel.lines if not each.dashed))
    colour = TEXT_COLOUR if line.device is None else colour_of(devices.index(line.device) % 5)
    dot = "." if line.isolated.all() else ""
    ax.plot(line.time_s / unit_s, line.values, color=colour, linewidth=1.6, marker=dot or None, markersize=6)


def _draw_marks(ax: Axes, kind: str, marks: list[Mark], unit_s: float) -> None:
    look: dict[str, Any] = {"linestyle": "none", "color": MARK_COLOURS[kind], "zorder": 4} | _MARKERS[kind]
    at_value = [(mark.time_s / unit_s, mark.value) for mark in marks if mark.value is not None]
    at_edge = [mark.time_s / unit_s for mark in marks if mark.value is None]
    if at_value:
        ax.plot(*zip(*at_value, strict=True), **look)
    if at_edge:
        ax.plot(at_edge, [0.95] * len(at_edge), transform=ax.get_xaxis_transform(), clip_on=False, **look)


def _measuring() -> Any:  # matplotlib's renderers have no types
    return RendererAgg(WIDTH, HEIGHT, _DPI)  # type: ignore[no-untyped-call]


# -- letters ---------------------------------------------------------------------------------------------


def drawable(text: str) -> str:
    """Return text as there are letters for: one line, of printable signs, shortened in the middle."""
    flat = " ".join(without_middle(text, _LONGEST).split())
    return "".join(sign if sign == " " or ord(sign) in _glyphs() else "\ufffd" for sign in flat)


def can_be_read(text: str) -> bool:
    """Return whether there are letters for most of a text."""
    return drawable(text).count("\ufffd") <= len(text) / 4


@cache
def _families() -> tuple[str, ...]:
    installed = {entry.name for entry in fontManager.ttflist}
    return tuple(name for name in _FONTS if name in installed)


@cache
def _glyphs() -> frozenset[int]:
    found: set[int] = set()
    for name in _families():
        path = fontManager.findfont(FontProperties(family=name))
        found |= get_font(path).get_charmap().keys()
    return frozenset(code for code in found if chr(code).isprintable())


@cache
def _font(size: float, bold: bool) -> FontProperties:
    weight = "bold" if bold else "normal"
    return FontProperties(family=list(_families()), size=size * 72 / _DPI, weight=weight)
