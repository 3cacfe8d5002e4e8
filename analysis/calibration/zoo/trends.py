"""Nothing is coupled; both change their level: trends, single events, a load in common."""

from functools import partial

import numpy as np
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.memory import ar, cont
from thermograd.analysis.calibration.zoo.process import Pair, Rng
from thermograd.analysis.calibration.zoo.signals import (
    autoregressive,
    decay,
    heating,
    risen,
    smooth,
    standardised,
)

_null = partial(process.null, group="trends")


@_null(
    "trend",
    "a falling norm and a heating device: over one run everything that falls mirrors everything that rises",
)
def trend(rng: Rng, m: int) -> Pair:
    """Return a falling norm and a heating device, independent, the sensor in whole degrees."""
    noise = ar(rng, m, 0.5)
    return Pair(decay(rng, m) + 0.3 * noise.x, np.round(heating(rng, m) + 0.5 * ar(rng, m, 0.9).y))


@_null(
    "kink", "a learning rate drop and a fan step at different times: two steps make one strong correlation"
)
def kink(rng: Rng, m: int) -> Pair:
    """Return a learning rate drop in x and a fan step in y, at independent times."""
    drop, step = rng.integers(m // 4, 3 * m // 4, 2)
    base = ar(rng, m, 0.7)
    return Pair(base.x - 4.0 * risen(m, drop, 0.1), base.y - 6.0 * risen(m, step, 8.0))


@process.coupling(
    "shared-kink",
    "one event shakes both sides once: a single coincidence outweighs everything else",
    "trends",
    response="once",
)
def coincident_kink(rng: Rng, m: int, size: float = 7.0) -> Pair:
    """Return a sharp drop in x and, 2 to 5 bins later, a sharp drop in y: one event, no coupling."""
    drop = int(rng.integers(m // 4, 3 * m // 4))
    base = ar(rng, m, 0.7)
    later = drop + int(rng.integers(2, 6))
    return Pair(base.x - size * risen(m, drop, 0.1), base.y - 1.5 * size * risen(m, later, 1.0))


@_null("courses", "two smooth independent courses under little noise: hills of like length meet by chance")
def courses(rng: Rng, m: int) -> Pair:
    """Return two integrated Ornstein-Uhlenbeck courses of 20 s with noise."""
    x, y = (3.0 * standardised(smooth(rng, m, 20.0)) for _ in range(2))
    return Pair(x + 0.5 * rng.standard_normal(m), y + 0.5 * rng.standard_normal(m))


@_null(
    "driver",
    "a varying load drives both: they move together and neither moves the other (the load is logged)",
)
def driver(rng: Rng, m: int, rho: float = 0.0, lag: int = 3) -> Pair:
    """Return an observed utilisation that drives both series, plus a coupling by rho at a lag."""
    load = autoregressive(rng.standard_normal(m), 0.8)
    base = cont(rng, m, rho, lag, 0.7)
    late = np.append(np.zeros(1), load[:-1])
    return Pair(base.x + 0.8 * load, base.y + autoregressive(0.8 * late, 0.7), load[:, None])
