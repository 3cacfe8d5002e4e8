"""Whether a coupling shows with and without what both sides may have moved.

A driver that is taken out must come before both series. Step time may come after both: long sequences slow
the steps, and so does a hot device. At one step time the one then makes up for the other (a collider, Berkson
1946, Biom. Bull. 2:47), so that taking step time out makes a coupling; leaving it in calls one what merely
runs through it, or comes from it. The data do not tell the two apart: a coupling has to show both ways.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from thermograd.analysis.coupling.cross_correlation import Coupling, Family

_ALPHA = 0.05


def shown_both_ways(
    held: Mapping[Family, Coupling], free: Callable[[], Mapping[Family, Coupling]]
) -> dict[Family, Coupling]:
    """Return what holds with and without drivers that both sides may move.

    `held` is what was found with them; without them is tested only where that is significant. Of the two
    results each p is the larger (an intersection-union test, Berger 1982, Technometrics 24:295); all else is
    of `held`.
    """
    if not any(result.p <= _ALPHA for result in held.values()):
        return dict(held)
    without = free()
    return {family: _less_surprising(result, without[family]) for family, result in held.items()}


def _less_surprising(held: Coupling, free: Coupling) -> Coupling:
    if held.reason or free.reason:
        return held
    larger = {name: _larger(getattr(held, name), getattr(free, name)) for name in ("p", "guard_p", "gate_p")}
    return replace(held, **larger)  # type: ignore[arg-type]


def _larger(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None and not np.isnan(value)]
    return max(known) if known else one
