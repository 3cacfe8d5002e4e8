"""What the analysis of a run gives: pairs of signals with their verdicts, and all that goes with them."""

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from thermograd.analysis.coupling.detectable import samples_needed, samples_to_exclude
from thermograd.analysis.coupling.verdict import OPEN
from thermograd.analysis.display.lag_plot import lag_profile
from thermograd.analysis.display.markup import details, element, items
from thermograd.analysis.display.numbers import bound_text, shown_number
from thermograd.analysis.display.table import Table
from thermograd.analysis.run.event_tests import AroundSpikes, OnsetsOfEvent
from thermograd.analysis.run.series import ComparedSignals
from thermograd.store.columns import signal
from thermograd.store.text import without_nan

Method = Literal["rxc", "pearson"]

_WORST_FIRST = ("coupled", "single_event", "inconclusive", "no_coupling", "insufficient")
_QUESTION_AND_CONTROL = (("Optimisation coupling: the question", False), ("Speed coupling: a control", True))
_TESTS = {
    **{"Training": "t", "Hardware": "t", "Device": "i", "Direction": "t", "n": "n", "r": "n"},
    **{"Lag, s": "n", "p, all tests": "n", "95 % bound": "n", "Naive r": "n", "Verdict": "t"},
}
_MOST_PAIRS = 8
_NARROW = "max-width:50em"
_SENTENCES = {
    "coupled": (
        "COUPLED ({pair.strength}): {x} and {y} of {pair.device} move together beyond any shared trend, "
        "{follows} ({numbers}).{others} This is association; only an intervention shows what causes what."
    ),
    "single_event": (
        "SINGLE EVENT: {x} and {y} of {pair.device} meet once ({numbers}), but without that one second "
        "nothing is left: it may be chance."
    ),
    "no_coupling": (
        "NO COUPLING above {bound:.2f}: between the training signals of this run and what its sensors show "
        "there is no answer, either way, after one delay of up to {farthest:.3g} s (95 % bound "
        "{lag_bound:.2f}){slow}; {tests} tests of {bins:,} bins or more. Answers to the size of a surprise "
        "alone, later ones and ones that change over the run were looked for and not seen; no bound is known "
        "for them."
    ),
    "inconclusive": (
        "CANNOT TELL (inconclusive): no coupling was found, but one up to |r| = {not_excluded:.2f} is not "
        "excluded by {pair.n:,} bins of {pair.period_s:.2g} s{open}. Closest: {x} ~ {y} ({numbers}). "
        "{advice}"
    ),
}


@dataclass(eq=False, kw_only=True)
class Pair:
    """One pair of signals of one device in one family of lags.

    Attributes
    ----------
    x, y, device, family
        What was compared. `family`: "forward" (training leads), "simultaneous", "reverse".
    n
        Grid bins that entered (matched rows for the naive method).
    r, lag_s
        Residual correlation at its peak, and that lag in seconds; lag_s > 0: training leads.
    p, p_adjusted
        Before and after Holm's correction for all pairs of its kind; None where untested.
    memory_s
        Seconds in which the answer fades to 1/e, where the peak is a slow response; None where it is one lag.
    half_width, slow_half_width
        Simultaneous 95 % bounds around zero, of the profile and of the slow responses.
    lag_bound, slow_bound
        The largest |r| that is not excluded, of an answer after one lag and of a slow one.
    not_excluded
        What is seen besides: ``kind`` and ``p`` (see `not_excluded.Open`).
    cycles_s
        Lengths of rhythms that nobody logged, found and taken out.
    pearson_r
        The naive correlation of raw matched values, for comparison only.
    verdict, strength, reasons
        What may be said, and why.
    period_s, lags_s, profile, memories_s, slow_profile
        Length of a bin; the whole profile of r over lags, and r of the slow responses, for the figure.
    drivers
        What was taken out of both sides, by name.
    columns
        Trend and driver columns that were taken out.
    detectable_r
        The residual correlation that a run of this length, with these drivers and lags, would have
        shown nine times out of ten.
    direct
        The same test with power among the drivers (``r``, ``lag_s``, ``p``, ``half_width``): what is left
        of an effect on temperature without the way through power. None where it was not made.
    over_time
        Residual correlation in the four quarters, and whether they differ (see `stability.Change`).
    """

    x: str
    y: str
    device: str
    family: str
    n: int
    r: float
    lag_s: float
    p: float = math.nan
    p_adjusted: float = math.nan
    half_width: float = math.nan
    memory_s: float | None = None
    slow_half_width: float = math.nan
    lag_bound: float = math.nan
    slow_bound: float = math.nan
    not_excluded: list[dict[str, Any]] = field(default_factory=list)
    cycles_s: list[float] = field(default_factory=list)
    pearson_r: float
    verdict: str
    strength: str
    reasons: list[str]
    period_s: float = math.nan
    lags_s: list[float] = field(default_factory=list)
    profile: list[float] = field(default_factory=list)
    memories_s: list[float] = field(default_factory=list)
    slow_profile: list[float] = field(default_factory=list)
    drivers: list[str] = field(default_factory=list)
    columns: int = 0
    detectable_r: float = math.nan
    direct: dict[str, Any] | None = None
    over_time: dict[str, Any] | None = None

    @property
    def is_speed(self) -> bool:
        """Whether this is speed coupling: expected, the positive control, not the question."""
        return self.x == "step_time_s"

    @property
    def own(self) -> list[tuple[float, float]]:
        """Lag and r of those points of the profile that lie in the pair's own family."""
        side = {"reverse": -1, "simultaneous": 0, "forward": 1}[self.family]
        points = zip(self.lags_s, self.profile, strict=True)
        return [(lag, r) for lag, r in points if (lag > 0) - (lag < 0) == side]

    @property
    def span_s(self) -> tuple[float, float]:
        """Ends of the family's lags, half a bin beyond its points."""
        half, end = self.period_s / 2, max(self.lags_s) + self.period_s / 2
        return {"reverse": (-end, -half), "simultaneous": (-half, half), "forward": (half, end)}[self.family]

    def _repr_html_(self) -> str:
        said = f"{self.x} ~ {self.y}, {self.device}, {self.family}: {self.verdict.replace('_', ' ')}"
        reasons = element("p", " ".join(self.reasons), style=_NARROW)
        # The band is the pair's own family's, which alone it tells about.
        profile = self.lags_s, self.profile, self.half_width, {lag for lag, _ in self.own}
        shown = _pairs_table([self], said), lag_profile(*profile, "s", "the training")
        return element("div", element("p", element("strong", said)), *shown, reasons)


