"""How much longer steps took while a device was throttled than just before and after. Arrays in, numbers out.

Each stretch of throttled steps is compared with the steps that are next to it in time, so that what changes
slowly (longer batches, a warmer room) is the same on both sides. Stretches next to each other are put into
batches, whose spread gives the interval: neighbouring steps resemble each other, batches hardly.
"""

from dataclasses import dataclass, replace

import numpy as np
from thermograd.analysis.arrays import Floats, Ints, Mask

_WHOLE_SHARE = 0.95  # of a step's time, from which on it counts as throttled
_PART_SHARE = 0.5  # the same where steps are hardly ever throttled for so much of their time
FREE_SHARE = 0.05  # up to which it does not
FEWEST_STEPS = 20  # of either kind, to compare at all
FEWEST_STRETCHES = 4  # to tell how sure the ratio is
_NEAR_S = (30.0, 300.0)  # as near as the stretch is long, but not nearer or farther than this
_NEAR_STEPS = 20  # nor than so many median steps
_BATCHES = 30
_ALIKE, _OTHER = 0.1, 0.2  # change of the logarithm of the step time that is none, and one of something else
_SPREADS = 4.0  # times the usual change: more, between the two, is a change of something else too
_PAUSE = 5.0  # times the median step of its kind
_SPIKE = 1.5  # times it: what is more says nothing of the level
_AROUND = 50  # steps that have one median
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Slowdown:
    """How many times as long steps took while throttled; what cannot be told is None."""

    ratio: float | None = None
    low: float | None = None  # low, high: its 95 % interval
    high: float | None = None
    throttled_steps: int = (
        0  # in the whole run, as `other_steps` are; those compared are the ones near changes
    )
    other_steps: int = 0
    stretches: int = 0  # of throttled steps that were compared
    throttled_s: float = 0.0  # of all steps, s
    reason: str = ""  # why the ratio, or its interval, is not known; else empty

    @property
    def slower(self) -> bool:
        """Whether the interval lies above 1."""
        return self.low is not None and self.low > 1

    @property
    def lost_ratio(self) -> tuple[float, float, float] | None:
        """Share of throttled time that faster steps would have saved, and its interval; at least 0."""
        if self.ratio is None or self.low is None or self.high is None:
            return None
        share, low, high = (max(0.0, 1 - 1 / each) for each in (self.ratio, self.low, self.high))
        return share, low, high


def slowdown(
    end_s: Floats, step_s: Floats, share: Floats, steps: Floats | None = None, *, sampled: bool = False
) -> Slowdown:
    """Return how much longer steps took while throttled.

    Parameters
    ----------
    end_s
        Shape (n,): when each step ended, s, ascending.
    step_s
        Shape (n,): how long it took, s; NaN where not known or where it is not to be compared.
    share
        Shape (n,): share of its time that was throttled, NaN where not known.
    steps
        Shape (n,): how many steps each of these stands for, where the log is of every n-th; default 1.
    sampled
        Whether the share is from states that were read now and then: where throttling comes and goes in
        between, each step's share is chance, and the slowdown cannot be told.
    """
    throttled, free = _is_throttled(share), share <= FREE_SHARE
    kept = np.isfinite(step_s) & (step_s > 0) & (throttled | free)
    usual = np.full(step_s.size, np.nan)
    for kind in (throttled, free):
        usual[kept & kind] = _usual(step_s[kept & kind])
    paused = step_s > _PAUSE * usual  # it waited for something
    kept &= ~paused
    counted = np.where(paused, 0.0, step_s * share * (1.0 if steps is None else steps))
    found = Slowdown(
        throttled_steps=int((kept & throttled).sum()),
        other_steps=int((kept & free).sum()),
        throttled_s=float(np.nansum(counted)),
    )
    reason = _too_few(found.throttled_steps, found.other_steps)
    if sampled and not _mostly_whole(share):
        reason = reason or "it came and went faster than the device was read"
    if reason:
        return replace(found, reason=reason)
    level = np.minimum(step_s, _SPIKE * usual)
    end_s, step_s, share, level = (each[kept] for each in (end_s, step_s, share, level))
    return _compared(found, _contrasts(end_s, step_s, share, level, throttled[kept]))


def _is_throttled(share: Floats) -> Mask:
    """Return which steps were throttled: wholly, where most were, for rare readings tell little of others."""
    whole = _mostly_whole(share) and (share >= _WHOLE_SHARE).sum() >= FEWEST_STEPS
    return share >= (_WHOLE_SHARE if whole else _PART_SHARE)


def _mostly_whole(share: Floats) -> bool:
    """Return whether most steps that were throttled for much of their time were so for all of it."""
    return bool(2 * (share >= _WHOLE_SHARE).sum() >= (share >= _PART_SHARE).sum())


def _usual(step_s: Floats) -> Floats:
    """Return the median of the steps of one kind around each."""
    if step_s.size < _AROUND:
        return np.full(step_s.size, np.median(step_s) if step_s.size else np.nan)
    rows = step_s.size // _AROUND
    medians = np.median(step_s[: rows * _AROUND].reshape(rows, _AROUND), axis=1)
    return np.append(np.repeat(medians, _AROUND), np.full(step_s.size % _AROUND, medians[-1]))


def _too_few(throttled: int, free: int) -> str:
    if not throttled:
        return "no step was throttled for most of its time"
    if not free:
        return "no step was free of throttling"
    if min(throttled, free) < FEWEST_STEPS:
        return f"{throttled} throttled steps and {free} others are too few ({FEWEST_STEPS} of each)"
    return ""


