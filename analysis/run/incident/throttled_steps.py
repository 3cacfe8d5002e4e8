"""Which steps of a run were throttled: each has the share of its time in which any of its devices was."""

from collections.abc import Sequence

import numpy as np
from thermograd.analysis.arrays import Floats, Mask
from thermograd.analysis.run.energy import logged_entries
from thermograd.analysis.run.incident.slowdown import Slowdown, slowdown
from thermograd.analysis.run.series import RunSeries
from thermograd.store.throttling.reasons import Cause
from thermograd.store.throttling.spans import ThrottledSpans

_WARM_UP = 5  # entries of the log that begin a run: they compile, allocate, fill caches
_PAUSES = ("evaluation", "checkpoint")
_COVERED = 0.5  # share of a step that has to have been observed
_MOST_BINS = 200_000


def slowdown_of(data: RunSeries, spans: Sequence[ThrottledSpans], causes: tuple[Cause, ...]) -> Slowdown:
    """Return how much longer steps took while any of the devices was throttled for some causes.

    Left out are the first steps, those with an evaluation or a checkpoint in them or just before them, and
    the first after a restart.
    """
    if not data.step_time_ns.size:
        return Slowdown(reason="no step was recorded")
    begin_ns, end_ns, counts = logged_entries(data)
    share = any_share((begin_ns, end_ns), spans, causes)
    steps = np.where(counts > 0, counts, np.nan)
    step_s = (end_ns - begin_ns) / 1e9 / steps
    step_s[_is_apart(data, begin_ns, end_ns)] = np.nan
    sampled = any(each.source(causes) == "sampled" for each in spans)
    return slowdown((end_ns - end_ns[0]) / 1e9, step_s, share, np.nan_to_num(steps), sampled=sampled)


def _is_apart(data: RunSeries, begin_ns: Floats, end_ns: Floats) -> Mask:
    apart: Mask = np.diff(data.training("step"), prepend=np.nan) < 0
    apart[:_WARM_UP] = True
    marks = np.sort([float(mark["time_ns"]) for mark in data.marks if mark["mark"] in _PAUSES])
    paused = np.searchsorted(marks, end_ns, side="right") > np.searchsorted(marks, begin_ns)
    apart |= paused
    apart[1:] |= paused[:-1]
    return apart


def any_share(
    times_ns: tuple[Floats, Floats], spans: Sequence[ThrottledSpans], causes: tuple[Cause, ...]
) -> Floats:
    """Return the share of each interval (begin, end) in which the device that was throttled most was.

    NaN where less than half of it was observed: of every device, unless one is known to be throttled.
    """
    causes = tuple(causes)
    most = np.full(times_ns[0].size, np.nan)
    unknown = np.zeros(times_ns[0].size, dtype=bool)
    for each in spans:
        share = _share(times_ns, each, causes)
        most, unknown = np.fmax(most, share), unknown | np.isnan(share)
    return np.where(unknown & ~(most >= _COVERED), np.nan, most)


def _share(times_ns: tuple[Floats, Floats], spans: ThrottledSpans, causes: tuple[Cause, ...]) -> Floats:
    throttled_s = spans.throttled_s(causes)
    known = np.isfinite(throttled_s)
    observed_s = _between(times_ns, spans, np.where(known, spans.elapsed_s, 0.0))
    length_s = (times_ns[1] - times_ns[0]) / 1e9
    enough = (observed_s >= _COVERED * length_s) & (observed_s > 0)
    spent_s = _between(times_ns, spans, np.where(known, throttled_s, 0.0))
    share: Floats = np.divide(spent_s, observed_s, out=np.full(length_s.size, np.nan), where=enough)
    return share


def _between(times_ns: tuple[Floats, Floats], spans: ThrottledSpans, amounts: Floats) -> Floats:
    """Return how much of what the spans hold lies in each interval."""
    if not amounts.size:
        return np.zeros(times_ns[0].size)
    edges = np.append(spans.begin_ns[:1], spans.end_ns).astype(np.float64)
    total = np.append(0.0, np.cumsum(amounts))
    between: Floats = np.interp(times_ns[1], edges, total) - np.interp(times_ns[0], edges, total)
    return between


def share_of_any(spans: Sequence[ThrottledSpans], causes: tuple[Cause, ...]) -> float | None:
    """Return the share of the time in which at least one device was throttled; None where it is not known."""
    seen = [each for each in spans if each.end_ns.size]
    if not seen:
        return None
    first, last = min(int(each.begin_ns[0]) for each in seen), max(int(each.end_ns[-1]) for each in seen)
    width_ns = float(np.median(np.concatenate([each.end_ns - each.begin_ns for each in seen])))
    count = int(np.clip((last - first) / width_ns, 1, _MOST_BINS))
    edges = np.linspace(first, last, count + 1)
    share = any_share((edges[:-1], edges[1:]), seen, causes)
    return float(np.nanmean(share)) if np.isfinite(share).any() else None
