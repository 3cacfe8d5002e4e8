"""Results as HTML for a notebook: small, without scripts, readable on light and dark ground."""

import math

from thermograd.analysis.markup import Html, element, items, table
from thermograd.analysis.palette import DEVICE_COLOURS, MARK_COLOURS, SOFT_COLOUR
from thermograd.analysis.result import Analysis, Pair
from thermograd.analysis.sections_analysis import bound_text, closest_first, shown_number

__all__ = ["analysis_html", "pair_html"]

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
        warnings = element("summary", f"{len(analysis.warnings)} warnings")
        parts.append(element("details", warnings, items(analysis.warnings)))
    return element("div", *parts, class_="thermograd")


def pair_html(pair: Pair) -> str:
    """Return one test: its verdict, its numbers, and its profile of r over lag."""
    said = f"{pair.x} ~ {pair.y}, {pair.device}, {pair.family}: {pair.verdict.replace('_', ' ')}"
    reasons = element("p", " ".join(pair.reasons), style="max-width:50em")
    return element(
        "div", element("p", element("strong", said)), _pairs_table([pair], said), _profile(pair), reasons
    )


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
    known = [(lag, r) for lag, r in zip(pair.lags_s, pair.profile, strict=True) if math.isfinite(r)]
    if len(known) < 2 or not math.isfinite(pair.half_width):
        return Html("")
    first, last = known[0][0], known[-1][0]
    reach = max(pair.half_width, *(abs(r) for _, r in known)) * 1.15
    middle = _HEIGHT / 2

    def across(lag: float) -> str:
        return f"{10 + (lag - first) / (last - first) * (_WIDTH - 20):.1f}"

    def up(r: float) -> str:
        return f"{middle - r / reach * (middle - 4):.1f}"

    side = {"reverse": -1, "simultaneous": 0, "forward": 1}[pair.family]
    stems = []
    for lag, r in known:
        own = (lag > 0) - (lag < 0) == side
        colour = MARK_COLOURS["spike"] if own and abs(r) > pair.half_width else DEVICE_COLOURS[0]
        style = f'stroke="{colour}" stroke-width="2" opacity="{1 if own else 0.45}"'
        stems.append(f'<path d="M{across(lag)} {up(0)}V{up(r)}" {style}/>')
    dashed = f'stroke="{SOFT_COLOUR}" stroke-dasharray="3 3"'
    bounds = (up(-pair.half_width), up(pair.half_width))
    lines = [f'<path d="M10 {bound}H{_WIDTH - 10}" {dashed}/>' for bound in bounds]
    zero = f'<path d="M10 {up(0)}H{_WIDTH - 10}" stroke="{SOFT_COLOUR}"/>'
    words = f"r over lag from {first:+.0f} to {last:+.0f} s (above 0 the training leads); dashed: 95 % bound"
    drawing = Html(f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" fill="none" role="img">')
    return Html(drawing + zero + "".join(lines + stems) + "</svg>" + element("p", element("small", words)))
