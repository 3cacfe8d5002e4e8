"""r over lag as a small drawing for a notebook: without scripts, readable on light and dark ground."""

import math
from collections.abc import Collection, Sequence

from thermograd.analysis.display.markup import Html, element
from thermograd.analysis.display.palette import DEVICE_COLOURS, MARK_COLOURS, SOFT_COLOUR

_WIDTH, _HEIGHT = 360, 110


def lag_profile(
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
    opening = Html(f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" fill="none" role="img">')
    return Html(opening + zero + "".join(lines + stems) + "</svg>" + element("p", element("small", words)))
