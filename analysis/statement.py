"""The verdict in words that a person understands, with the numbers it stands on."""

import math
from collections import Counter

from thermograd.analysis.coupling.verdict import samples_needed, samples_to_exclude
from thermograd.analysis.run.result import Analysis, Pair

_NAMES = {
    "grad_norm": "gradient norm",
    "loss": "loss",
    "step_time_s": "step time",
    "temperature_c": "temperature",
    "power_w": "power",
    "sm_clock_mhz": "clock",
    "throttled_ratio": "throttled time",
    "rle": "RLE",
    "reported_rle": "reported RLE",
}
_WORST_FIRST = ("coupled", "single_event", "inconclusive", "no_coupling", "insufficient")


def question_verdict(analysis: Analysis) -> str:
    """Return the one verdict of the question: the most telling of all optimisation pairs."""
    said = {pair.verdict for pair in analysis.pairs if not pair.is_speed}
    return next((verdict for verdict in _WORST_FIRST if verdict in said), "insufficient")


def verdict_sentence(analysis: Analysis) -> str:
    """Say what the run shows about the question, how sure, and what it does not say."""
    asked = [pair for pair in analysis.pairs if not pair.is_speed]
    if analysis.method == "pearson" and analysis.pairs:
        return (
            "Naive Pearson correlations of raw values, for comparison only: "
            "shared trends alone make them large, so they support no verdict."
        )
    said = question_verdict(analysis)
    chosen = [pair for pair in asked if pair.verdict == said]
    text = {
        "coupled": _coupled,
        "single_event": _single_event,
        "no_coupling": _no_coupling,
        "inconclusive": _inconclusive,
        "insufficient": _insufficient,
    }[said](chosen)
    if not asked:
        text = _nothing_to_compare(analysis)
    simulated = [name for name in analysis.simulated if any(pair.device == name for pair in chosen)]
    if simulated:
        text += f" The hardware signals are SIMULATED ({', '.join(simulated)})."
    return text


def most_telling(pairs: list[Pair]) -> list[Pair]:
    """Return one pair of each (x, y, device): the family of lags with the most telling verdict."""
    best: dict[tuple[str, str, str], Pair] = {}
    for pair in pairs:
        key = (pair.x, pair.y, pair.device)
        if key not in best or _rank(pair) < _rank(best[key]):
            best[key] = pair
    return list(best.values())


def _rank(pair: Pair) -> tuple[int, float, float]:
    p = math.inf if math.isnan(pair.p) else pair.p
    return _WORST_FIRST.index(pair.verdict), p, 0.0 if math.isnan(pair.r) else -abs(pair.r)


def pair_sentence(pair: Pair) -> str:
    """Say why a pair has its verdict."""
    return f"{pair.verdict.replace('_', ' ')}. {' '.join(pair.reasons)}"


def _peak(pairs: list[Pair]) -> Pair:
    return min(pairs, key=lambda pair: (pair.p_adjusted, -abs(pair.r)))


def _numbers(pair: Pair) -> str:
    return (
        f"n = {pair.n:,}, r = {pair.r:+.2f} at lag {pair.lag_s:+.1f} s, "
        f"p = {pair.p_adjusted:.2g} (Holm), 95 % bound ±{pair.half_width:.2f}"
    )


def _direction(pair: Pair) -> str:
    if pair.lag_s > 0:
        return f"the hardware follows by {pair.lag_s:.0f} s"
    return f"the training follows by {-pair.lag_s:.0f} s" if pair.lag_s < 0 else "at the same time"


def _coupled(pairs: list[Pair]) -> str:
    pair = _peak(pairs)
    others = f" {len(pairs) - 1} more tests of this run say so too." if len(pairs) > 1 else ""
    return (
        f"COUPLED ({pair.strength}): {_NAMES.get(pair.x, pair.x)} and {_NAMES.get(pair.y, pair.y)} of "
        f"{pair.device} move together beyond any shared trend, {_direction(pair)} ({_numbers(pair)})."
        f"{others} This is association; only an intervention shows what causes what."
    )


def _single_event(pairs: list[Pair]) -> str:
    pair = _peak(pairs)
    return (
        f"SINGLE EVENT: {_NAMES.get(pair.x, pair.x)} and {_NAMES.get(pair.y, pair.y)} of {pair.device} "
        f"meet once ({_numbers(pair)}), but without that one second nothing is left: it may be chance."
    )


def _no_coupling(pairs: list[Pair]) -> str:
    bound = max(abs(pair.r) + pair.half_width for pair in pairs)
    bins = min(pair.n for pair in pairs)
    return (
        f"NO COUPLING above {bound:.2f}: no training signal of this run moves with a hardware signal "
        f"beyond shared trends ({len(pairs)} tests of {bins:,} bins or more, 95 % bound at every lag "
        "searched)."
    )


def _inconclusive(pairs: list[Pair]) -> str:
    pair = _peak(pairs)
    bound = min(max(abs(p.r) + p.half_width for p in pairs), 1.0)
    return (
        f"CANNOT TELL (inconclusive): no coupling was found, but one up to |r| = {bound:.2f} is not excluded "
        f"by {pair.n:,} bins of {pair.period_s:.2g} s. Closest: {_NAMES.get(pair.x, pair.x)} ~ "
        f"{_NAMES.get(pair.y, pair.y)} ({_numbers(pair)}). {_length_advice(pair)}"
    )


def _insufficient(pairs: list[Pair]) -> str:
    reasons = Counter(_named(reason, pair) for pair in pairs for reason in pair.reasons)
    why = " ".join(reason for reason, _ in reasons.most_common(2))
    periods = [pair for pair in pairs if math.isfinite(pair.period_s)]
    advice = f" {_length_advice(periods[0])}" if periods else ""
    return f"CANNOT TELL (insufficient data): {why}{advice}"


def _named(reason: str, pair: Pair) -> str:
    """Return a reason that tells of which device and signal it speaks."""
    named = reason.replace("The device ", f"{pair.device} ").replace("The hardware signal ", f"{pair.y} ")
    return named.replace("The training signal ", f"{pair.x} ")


def _nothing_to_compare(analysis: Analysis) -> str:
    if not analysis.alignment["steps"]:
        why = "The run has no training step."
    elif not analysis.alignment["matched_by_device"]:
        why = "No device was sampled in this run."
    else:
        devices = ", ".join(analysis.alignment["matched_by_device"])
        why = (
            f"None of the devices sampled ({devices}) has a temperature, power or clock sensor that works, "
            "or no step has a norm or a loss. What a machine can measure, and why not more, is told by "
            "thermograd doctor."
        )
    return f"CANNOT TELL (insufficient data): {why}"


def _length_advice(pair: Pair) -> str:
    period_s = pair.period_s if math.isfinite(pair.period_s) else 1.0
    show, exclude = (
        math.floor(need(0.2) * period_s / 60 + 0.5) for need in (samples_needed, samples_to_exclude)
    )
    return (
        f"To show a coupling of 0.2 a run has to be about {show} minutes long, "
        f"to rule one out about {exclude}."
    )
