"""The one sentence of a run for each verdict: what was found or excluded, and how sure."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from thermograd.analysis.coupling.cleaning.residuals import trend_columns
from thermograd.analysis.coupling.detectable import samples_needed, samples_to_exclude
from thermograd.analysis.coupling.verdict import OPEN
from thermograd.analysis.display.numbers import seconds_text
from thermograd.analysis.run.pair import Pair
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import counted

_ALPHA = 0.05
_SLOW_LOOKS, _USUAL_LOOKS = 2, 14  # all slow responses together, and with 12 lags
_NO_DIRECTION = "who leads the clocks of the two hosts cannot tell"
_NEEDS_LONGER = 1.1  # times what was recorded: advice below it would name a length that this run has
MATTERS = 0.2  # the |r| below which a coupling does not matter, as in `verdict`


def sentence_of(verdict: str, pairs: list[Pair]) -> str:
    """Return the sentence of a verdict that these pairs, one or more, have."""
    said = {
        "coupled": _coupled,
        "single_event": _single_event,
        "no_coupling": _no_coupling,
        "inconclusive": _inconclusive,
    }
    return said.get(verdict, _insufficient)(pairs)


def _coupled(pairs: list[Pair]) -> str:
    pair, more = closest(pairs), len(pairs) - 1
    others = f" {more} more test{'s' * (more > 1)} of this run sa{'y' if more > 1 else 'ys'} so too."
    return (
        f"COUPLED ({pair.strength}): {_how(pair)}.{others * bool(more)} This is association; only an "
        "intervention shows what causes what."
    )


def _how(pair: Pair) -> str:
    if pair.memory_s is None:
        when = follows(pair.lag_s) if pair.is_direction_sure else _NO_DIRECTION
        return f"{_both(pair)} move together beyond any shared trend, {when} ({_numbers(pair)})"
    follower, leader = f"{signal(pair.y).name} of {pair.called}", signal(pair.x).name
    if pair.family == "reverse":
        follower, leader = leader, follower
    return (
        f"{follower} follows {leader} with a memory of about {seconds_text(pair.memory_s)}, "
        f"r = {pair.r:+.2f}, beyond any shared trend: slowly, as heat arrives (n = {pair.n:,}, "
        f"p {pair.p_sign} {pair.p_adjusted:.2g} (Holm), 95 % bound ±{pair.peak_half_width:.2f})"
    )


def _single_event(pairs: list[Pair]) -> str:
    pair = closest(pairs)
    return (
        f"SINGLE EVENT: {_both(pair)} meet once ({_numbers(pair)}), but without that one second nothing is "
        "left: it may be chance."
    )


def _no_coupling(pairs: list[Pair]) -> str:
    lag_bound, slow_bound = _largest(pair.lag_bound for pair in pairs), _largest(p.slow_bound for p in pairs)
    bound = _largest(pair.bound for pair in pairs)
    longest = max((memory for pair in pairs for memory in pair.memories_s), default=0.0)
    farthest = max((abs(lag) for pair in pairs for lag in pair.lags_s), default=0.0)
    slow = f" nor slowly, as heat arrives, fading over up to {seconds_text(longest)} ({slow_bound:.2f})"
    neither = "neither " if longest else ""
    return (
        f"NO COUPLING above {bound:.2f}: nothing that the sensors show follows the training, or is followed "
        f"by it, with more than |r| = {bound:.2f}, {neither}after one delay of up to {farthest:.3g} s (95 % "
        f"bound {lag_bound:.2f}){slow * bool(longest)}; {len(pairs)} tests of at least "
        f"{min(pair.n for pair in pairs):,} bins. Later answers, answers to the size of a surprise alone and "
        "answers in a part of the run were looked for and not seen, but no number bounds them."
    )


def _inconclusive(pairs: list[Pair]) -> str:
    """Tell which of three it is: alike by a rhythm, too short to exclude, or something of another kind."""
    alike = [pair for pair in pairs if pair.p_adjusted <= _ALPHA]
    wide = [pair for pair in pairs if not pair.bound < MATTERS]
    lead = "CANNOT TELL (inconclusive): "
    if alike:
        pair = closest(alike)
        return f"{lead}{_both(pair)} are alike, but it may be by what each does alone. {pair.reasons[0]}"
    if wide:
        return f"{lead}no coupling was found, but {_too_wide(wide)}{_besides(pairs)}. {_shown_closest(wide)}"
    pair = min((pair for pair in pairs if pair.not_excluded), key=_least_p, default=closest(pairs))
    bound = _largest(each.bound for each in pairs)
    return (
        f"{lead}nothing follows the other side, after one delay or slowly, with more than |r| = {bound:.2f} "
        f"(95 %, n = {pair.n:,}), but between {_both(pair)} something else is seen: {_open([pair])}. How "
        "strong that is this test cannot say."
    )


def _too_wide(pairs: Sequence[Pair]) -> str:
    pair = max(pairs, key=lambda pair: _or(pair.bound, 1.0))
    parts = [
        f"{words} {min(bound, 1.0):.2f}"
        for words, bound in (("after one delay", pair.lag_bound), ("slowly", pair.slow_bound))
        if math.isfinite(bound)
    ]
    kinds = f" ({', '.join(parts)})" if len(parts) > 1 else ""
    bins = f"{pair.n:,} bins of {pair.period_s:.2g} s"
    of = f" between {_both(pair)}, of {len(pairs):,} tests the least sure" if len(pairs) > 1 else ""
    return f"one of up to |r| = {min(_or(pair.bound, 1.0), 1.0):.2f}{kinds} is not excluded by {bins}{of}"


def _besides(pairs: Sequence[Pair]) -> str:
    seen = _open(pairs)
    return f", and something else is seen: {seen}" if seen else ""


def _shown_closest(pairs: Sequence[Pair]) -> str:
    pair = closest(pairs)
    shown = f"{signal(pair.x).name} ~ {signal(pair.y).name} ({_numbers(pair)})"
    return f"Closest: {shown}. {length_advice(pairs)}"


def _open(pairs: Sequence[Pair]) -> str:
    """Return what else is seen in any of the pairs, in words."""
    kinds = dict.fromkeys(each["kind"] for pair in pairs for each in pair.not_excluded)
    return " and ".join(OPEN[kind] for kind in kinds)


def _least_p(pair: Pair) -> float:
    return min(float(each["p"]) for each in pair.not_excluded)


def _insufficient(pairs: list[Pair]) -> str:
    why = " ".join(hindrances(pairs))
    known = [pair for pair in pairs if math.isfinite(pair.period_s)]
    return f"CANNOT TELL (insufficient data): {why}{f' {length_advice(known)}' if known else ''}"


def hindrances(pairs: Sequence[Pair]) -> list[str]:
    """Return the two commonest reasons why pairs could not be tested, each with the names it speaks of."""
    reasons = Counter(_named(reason, pair) for pair in pairs for reason in pair.reasons)
    return [reason for reason, _ in reasons.most_common(2)]


def _named(reason: str, pair: Pair) -> str:
    """Return a reason that tells of which device and signal it speaks."""
    named = reason.replace("The device ", f"{pair.called} ").replace("The hardware signal ", f"{pair.y} ")
    return named.replace("The training signal ", f"{pair.x} ")


def _both(pair: Pair) -> str:
    return f"{signal(pair.x).name} and {signal(pair.y).name} of {pair.called}"


def _numbers(pair: Pair) -> str:
    where = f"at lag {pair.lag_s:+.1f} s"
    if pair.memory_s is not None:
        where = f"with a memory of {seconds_text(pair.memory_s)}"
    found = f"n = {pair.n:,}, r = {pair.r:+.2f} {where}"
    return f"{found}, p {pair.p_sign} {pair.p_adjusted:.2g} (Holm), 95 % bound ±{pair.peak_half_width:.2f}"


def follows(lag_s: float) -> str:
    """Return who follows whom, and by how much."""
    if lag_s > 0:
        return f"the hardware follows by {lag_s:.0f} s"
    return f"the training follows by {-lag_s:.0f} s" if lag_s < 0 else "at the same time"


def length_advice(pairs: Sequence[Pair]) -> str:
    """Return how long a run has to be to show a coupling that matters in all pairs, and to rule one out."""
    show_s = _largest(bins_needed(pair, MATTERS)[0] * pair.period_s for pair in pairs)
    if not math.isfinite(show_s):
        return "How long a run has to be is not known."
    return (
        f"To show a coupling of {MATTERS:g} a run has to be about {length_text(show_s)} long, "
        f"to rule one out about {length_text(needed_s(pairs))}."
    )


def needed_s(pairs: Iterable[Pair]) -> float:
    """Return how long a run has to be to rule out a link that matters in all pairs, s; NaN if not known."""
    return _largest(map(_needed_s, pairs))


def _needed_s(pair: Pair) -> float:
    """Return the same of one pair; where this run already has that length, by how wide its bound still is."""
    recorded_s, excluded_s = pair.n * pair.period_s, bins_needed(pair, MATTERS)[1] * pair.period_s
    if excluded_s > _NEEDS_LONGER * recorded_s or not math.isfinite(pair.bound):
        return excluded_s
    return max(_NEEDS_LONGER, (min(pair.bound, 1.0) / MATTERS) ** 2) * recorded_s


def length_text(seconds: float) -> str:
    """Return a length to run in one unit, rounded up: a run of that length is long enough.

    Examples
    --------
    >>> length_text(20.0), length_text(781.0), length_text(8000.0), length_text(300_000.0)
    ('1 minute', '14 minutes', '3 hours', '4 days')
    """
    minutes = max(1, math.ceil(seconds / 60 - 1e-9))
    hours = math.ceil(minutes / 60)
    if minutes < 120:
        return counted(minutes, "minute")
    return counted(hours, "hour") if hours < 72 else counted(math.ceil(hours / 24), "day")


def bins_needed(pair: Pair, rho: float) -> tuple[int, int]:
    """Return in how many bins a pair like this shows a correlation nine times out of ten, and rules it out.

    With the pair's drivers, the lags of one direction and the slow responses, which a longer run has.
    """
    more = max(0, pair.columns - trend_columns(pair.n))  # columns besides the trend, whatever the length
    looks = sum(lag > 0 for lag in pair.lags_s) + _SLOW_LOOKS if pair.lags_s else _USUAL_LOOKS
    return samples_needed(rho, lags=looks) + more, samples_to_exclude(rho, lags=looks) + more


def closest(pairs: Sequence[Pair]) -> Pair:
    """Return the pair that a sentence about several names: of the lowest p, then of the largest |r|."""
    return min(
        pairs,
        key=lambda pair: (_or(pair.p_adjusted, math.inf), _or(pair.p, math.inf), -abs(_or(pair.r, 0.0))),
    )


def _largest(bounds: Iterable[float]) -> float:
    return max((bound for bound in bounds if math.isfinite(bound)), default=math.nan)


def _or(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise
