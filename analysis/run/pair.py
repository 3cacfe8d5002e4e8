"""A pair of signals of one run with its verdict, and how tables and figures show it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from thermograd.analysis.coupling.responses import Searched
from thermograd.analysis.coupling.verdict import p_sign
from thermograd.analysis.display.lag_plot import Slow, lag_profile
from thermograd.analysis.display.markup import element
from thermograd.analysis.display.numbers import DASH, bound_text, seconds_text, shown_number
from thermograd.analysis.display.table import Table

_WORST_FIRST = ("coupled", "single_event", "inconclusive", "no_coupling", "insufficient")
_TESTS = {
    **{"Training": "t", "Hardware": "t", "Device": "i", "Direction": "t", "n": "n", "r": "n"},
    **{"Lag or memory": "n", "p, all tests": "n", "95 % bound": "n", "Naive r": "n", "Verdict": "t"},
}
ONE_DELAY, FADING = "answers after one delay", "answers that fade"  # what a lag profile shows side by side
NARROW = "max-width:50em"


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
    p, p_adjusted, p_smallest
        Before and after Holm's correction for all pairs of its kind; None where untested. The smallest p that
        the random orders could give: one that is reached is an upper bound.
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
        The same test with power among the drivers (``r``, ``lag_s``, ``memory_s``, ``p``, ``half_width``):
        what is left of an effect on temperature without the way through power. None where it was not made.
    over_time
        Residual correlation in the four quarters, and whether they differ (see `stability.Change`).
    device_label
        What the device is called for a person; its name where that is not known.
    clock_unsure_s
        How far the times of the two sides can be apart besides, where the device is on another host than the
        steps (95 %, see `thermograd.store.clocks`): 0 on one host, None where that is not known.
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
    p_smallest: float = 0.0
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
    device_label: str = ""
    clock_unsure_s: float | None = 0.0

    @property
    def lag_interval_s(self) -> tuple[float, float] | None:
        """Where the lag lies, in s: half a bin to each side, and what the clocks of two hosts add."""
        if self.clock_unsure_s is None or not math.isfinite(self.lag_s):
            return None
        half_s = self.period_s / 2 + self.clock_unsure_s
        return self.lag_s - half_s, self.lag_s + half_s

    @property
    def is_direction_sure(self) -> bool:
        """Whether who leads can be told: across hosts the lag must exceed a bin and the clocks' doubt."""
        if self.clock_unsure_s is None:
            return False
        return self.clock_unsure_s == 0 or abs(self.lag_s) >= self.period_s + self.clock_unsure_s

    @property
    def called(self) -> str:
        """What the device is called for a person."""
        return self.device_label or self.device

    @property
    def is_speed(self) -> bool:
        """Whether this is speed coupling: expected, the positive control, not the question."""
        return self.x == "step_time_s"

    @property
    def p_sign(self) -> str:
        """How p compares with its number: "=", or "<=" where no random order came near."""
        return p_sign(self.p, self.p_smallest)

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

    @property
    def looks(self) -> int:
        """How many independent looks the search of the pair's own lags and slow responses is worth."""
        lags = np.array([lag for lag, _ in self.own])
        return Searched(lags.astype(np.int64), np.array(self.memories_s)).alternatives

    @property
    def peak_half_width(self) -> float:
        """The bound of what `r` is: of the lags, or of the slow responses where it is one of them."""
        return self.half_width if self.memory_s is None else self.slow_half_width

    @property
    def bound(self) -> float:
        """The largest |r| that is not excluded, of any lag and any slow response; NaN where none is known."""
        known = [bound for bound in (self.lag_bound, self.slow_bound) if math.isfinite(bound)]
        return max(known, default=math.nan)

    def _repr_html_(self) -> str:
        said = f"{self.x} ~ {self.y}, {self.called}, {self.family}: {self.verdict.replace('_', ' ')}"
        reasons = element("p", " ".join(self.reasons), style=NARROW)
        # The band is the pair's own family's, which alone it tells about.
        own = {lag for lag, _ in self.own}
        slow = Slow(self.memories_s, self.slow_profile, self.slow_half_width)
        drawing = lag_profile(self.lags_s, self.profile, self.half_width, own, "s", "the training", slow)
        return element(
            "div", element("p", element("strong", said)), pairs_table([self], said), drawing, reasons
        )


def worst_first(said: Iterable[str]) -> str:
    """Return the most telling of some verdicts; "insufficient" of none."""
    return min(said, key=_WORST_FIRST.index, default="insufficient")


def most_telling(pairs: Iterable[Pair]) -> list[Pair]:
    """Return one pair of each (x, y, device): the family of lags with the most telling verdict."""
    best: dict[tuple[str, str, str], Pair] = {}
    for pair in pairs:
        key = (pair.x, pair.y, pair.device)
        if key not in best or _rank(pair) < _rank(best[key]):
            best[key] = pair
    return list(best.values())


def closest_first(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the most telling direction of each pair of signals, the lowest adjusted p first."""
    return sorted(
        most_telling(pairs), key=lambda pair: (_or(pair.p_adjusted, math.inf), -abs(_or(pair.r, 0)))
    )


def _rank(pair: Pair) -> tuple[int, float, float]:
    return _WORST_FIRST.index(pair.verdict), _or(pair.p, math.inf), -abs(_or(pair.r, 0))


def _or(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def answer_text(pair: Pair) -> str:
    """Return after what time one side answers the other, or how slowly, as tables show it.

    Above 0 the training leads; of a slow answer it leads unless it says "reverse".
    """
    if pair.memory_s is not None:
        return f"memory {seconds_text(pair.memory_s)}{', reverse' * (pair.family == 'reverse')}"
    shown = shown_number(pair.lag_s, "+.1f")
    return shown if shown == DASH else f"{shown} s"


def pair_numbers(pair: Pair) -> list[str]:
    """Return what every table shows of a pair: n, r, its lag or memory, corrected p, 95 % bound, naive r."""
    r, p, naive = (
        shown_number(value, form)
        for value, form in ((pair.r, "+.2f"), (pair.p_adjusted, ".2g"), (pair.pearson_r, "+.2f"))
    )
    p = f"≤\u00a0{p}" if pair.p_sign == "<=" else p
    return [f"{pair.n:,}", r, answer_text(pair), p, bound_text(pair.peak_half_width), naive]


def pairs_table(pairs: Iterable[Pair], label: str) -> Table:
    """Return pairs as a table for a notebook."""
    rows = [
        (pair.x, pair.y, pair.called, pair.family, *pair_numbers(pair), pair.verdict.replace("_", " "))
        for pair in pairs
    ]
    return Table(_TESTS, rows, label)


def pair_sentence(pair: Pair) -> str:
    """Return why a pair has its verdict."""
    return f"{pair.verdict.replace('_', ' ')}. {' '.join(pair.reasons)}"
