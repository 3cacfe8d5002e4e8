"""What explains the verdict of a pair: its values against each other, and how long each remembers.

Raw values that drift agree by drifting; what is left after trends, drivers and own past is what is
tested. Both are shown side by side, and how many independent values the raw ones are worth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from thermograd.analysis.align.grid import CausalGrid
from thermograd.analysis.arrays import Floats, shifted
from thermograd.analysis.coupling.cross_correlation import naive_pearson
from thermograd.analysis.coupling.responses import Searched, responses
from thermograd.analysis.run.event_tests import AroundSpikes
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.readings.compared import ComparedSignals
from thermograd.analysis.run.result import Analysis

_MOST_LAGS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """Autocorrelation of one signal, raw and as residuals; shape (lags + 1,) each, 1 at lag 0."""

    name: str
    raw: Floats
    residual: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The values behind the pair of signals at a place among those shown, on the bins of its test.

    Raw `x` (the gradient norm as its logarithm) and `y`, shape (n,), `time_s` since the first bin; residuals
    (dimensionless), shape (m,), with y taken `lag_s` after x, the peak of the profile, or, of a slow answer,
    the side that leads summed over its past, fading in `memory_s`; `slow` tells which ("x", "y" or empty).
    `naive_r` of the raw values, `r` of the residuals at the peak; autocorrelations over lags in bins of
    `period_s`.
    `effective_n` is what the n raw bins are worth for a correlation: n (1 - ab) / (1 + ab) with a and b the
    autocorrelations at one bin (Bretherton et al. 1999, J. Climate 12:1990); NaN if not known.
    """

    place: int
    x_name: str
    y_name: str
    time_s: Floats
    x: Floats
    y: Floats
    residual_time_s: Floats
    residual_x: Floats
    residual_y: Floats
    naive_r: float
    r: float
    lag_s: float
    memory_s: float | None
    slow: str
    period_s: float
    memory: tuple[Memory, Memory]
    effective_n: float


def pair_evidence(compared: Sequence[ComparedSignals], place: int, families: list[Pair]) -> Evidence | None:
    """Gather the values behind a tested pair of signals, the pair's tests being one a family of lags.

    `place` is the position of the pair among those shown. None where the run does not hold both signals
    together.
    """
    pair = max(families, key=_prominence)
    key = (pair.x, pair.y, pair.device)
    found = next((each for each in compared if (each.x, each.y, each.device.name) == key), None)
    if found is None or found.grid.x.size < 3:
        return None
    grid, rest_x, rest_y = found.grid, found.residual_x, found.residual_y
    time_s: Floats = (grid.time_ns - grid.time_ns[0]) / 1e9
    shown_x, shown_y = _compared(found, pair)
    both = np.isfinite(shown_x) & np.isfinite(shown_y)
    memory = (
        Memory(pair.x, *(autocorrelation(grid.laid_out(values)) for values in (grid.x, rest_x))),
        Memory(pair.y, *(autocorrelation(grid.laid_out(values)) for values in (grid.y, rest_y))),
    )
    return Evidence(
        place=place,
        x_name=pair.x,
        y_name=pair.y,
        time_s=time_s,
        x=grid.x,
        y=grid.y,
        residual_time_s=time_s[both],
        residual_x=shown_x[both],
        residual_y=shown_y[both],
        naive_r=naive_pearson(grid.x, grid.y),
        r=pair.r,
        lag_s=pair.lag_s,
        memory_s=pair.memory_s,
        slow="" if pair.memory_s is None else "y" if pair.family == "reverse" else "x",
        period_s=grid.period_s,
        memory=memory,
        effective_n=_effective_n(grid.x.size, memory),
    )


def _compared(found: ComparedSignals, pair: Pair) -> tuple[Floats, Floats]:
    """Return both residuals as the peak compares them, shape (n,)."""
    grid, x, y = found.grid, found.residual_x, found.residual_y
    if pair.memory_s is None:
        shift = round(pair.lag_s / grid.period_s) if math.isfinite(pair.lag_s) else 0
        return x, _later(grid, y, shift)
    memory = pair.memory_s / grid.period_s
    return (x, _fading(grid, y, memory)) if pair.family == "reverse" else (_fading(grid, x, memory), y)


