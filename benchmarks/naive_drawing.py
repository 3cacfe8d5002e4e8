"""The drawing of `naive_figure.py`: false alarms on the left, true couplings on the right."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.special import betaincinv

__all__ = ["draw"]

_NAIVE, _PALE, _OURS = "#D55E00", "#EDB48A", "#0072B2"  # Okabe & Ito's; pale: no evidence
_TEXT, _SOFT, _LINK = "#1d2127", "#5f6772", "#dfe3e8"
_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 7.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "thermograd",
    "axes.unicode_minus": True,
}
_WIDTH_IN, _HEIGHT_IN = 5.6, 3.6
_BOTTOM, _ROW = 0.075, 0.0625  # shares of the height: the axes' bottom, one row

_NULLS = {
    "trend": "falling norm, heating device",
    "kink": "rate drop, fan step elsewhere",
    "driver": "a varying load drives both",
    "rw": "two random walks",
    "period": "same period, phases at random",
    "ar.98": "independent, long memory",
    "ar.9": "independent, memory",
    "burst": "both restless in one stretch",
    "hetero": "both calm down",
    "ar.5": "independent, short memory",
    "heavy": "huge spikes, bursts of noise",
    "coll": "spikes, rare collapses",
}
_COUPLINGS = {
    "cont .1": "ρ = 0.1",
    "cont .2": "ρ = 0.2",
    "cont .3": "ρ = 0.3",
    "cont .5": "ρ = 0.5",
    "cont_trend .3": "ρ = 0.3, trends",
    "driver+c .3": "ρ = 0.3, load",
    "spike 2": "spikes heat 2 σ",
}


def binomial_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a rate (Clopper & Pearson)."""
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, 0.025))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 0.975))
    return low, high


def draw(results: dict[str, Any], directory: Path) -> list[Path]:
    """Write the figure as PNG and SVG; the same results give the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    with mpl.rc_context():
        mpl.rcParams.update(_STYLE)
        figure = _figure(results)
        for kind in ("png", "svg"):
            buffer = io.BytesIO()
            metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {}
            figure.savefig(buffer, format=kind, metadata=metadata, facecolor="white", dpi=300)
            path = directory / f"naive-vs-thermograd.{kind}"
            path.write_bytes(buffer.getvalue())
            paths.append(path)
    return paths


def _figure(results: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN))
    FigureCanvasAgg(figure)
    order = list(_COUPLINGS)
    nulls = [row for row in results["rows"] if not row["coupled"]]
    nulls.sort(key=lambda row: (-row["naive_p"], -row["naive_r"]))
    couplings = [row for row in results["rows"] if row["coupled"]]
    couplings.sort(key=lambda row: order.index(row["process"]))
    left = figure.add_axes((0.318, _BOTTOM, 0.25, _ROW * (len(nulls) + 0.7)))
    right = figure.add_axes(
        (0.752, _BOTTOM + _ROW * (len(nulls) - len(couplings)), 0.2, _ROW * (len(couplings) + 0.7))
    )
    trials = results["repetitions"]
    _panel(left, nulls, _NULLS, trials)
    _panel(right, couplings, _COUPLINGS, trials)
    left.vlines(0.05, -0.35, len(nulls) - 0.2, color=_SOFT, linewidth=0.7, linestyle=(0, (3, 2)), zorder=1)
    left.text(0.065, len(nulls) - 0.45, "5 %", color=_SOFT, size=6.2, va="center")
    _name_marks(left, nulls[0], trials)
    _title(figure, 0.012, "Nothing is coupled", "How often a run is called coupled, wrongly")
    _title(figure, 0.605, "A true coupling ρ", "How often it is found")
    _remark(figure, results)
    return figure


def _title(figure: Figure, x: float, title: str, text: str) -> None:
    figure.text(x, 0.985, title, size=9, weight="bold", color=_TEXT, va="top")
    figure.text(x, 0.928, text, size=7, color=_SOFT, va="top")


def _panel(ax: Axes, rows: list[dict[str, Any]], names: dict[str, str], trials: int) -> None:
    for place, row in enumerate(rows):
        naive, ours = row["naive_p"] / trials, row["ours"] / trials
        ax.plot([naive, ours], [place, place], color=_LINK, linewidth=2.2, solid_capstyle="butt", zorder=1)
        if not row["coupled"]:
            _mark(ax, row["naive_r"] / trials, place, row["naive_r"], trials, "s", _NAIVE, "white")
        _mark(ax, naive, place, row["naive_p"], trials, "s", _PALE if row["coupled"] else _NAIVE)
        _mark(ax, ours, place, row["ours"], trials, "o", _OURS)
    ax.set_yticks(range(len(rows)), [names[row["process"]] for row in rows], color=_TEXT)
    ax.set_ylim(len(rows) - 0.2, -0.9)
    ax.set_xlim(-0.02, 1.03)
    ax.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    ax.tick_params(axis="y", length=0, pad=4)
    ax.tick_params(axis="x", colors=_SOFT, width=0.6, length=2.5, pad=2)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(_SOFT)
    ax.spines["bottom"].set_linewidth(0.6)


def _mark(
    ax: Axes,
    rate: float,
    place: int,
    hits: int,
    trials: int,
    shape: str,
    colour: str,
    fill: str | None = None,
) -> None:
    low, high = binomial_interval(hits, trials)
    ax.plot([low, high], [place, place], color=colour, linewidth=1.0, zorder=2)
    look: dict[str, Any] = {"markersize": 4.0, "markeredgewidth": 0.9, "color": colour, "zorder": 3}
    ax.plot([rate], [place], shape, clip_on=False, **look | ({"markerfacecolor": fill} if fill else {}))


def _name_marks(ax: Axes, row: dict[str, Any], trials: int) -> None:
    """Name the signs above the first row, in their colours."""
    bold: dict[str, Any] = {"size": 7, "weight": "bold", "va": "center"}
    ax.text(row["ours"] / trials + 0.03, -0.66, "thermograd", color=_OURS, ha="right", **bold)
    ax.text(row["naive_p"] / trials + 0.03, -0.66, "naive, p ≤ .05", color=_NAIVE, ha="right", **bold)


def _remark(figure: Figure, results: dict[str, Any]) -> None:
    """Say in the free room under the couplings how to read the figure, and what it stands on."""
    rates = {row["process"]: row["naive_p"] / results["repetitions"] for row in results["rows"]}
    repetitions, m = results["repetitions"], results["m"]
    notes = (
        f"Pale: the naive method says yes to {100 * rates['cont .2']:.0f} % of\n"
        f"runs with ρ = 0.2, and to {100 * rates['ar.9']:.0f} % of such\nruns with ρ = 0. "
        "Its yes means nothing.",
        "     naive by size, |r| > 0.3",
        f"Each row: {repetitions:,} runs of {m} s (seeds 0 to\n"
        f"{repetitions - 1}); bars, where wider than the sign:\n95 % binomial intervals.",
    )
    y = 0.322
    for note in notes:
        figure.text(0.605, y, note, size=6.2, color=_SOFT, va="top", linespacing=1.4)
        if note.startswith(" "):
            sign = figure.add_artist(Line2D([0.615], [y - 0.0145], marker="s", markersize=4.0, color=_NAIVE))
            sign.set(markerfacecolor="white", markeredgewidth=0.9)
        y -= 0.036 * (note.count("\n") + 1) + 0.018
