"""Results as HTML for a notebook: small, without scripts, readable on light and dark ground."""

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from thermograd.analysis.display.markup import Html, element, items, table
from thermograd.analysis.display.palette import DEVICE_COLOURS, MARK_COLOURS, SOFT_COLOUR
from thermograd.analysis.report.page.verdict import bound_text, closest_first, shown_number
from thermograd.analysis.run.result import Analysis, Pair

if TYPE_CHECKING:
    from thermograd.analysis.comparison.result import Comparison
    from thermograd.analysis.coupling.cross_correlation import Coupling
    from thermograd.analysis.coupling.session_swap import SessionSwap


_MOST_PAIRS = 8
_WIDTH, _HEIGHT = 360, 110


def analysis_html(analysis: Analysis) -> str:
    """Return the verdict and the closest pairs of signals of each kind."""
    from thermograd.analysis.statement import verdict_sentence

    lead, colon, rest = verdict_sentence(analysis).partition(": ")
    parts = [element("p", element("strong", lead, colon) if colon else lead, rest, style="max-width:50em")]
    for title, speed in (("Optimisation coupling: the question", False), ("Speed coupling: a control", True)):
        chosen = [pair for pair in analysis.pairs if pair.is_speed == speed]
        if chosen:
            parts += [
                element("p", element("strong", title)),
                _pairs_table(closest_first(chosen)[:_MOST_PAIRS], title),
            ]
    if analysis.warnings:
        count = len(analysis.warnings)
        warnings = element("summary", f"{count} warning{'s' * (count != 1)}")
        parts.append(element("details", warnings, items(analysis.warnings)))
    return element("div", *parts, class_="thermograd")


def pair_html(pair: Pair) -> str:
    """Return one test: its verdict, its numbers, and its profile of r over lag."""
    said = f"{pair.x} ~ {pair.y}, {pair.device}, {pair.family}: {pair.verdict.replace('_', ' ')}"
    reasons = element("p", " ".join(pair.reasons), style="max-width:50em")
    return element(
        "div", element("p", element("strong", said)), _pairs_table([pair], said), _profile(pair), reasons
    )


def comparison_html(comparison: "Comparison") -> str:
    """Return what several runs say together, and each by itself."""
    from thermograd.analysis.report.page.comparison import pairs_across_section, runs_section
    from thermograd.analysis.report.text.comparison import comparison_sentence

    sentence = element("p", element("strong", comparison_sentence(comparison)), style="max-width:50em")
    warnings = items(comparison.warnings)
    return element("div", sentence, runs_section(comparison), pairs_across_section(comparison), warnings)


def coupling_html(coupling: "Coupling") -> str:
    """Return the numbers of one residual cross-correlation of two arrays, and its profile."""
    if coupling.reason:
        return element("p", f"No correlation: {coupling.reason}.")
    header = ("n", "r", "Lag, bins", "p", "95 % bound")
    row = (
        f"{coupling.n:,}",
        shown_number(coupling.r, "+.2f"),
        f"{coupling.lag:+d}",
        shown_number(coupling.p, ".2g"),
        bound_text(coupling.half_width),
    )
    own = {int(lag) for lag in coupling.family}
    drawing = _drawing(
        coupling.lags.tolist(), coupling.profile.tolist(), coupling.half_width, own, "bins", "x"
    )
    return element("div", table(header, [row], "nnnnn", "Residual cross-correlation"), drawing)


def swap_html(swap: "SessionSwap") -> str:
    """Return what a session swap says, with every run that entered."""
    header = ("", "r", "95 % interval", "Lag, bins")
    places = zip(swap.run_index, swap.run_r, swap.run_low, swap.run_high, swap.run_lag, strict=True)
    rows = [
        (f"run {place + 1}", shown_number(r, "+.2f"), _interval(low, high), f"{int(lag):+d}")
        for place, r, low, high, lag in places
    ]
    rows.append(
        ("pooled", shown_number(swap.r, "+.2f"), _interval(swap.r_low, swap.r_high), f"{swap.lag:+d}")
    )
    p = f"p = {swap.p:.2g}" if math.isfinite(swap.p) else "no p"
    said = element("p", element("strong", f"Session swap of {swap.n_runs} runs: {p}"))
    return element("div", said, table(header, rows, "tnnn", "Session swap"), items(swap.reasons))


def _interval(low: float, high: float) -> str:
    return " to ".join(shown_number(float(end), "+.2f") for end in (low, high))


def _pairs_table(pairs: list[Pair], label: str) -> Html:
    header = (
        "Training",
        "Hardware",
        "Device",
        "Direction",
        "n",
        "r",
        "Lag, s",
        "p, all tests",
        "95 % bound",
        "Naive r",
    )
    rows = [
        (
            *(pair.x, pair.y, pair.device, pair.family, f"{pair.n:,}"),
            shown_number(pair.r, "+.2f"),
            shown_number(pair.lag_s, "+.1f"),
            shown_number(pair.p_adjusted, ".2g"),
            bound_text(pair.half_width),
            shown_number(pair.pearson_r, "+.2f"),
            pair.verdict.replace("_", " "),
        )
        for pair in pairs
    ]
    return table((*header, "Verdict"), rows, "ttitnnnnnnt", label)


def _profile(pair: Pair) -> Html:
    """Draw r over lag; the band is the pair's own family's, which alone it tells about."""
    side = {"reverse": -1, "simultaneous": 0, "forward": 1}[pair.family]
    own = {lag for lag in pair.lags_s if (lag > 0) - (lag < 0) == side}
    return _drawing(pair.lags_s, pair.profile, pair.half_width, own, "s", "the training")


def _drawing(
    lags: Sequence[float],
    profile: Sequence[float],
    bound: float,
    own: Collection[float],
    unit: str,
    leader: str,
) -> Html:
    """Draw r over lag with its bound; what is outside it is marked among the lags it holds for."""
    known = [(lag, r) for lag, r in zip(lags, profile, strict=True) if math.isfinite(r)]
    if len(known) < 2 or not math.isfinite(bound):
        return Html("")
    first, last = known[0][0], known[-1][0]
    reach = max(bound, *(abs(r) for _, r in known)) * 1.15
    middle = _HEIGHT / 2

    def across(lag: float) -> str:
        return f"{10 + (lag - first) / (last - first) * (_WIDTH - 20):.1f}"

    def up(r: float) -> str:
        return f"{middle - r / reach * (middle - 4):.1f}"

    stems = []
    for lag, r in known:
        colour = MARK_COLOURS["spike"] if lag in own and abs(r) > bound else DEVICE_COLOURS[0]
        style = f'stroke="{colour}" stroke-width="2" opacity="{1 if lag in own else 0.45}"'
        stems.append(f'<path d="M{across(lag)} {up(0)}V{up(r)}" {style}/>')
    dashed = f'stroke="{SOFT_COLOUR}" stroke-dasharray="3 3"'
    lines = [f'<path d="M10 {up(end)}H{_WIDTH - 10}" {dashed}/>' for end in (-bound, bound)]
    zero = f'<path d="M10 {up(0)}H{_WIDTH - 10}" stroke="{SOFT_COLOUR}"/>'
    words = f"r over lag from {first:+.0f} to {last:+.0f} {unit} (above 0 {leader} leads); dashed: 95 % bound"
    drawing = Html(f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" fill="none" role="img">')
    return Html(drawing + zero + "".join(lines + stems) + "</svg>" + element("p", element("small", words)))
