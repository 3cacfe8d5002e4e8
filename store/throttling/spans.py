"""How long a device was throttled, and why, between every two of its samples.

A counter of throttled time tells it exactly. Where a device has none, or it was reset, the bits that were
set when it was sampled stand for the time around: half of an interval in which they changed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from thermograd.store.throttling.reasons import BITS, COUNTERS, Cause

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Source = Literal["counter", "sampled", "counter and sampled"]
INPUT = ("time_ns", "clock_event_mask", *COUNTERS.values())
_GAP_INTERVALS = 5.0  # what happened in a hole longer than this many median intervals was not observed
_IMPOSSIBLE_S = 10.0  # a counter of two reasons may run twice as fast as time, and this much ahead: not more


@dataclass(frozen=True, slots=True, eq=False)
class ThrottledSpans:
    """A device's time between samples, and how much of it was throttled."""

    # begin_ns, end_ns: shape (n,), int64, UTC epoch; between samples at different times, ascending
    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    seconds: dict[Cause, Floats]  # throttled in each span, s, shape (n,); NaN where not known
    sources: dict[Cause, Source | None]  # where that is from; None: the device does not tell

    @property
    def elapsed_s(self) -> Floats:
        """Length of each span, s, shape (n,)."""
        return (self.end_ns - self.begin_ns) / 1e9

    def throttled_s(self, causes: Iterable[Cause]) -> Floats:
        """Return the seconds of each span throttled for any of some causes, NaN where none is known.

        Of causes in one span the longest counts, for they may have come together: it is at least so long.
        """
        longest: Floats = np.fmax.reduce([self.seconds[cause] for cause in causes])
        return longest

    def source(self, causes: Iterable[Cause]) -> Source | None:
        """Return where the throttled time of some causes is from; None where none of them is known."""
        found: set[Source] = {source for cause in causes if (source := self.sources[cause]) is not None}
        if len(found) > 1:
            return "counter and sampled"
        return next(iter(found), None)


def throttled_spans(samples: "pa.Table") -> ThrottledSpans:
    """Return a device's throttled time between samples from its columns `INPUT`, which are in time order."""
    time_ns = np.asarray(samples.column("time_ns"), dtype=np.int64)
    counters = {counter: readings(samples, counter) for counter in COUNTERS.values()}
    return spans_between(time_ns, *_mask(samples), counters)


def spans_between(
    time_ns: NDArray[np.int64], mask: NDArray[np.uint64], known: Mask, counters: Mapping[str, Floats]
) -> ThrottledSpans:
    """Return what `throttled_spans` does from arrays: the mask where `known`, counters NaN where not."""
    last = np.append(time_ns[1:] != time_ns[:-1], True)[: time_ns.size]  # of equal times the last counts
    time_ns = time_ns[last]
    seconds: dict[Cause, Floats] = {}
    sources: dict[Cause, Source | None] = {}
    has_bits = bool(known.any())
    for cause, counter in COUNTERS.items():
        if not has_bits and np.isnan(counters[counter]).all():
            seconds[cause] = np.broadcast_to(np.nan, max(time_ns.size - 1, 0))
            sources[cause] = None
            continue
        bits = np.where(known, BITS[cause](mask), np.nan)[last]
        found, sources[cause] = _of_cause(time_ns, counters[counter][last], bits)
        seconds[cause] = _held(found)
    return ThrottledSpans(time_ns[:-1], time_ns[1:], seconds, sources)


def _held(seconds: Floats) -> Floats:
    """Return the same, in the room of one number where all are alike: never throttled, or not known."""
    if seconds.size < 2 or not (np.isnan(seconds).all() or (seconds == seconds[0]).all()):
        return seconds
    return np.broadcast_to(seconds[:1].copy(), seconds.shape)


def _mask(samples: "pa.Table") -> tuple[NDArray[np.uint64], Mask]:
    """Return the bits at each sample, 0 where they are not known, and where they are."""
    column = _column(samples, "clock_event_mask", "uint64")
    return np.asarray(column.fill_null(0), dtype=np.uint64), np.asarray(column.is_valid(), dtype=bool)


