"""Nothing is coupled; bins are missing, steps are irregular, or are slowed by either side."""

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
    x = 3.0 * decay(rng, m) + 0.04 * remembering(rng, m, 0.5)
    return Pair(x, 3.0 * heating(rng, m) + 0.15 * remembering(rng, m, 0.5))


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
    "steep opposite trends with 15 % of the bins missing: a closed hole is a step in both",
)
def trendgaps(rng: Rng, m: int) -> Pair:
    """Return opposite trends with holes."""
    return _with(steep(rng, m), missed(rng, m))


@_null("gaps30", "smooth courses with 30 % of the bins missing: hardly any row has its true neighbour")
def gaps30(rng: Rng, m: int) -> Pair:
    """Return smooth courses with many holes."""
    return _with(courses(rng, m), missed(rng, m, 0.3))


@_null(
    "gapbursts",
    "steep opposite trends with bins missing for some 8 s at a time: a closed hole is a large common step",
)
def gapbursts(rng: Rng, m: int) -> Pair:
    """Return opposite trends with holes that come in bursts."""
    return _with(steep(rng, m), missed_in_bursts(rng, m))


@_null(
    "gaps-each", "smooth courses, each missing 10 % of the bins by itself: the rows of both shift differently"
)
def gaps_each(rng: Rng, m: int) -> Pair:
    """Return smooth courses with holes of their own."""
    pair = courses(rng, m)
    return Pair(without(pair.x, missed(rng, m, 0.1)), without(pair.y, missed(rng, m, 0.1)))


@_null(
    "evaluations",
    "no steps for 10 s every two minutes, and a device that cools and warms up: pauses shape both",
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


def recorded(rng: Rng, step_time_s: Floats, sampled_hz: float | None = None, noise: float = 0.3) -> Recorded:
    """Record two smooth independent courses at the ends of these steps, the sensor also between them."""
    ends = np.cumsum(step_time_s)
    fine = np.arange(int(ends[-1] * _PER_S) + 2) / _PER_S
    times = ends if sampled_hz is None else np.arange(int(ends[-1] * sampled_hz) + 1) / sampled_hz
    x, y = (
        np.interp(at, fine, smooth(rng, fine.size, 20.0 * _PER_S) / _PER_S)
        + noise * rng.standard_normal(at.size)
        for at in (ends, times)
    )
    return recorded_at(step_time_s, x, y, times)


def recorded_at(step_time_s: Floats, x: Floats, y: Floats, sample_times_s: Floats | None = None) -> Recorded:
    """Return a value a step of x, and of y at times of its own or at the ends of the steps."""
    ends = np.cumsum(step_time_s)
    return Recorded(_ns(ends), x, step_time_s, _ns(ends if sample_times_s is None else sample_times_s), y)


def _ns(seconds: Floats) -> Times:
    return np.round(seconds * 1e9).astype(np.int64)


@_recorded(
    "irregular",
    "smooth courses logged once a step, of 0.3 to 5 s: counted in rows, both stretch and shrink together",
)
def irregular(rng: Rng, steps: int) -> Recorded:
    """Record smooth courses at lognormal steps."""
    return recorded(rng, lognormal_steps(rng, steps))


@_recorded(
    "irregular-sampled",
    "steps of 0.3 to 5 s beside a sensor read five times a second: each value averages another span",
)
def irregular_sampled(rng: Rng, steps: int) -> Recorded:
    """Record smooth courses at lognormal steps and at 5 Hz."""
    return recorded(rng, lognormal_steps(rng, steps), 5.0, noise=0.1)


@_recorded(
    "irregular-gamma",
    "smooth courses logged once a step, of gamma lengths around 2 s: many short, some very long",
)
def irregular_gamma(rng: Rng, steps: int) -> Recorded:
    """Record smooth courses at gamma steps."""
    return recorded(rng, gamma_steps(rng, steps))


@_recorded(
    "irregular-buckets",
    "smooth courses logged once a step, of 0.5 s for a while, then of 3 s: the clock changes gear",
)
def irregular_buckets(rng: Rng, steps: int) -> Recorded:
    """Record smooth courses at steps that are short for a while, then long."""
    long = missed_in_bursts(rng, steps, 0.4, 15.0)
    return recorded(rng, np.where(long, 3.0, 0.5) * np.exp(0.1 * rng.standard_normal(steps)))


# Nothing is coupled but by the step time: training moves it, hardware moves it, or both do.

_slowing = partial(process.recorded_null, group="step times")
_TYPICAL_S, _SPREAD = 0.65, 0.13  # of a step, and of its logarithm: nearly all are shorter than a bin
_KEPT = 0.7  # of the hardware from one second to the next


def _step_time_s(slowness: Floats) -> Floats:
    return np.asarray(_TYPICAL_S * np.exp(_SPREAD * slowness.clip(-3.0, 3.0)))


def _seconds(steps: int) -> int:
    return int(steps * _TYPICAL_S * np.exp(3.0 * _SPREAD)) + 2


def _slowed(rng: Rng, steps: int, by_batch: Floats, by_heat: Floats) -> tuple[Floats, Floats]:
    """Return step times that batches, shape (steps,), and the heat of the second slow, and the heat then."""
    own, now = 0.4 * rng.standard_normal(steps), 0.0
    step_time_s, heat = np.empty((2, steps))
    for step in range(steps):
        heat[step] = by_heat[int(now)]
        step_time_s[step] = float(_step_time_s(by_batch[step] + heat[step] + own[step]))
        now += step_time_s[step]
    return step_time_s, heat


def _sampled(rng: Rng, step_time_s: Floats, x: Floats, heat: Floats) -> Recorded:
    """Record the heat at the end of every second."""
    seconds = np.arange(1.0, np.floor(step_time_s.sum()))
    return recorded_at(step_time_s, x, heat[: seconds.size], seconds)


@_slowing(
    "collider",
    "long sequences slow the steps, and so does a hot device: at one step time one makes up for the other",
)
def collider(rng: Rng, steps: int) -> Recorded:
    """Record independent series that both slow the steps."""
    hard, heat = rng.standard_normal(steps), remembering(rng, _seconds(steps), _KEPT)
    step_time_s, _ = _slowed(rng, steps, hard, heat)
    return _sampled(rng, step_time_s, hard + 0.3 * rng.standard_normal(steps), heat)


@_slowing(
    "through-step-time",
    "a hard batch takes longer, and a device cools in a long step: the norm itself heats nothing",
)
def through_step_time(rng: Rng, steps: int) -> Recorded:
    """Record a heat that answers the step time, which answers x."""
    hard = rng.standard_normal(steps)
    slowness = 0.7 * hard + 0.7 * rng.standard_normal(steps)
    step_time_s = _step_time_s(slowness)
    ends = np.cumsum(step_time_s)
    running = np.searchsorted(ends, np.arange(ends[-1]), side="right").clip(max=steps - 1)
    cooling = autoregressive(rng.standard_normal(running.size) - slowness[running], _KEPT)
    return _sampled(rng, step_time_s, hard, cooling)


@_slowing(
    "behind-step-time",
    "a hot device slows the steps, and what is counted by the second shrinks with them: heat moves no norm",
)
def behind_step_time(rng: Rng, steps: int) -> Recorded:
    """Record an x that answers the step time, which answers the heat."""
    heat = remembering(rng, _seconds(steps), _KEPT)
    step_time_s, _ = _slowed(rng, steps, 0.5 * rng.standard_normal(steps), heat)
    x = -np.log(step_time_s / _TYPICAL_S) / _SPREAD + rng.standard_normal(steps)
    return _sampled(rng, step_time_s, x, heat)
