"""Two of the others at once: nothing coupled under two disguises, or a coupling under one."""

from functools import partial

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.gaps import lognormal_steps, missed, recorded_at
from thermograd.analysis.calibration.zoo.memory import cont, memswitch
from thermograd.analysis.calibration.zoo.process import Pair, Recorded, Rng
from thermograd.analysis.calibration.zoo.rhythms import cycle, pulses
from thermograd.analysis.calibration.zoo.sensors import boxcar
from thermograd.analysis.calibration.zoo.signals import (
    averaged,
    changing,
    decay,
    delayed,
    heating,
    remembering,
    standardised,
    without,
)
from thermograd.analysis.calibration.zoo.slow import under_noise

_LAG = 5
_null = partial(process.null, group="mixtures")
_coupling = partial(process.coupling, group="coupled mixtures", response="one lag", lag_s=_LAG)


def _under_trends(rng: Rng, pair: Pair) -> Pair:
    m = pair.x.size
    return Pair(decay(rng, m) + 0.3 * pair.x, heating(rng, m) + pair.y)


def _with_holes(rng: Rng, pair: Pair) -> Pair:
    holes = missed(rng, pair.x.size)
    return Pair(without(pair.x, holes), without(pair.y, holes))


@_null(
    "cycle24-trends",
    "a cycle of 24 batches under opposite trends: both must be taken out at once",
    cycle_s=24.0,
)
def cycle_trends(rng: Rng, m: int) -> Pair:
    """Return the cycle of 24 under trends."""
    return _under_trends(rng, cycle(rng, m, 24))


@_null("cycle24-gaps", "a cycle of 24 batches with 15 % of the bins missing: closed holes shift the pattern")
def cycle_gaps(rng: Rng, m: int) -> Pair:
    """Return the cycle of 24 with holes."""
    return _with_holes(rng, cycle(rng, m, 24))


@_null(
    "pulses20-degrees",
    "pulses every 20 s, the sensor in whole degrees: only the pulses leave the common value",
)
def pulses_degrees(rng: Rng, m: int) -> Pair:
    """Return pulses, y of half a degree in whole ones."""
    x, y, *_ = pulses(rng, m)
    return Pair(x, np.round(60.0 + rng.uniform() + 0.5 * standardised(y)))


@_null("boxcar20-gaps", "rolling means over 20 s with 15 % of the bins missing: a sharp window with holes")
def boxcar_gaps(rng: Rng, m: int) -> Pair:
    """Return rolling means with holes."""
    return _with_holes(rng, boxcar(rng, m))


@_null(
    "memswitch-trends",
    "a memory that switches at half time under opposite trends: slow swings pass for trend",
)
def memswitch_trends(rng: Rng, m: int) -> Pair:
    """Return a memory that changes, under trends."""
    return _under_trends(rng, memswitch(rng, m))


@process.recorded_null(
    "irregular-cycle",
    "24 batches, each as hard and as long in every epoch, a row a step: the clock itself has the rhythm",
    group="mixtures",
)
def irregular_cycle(rng: Rng, steps: int, size: float = 0.7) -> Recorded:
    """Record patterns of 24 steps, whose durations repeat as well."""
    hard, hot = size * rng.standard_normal((2, 24))
    batch = np.arange(steps) % 24
    step_time_s = lognormal_steps(rng, 24)[batch] * np.exp(0.05 * rng.standard_normal(steps))
    x, y = hard[batch] + rng.standard_normal(steps), hot[batch] + remembering(rng, steps, 0.5)
    return recorded_at(step_time_s, x, y)


def _answering(rng: Rng, m: int, rho: float) -> tuple[Floats, Floats]:
    """Return white series of which the second answers the first at the lag."""
    before, noise = rng.standard_normal((2, m))
    return before, rho * delayed(before, _LAG) + np.sqrt(1.0 - rho**2) * noise


@_coupling(
    "cycle24-coupled",
    "correlation .3 at 5 s under a cycle of 24 batches: two patterns over one answer",
    rho=0.3,
)
def cycle_coupled(rng: Rng, m: int) -> Pair:
    """Return a coupling with a pattern on each side."""
    (x, y), patterns = _answering(rng, m, 0.3), 0.7 * rng.standard_normal((2, 24))
    batch = np.arange(m) % 24
    return Pair(x + patterns[0][batch], y + patterns[1][batch])


@_coupling(
    "pulses20-coupled",
    "correlation .3 at 5 s under pulses every 20 s: rare large values over many small answers",
    rho=0.3,
)
def pulses_coupled(rng: Rng, m: int) -> Pair:
    """Return a coupling with pulses on both sides."""
    (x, y), ticking = _answering(rng, m, 0.3), pulses(rng, m, noise=0.0)
    return Pair(x + ticking.x, y + ticking.y)


@_coupling(
    "boxcar20-coupled",
    "correlation .5 at 5 s, both averaged over 20 s: few independent values are left",
    rho=0.5,
)
def boxcar_coupled(rng: Rng, m: int) -> Pair:
    """Return rolling means of a coupling."""
    x, y = _answering(rng, m + 19, 0.5)
    return Pair(averaged(x, 20), averaged(y, 20))


@_coupling("memswitch-coupled", "correlation .3 at 5 s, a memory of both that switches at half time", rho=0.3)
def memswitch_coupled(rng: Rng, m: int) -> Pair:
    """Return a coupling of innovations whose memory changes."""
    x, y = _answering(rng, m, 0.3)
    phi = np.where(np.arange(m) < m // 2, 0.0, 0.95)
    return Pair(changing(x, phi), changing(y, phi))


@process.coupling(
    "slow30-cycle24",
    "a memory of 30 s, correlation .5, under a cycle of 24 batches: the answer smears the pattern",
    "coupled mixtures",
    response="slow",
    rho=0.5,
    memory_s=30,
)
def slow_cycle(rng: Rng, m: int) -> Pair:
    """Return a slow response, with a pattern on each side."""
    (x, y, *_), patterns = under_noise(rng, m, 30.0, 0.5), 0.7 * rng.standard_normal((2, 24))
    batch = np.arange(m) % 24
    return Pair(x + patterns[0][batch], y + patterns[1][batch])


@process.recorded_coupling(
    "irregular-coupled",
    "correlation .5 at 5 s, steps of 0.3 to 5 s: a lag in seconds is no lag in rows",
    "coupled mixtures",
    response="one lag",
    rho=0.5,
    lag_s=_LAG,
)
def irregular_coupled(rng: Rng, steps: int) -> Recorded:
    """Record a coupling at lognormal steps, the sensor once a second."""
    step_time_s = lognormal_steps(rng, steps)
    ends = np.cumsum(step_time_s)
    seconds = int(ends[-1]) + 2
    x, y, *_ = cont(rng, seconds, 0.5, _LAG)
    return recorded_at(step_time_s, x[ends.astype(np.int64)], y[: seconds - 1], np.arange(1.0, seconds))
