"""From a p-value and a bound to a sentence: what may be said of a pair, and what would be needed.

The bands of |r| only name the size of an association that is already supported; they decide nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.cross_correlation import Coupling
from thermograd.analysis.coupling.detectable import samples_needed, samples_to_exclude
from thermograd.analysis.coupling.hindrance import Hindrance, kind_of
from thermograd.store.telling.quantities import counted

Verdict = Literal["coupled", "no_coupling", "inconclusive", "single_event", "insufficient"]
Strength = Literal["strong", "moderate", "weak", "null"]

_FEWEST_BINS = 60
_FEWEST_LOAD_READINGS = 10
_BUSY_PCT = 50.0


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p-values for testing them all, by Holm's step-down method (1979, Scand. J. Stat. 6:65-70).

    Shape (k,), in the given order; NaN stands for a test that could not be made, is not counted, and stays.

    Raises
    ------
    ValueError
        If a p-value lies outside 0 to 1.

    Examples
    --------
    >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(p))
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise ValueError(f"p_values are {p.tolist()}; expected numbers between 0 and 1, or NaN")
    ascending = tested[np.argsort(p[tested], kind="stable")]
    stepped = p[ascending] * np.arange(tested.size, 0, -1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def p_sign(p: float, smallest: float) -> str:
    """Return "<=" where p is the smallest that so many random orders can give, else "=".

    Examples
    --------
    >>> p_sign(0.001, 1 / 1000), p_sign(0.002, 1 / 1000)
    ('<=', '=')
    """
    return "<=" if p <= smallest * (1 + 1e-9) else "="


def strength(r: float, coupled: bool = True) -> Strength:
    """Name the size of an association: strong above 0.7, weak below 0.3, null where not coupled."""
    if not coupled or math.isnan(r):
        return "null"
    if abs(r) > 0.7:
        return "strong"
    return "moderate" if abs(r) >= 0.3 else "weak"


def verdict(
    result: Coupling,
    p_adjusted: float | None = None,
    *,
    gate_reasons: Sequence[str] = (),
    alpha: float = 0.05,
    rho0: float = 0.2,
    period_s: float | None = None,
    tests: int = 1,
    p_smallest: float = 0.0,
) -> tuple[Verdict, list[str]]:
    """Decide what may be said of one pair.

    Parameters
    ----------
    result
        From `residual_cross_correlation`.
    p_adjusted
        p after correction for all pairs tested (see `holm`); None takes the pair's own.
    gate_reasons
        From `gates`; any of them makes the verdict "insufficient".
    alpha
        Largest p that supports an association.
    rho0
        Largest |residual correlation| that does not matter; "no_coupling" claims no more than this.
    period_s
        Length of a bin, for times in seconds in the reasons; None tells them in bins.
    tests
        How many pairs are tested together: what else is seen (see `not_excluded`) has to stand out among all.
    p_smallest
        The smallest p that the random orders could give; one that is reached is told as a bound.

    Returns
    -------
    verdict
        "coupled": supported, not by one second alone, and, where both signals keep a rhythm or memory of
        their own, not as large at other shifts. "single_event": supported only with its most influential
        second. "no_coupling": |r| + half-width is below rho0 at every lag and for every slow response, and
        nothing else was seen (see `not_excluded`). "insufficient": not testable. "inconclusive": none of
        these.
    reasons
        Plain sentences, at least one.
    """
    if gate_reasons:
        return "insufficient", list(gate_reasons)
    if result.reason or math.isnan(result.p):
        return "insufficient", [as_sentence(result.reason or "the statistic could not be computed")]
    p = result.p if p_adjusted is None or math.isnan(p_adjusted) else p_adjusted
    shown = f"p {p_sign(result.p, p_smallest)} {p:.2g}"
    found = f"The largest residual correlation is {result.r:+.2f} ({shown} after correction)"
    if result.memory is not None:
        found = f"{found}, of an answer that fades over about {_time(result.memory, period_s)}"
    if p <= alpha:
        if result.guard_p is not None and result.guard_p > alpha:
            rest = f"without its most influential second p is {result.guard_p:.2g}"
            return "single_event", [f"{found}, but {rest}: one event is no pattern."]
        if result.gate_p is not None and result.gate_p > alpha:
            return "inconclusive", [f"{found}, but {_usual(result)}."]
        return "coupled", [f"{found}, and it does not hang on a single second."]
    if result.bound >= rho0:
        return "inconclusive", [f"{found}; it is not supported.", _length_needed(result, rho0)]
    excluded = _excluded(result, period_s)
    seen_too = [each for each in result.not_excluded if each.p * tests <= alpha]
    if seen_too:
        seen = " and ".join(f"{OPEN[each.kind]} (p = {each.p:.2g})" for each in seen_too)
        return "inconclusive", [f"{excluded} Not excluded, for something of the kind is seen: {seen}."]
    return "no_coupling", [f"{excluded} That is less than {rho0:g}."]


OPEN = {
    "size": "an answer to the size of a surprise, whichever way it goes",
    "restlessness": "an effect on how restless the other side is, not on where it goes",
    "part": "a coupling in a part of the run, or one whose sign or delay changes",
    "later": "an answer later than was searched",
}


def _time(bins: float, period_s: float | None) -> str:
    return f"{bins:.3g} bins" if period_s is None else f"{bins * period_s:.3g} s"


def _excluded(result: Coupling, period_s: float | None) -> str:
    """Return what the bounds exclude, of lags and of slow responses."""
    farthest = _time(float(np.abs(result.family).max(initial=0)), period_s)
    text = f"An answer after one delay of up to {farthest} is smaller than {result.lag_bound:.2f}"
    if result.memories.size:
        slowest = _time(float(result.memories.max()), period_s)
        text += f", one that fades over up to {slowest} smaller than {result.slow_bound:.2f}"
    return f"{text} (95 %)."


def _usual(result: Coupling) -> str:
    if result.gate_p == 1.0:
        return "both signals keep a rhythm or memory of their own, and the run is too short to tell it apart"
    share = f"{result.gate_p:.0%}"
    return f"shifted against each other at random the two are as much alike {share} of the time: a rhythm"


def gates(
    x: ArrayLike,
    y: ArrayLike,
    *,
    loads: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    apart: bool = False,
) -> list[Hindrance]:
    """Return as sentences the reasons why a pair of series cannot be tested at all; empty if it can.

    Parameters
    ----------
    x, y
        Shape (n,): training and hardware signal on one grid.
    loads
        By name (power, utilisation): readings of the device while training, and within 60 s before
        and after it; see `is_idle`.
    apart
        Whether the two sides were recorded at different times: why no bin holds both, if none does.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    finite = np.isfinite(first) & np.isfinite(second)
    first, second = first[finite], second[finite]
    reasons = list[Hindrance]()
    if first.size < _FEWEST_BINS:
        bins = f"{first.size} bins hold" if first.size > 1 else "1 bin holds"
        held = f"Only {bins}" if first.size else "No bin holds"
        why = f"{held} both signals; at least {_FEWEST_BINS} are needed."
        reasons.append(Hindrance(why, "few" if first.size or not apart else "apart"))
    reasons += _too_plain(first, "training") + _too_plain(second, "hardware")
    if is_idle(loads or {}):
        names = " and ".join(loads or {})
        reasons.append(Hindrance(f"The device was idle: its {names} did not rise while training.", "idle"))
    return reasons


