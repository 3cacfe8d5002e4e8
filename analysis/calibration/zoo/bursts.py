"""Nothing is coupled; both have spikes, bursts, or a variance that changes."""

from functools import partial

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.process import Pair, Rng
from thermograd.analysis.calibration.zoo.signals import WARM_UP, autoregressive

_null = partial(process.null, group="bursts")


def spiked(rng: Rng, m: int) -> Floats:
    """Return a series with rare huge spikes."""
    spikes = (rng.random(m) < 0.02) * (1.0 + rng.pareto(1.5, m)).clip(max=50)
    return autoregressive(rng.standard_normal(m) + 2.0 * spikes, 0.5)


@_null("heavy", "rare huge spikes beside heavy-tailed bursts: a handful of bins decides the correlation")
def heavy(rng: Rng, m: int) -> Pair:
    """Return rare huge spikes in x, bursts of heavy-tailed noise in y."""
    x = spiked(rng, m)
    restless = 1.0 + 3.0 * (autoregressive(rng.standard_normal(m), 0.9) > 2.5)
    return Pair(x, autoregressive(rng.standard_t(3, m) * restless, 0.8))


@_null("hetero", "both calm down over the run: its first minutes weigh as much as all the rest")
def hetero(rng: Rng, m: int) -> Pair:
    """Return two independent series whose volatilities both fall, to an eighth."""
    volatility = np.exp(np.linspace(0.0, -np.log(8.0), m))
    noise = rng.standard_normal((2, m)) * volatility
    return Pair(autoregressive(noise[0], 0.3), autoregressive(noise[1], 0.8))


def restless(rng: Rng, m: int, size: float = 5.0, stretches: int = 1) -> Floats:
    """Return a volatility of 1 that is `size` in stretches of a tenth of the bins in all."""
    length = max(10, m // (10 * stretches))
    volatility = np.ones(m)
    for first in rng.integers(m // 8, m - m // 8 - length, stretches):
        volatility[first : first + length] = size
    return volatility


@_null(
    "burst", "both get restless in the same stretch: large meets large there, with signs that agree by luck"
)
def burst(rng: Rng, m: int, size: float = 5.0) -> Pair:
    """Return two independent series that get restless in the same stretch (40 of 400 bins)."""
    volatility = restless(rng, m, size)
    noise = rng.standard_normal((2, m)) * volatility
    return Pair(autoregressive(noise[0], 0.3), autoregressive(noise[1], 0.6))


@_null(
    "bursts", "both get restless in the same four short stretches, so that few products make up the whole sum"
)
def bursts(rng: Rng, m: int) -> Pair:
    """Return two independent series that get restless in the same stretches."""
    noise = rng.standard_normal((2, m)) * restless(rng, m, stretches=4)
    return Pair(autoregressive(noise[0], 0.3), autoregressive(noise[1], 0.6))


@_null("coll", "spikes of the norm beside a rare clustered flag: most bins of the flag say nothing at all")
def coll(rng: Rng, m: int) -> Pair:
    """Return a spiky x and a rare clustered flag y."""
    flags = _switching(rng, m, 0.03, 0.3)
    return Pair(spiked(rng, m), flags)


def _switching(rng: Rng, m: int, begins: float, ends: float) -> Floats:
    """Return a flag that goes up and down at random."""
    state, flags = False, np.zeros(m)
    for t, chance in enumerate(rng.random(m)):
        state = bool(chance < (1.0 - ends if state else begins))
        flags[t] = state
    return flags


@_null("telegraph", "both jump at random between two levels: two long stays side by side look like agreement")
def telegraph(rng: Rng, m: int) -> Pair:
    """Return two random telegraph signals, x under noise."""
    x, y = _switching(rng, m, 0.05, 0.05), _switching(rng, m, 0.05, 0.05)
    return Pair(2.0 * x + 0.5 * rng.standard_normal(m), y)


@_null(
    "skewed-bursts",
    "both jump up at random and fade: only upward shocks, so that chance meetings all agree in sign",
)
def skewed_bursts(rng: Rng, m: int) -> Pair:
    """Return two AR series of skewed shocks."""
    shocks = rng.gamma(0.3, 2.0, (2, WARM_UP + m))
    x, y = autoregressive(shocks, 0.8)[:, WARM_UP:]
    return Pair(x, y)


@_null(
    "shared-outliers",
    "wild values at the same seconds on both sides, with independent signs, as of one loaded host",
)
def shared_outliers(rng: Rng, m: int) -> Pair:
    """Return two series with outliers of 8 sd at common times."""
    when = rng.random(m) < 0.02
    noise = rng.standard_normal((2, m)) * np.where(when, 8.0, 1.0)
    return Pair(autoregressive(noise[0], 0.3), autoregressive(noise[1], 0.6))


@_null("clipped-cauchy", "noise without a variance, cut off by the end of the scale: the cut values rule")
def clipped_cauchy(rng: Rng, m: int) -> Pair:
    """Return two AR series of Cauchy noise within 20."""
    x, y = autoregressive(rng.standard_cauchy((2, WARM_UP + m)).clip(-20, 20), 0.5)[:, WARM_UP:]
    return Pair(x, y)


@_null(
    "garch",
    "both have quiet and wild times of their own, wilder after a fall: the size remembers, the sign does not",
)
def garch(rng: Rng, m: int) -> Pair:
    """Return two independent GARCH(1, 1) series with leverage."""
    return Pair(_garch(rng, m), _garch(rng, m))


def _garch(rng: Rng, m: int) -> Floats:
    z, variance, last = np.empty(WARM_UP + m), 1.0, 0.0
    for t, shock in enumerate(rng.standard_normal(z.size)):
        variance = 0.05 + (0.05 + 0.2 * (last < 0)) * last**2 + 0.8 * variance
        z[t] = last = np.sqrt(variance) * shock
    return z[WARM_UP:]