def _compared(found: Slowdown, contrasts: tuple[Floats, Floats, Floats]) -> Slowdown:
    of_throttled, of_same_work, weight = contrasts
    stretches = weight.size
    if not stretches:
        return replace(found, reason="no throttled step is near one that was not")
    parts = np.array_split(np.arange(stretches), min(stretches, _BATCHES))
    above, below = (
        np.array([(weight[part] * mean[part]).sum() for part in parts])
        for mean in (of_throttled, of_same_work)
    )
    few = stretches < FEWEST_STRETCHES
    if below.sum() <= (0.0 if few else below.max()):
        return replace(found, reason="steps were longer than the throttled part of their time explains")
    ratio = float(above.sum() / below.sum())
    if few:
        times = "once" if stretches == 1 else f"{stretches} times"
        reason = f"{times} only, so that what else changed then cannot be told apart"
        return replace(found, ratio=ratio, stretches=stretches, reason=reason)
    low, high = _interval(above, below)
    return replace(found, ratio=ratio, low=low, high=high, stretches=stretches)


def _contrasts(
    end_s: Floats, step_s: Floats, share: Floats, level: Floats, throttled: Mask
) -> tuple[Floats, Floats, Floats]:
    """Return of each throttled stretch the throttled time of a step, that of the same work, and its weight.

    The work of the throttled time would have taken so much less as the steps near the stretch were shorter:
    of steps that were throttled all the time these are the mean step in the stretch and that near it. Near is
    as far away as the stretch is long, within limits. Steps between two stretches are divided between them.
    """
    first = np.flatnonzero(np.diff(throttled, prepend=False) & throttled)
    stop = np.flatnonzero(np.diff(throttled, append=False) & throttled) + 1
    least_s = max(_NEAR_S[0], _NEAR_STEPS * float(np.median(step_s)))
    near_s = np.clip(end_s[stop - 1] - end_s[first], least_s, max(_NEAR_S[1], least_s))
    middle = (stop[:-1] + first[1:]) // 2
    left = np.maximum(np.append(0, middle), np.searchsorted(end_s, end_s[first] - near_s))
    right = np.minimum(
        np.append(middle, end_s.size), np.searchsorted(end_s, end_s[stop - 1] + near_s, side="right")
    )
    inside, outside = _near_edges(end_s, first, stop, near_s), [(left, first), (stop, right)]
    before, after = (_sums([part], level) for part in outside)
    alike = _are_alike(before, after) & (before[0] + after[0] > 0)
    (n_in, sum_in), (n_out, sum_out) = _sums(inside, step_s), _sums(outside, step_s)
    n_in, n_out = n_in[alike], n_out[alike]
    longer = sum_in[alike] / n_in - sum_out[alike] / n_out
    (_, spent_in), (_, spent_out) = _sums(inside, step_s * share), _sums(outside, step_s * share)
    throttled_s = spent_in[alike] / n_in - spent_out[alike] / n_out
    return throttled_s, throttled_s - longer, n_in * n_out / (n_in + n_out)


def _are_alike(before: tuple[Ints, Floats], after: tuple[Ints, Floats]) -> Mask:
    """Return which stretches have about the same steps before and after them.

    Where not, something else changed just then. At the ends of a run there are steps on one side only: such a
    stretch counts where there are no better ones.
    """
    two_sided: Mask = (before[0] > 0) & (after[0] > 0)
    if not two_sided.any():
        return ~two_sided
    means = [
        np.divide(sums, counts, out=np.ones(sums.size), where=two_sided) for counts, sums in (before, after)
    ]
    change = np.abs(np.log(means[0] / means[1]))
    usual = float(np.median(change[two_sided]))
    return two_sided & (change <= min(max(_ALIKE, _SPREADS * usual), _OTHER))


def _near_edges(end_s: Floats, first: Ints, stop: Ints, near_s: Floats) -> list[tuple[Ints, Ints]]:
    """Return the steps of each stretch that are near its beginning, and those that are near its end."""
    head = np.minimum(stop, np.searchsorted(end_s, end_s[first] + near_s, side="right"))
    tail = np.maximum(head, np.searchsorted(end_s, end_s[stop - 1] - near_s))
    return [(first, head), (tail, stop)]


def _sums(ranges: list[tuple[Ints, Ints]], values: Floats) -> tuple[Ints, Floats]:
    """Return how many values lie in some ranges of each stretch, and their sum."""
    total = np.append(0.0, np.cumsum(values))
    count = np.sum([stop - first for first, stop in ranges], axis=0)
    return count, np.sum([total[stop] - total[first] for first, stop in ranges], axis=0)


def _interval(above: Floats, below: Floats) -> tuple[float, float]:
    """Return the interval of a ratio of sums over batches: jackknife of its logarithm, Student's t."""
    from scipy.special import stdtrit  # takes as long to import as the rest takes to compute

    batches = above.size
    without = np.log((above.sum() - above) / (below.sum() - below))
    error = float(np.sqrt((batches - 1) / batches * ((without - without.mean()) ** 2).sum()))
    worth = float(above.sum() ** 2 / (above**2).sum())  # batches of equal weight that tell as much
    reach = float(stdtrit(max(worth - 1, 1.0), (1 + _CONFIDENCE) / 2)) * error
    middle = float(np.log(above.sum() / below.sum()))
    return float(np.exp(middle - reach)), float(np.exp(middle + reach))
