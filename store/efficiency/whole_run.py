"""RLE of a recording that is there whole: the estimator's bits, worked out for all readings at once.

Every sum keeps the order in which `Efficiency` adds; what is masked adds 0.0, which changes no bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thermograd.store.efficiency.estimator import (
    ALMOST_S,
    Efficiency,
    EfficiencyDefinition,
)
from thermograd.store.efficiency.windows import exp_minus, integer_power, minus_log_ratio

_BLOCK_ROWS = 4096

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Readings of one device, shape (n,): seconds that ascend strictly, NaN for what is not known."""

    time_s: _Floats
    utilization_pct: _Floats
    power_w: _Floats
    temperature_c: _Floats

    def of(self, rows: _Mask) -> "Readings":
        """Return some of the readings; where that is all, they are not copied."""
        if rows.all():
            return self
        every = self.time_s, self.utilization_pct, self.power_w, self.temperature_c
        return Readings(*(each[rows] for each in every))


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """What the estimator says after every reading, shape (n,); where `used` is false it says nothing.

    ``is_missing`` tells for every reading what of `MISSING` was not known, shape (n, 5).
    """

    used: _Mask
    rle: _Floats
    rle_smoothed: _Floats
    rolling_peak: _Floats
    collapse: _Mask
    stability: _Floats
    a_load: _Floats
    t_sustain_s: _Floats
    is_missing: _Mask


MISSING = (  # in the order of their names
    *("power_missing", "rated_power_missing", "temperature_limit_missing", "temperature_missing"),
    "utilization_missing",
)