def _column(samples: "pa.Table", name: str, kind: str) -> "pa.ChunkedArray":
    """Return a column, null throughout where there is none."""
    if name not in samples.column_names:
        import pyarrow as pa  # who follows a live run has no table, and does without it

        return pa.chunked_array([pa.nulls(len(samples), kind)])
    return samples.column(name).cast(kind, safe=False)


def readings(samples: "pa.Table", name: str) -> Floats:
    """Return a column as float64, NaN where it is not known."""
    return np.asarray(_column(samples, name, "float64").fill_null(float("nan")), dtype=np.float64)


def _of_cause(time_ns: NDArray[np.int64], counter: Floats, bits: Floats) -> tuple[Floats, Source | None]:
    counted = _per_span(time_ns, counter, _counted)
    sampled = _per_span(time_ns, bits, _sampled)
    if np.nansum(bits) > 1 and not np.nansum(counted) > 0:
        counted = np.full(counted.size, np.nan)  # bits that are set, a counter that stands: it counts another
    has_counter, has_bits = bool(np.isfinite(counted).any()), bool(np.isfinite(sampled).any())
    filled = np.where(np.isnan(counted), sampled, counted)
    if has_counter:
        return filled, "counter and sampled" if (
            np.isnan(counted) & np.isfinite(sampled)
        ).any() else "counter"
    return filled, "sampled" if has_bits else None


def _per_span(
    time_ns: NDArray[np.int64], values: Floats, of_readings: Callable[[Floats, Floats, Mask], Floats]
) -> Floats:
    """Return the throttled seconds of every span, from the readings that are known."""
    throttled = np.full(max(time_ns.size - 1, 0), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    if known.size < 2:
        return throttled
    elapsed = np.diff(time_ns[known]) / 1e9
    near = elapsed <= _GAP_INTERVALS * float(np.median(elapsed))
    shares = of_readings(values[known], elapsed, near) / elapsed
    inside = slice(known[0], known[-1])
    between = np.searchsorted(known, np.arange(known[0], known[-1]), side="right") - 1
    throttled[inside] = shares[between] * (np.diff(time_ns)[inside] / 1e9)
    return throttled


def _sampled(bits: Floats, elapsed: Floats, near: Mask) -> Floats:
    return np.where(near, (bits[1:] + bits[:-1]) / 2 * elapsed, np.nan)


def _counted(counter_ns: Floats, elapsed: Floats, near: Mask) -> Floats:
    """Return by how much a counter advanced between readings, s; NaN in a hole and where it was reset.

    What is more than the time passed since the reading before belongs to the time before that in which the
    counter stood still: some are brought up to date rarely, a processor's when throttling ends.
    """
    advance = np.diff(counter_ns) / 1e9
    usable = near & (advance >= 0)
    seconds: Floats = np.where(usable, np.minimum(advance, elapsed), np.nan)
    for at in np.flatnonzero(usable & (advance > elapsed)):
        _hand_back(seconds, advance, elapsed, int(at))
    return seconds


def _hand_back(seconds: Floats, advance: Floats, elapsed: Floats, at: int) -> None:
    first, passed = at, float(elapsed[at])
    while first > 0 and advance[first - 1] == 0 and seconds[first - 1] == 0 and passed < advance[at]:
        first -= 1
        passed += float(elapsed[first])
    if advance[at] > 2 * passed + _IMPOSSIBLE_S:
        seconds[at] = np.nan
        return
    left = advance[at] - elapsed[at]
    for place in range(at - 1, first - 1, -1):
        seconds[place] = min(left, elapsed[place])
        left -= seconds[place]


def episodes_s(spans: ThrottledSpans, causes: Iterable[Cause]) -> Floats:
    """Return how long each stretch of spans was in all of which a device was throttled for some time, s."""
    on = np.nan_to_num(spans.throttled_s(causes)) > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]).astype(np.int8)))
    return (spans.end_ns[edges[1::2] - 1] - spans.begin_ns[edges[::2]]) / 1e9
