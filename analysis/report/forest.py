"""The forest plot: each run's correlation with its interval, and the pooled one, on screen and on paper."""

import math
from typing import Any, NamedTuple

import altair as alt
from matplotlib.axes import Axes
from thermograd.analysis.comparison.result import ComparedRun, Comparison, PairAcross
from thermograd.analysis.display.palette import DEVICE_COLOURS, MARK_COLOURS, SOFT_COLOUR, TEXT_COLOUR
from thermograd.analysis.report.charts.comparison import run_style
from thermograd.analysis.report.charts.style import WIDTH, Rows, Spec, named, number
from thermograd.analysis.report.figures.timeline import draw_frame, figure_text, plain_text

_ROW = 22  # pixels
_LONGEST = 20


class ForestRow(NamedTuple):
    """One line of the plot: a run with its place (from 0) among those compared, or all of them pooled."""

    place: int | None
    label: str
    name: str
    r: float
    low: float
    high: float

    @property
    def pooled(self) -> bool:
        """Whether it is the pooled effect."""
        return self.place is None


def forest_rows(comparison: Comparison, pair: PairAcross) -> list[ForestRow]:
    """Return the runs that entered a pair's pooling, in the order given, then the pooled effect."""
    swap = pair.swap
    if not math.isfinite(swap.r):
        return []
    places = {run.run_id: place for place, run in enumerate(comparison.runs)}
    rows = []
    for run_id, r, low, high in zip(pair.run_ids, swap.run_r, swap.run_low, swap.run_high, strict=True):
        run = comparison.runs[places[run_id]]
        label = _label(places[run_id], run)
        rows.append(ForestRow(places[run_id], label, run.name, float(r), float(low), float(high)))
    name = f"{swap.n_runs} trainings, random effects"
    return [*rows, ForestRow(None, "pooled", name, swap.r, swap.r_low, swap.r_high)]


def _label(place: int, run: ComparedRun) -> str:
    if len(run.name) <= _LONGEST and run.name != run.run_id:
        return run.name
    return f"run {place + 1}" if run.seed is None else f"run {place + 1}, seed {run.seed}"


def forest_chart(rows: list[ForestRow], runs: int) -> Spec | None:
    """Return the plot as a Vega-Lite specification, of so many runs; None where nothing is pooled."""
    if not rows:
        return None
    data: Rows = {}
    entries = [
        {"label": "pooled" if row.place is None else f"run {row.place + 1}", "name": row.name}
        | {"r": number(row.r), "low": number(row.low), "high": number(row.high)}
        for row in rows
    ]
    single, pooled = entries[:-1], entries[-1:]
    axis = alt.Axis(title=_TITLE, tickCount=7, labelSeparation=8)
    x = alt.X("low:Q", scale=alt.Scale(domain=_reach(rows)), axis=axis)
    y = alt.Y("label:N", sort=None, scale=alt.Scale(domain=[entry["label"] for entry in entries]))
    y = y.axis(title=None, labelLimit=64, minExtent=46, grid=False, ticks=False, domain=False)
    layers = [
        alt.Chart(named(data, "forest-zero", [{"r": 0}])).mark_rule(style="zero-line").encode(x="r:Q"),
        *_layers(named(data, "forest-runs", single), x, y, "circle", 60, runs=runs),
        *_layers(named(data, "forest-pooled", pooled), x, y, "diamond", 150),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH, height=_ROW * len(rows), description=_TITLE)
    spec: Spec = chart.to_dict()
    return spec | {"datasets": data}


_TITLE = "residual correlation r, 95 % interval"


def _layers(
    rows: alt.NamedData, x: alt.X, y: alt.Y, shape: str, size: int, runs: int | None = None
) -> list[alt.Chart]:
    tooltip = [
        alt.Tooltip("label:N", title="which"),
        alt.Tooltip("name:N", title="name"),
        *(alt.Tooltip(f"{each}:Q", title=each, format="+.3f") for each in ("r", "low", "high")),
    ]
    style: dict[str, Any] = {} if runs else {"style": "peak"}
    colour: dict[str, Any] = {}
    if runs:  # the colours of the overlays
        domain = [f"run {place}" for place in range(1, runs + 1)]
        colour["color"] = alt.Color("label:N", scale=alt.Scale(domain=domain), legend=None)
    base = alt.Chart(rows)
    return [
        base.mark_rule(strokeWidth=1.8, **style).encode(x=x, x2="high:Q", y=y, **colour),
        base.mark_point(shape=shape, size=size, filled=True, opacity=1, **style).encode(
            x="r:Q", y=y, tooltip=tooltip, **colour
        ),
    ]


def _reach(rows: list[ForestRow]) -> list[float]:
    farthest = max(abs(limit) for row in rows for limit in (row.low, row.high))
    limit = min(1.0, math.ceil(11 * farthest) / 10)
    return [-limit, limit]


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
    labels = [figure_text(row.label, _LONGEST) for row in rows]
    ax.set_yticks(range(len(rows)), labels, color=TEXT_COLOUR)
    for label in ax.get_yticklabels():
        plain_text(label)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(*_reach(rows))
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(_TITLE, color=TEXT_COLOUR, labelpad=2)
