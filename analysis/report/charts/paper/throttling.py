"""Who was throttled when, and why: lanes below the printed panels, a row a device."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from thermograd.analysis.display.numbers import without_middle
from thermograd.analysis.display.palette import CAUSE_COLOURS, TEXT_COLOUR
from thermograd.analysis.report.data.throttling import CAUSE_NAMES, Lane, Stretch
from thermograd.store.throttling.reasons import Cause

_FEW = 8  # lanes that have each a name beside them
_NAME_EMS = 1.2  # from one name to the next
_LANE_EMS, _LEAST_EMS = 1.3, 0.2
_LONGEST = 10
_HEIGHTS: dict[Cause, float] = {
    "thermal": 0.84,
    "brake": 0.84,
    "power": 0.34,
}  # of a lane: told apart in grey
_HATCH: dict[Cause, str] = {"brake": "//////"}


def lanes_ems(lanes: int) -> float:
    """Return how high so many lanes are, in ems."""
    return _LANE_EMS * lanes if lanes <= _FEW else max(_LANE_EMS * _FEW, _LEAST_EMS * lanes)


def lane_label(lane: Lane) -> str:
    """Return the beginning of a device's label, without its model."""
    return without_middle(lane.label.partition(" (")[0], _LONGEST)


def cause_patch(cause: Cause) -> Patch:
    """Return what stands for a cause in the legend."""
    return Patch(**_look(cause))


def _look(cause: Cause) -> dict[str, Any]:
    hatch = _HATCH.get(cause)
    look: dict[str, Any] = {"facecolor": CAUSE_COLOURS[cause], "linewidth": 0}
    return look | ({"hatch": hatch, "edgecolor": "white"} if hatch else {})


def draw_lanes(ax: Axes, lanes: Sequence[Lane], unit_s: float, height_ems: float) -> None:
    """Draw the lanes, the first at the top; the darker a stretch, the more of it was throttled."""
    count = len(lanes)
    for place, lane in enumerate(lanes):
        for cause in reversed(CAUSE_NAMES):  # the gravest over the others
            _draw_stretches(ax, lane.stretches[cause], cause, count - 1 - place, unit_s)
    ax.set_ylim(-0.5, count - 0.5)
    ax.grid(False)
    every = max(1, math.ceil(_NAME_EMS * count / height_ems))
    shown = [place for place in range(count) if place % every == 0]
    ax.set_yticks([count - 1 - place for place in shown], [lane_label(lanes[place]) for place in shown])
    for text in ax.get_yticklabels():
        text.set_parse_math(False)
    ax.set_ylabel("Throttled" if count > 3 else "", color=TEXT_COLOUR, va="top")


def _draw_stretches(ax: Axes, stretches: Sequence[Stretch], cause: Cause, row: int, unit_s: float) -> None:
    bottom = row - 0.42
    for share in sorted({stretch.share for stretch in stretches}):
        spans = [
            (each.start_s / unit_s, (each.end_s - each.start_s) / unit_s)
            for each in stretches
            if each.share == share
        ]
        bars = ax.broken_barh(spans, (bottom, _HEIGHTS[cause]), alpha=0.3 + 0.7 * share, **_look(cause))
        bars.set_gid(f"throttled {cause}")
