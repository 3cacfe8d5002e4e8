"""The one clock of two series: that of the slower of them, or bins where neither is regular."""

from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Ints, Times

GAP_INTERVALS = 5  # a hole longer than this many bins ends a segment
_CLOCK_SLACK = 0.9  # a nominal 1 Hz clock jitters; a median this close to the minimum period is native
_OFF_BEAT = 0.25  # an interval this far from a whole number of median ones, as a share of one, is uneven
_MOST_UNEVEN = 0.1  # share of uneven intervals of a clock that counts as regular
_FILLED = 0.95  # quantile of the uneven intervals that a bin is as long as: so many bins hold a value
_TOO_SPARSE = 1.5  # bins of the slower clock; the intervals of an uneven faster one that leave bins empty
_HUMAN = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])  # the digits of a bin length


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """The intervals of a grid; each is (start, edge]."""

    name: str  # whose clock it is: "samples", "steps" or "bins"
    # edges, starts: shape (n,), int64 ns, ascending
    edges: Times
    starts: Times
    bin: Ints  # shape (n,): number of each interval on a regular lattice of `period_ns`, ascending
    period_ns: int
    why: str = ""  # a sentence where the bins are longer than the clocks' own intervals; else empty


def common_clock(steps: Times, samples: Times, min_period_s: float) -> Clock:
    """Return the clock on which two series of ascending times (at least 2 each) can be compared.

    It is that of the slower series. Where a clock is uneven (more than a tenth of its intervals are not
    near a whole number of median ones) no lag in rows is a time: then both go onto bins as long as its
    intervals' 95 % quantile, rounded up to a number that is easily said.
    """
    clocks = {"steps": _distinct(steps), "samples": _distinct(samples)}
    median_ns = {name: _median_ns(times) for name, times in clocks.items()}
    slower = "samples" if median_ns["samples"] >= median_ns["steps"] else "steps"
    least_ns = min_period_s * 1e9
    both_fast = median_ns[slower] < _CLOCK_SLACK * least_ns
    base_ns = least_ns if both_fast else median_ns[slower]
    long_ns = {name: _long_interval_ns(times) for name, times in clocks.items() if _is_uneven(times)}
    sparse = {name: ns for name, ns in long_ns.items() if ns > _TOO_SPARSE * base_ns}
    if not both_fast and slower in long_ns:
        sparse[slower] = long_ns[slower]
    if sparse:
        width_ns = round(human_period_s(max(base_ns, *sparse.values()) / 1e9) * 1e9)
        return _bins(clocks, width_ns, _why(clocks, sparse, width_ns))
    return _bins(clocks, round(least_ns)) if both_fast else _native(slower, clocks[slower])


def _distinct(times: Times) -> Times:
    return np.asarray(times[np.append(True, times[1:] > times[:-1])])


def _median_ns(times: Times) -> float:
    return float(np.median(np.diff(times))) if times.size > 1 else 0.0


def _turns(times: Times) -> Floats:
    """Return the intervals in units of the median one; empty where there is none."""
    middle = _median_ns(times)
    return np.diff(times) / middle if middle else np.empty(0)


def _is_uneven(times: Times) -> bool:
    turns = _turns(times)
    if turns.size < 2:
        return False
    off_beat = np.abs(turns - np.maximum(1.0, np.round(turns))) > _OFF_BEAT
    return float(off_beat.mean()) > _MOST_UNEVEN


def _long_interval_ns(times: Times) -> float:
    """Return the interval that 95 % of the intervals do not exceed; holes are fewer than that."""
    return float(np.quantile(np.diff(times), _FILLED))


def human_period_s(seconds: float) -> float:
    """Round a length up to a number that is easily said: 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten.

    >>> human_period_s(3.2), human_period_s(15), human_period_s(61)
    (4.0, 15.0, 80.0)
    """
    power = 10.0 ** np.floor(np.log10(seconds))
    return float(_HUMAN[np.searchsorted(_HUMAN * (1 + 1e-9), seconds / power)] * power)


def _why(clocks: dict[str, Times], sparse: dict[str, float], width_ns: int) -> str:
    name = max(sparse, key=lambda each: sparse[each])
    low, high = (said_s(float(ns) / 1e9) for ns in np.quantile(np.diff(clocks[name]), (0.05, 0.95)))
    return (
        f"The {name} come at uneven intervals ({low} to {high}), so both signals are averaged over "
        f"bins of {said_s(width_ns / 1e9)}."
    )


def said_s(seconds: float) -> str:
    """Return a length of time in seconds, with two digits at least.

    >>> said_s(5.28), said_s(120.0), said_s(0.5)
    ('5.3 s', '120 s', '0.5 s')
    """
    return f"{seconds:.2g} s" if seconds < 99.5 else f"{seconds:.0f} s"


def _bins(clocks: dict[str, Times], width_ns: int, why: str = "") -> Clock:
    first = max(int(times[0]) for times in clocks.values())
    last = min(int(times[-1]) for times in clocks.values())
    # Only bins that hold a value: one wrong time stamp must not span decades of empty ones.
    numbers = [np.unique(-((first - times) // width_ns)) for times in clocks.values()]
    number = np.union1d(*numbers)
    number = number[(number >= 1) & (number <= (last - first) // width_ns)]
    edges = first + width_ns * number
    return Clock("bins", edges, edges - width_ns, number, width_ns, why)


def _native(name: str, edges: Times) -> Clock:
    period_ns = round(_median_ns(edges))
    starts = np.append(edges[0] - period_ns, edges[:-1])
    # After a hole the first interval is one median long: it must not average over the hole.
    after_hole = edges - starts > GAP_INTERVALS * period_ns
    ahead = np.maximum(1, np.round(np.diff(edges) / period_ns)).astype(np.int64)
    return Clock(
        name,
        edges,
        np.where(after_hole, edges - period_ns, starts),
        np.append(0, np.cumsum(ahead)).astype(np.int64),
        period_ns,
    )
