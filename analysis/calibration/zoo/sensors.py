"""Nothing is coupled; the sensors and loggers average, hold, round or lag behind."""

from functools import partial

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.memory import ar
from thermograd.analysis.calibration.zoo.process import Pair, Rng
from thermograd.analysis.calibration.zoo.signals import (
    WARM_UP,
    autoregressive,
    averaged,
    held,
    remembering,
    standardised,
)

_null = partial(process.null, group="sensors")


def boxcar(rng: Rng, m: int, window_x: int = 20, window_y: int = 20) -> Pair:
    """Return rolling means of white noise."""
    x, y = (averaged(rng.standard_normal(m + w - 1), w) for w in (window_x, window_y))
    return Pair(standardised(x), standardised(y))


_null(
    "boxcar20",
    "both are rolling means over 20 s, of a logger and of a sensor: no autoregression undoes a sharp window",
)(boxcar)
_null("boxcar15-20", "rolling means over 15 s and over 20 s: sharp windows of two lengths")(
    partial(boxcar, window_x=15)
)


@_null("triangle20", "means of means, a triangular window of 20 s: smooth without an autoregression")
def triangle(rng: Rng, m: int) -> Pair:
    """Return means of means of white noise."""
    x, y = (averaged(averaged(rng.standard_normal(m + 18), 10), 10) for _ in range(2))
    return Pair(standardised(x), standardised(y))


@_null(
    "ewma",
    "exponential means of 15 s under a little noise: the noise hides the memory",
)
def ewma(rng: Rng, m: int) -> Pair:
    """Return smoothed AR(.5) series under noise."""
    return Pair(_ewma(rng, m), _ewma(rng, m))


def _ewma(rng: Rng, m: int, kept: float = 1 - 1 / 15) -> Floats:
    noise = autoregressive(rng.standard_normal(WARM_UP + m), 0.5)
    return standardised(autoregressive(noise, kept)[WARM_UP:]) + 0.2 * rng.standard_normal(m)


@_null("held5", "both show a new value every 5 s only: each value counts five times")
def held_both(rng: Rng, m: int) -> Pair:
    """Return AR(.9) series, both held for 5 bins with phases of their own."""
    pair = ar(rng, m, 0.9)
    x, y = (held(values, 5, int(rng.integers(5))) for values in (pair.x, pair.y))
    return Pair(x, y)


@_null("held5-together", "both are refreshed every 5 s, at the same second: their jumps coincide")
def held_together(rng: Rng, m: int) -> Pair:
    """Return AR(.5) series, both held for 5 bins."""
    pair, phase = ar(rng, m, 0.5), int(rng.integers(5))
    return Pair(held(pair.x, 5, phase), held(pair.y, 5, phase))


@_null("deadband", "a sensor that moves only when its reading is a whole step off: long stays, then jumps")
def deadband(rng: Rng, m: int) -> Pair:
    """Return AR(.5) x beside an AR(.95) y that is shown only where it has moved by 1 sd."""
    y = standardised(remembering(rng, m, 0.95))
    shown = np.empty(m)
    last = y[0]
    for t, value in enumerate(y):
        last = value if abs(value - last) > 1.0 else last
        shown[t] = last
    return Pair(remembering(rng, m, 0.5), shown)


@_null(
    "degrees",
    "whole degrees of a device that moves by half a degree: mostly one value, sometimes its neighbour",
)
def degrees(rng: Rng, m: int) -> Pair:
    """Return AR(.7) x beside an AR(.9) y of sd .5 in whole degrees."""
    y = 60.0 + rng.uniform() + 0.5 * standardised(remembering(rng, m, 0.9))
    return Pair(remembering(rng, m, 0.7), np.round(y))