def is_even(given: Readings) -> bool:
    """Return whether no few seconds hold far more readings than others: `estimates` takes as long for all."""
    widest_s = Efficiency().definition.slope_window_s
    width = np.arange(given.time_s.size) - np.searchsorted(given.time_s, given.time_s - widest_s)
    return int(width.max(initial=0)) <= 200 + 4 * float(width.mean() if width.size else 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Ratio:
    """RLE of every reading that is used, and what it was worked out from."""

    used: _Ints
    elapsed_s: _Floats  # since the reading before
    heat: "_Heat"  # of all readings
    window: "_Windows"
    eta: _Floats
    alpha: _Floats
    has_load: _Mask
    sigma: _Floats
    rle: _Floats

    @classmethod
    def of(cls, facts: dict[str, Any], given: Readings, rules: EfficiencyDefinition) -> "_Ratio":
        """Work RLE out, to the estimator's bits."""
        rated_w = facts.get("rated_power_w")
        heat = _Heat.of(given, facts.get("temperature_limit_c"), rules)
        used = np.flatnonzero(np.isfinite(given.utilization_pct))
        elapsed_s = np.diff(given.time_s, prepend=np.nan)[used]
        utilization = np.clip(given.utilization_pct[used], 0.0, 100.0)
        eta, power_w = utilization / 100.0, given.power_w[used]
        has_load = np.isfinite(power_w) & (power_w > 0.0) & (rated_w is not None)
        alpha = np.where(has_load, power_w / (rated_w or 1.0), eta)
        window = _Windows.of(given.time_s[used], np.minimum(elapsed_s, rules.gap_s), rules.window_s)
        sigma = 1.0 / (1.0 + window.deviation(utilization))
        rle = eta * sigma / (np.maximum(alpha, rules.load_floor_ratio) * (1.0 + 1.0 / heat.tau_s[used]))
        return cls(used, elapsed_s, heat, window, eta, alpha, has_load, sigma, rle)


def rle_alone(facts: dict[str, Any], given: Readings) -> _Floats:
    """Return `Estimates.rle`, NaN where the estimator says nothing; half the work of all."""
    rules = Efficiency(facts.get("rated_power_w"), facts.get("temperature_limit_c")).definition
    found = _Ratio.of(facts, given, rules)
    whole = np.full(given.time_s.size, np.nan)
    whole[found.used] = found.rle
    return whole


def estimates(facts: dict[str, Any], given: Readings) -> Estimates:
    """Return what `Efficiency` says after every reading, to the bit."""
    rules = Efficiency(facts.get("rated_power_w"), facts.get("temperature_limit_c")).definition
    rated_w, limit_c = facts.get("rated_power_w"), facts.get("temperature_limit_c")
    ratio = _Ratio.of(facts, given, rules)
    used, heat, window, eta, alpha = ratio.used, ratio.heat, ratio.window, ratio.eta, ratio.alpha
    has_load, sigma, rle, tau = ratio.has_load, ratio.sigma, ratio.rle, heat.tau_s[used]
    smoothed = window.mean(rle)
    load = np.where(has_load, alpha, 0.0)
    near = heat.near_limit[used]
    busy = (eta * 100.0 > rules.utilization_gate_pct) | (load > rules.load_gate_ratio)
    hot = (heat.rise_c_per_s[used] > rules.heating_gate_c_per_s) | (near & rules.near_limit_gate)
    evidence = (tau < rules.evidence_sustain_s) | near | (load > rules.evidence_load_ratio)
    parted = np.diff(used, prepend=-1) > 1  # a reading without utilisation lies before
    held, peak = _held(smoothed, ratio.elapsed_s, window, busy & hot, parted, rules)
    has_power = np.isfinite(given.power_w) & (given.power_w > 0.0)
    is_used = np.isfinite(given.utilization_pct)
    of_readings = np.broadcast_to([rated_w is None, limit_c is None], (given.time_s.size, 2))
    known = [~has_power, of_readings[:, 0], of_readings[:, 1], ~heat.is_known]
    is_missing = np.column_stack([*(flag & is_used for flag in known), ~is_used])
    found = {"rle": rle, "rle_smoothed": smoothed, "rolling_peak": peak, "collapse": held & evidence}
    found |= {"stability": sigma, "a_load": alpha, "t_sustain_s": tau}
    spread = {name: _spread(values, used, given.time_s.size) for name, values in found.items()}
    return Estimates(used=is_used, is_missing=is_missing, **spread)


def _spread(values: Any, used: _Ints, size: int) -> Any:
    whole = np.zeros(size, values.dtype)
    whole[used] = values
    return whole


@dataclass(frozen=True, slots=True, eq=False)
class _Heat:
    """What temperature says at every reading, shape (n,)."""

    tau_s: _Floats
    rise_c_per_s: _Floats  # NaN where it is not known
    near_limit: _Mask
    is_known: _Mask  # whether there is a temperature that is not stale

    @classmethod
    def of(cls, given: Readings, limit_c: float | None, rules: EfficiencyDefinition) -> "_Heat":
        """Follow the readings that are known, as far back as the slope's window."""
        size = given.time_s.size
        tau_s, rise = np.full(size, rules.sustain_max_s), np.full(size, np.nan)
        near, is_known = np.zeros((2, size), dtype=np.bool_)
        found = cls(tau_s, rise, near, is_known)
        has_value = np.isfinite(given.temperature_c)
        if not has_value.any():
            return found
        read = np.flatnonzero(has_value)
        at_s, values = (given.time_s, given.temperature_c)
        if read.size < size:
            at_s, values = at_s[read], values[read]
        oldest = 0  # nothing before it counts: a stale reading hides what was before
        for rows in _blocks(size):
            now_s = given.time_s[rows]
            last = np.searchsorted(read, np.arange(rows.start, rows.stop), side="right") - 1
            stale = (last >= 0) & (now_s - at_s[last] > rules.stale_s)
            is_known[rows] = (last >= 0) & ~stale
            if limit_c is None:
                continue
            old = np.searchsorted(at_s, now_s - rules.slope_window_s, side="left")
            old = np.where(stale, last + 1, np.minimum(old, np.maximum(last - 1, 0)))
            first = np.maximum(np.maximum.accumulate(old), oldest)
            oldest = int(first[-1])
            now = np.where(first <= last, values[last], np.nan)
            rise[rows] = _slopes(at_s, values, first, last)
            ahead_s = (limit_c - now) / np.maximum(rise[rows], 1e-3)
            left_s = np.maximum(np.minimum(ahead_s, rules.sustain_max_s), 1.0)
            tau_s[rows] = np.where(np.isnan(rise[rows]), rules.sustain_max_s, left_s)
            near[rows] = now > limit_c - rules.near_limit_c
        return found


def _blocks(rows: int) -> Iterator[slice]:
    """Yield blocks of rows that stay in the processor's cache while their windows are gone through."""
    for first in range(0, rows, _BLOCK_ROWS):
        yield slice(first, min(first + _BLOCK_ROWS, rows))


def _slopes(at_s: _Floats, values: _Floats, first: _Ints, last: _Ints) -> _Floats:
    """Return the least-squares slope over readings first..last of each row, NaN below two."""
    n = last - first + 1
    last_s, latest = at_s[last], values[last]
    time_sum, value_sum = np.zeros((2, n.size))
    for place, inside in _within(first, last):
        time_sum += _inside(at_s[place] - last_s, inside)
        value_sum += _inside(values[place] - latest, inside)
    several = np.maximum(n, 1)
    time_mean, value_mean = time_sum / several, value_sum / several
    products, squares = np.zeros((2, n.size))
    for place, inside in _within(first, last):
        away_s = at_s[place] - last_s - time_mean
        products += _inside(away_s * (values[place] - latest - value_mean), inside)
        squares += _inside(away_s * away_s, inside)
    before = np.maximum(last - 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_two = (latest - values[before]) / (last_s - at_s[before])
        return np.where(n == 2, of_two, np.where(n > 2, products / squares, np.nan))


def _within(first: _Ints, last: _Ints) -> Iterator[tuple[slice | _Ints, _Mask | None]]:
    """Yield a place of every row, oldest to latest, each with whether it is inside (None: in every row).

    All rows end at once, so that places of rows that follow each other mostly are a slice, which is no copy.
    """
    width = last - first
    most = int(width.max(initial=-1))
    least = int(width.min(initial=most))
    follows = last.size > 0 and bool((np.diff(last) == 1).all())
    for back in range(most, -1, -1):
        inside = None if back <= least else back <= width
        if follows and last[0] >= back:
            yield slice(int(last[0]) - back, int(last[-1]) - back + 1), inside
        else:
            yield np.maximum(last - back, 0), inside


def _inside(values: _Floats, inside: _Mask | None) -> _Floats:
    return values if inside is None else np.where(inside, values, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """The last seconds before every reading, as `TimeWindow` keeps them."""

    first: _Ints  # oldest reading of the window
    start_s: _Floats  # from when on every reading stands
    end_s: _Floats
    begin_s: _Floats  # of the window
    is_new: _Mask  # whether the reading is the run's first, which stands for no time yet
    stands_s: _Floats

    @classmethod
    def of(cls, time_s: _Floats, stands_s: _Floats, window_s: float) -> "_Windows":
        """Lay the windows out; the run's first reading, which stands NaN s, stands as long as the second."""
        is_new = np.isnan(stands_s)
        long_s = np.where(is_new, stands_s[1] if stands_s.size > 1 else 0.0, stands_s)
        begin_s = time_s - window_s
        first = np.searchsorted(time_s, begin_s, side="right")
        return cls(first, time_s - long_s, time_s, begin_s, is_new, stands_s)

    def _weighted(self, rows: slice) -> Any:
        last, end_s = np.arange(rows.start, rows.stop), self.end_s
        start_s, begin_s, is_new = self.start_s, self.begin_s[rows], self.is_new[rows]
        is_old = ~is_new if is_new.any() else None
        for place, inside in _within(self.first[rows], last):
            weight_s = end_s[place] - np.maximum(start_s[place], begin_s)
            yield place, _inside(_inside(weight_s, inside), is_old)

    def sums(self, values: _Floats) -> tuple[_Floats, _Floats]:
        """Return the seconds observed, and the values' sum over them."""
        seconds, total = np.zeros((2, self.end_s.size))
        for rows in _blocks(self.end_s.size):
            seconds[rows], total[rows] = self._sums_in(rows, values)
        return seconds, total

    def _sums_in(self, rows: slice, values: _Floats) -> tuple[_Floats, _Floats]:
        seconds, total = np.zeros((2, rows.stop - rows.start))
        for place, weight_s in self._weighted(rows):
            seconds += weight_s
            total += weight_s * values[place]
        return seconds, total

    def mean(self, values: _Floats) -> _Floats:
        """Return the time-weighted mean."""
        seconds, total = self.sums(values)
        return np.where(seconds > 0.0, total / np.where(seconds > 0.0, seconds, 1.0), values)

    def deviation(self, values: _Floats) -> _Floats:
        """Return the time-weighted standard deviation."""
        found = np.empty(values.size)
        for rows in _blocks(values.size):
            seconds, total = self._sums_in(rows, values)
            there = np.where(seconds > 0.0, seconds, 1.0)
            mean, squares = total / there, np.zeros(there.size)
            for place, weight_s in self._weighted(rows):
                away = values[place] - mean
                squares += weight_s * away * away
            found[rows] = np.sqrt(squares / there)
        return found


def _held(
    smoothed: _Floats,
    elapsed_s: _Floats,
    window: _Windows,
    gate: _Mask,
    parted: _Mask,
    rules: EfficiencyDefinition,
) -> tuple[_Mask, _Floats]:
    """Return whether efficiency has been down long enough, and its fading peak, reading by reading."""
    observed_s, _ = window.sums(smoothed)
    fading = _decays(np.where(window.is_new, 0.0, elapsed_s), rules)
    columns = smoothed, elapsed_s, window.stands_s, observed_s, fading, gate, parted
    rows = chain.from_iterable(
        zip(*(column[block].tolist() for column in columns), strict=True) for block in _blocks(smoothed.size)
    )
    seen_s = held_s = peak = 0.0
    held = np.zeros(smoothed.size, dtype=np.bool_)
    peaks = np.zeros(smoothed.size)
    for at, (value, since_s, stands_s, there_s, fade, is_open, is_parted) in enumerate(rows):
        held_s = 0.0 if is_parted else held_s
        if stands_s != stands_s:  # the run's first
            continue
        seen_s += stands_s if seen_s else there_s
        if seen_s < rules.warmup_s - ALMOST_S:
            continue
        peaks[at] = peak = max(value, peak * fade)
        dropped = is_open and value < rules.drop_ratio * max(peak, 1e-6)
        held_s = held_s + stands_s if dropped and since_s <= rules.gap_s else 0.0
        held[at] = held_s >= rules.hold_s - ALMOST_S
    return held, peaks


def _decays(elapsed_s: _Floats, rules: EfficiencyDefinition) -> _Floats:
    """Return by what the peak fades over each time, as the estimator does."""
    whole = np.minimum(elapsed_s, 1e6).astype(np.int64)
    seconds, which = np.unique(whole, return_inverse=True)
    powers = np.array([integer_power(rules.peak_decay_per_s, second) for second in seconds.tolist()])
    rate, rest_s = minus_log_ratio(rules.peak_decay_per_s), np.minimum(elapsed_s - whole, 1.0)
    return np.asarray(powers[which] * exp_minus(rate * rest_s))
