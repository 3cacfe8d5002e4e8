"""What a run could have shown: the smallest coupling it would not have missed."""

import math
from collections.abc import Sequence
from typing import Any

from thermograd.analysis.coupling.residuals import trend_order
from thermograd.analysis.coupling.verdict import samples_needed, samples_to_exclude, smallest_detectable
from thermograd.analysis.run.result import Pair

_RHO = 0.2
_POWER = 0.9


def sensitivity(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Say how small a residual correlation the longest tested pair of the question could have shown.

    Returns
    -------
    dict
        Empty where nothing was tested. ``bins``, ``period_s``; ``power``: probability of showing it,
        0.9; ``detectable_r`` in a test by itself; ``tests`` of the question and ``detectable_r_corrected``
        after their correction; ``rho`` 0.2 with the length that shows it (``bins_to_show``,
        ``minutes_to_show``) and the one that rules it out (``bins_to_exclude``, ``minutes_to_exclude``).
    """
    tested = [pair for pair in pairs if not pair.is_speed and math.isfinite(pair.p)]
    forward = [pair for pair in tested if pair.family == "forward" and math.isfinite(pair.detectable_r)]
    if not forward:
        return {}
    pair = min(forward, key=lambda pair: pair.detectable_r)
    lags = sum(lag > 0 for lag in pair.lags_s)
    more = pair.columns - 2 - trend_order(pair.n)  # columns besides the trend, whatever the length
    show = samples_needed(_RHO, lags=lags, power=_POWER) + more
    exclude = samples_to_exclude(_RHO, lags=lags, power=_POWER) + more
    corrected = smallest_detectable(
        pair.n, columns=pair.columns, lags=lags, power=_POWER, alpha=0.05 / len(tested)
    )
    return {
        "bins": pair.n,
        "period_s": pair.period_s,
        "power": _POWER,
        "detectable_r": pair.detectable_r,
        "tests": len(tested),
        "detectable_r_corrected": corrected,
        "rho": _RHO,
        "bins_to_show": show,
        "minutes_to_show": show * pair.period_s / 60,
        "bins_to_exclude": exclude,
        "minutes_to_exclude": exclude * pair.period_s / 60,
    }
