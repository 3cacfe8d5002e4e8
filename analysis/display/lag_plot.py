"""r over lag, and of answers that fade, as a small drawing for a notebook: no scripts, on any ground."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from thermograd.analysis.display.markup import Html, element, escape
from thermograd.analysis.display.numbers import shown_number
from thermograd.analysis.display.palette import DEVICE_COLOURS, MARK_COLOURS, SOFT_COLOUR

_WIDTH, _HEIGHT = 360, 110
_EDGE, _BETWEEN, _STEP = 10.0, 24.0, 14.0  # px: at the edges, before the slow answers, from one to the next


class Slow(NamedTuple):
    """Answers that fade: the times in which each does, r of each, and their bound; mostly a handful."""

    memories: Sequence[float] = ()
    profile: Sequence[float] = ()
    bound: float = math.nan


class _Stem(NamedTuple):
    """One r: where it stands from left to right, whether it counts for the bound, and that bound."""

    across: float
    r: float
    own: bool
    bound: float


def lag_profile(
    lags: Sequence[float],
    profile: Sequence[float],
    bound: float,
    own: Collection[float],
    unit: str,
    leader: str,
    slow: Slow | None = None,
) -> Html:
    """Draw r over lag with its bound, beside it r of slow answers; what is outside its bound is marked."""
    known = [(lag, r) for lag, r in zip(lags, profile, strict=True) if math.isfinite(r)]
    if len(known) < 2 or not math.isfinite(bound):
        return Html("")
    slow = slow if slow is not None and len(slow.memories) and math.isfinite(slow.bound) else Slow()
    first, last = known[0][0], known[-1][0]
    beside = _BETWEEN + _STEP * (len(slow.memories) - 1) if len(slow.memories) else 0.0
    room = _WIDTH - 2 * _EDGE - beside
    stems = [_Stem(_EDGE + (lag - first) / (last - first) * room, r, lag in own, bound) for lag, r in known]
    begin = _WIDTH - _EDGE - beside + _BETWEEN
    stems += [_Stem(begin + _STEP * k, r, True, slow.bound) for k, r in enumerate(slow.profile)]
    bands = [(_EDGE, _EDGE + room, bound)]
    bands += [(begin - _STEP / 2, _WIDTH - _EDGE / 2, slow.bound)] * bool(len(slow.memories))
    ends = " to ".join(shown_number(end, "+.0f") for end in (first, last))
    words = f"r over lag from {ends} {unit} (above 0 {leader} leads)"
    if len(slow.memories):
        times = ", ".join(f"{memory:.3g}" for memory in slow.memories)
        words += f"; at the right r of answers that fade over {times} {unit}"
    words = f"{words}; dashed: 95 % bound"
    outside = sum(stem.own and abs(stem.r) > stem.bound for stem in stems)
    peak = max((stem.r for stem in stems), key=abs)
    told = f"{words}. Largest r = {shown_number(peak, '+.2f')}; {outside} outside the bound."
    return Html(_drawn(stems, bands, told) + element("p", element("small", words)))


def _drawn(stems: list[_Stem], bands: list[tuple[float, float, float]], told: str) -> Html:
    """Return the stems over dashed bounds, each from left to right, and what they show in words."""
    reach = max(*(abs(stem.r) for stem in stems), *(bound for *_, bound in bands), 1e-9) * 1.15

    def up(r: float) -> str:
        return f"{_HEIGHT / 2 - r / reach * (_HEIGHT / 2 - 4):.1f}"

    drawn = []
    for left, right, bound in bands:
        drawn.append(f'<path d="M{left:.1f} {up(0)}H{right:.1f}" stroke="{SOFT_COLOUR}"/>')
        dashed = f'stroke="{SOFT_COLOUR}" stroke-dasharray="3 3"'
        drawn += [f'<path d="M{left:.1f} {up(end)}H{right:.1f}" {dashed}/>' for end in (-bound, bound)]
    for stem in stems:
        outside = stem.own and abs(stem.r) > stem.bound
        colour = MARK_COLOURS["spike"] if outside else DEVICE_COLOURS[0]
        style = f'stroke="{colour}" stroke-width="2" opacity="{1 if stem.own else 0.45}"'
        drawn.append(f'<path d="M{stem.across:.1f} {up(0)}V{up(stem.r)}" {style}/>')
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
    opening = f'<svg {size} fill="none" role="img" aria-label="{escape(told)}">'
    return Html(f"{opening}{''.join(drawn)}</svg>")