def _length_needed(result: Coupling, rho0: float) -> str:
    looks, widened = result.alternatives, max(result.inflation, 1.0)
    detect, exclude = (
        math.ceil(need(rho0, lags=looks) * widened) for need in (samples_needed, samples_to_exclude)
    )
    return (
        f"Associations up to {min(result.bound, 1.0):.2f} cannot be excluded with "
        f"{counted(result.n, 'bin')}; one of {rho0:g} shows from about "
        f"{counted(detect, 'bin')}, its absence from about {exclude}."
    )


def as_sentence(reason: str) -> Hindrance:
    """Return a reason with a capital letter and a full stop; it stays of its kind."""
    return Hindrance(f"{reason[:1].upper()}{reason[1:].rstrip('.')}.", kind_of(reason))


def _too_plain(values: Floats, name: str) -> list[Hindrance]:
    levels = np.unique(values).size
    if levels == 1:
        return [Hindrance(f"The {name} signal is constant at {values[0]:g}.", "constant")]
    onsets = int((np.diff(values) > 0).sum())
    if levels == 2 and onsets < 5:
        why = f"The {name} signal has only two levels and {counted(onsets, 'rise')}; at least 5 are needed."
        return [Hindrance(why, "constant")]
    return []


def is_idle(loads: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> bool:
    """Return whether a device did not do the training, given readings of its loads during and around it.

    It did not if no load rose (see `is_unmoved`), but one that was used half the time or more is not idle,
    whatever it did before and after.
    """
    return is_unmoved(loads) and not _is_busy(loads)


def is_unmoved(loads: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> bool:
    """Return whether none of a device's loads rose while it trained.

    A rise is more than one pooled standard deviation and 5 % of the level. A load with under 10 readings
    on either side is not known; with none known the device did not fail to move.
    """
    rises = [rise for load in loads.values() if (rise := _rose(*load)) is not None]
    return bool(rises) and not any(rises)


def _is_busy(loads: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> bool:
    used = np.asarray(loads["utilization_pct"][0] if "utilization_pct" in loads else [], dtype=np.float64)
    used = used[np.isfinite(used)]
    return bool(used.size) and float(np.median(used)) >= _BUSY_PCT


def _rose(during: ArrayLike, outside: ArrayLike) -> bool | None:
    busy, rest = (np.asarray(part, dtype=np.float64) for part in (during, outside))
    busy, rest = busy[np.isfinite(busy)], rest[np.isfinite(rest)]
    if min(busy.size, rest.size) < _FEWEST_LOAD_READINGS:
        return None
    spread = math.sqrt((float(np.var(busy)) + float(np.var(rest))) / 2)
    level = max(abs(float(busy.mean())), abs(float(rest.mean())))
    return float(busy.mean() - rest.mean()) > max(spread, 0.05 * level)