@dataclass(eq=False)
class Analysis:
    """What one run says. See DESIGN.md section 6 for the JSON form.

    Attributes
    ----------
    run_id, method
        Which run, and how it was analysed: "rxc" (residual cross-correlation) or "pearson".
    alignment
        How many steps were matched with a sample, and why others were not.
    pairs
        Every pair of signals of every device, in each family of lags.
    controls, coincidence, onset_tests, spike_locked
        What cannot be coupling; spikes and collapses near each other; the norm before hardware events; the
        hardware around spikes.
    warnings, simulated
        What makes the data doubtful; devices whose readings come from a model.
    smallest_detectable_r, sensitivity
        What the run could have shown; see `analyze.sensitivity`.
    compared
        The series behind each tested pair of signals; not in the JSON form.
    """

    run_id: str
    method: Method
    alignment: dict[str, Any]
    pairs: list[Pair]
    controls: dict[str, Any]
    coincidence: dict[str, Any]
    warnings: list[str]
    simulated: list[str]
    smallest_detectable_r: float | None
    sensitivity: dict[str, Any] = field(default_factory=dict)
    onset_tests: list[OnsetsOfEvent] = field(default_factory=list)
    spike_locked: list[AroundSpikes] = field(default_factory=list)
    compared: list[ComparedSignals] = field(default_factory=list, repr=False)

    def _repr_html_(self) -> str:
        lead, colon, rest = verdict_sentence(self).partition(": ")
        parts = [element("p", element("strong", lead, colon) if colon else lead, rest, style=_NARROW)]
        for title, speed in _QUESTION_AND_CONTROL:
            chosen = [pair for pair in self.pairs if pair.is_speed == speed]
            if chosen:
                closest = _pairs_table(closest_first(chosen)[:_MOST_PAIRS], title)
                parts += [element("p", element("strong", title)), closest.__html__()]
        if self.warnings:
            count = len(self.warnings)
            parts.append(details(f"{count} warning{'s' * (count != 1)}", items(self.warnings)))
        return element("div", *parts, class_="thermograd")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document of ``analyze --json``; what is not known is null."""
        left_out = ("period_s", "lags_s", "profile", "memories_s", "slow_profile")
        pairs = [{k: value for k, value in asdict(pair).items() if k not in left_out} for pair in self.pairs]
        document = vars(self) | {
            "pairs": pairs,
            "onset_tests": [test.to_json() for test in self.onset_tests],
            "spike_locked": [course.to_json() for course in self.spike_locked],
        }
        names = {name: name for name in document if name != "compared"} | {"simulated": "simulated_devices"}
        return {shown: without_nan(document[name]) for name, shown in names.items()}


def closest_first(pairs: list[Pair]) -> list[Pair]:
    """Return the most telling direction of each pair of signals, the lowest adjusted p first."""
    return sorted(
        most_telling(pairs), key=lambda pair: (_or(pair.p_adjusted, math.inf), -abs(_or(pair.r, 0)))
    )


def _or(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def _pairs_table(pairs: list[Pair], label: str) -> Table:
    rows = [
        (pair.x, pair.y, pair.device, pair.family, *pair_numbers(pair), pair.verdict.replace("_", " "))
        for pair in pairs
    ]
    return Table(_TESTS, rows, label)


def pair_numbers(pair: Pair) -> list[str]:
    """Return what every table shows of a pair: n, r, lag in s, p after correction, 95 % bound, naive r."""
    known = ((pair.r, "+.2f"), (pair.lag_s, "+.1f"), (pair.p_adjusted, ".2g"))
    shown = [shown_number(value, form) for value, form in known]
    return [f"{pair.n:,}", *shown, bound_text(pair.half_width), shown_number(pair.pearson_r, "+.2f")]


def question_verdict(analysis: Analysis) -> str:
    """Return the one verdict of the question: the most telling of all optimisation pairs."""
    said = {pair.verdict for pair in analysis.pairs if not pair.is_speed}
    return next((verdict for verdict in _WORST_FIRST if verdict in said), "insufficient")


def verdict_sentence(analysis: Analysis) -> str:
    """Return what the run shows about the question, how sure, and what it does not say."""
    asked = [pair for pair in analysis.pairs if not pair.is_speed]
    if analysis.method == "pearson" and analysis.pairs:
        return (
            "Naive Pearson correlations of raw values, for comparison only: "
            "shared trends alone make them large, so they support no verdict."
        )
    said = question_verdict(analysis)
    chosen = [pair for pair in asked if pair.verdict == said]
    if not asked:
        return _nothing_to_compare(analysis)
    text = _insufficient(chosen) if said == "insufficient" else _said(said, chosen)
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
    return _WORST_FIRST.index(pair.verdict), _or(pair.p, math.inf), -abs(_or(pair.r, 0))


def pair_sentence(pair: Pair) -> str:
    """Return why a pair has its verdict."""
    return f"{pair.verdict.replace('_', ' ')}. {' '.join(pair.reasons)}"


def _said(verdict: str, pairs: list[Pair]) -> str:
    """Return the sentence of a verdict that these pairs, one or more, have."""
    pair = min(pairs, key=lambda pair: (pair.p_adjusted, -abs(pair.r)))
    lag_bound, slow_bound = (
        max((getattr(pair, name) for pair in pairs if math.isfinite(getattr(pair, name))), default=math.nan)
        for name in ("lag_bound", "slow_bound")
    )
    bound = _or(max(lag_bound, _or(slow_bound, 0.0)), 1.0)
    return _SENTENCES[verdict].format(
        pair=pair,
        x=signal(pair.x).name,
        y=signal(pair.y).name,
        numbers=f"n = {pair.n:,}, r = {pair.r:+.2f} {_where(pair)}, p = {pair.p_adjusted:.2g} "
        f"(Holm), 95 % bound ±{pair.half_width if pair.memory_s is None else pair.slow_half_width:.2f}",
        follows=follows(pair.lag_s, pair.memory_s, pair.family == "reverse"),
        others=f" {len(pairs) - 1} more tests of this run say so too." if len(pairs) > 1 else "",
        bound=bound,
        lag_bound=lag_bound,
        farthest=max((abs(lag) for lag in pair.lags_s), default=0.0),
        slow=_slow_excluded(pairs, slow_bound),
        open=_open(pairs),
        not_excluded=min(bound, 1.0),
        tests=len(pairs),
        bins=min(pair.n for pair in pairs),
        advice=_length_advice(pair.period_s),
    )


def _where(pair: Pair) -> str:
    if pair.memory_s is None:
        return f"at lag {pair.lag_s:+.1f} s"
    return f"with a memory of {pair.memory_s:.3g} s"


def _slow_excluded(pairs: list[Pair], slow_bound: float) -> str:
    longest = max((memory for pair in pairs for memory in pair.memories_s), default=0.0)
    if not longest:
        return ""
    return f" nor slowly, as heat arrives, fading over up to {longest:.3g} s (bound {slow_bound:.2f})"


def _open(pairs: list[Pair]) -> str:
    """Return what else is seen in any of the pairs, for a sentence."""
    kinds = {each["kind"]: None for pair in pairs for each in pair.not_excluded}
    return f", nor is {' or '.join(OPEN[kind] for kind in kinds)}" if kinds else ""


def follows(lag_s: float, memory_s: float | None = None, is_reverse: bool = False) -> str:
    """Return who follows whom, and by how much or how slowly."""
    if memory_s is not None:
        who = "the training" if is_reverse else "the hardware"
        return f"{who} follows slowly, with a memory of about {memory_s:.2g} s"
    if lag_s > 0:
        return f"the hardware follows by {lag_s:.0f} s"
    return f"the training follows by {-lag_s:.0f} s" if lag_s < 0 else "at the same time"


def _insufficient(pairs: list[Pair]) -> str:
    reasons = Counter(_named(reason, pair) for pair in pairs for reason in pair.reasons)
    why = " ".join(reason for reason, _ in reasons.most_common(2))
    periods = [pair.period_s for pair in pairs if math.isfinite(pair.period_s)]
    return f"CANNOT TELL (insufficient data): {why}{f' {_length_advice(periods[0])}' if periods else ''}"


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


def _length_advice(period_s: float) -> str:
    period_s = _or(period_s, 1.0)
    show, exclude = (
        math.floor(need(0.2) * period_s / 60 + 0.5) for need in (samples_needed, samples_to_exclude)
    )
    return (
        f"To show a coupling of 0.2 a run has to be about {show} minutes long, "
        f"to rule one out about {exclude}."
    )
