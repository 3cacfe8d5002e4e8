"""Nothing is coupled; bins are missing, or steps are irregular."""

from functools import partial

import numpy as np
from thermograd.analysis.arrays import Floats, Mask, Times
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.process import Pair, Recorded, Rng
from thermograd.analysis.calibration.zoo.signals import (
    autoregressive,
    decay,
    heating,
    remembering,
    smooth,
    without,
)
from thermograd.analysis.calibration.zoo.trends import courses

_null = partial(process.null, group="gaps")
_recorded = partial(process.recorded_null, group="gaps")
_PER_S = 10  # of the fine grid under irregular steps


def missed(rng: Rng, m: int, share: float = 0.15) -> Mask:
    """Return which bins are missing, each by itself."""
    return rng.random(m) < share


def missed_in_bursts(rng: Rng, m: int, share: float = 0.15, length: float = 8.0) -> Mask:
    """Return which bins are missing, in stretches of `length` on average."""
    begins = share / (1.0 - share) / length
    state, missing = False, np.zeros(m, dtype=np.bool_)
    for t, chance in enumerate(rng.random(m)):
        state = bool(chance < (1.0 - 1.0 / length if state else begins))
        missing[t] = state
    return missing


def steep(rng: Rng, m: int) -> Pair:
    """Return steep opposite trends under noise."""
    x = 3.0 * decay(rng, m) + 0.3 * remembering(rng, m, 0.5)
    return Pair(x, heating(rng, m) + 0.5 * remembering(rng, m, 0.9))


def _with(pair: Pair, missing: Mask) -> Pair:
    return Pair(without(pair.x, missing), without(pair.y, missing))


@_null(
    "gaps",
    "smooth courses with 15 % of the bins missing: where holes are closed up, memory turns into likeness",
)
def gaps(rng: Rng, m: int) -> Pair:
    """Return smooth courses with holes."""
    return _with(courses(rng, m), missed(rng, m))


@_null(
    "trendgaps",
    "steep opposite trends with 15 % of the bins missing: every closed hole is a step in both, at one time",
)
def trendgaps(rng: Rng, m: int) -> Pair:
    """Return opposite trends with holes."""
    return _with(steep(rng, m), missed(rng, m))


@_null("gaps30", "smooth courses with 30 % of the bins missing")
def gaps30(rng: Rng, m: int) -> Pair:
    """Return smooth courses with many holes."""
    return _with(courses(rng, m), missed(rng, m, 0.3))


@_null("gapbursts", "steep opposite trends with bins missing in stretches of about 8 s, as of a busy logger")
def gapbursts(rng: Rng, m: int) -> Pair:
    """Return opposite trends with holes that come in bursts."""
    return _with(steep(rng, m), missed_in_bursts(rng, m))


@_null("gaps-each", "smooth courses, each missing 10 % of the bins by itself")
def gaps_each(rng: Rng, m: int) -> Pair:
    """Return smooth courses with holes of their own."""
    pair = courses(rng, m)
    return Pair(without(pair.x, missed(rng, m, 0.1)), without(pair.y, missed(rng, m, 0.1)))


@_null(
    "evaluations",
    "every two minutes the training evaluates for 10 s: no steps, and the device cools and warms up again",
)
def evaluations(rng: Rng, m: int, every: int = 120, length: int = 10) -> Pair:
    """Return independent series with regular pauses, after which y climbs back over some 15 s."""
    pause = (np.arange(m) + rng.integers(every)) % every < length
    cooling = autoregressive(np.where(pause, -0.5, 0.0), np.exp(-1 / 15))
    x, y = remembering(rng, m, 0.5), remembering(rng, m, 0.7) + cooling
    return Pair(without(x, pause), without(y, pause))


def lognormal_steps(rng: Rng, steps: int) -> Floats:
    """Return step times of 0.3 to 5 s, lognormal around 1.5 s with a coefficient of variation of .6."""
    sigma = np.sqrt(np.log(1.0 + 0.6**2))
    return np.asarray((1.5 * np.exp(sigma * rng.standard_normal(steps) - sigma**2 / 2)).clip(0.3, 5.0))


def gamma_steps(rng: Rng, steps: int) -> Floats:
    """Return step times around 2 s, gamma with a coefficient of variation of .7."""
    shape = 1.0 / 0.7**2
    return rng.gamma(shape, 2.0 / shape, steps).clip(0.2)


def recorded(rng: Rng, step_time_s: Floats) -> Recorded:
    """Record two smooth independent courses, at the ends of these steps and once a second."""
    ends = np.cumsum(step_time_s)
    fine = np.arange(int(ends[-1] * _PER_S) + 2) / _PER_S
    x, y = (3.0 * smooth(rng, fine.size, 20.0 * _PER_S) for _ in range(2))
    seconds = np.arange(int(ends[-1]) + 1, dtype=np.float64)
    return Recorded(
        _ns(ends),
        np.interp(ends, fine, x) + 0.5 * rng.standard_normal(ends.size),
        step_time_s,
        _ns(seconds),
        np.interp(seconds, fine, y) + 0.5 * rng.standard_normal(seconds.size),
    )


def _ns(seconds: Floats) -> Times:
    return np.round(seconds * 1e9).astype(np.int64)


@_recorded(
    "irregular",
    "steps of 0.3 to 5 s over two smooth courses: in lags of steps, both stretch and shrink together",
)
def irregular(rng: Rng, steps: int) -> Recorded:
    """Record smooth courses at lognormal steps."""
    return recorded(rng, lognormal_steps(rng, steps))


@_recorded("irregular-gamma", "steps of very different lengths (gamma, around 2 s) over two smooth courses")
def irregular_gamma(rng: Rng, steps: int) -> Recorded:
    """Record smooth courses at gamma steps."""
    return recorded(rng, gamma_steps(rng, steps))


@_recorded(
    "irregular-buckets", "batches of short and long sequences by turns: steps of half a second, then of three"
)
def irregular_buckets(rng: Rng, steps: int) -> Recorded:
    """Record smooth courses at steps that are short for a while, then long."""
    long = missed_in_bursts(rng, steps, 0.4, 15.0)
    return recorded(rng, np.where(long, 3.0, 0.5) * np.exp(0.1 * rng.standard_normal(steps)))