def _fading(grid: CausalGrid, values: Floats, memory: float) -> Floats:
    """Return what came before each bin, summed and fading over so many bins, in standard deviations."""
    apart = math.ceil(10 * memory)  # so that nothing is carried over from one segment to the next
    place = grid.place + grid.segment * apart
    looked = Searched(np.array([1]), np.array([memory]))
    summed = responses(np.nan_to_num(values), place, looked)[:, 1]
    return np.asarray(np.where(np.isfinite(values), summed / max(float(summed.std()), 1e-300), np.nan))


def _later(grid: CausalGrid, values: Floats, shift: int) -> Floats:
    """Return the value so many bins later in the same segment, shape (n,); NaN where there is none."""
    moved = shifted(grid.laid_out(values), shift)[grid.place]
    segment = shifted(grid.laid_out(grid.segment.astype(np.float64)), shift)[grid.place]
    return np.where(segment == grid.segment, moved, np.nan)


def autocorrelation(values: Floats, most_lags: int = _MOST_LAGS) -> Floats:
    """Return the autocorrelation of a series on regular bins, NaN in a bin without a value.

    Shape (lags + 1,), at most a third of the bins: the sum of the products that are known over the sum of
    squares, 1 at lag 0. Empty for a series that is constant or shorter than 3 bins.

    Examples
    --------
    >>> autocorrelation(np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])).round(2).tolist()
    [1.0, -0.83, 0.67]
    """
    known = np.isfinite(values)
    if known.sum() < 3:
        return np.empty(0)
    centred = np.where(known, values - values[known].mean(), 0.0)
    power = float(centred @ centred)
    if power <= 1e-20 * max(1.0, float(np.square(values[known]).sum())):
        return np.empty(0)
    lags = min(most_lags, values.size // 3)
    products = [centred[: centred.size - lag] @ centred[lag:] for lag in range(lags + 1)]
    return np.array(products) / power


def _prominence(pair: Pair) -> float:
    """Return how far a family's peak reaches, in units of its bound."""
    ratio = abs(pair.r) / pair.peak_half_width if pair.peak_half_width else math.nan
    return ratio if math.isfinite(ratio) else -1.0


def _effective_n(n: int, memory: tuple[Memory, Memory]) -> float:
    if any(signal.raw.size < 2 for signal in memory):
        return math.nan
    product = float(memory[0].raw[1] * memory[1].raw[1])
    return float(np.clip(n * (1 - product) / (1 + product), 2.0, n)) if product > -1 else float(n)


def lag_pairs(analysis: Analysis) -> list[tuple[str, list[Pair]]]:
    """Return the tested pairs of signals with a label, the most relevant first.

    First come those of the question, by their lowest adjusted p; speed coupling, then what could not
    be tested. Each comes with its three families of lags.
    """
    groups: dict[tuple[str, str, str], list[Pair]] = {}
    for pair in analysis.pairs:
        if pair.profile and all(map(math.isfinite, pair.profile)) and math.isfinite(pair.half_width):
            groups.setdefault((pair.x, pair.y, pair.device), []).append(pair)
    ordered = sorted(groups.values(), key=_relevance)
    return [(_pair_label(pairs[0]), pairs) for pairs in ordered]


def _relevance(pairs: list[Pair]) -> tuple[bool, bool, float, float]:
    p = min((pair.p_adjusted for pair in pairs if math.isfinite(pair.p_adjusted)), default=math.inf)
    peak = max(abs(pair.r) for pair in pairs)
    return math.isinf(p), pairs[0].is_speed, p, -peak


def _pair_label(pair: Pair) -> str:
    notes = ["not testable"] * (pair.verdict == "insufficient") + ["speed coupling"] * pair.is_speed
    return f"{pair.x} ~ {pair.y}, {pair.called}" + (f" ({', '.join(notes)})" if notes else "")


def around_spikes(analysis: Analysis) -> tuple[list[AroundSpikes], str]:
    """Return the courses around spikes that could be averaged, and why there is none where there is none."""
    found = [
        replace(course, unit=course.unit.replace("degC", "°C"))
        for course in analysis.spike_locked
        if not course.reason
    ]
    said = [f"{course.reason}." for course in analysis.spike_locked]
    reason = next(iter(said), "The gradient norm and a temperature, power or clock were not tested together.")
    return found, "" if found else reason
