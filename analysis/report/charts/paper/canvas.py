"""An empty figure for print in one style, and what becomes of it as a file: fonts, words, the same bytes."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from thermograd.analysis.display.palette import GRID_COLOUR, SOFT_COLOUR, TEXT_COLOUR
from thermograd.analysis.report.alt.run import Words
from thermograd.analysis.report.charts.paper.style import PrintStyle
from thermograd.analysis.report.charts.paper.text import FONT, ems, figure_text, fitted

EDGE_EMS = 0.6  # between what is written and the edge of the figure
ROW_EMS = 1.35  # from a line of text to the next
_HANDLE_EMS, _GAP_EMS, _PAD_EMS = 1.8, 1.2, 0.5  # of a legend: what is drawn, between columns, before text
_STYLE: dict[Any, Any] = {
    "font.family": [FONT],
    "text.usetex": False,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "thermograd",
    "path.simplify": False,  # the data are thinned already, and every extreme has to stay
    "axes.unicode_minus": True,
}
_OPENING = re.compile(r"<svg\b[^>]*>", re.DOTALL)


class Entry(NamedTuple):
    """One line of a legend: what is drawn, and its label."""

    handle: Artist
    label: str


@contextmanager
def new_figure(style: PrintStyle, height_ems: float) -> Iterator[Figure]:
    """Give an empty figure that is so many letters high; all text drawn in the block has the style's size."""
    with mpl.rc_context(_STYLE | {"font.size": style.font_size_pt}):
        figure = Figure(figsize=(style.width_in, height_ems * style.em_in), dpi=300)
        FigureCanvasAgg(figure)
        yield figure


def write(figure: Figure, ems_from_bottom: float, style: PrintStyle, text: str, **look: Any) -> None:
    """Write a line of text as it is: names are never read as mathematics."""
    across = EDGE_EMS * style.em_in / style.width_in
    height = ems_from_bottom * style.em_in / figure.get_figheight()
    figure.text(across, height, text, parse_math=False, size=style.font_size_pt, **look)


def draw_frame(ax: Axes, style: PrintStyle) -> None:
    """Leave of the frame what carries numbers."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(SOFT_COLOUR)
    size = style.font_size_pt
    ax.tick_params(colors=SOFT_COLOUR, labelsize=size, width=0.6, length=0.35 * size, pad=0.3 * size)
    ax.grid(axis="y", color=GRID_COLOUR, linewidth=0.5)
    ax.set_axisbelow(True)


class Legend(NamedTuple):
    """Entries that have room side by side in so many columns."""

    entries: list[Entry]
    columns: int

    @property
    def height_ems(self) -> float:
        """How high it is, 0 for no entry."""
        return ROW_EMS * -(-len(self.entries) // self.columns) + 0.3 if self.entries else 0.0

    def draw(self, figure: Figure, style: PrintStyle, top_ems: float) -> None:
        """Draw it so many letters below the upper edge."""
        if not self.entries:
            return
        height = 1 - top_ems * style.em_in / figure.get_figheight()
        left = 0.2 * style.em_in / style.width_in
        place: dict[str, Any] = {"bbox_to_anchor": (left, height), "ncols": self.columns, "frameon": False}
        space = {"handlelength": _HANDLE_EMS - 0.2, "handletextpad": 0.3, "columnspacing": _GAP_EMS}
        space |= {"labelspacing": 0.15, "borderpad": 0.2, "borderaxespad": 0.0}
        labels = [f" {entry.label}".rstrip() for entry in self.entries]  # what begins with _ would be hidden
        look: dict[str, Any] = {"fontsize": style.font_size_pt, "labelcolor": TEXT_COLOUR}
        handles = [entry.handle for entry in self.entries]
        for text in figure.legend(handles, labels, loc="upper left", **place, **space, **look).get_texts():
            text.set_parse_math(False)


def legend(entries: Sequence[Entry], style: PrintStyle) -> Legend:
    """Return entries in as many columns as have room, each label as much of it as has."""
    room = style.width_in / style.em_in - 2 * EDGE_EMS
    alone = room - _HANDLE_EMS - 2 * _PAD_EMS
    fit = [entry._replace(label=fitted(figure_text(entry.label, 500), alone)) for entry in entries]
    columns = next((c for c in (5, 4, 3, 2) if c <= len(fit) and _width_ems(fit, c) <= room), 1)
    return Legend(fit, columns)


def _width_ems(entries: Sequence[Entry], columns: int) -> float:
    """Return how wide a legend of so many columns is, as matplotlib shares entries out."""
    each, more = divmod(len(entries), columns)
    sizes, first, widths = [each + 1] * more + [each] * (columns - more), 0, 0.0
    for size in sizes:
        widths += max(ems(f" {entry.label}") for entry in entries[first : first + size])
        first += size
    return widths + columns * (_HANDLE_EMS + _PAD_EMS) + (columns - 1) * _GAP_EMS


def encode_figure(figure: Figure, file_format: str, words: Words) -> bytes:
    """Return a figure as png, pdf or svg, without dates, which says in words what it shows.

    Fonts are embedded, text of SVG is paths.
    """
    buffer, (title, text) = io.BytesIO(), words
    metadata: dict[str, Any] = {"Title": title} if file_format != "svg" else {}  # which has its own below
    metadata |= {"Subject": text} if file_format == "pdf" else {"Description": text}
    metadata |= {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(file_format, {})
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format=file_format, metadata=metadata, facecolor="white")
    content = buffer.getvalue()
    return described_svg(content.decode(), words).encode() if file_format == "svg" else content


def described_svg(svg: str, words: Words) -> str:
    """Return an SVG whose first elements say what it shows, as screen readers read them."""
    opening = _OPENING.search(svg)
    if opening is None:
        return svg
    told = f"<title>{escape(words.title)}</title><desc>{escape(words.text)}</desc>"
    return f'{svg[: opening.end() - 1]} role="img">{told}{svg[opening.end() :]}'
