"""Coupled: y answers x at one lag, under whatever lies over it."""

from functools import partial

import numpy as np
from thermograd.analysis.arrays import Mask
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.bursts import restless
from thermograd.analysis.calibration.zoo.gaps import missed, missed_in_bursts
from thermograd.analysis.calibration.zoo.memory import cont
from thermograd.analysis.calibration.zoo.process import Maker, Pair, Rng
from thermograd.analysis.calibration.zoo.signals import (
    WARM_UP,
    autoregressive,
    decay,
    delayed,
    heating,
    held,
    standardised,
    without,
)
from thermograd.analysis.calibration.zoo.trends import driver

_LAG = 5
_coupling = partial(process.coupling, group="one lag", response="one lag", lag_s=_LAG)


def cont_trend(rng: Rng, m: int, rho: float, lag: int) -> Pair:
    """Return `cont` under opposite trends, the sensor in whole degrees."""
    base = cont(rng, m, rho, lag, 0.7)
    return Pair(decay(rng, m) + 0.3 * base.x, np.round(heating(rng, m) + base.y))


def spike(rng: Rng, m: int, size: float, lag: int = 4) -> Pair:
    """Return an x with rare spikes, each heating y by `size` innovation deviations `lag` bins later."""
    struck = (rng.random(m) < 0.05) * rng.uniform(3.0, 6.0, m)
    heat = np.append(np.zeros(lag), (struck > 0)[: m - lag] * size)
    return Pair(
        autoregressive(rng.standard_normal(m) + struck, 0.5),
        autoregressive(rng.standard_normal(m) + heat, 0.9),
    )


def couplings(max_lag: int = 12) -> dict[str, tuple[Maker, int]]:
    """Return coupled processes with their true lag in bins, all of it inside the lags searched."""
    lag, near, nearest = (min(bins, max_lag) for bins in (5, 4, 3))
    return {
        "cont .1": (partial(cont, rho=0.1, lag=lag), lag),
        "cont .2": (partial(cont, rho=0.2, lag=lag), lag),
        "cont .3": (partial(cont, rho=0.3, lag=lag), lag),
        "cont_trend .3": (partial(cont_trend, rho=0.3, lag=lag), lag),
        "spike 2": (partial(spike, size=2.0, lag=near), near),
        "driver+c .3": (partial(driver, rho=0.3, lag=nearest), nearest),
    }


_coupling("cont .1", "the innovations correlate by .1 at 5 s: too little for a run of minutes", rho=0.1)(
    partial(cont, rho=0.1, lag=_LAG)
)
_coupling(
    "cont .2", "the innovations correlate by .2 at 5 s: the least that a run of minutes should show", rho=0.2
)(partial(cont, rho=0.2, lag=_LAG))
_coupling("cont .3", "the innovations correlate by .3 at 5 s: the method's own home", rho=0.3)(
    partial(cont, rho=0.3, lag=_LAG)
)
_coupling("cont .5", "the innovations correlate by .5 at 5 s: hard to miss", rho=0.5)(
    partial(cont, rho=0.5, lag=_LAG)
)
_coupling(
    "cont_trend .3",
    "correlation .3 under opposite trends, in whole degrees: the trends are ten times as large",
    rho=0.3,
)(partial(cont_trend, rho=0.3, lag=_LAG))
_coupling("spike 2", "each spike heats by 2 sd, 4 s later: few bins hold all there is", lag_s=4)(
    partial(spike, size=2.0)
)
_coupling(
    "driver+c .3",
    "correlation .3 on top of a load that drives both: taking out the load must leave it (logged)",
    rho=0.3,
    lag_s=3,
)(partial(driver, rho=0.3))
_coupling("lead", "the hardware leads: x follows y by 5 s, correlation .3", rho=0.3, lag_s=-_LAG)(
    partial(cont, rho=0.3, lag=-_LAG)
)


@_coupling(
    "missing15",
    "correlation .3 at 5 s with 15 % of the bins missing: closed holes spread one lag over several",
    rho=0.3,
)
def missing(rng: Rng, m: int) -> Pair:
    """Return `cont` with holes."""
    return _with_holes(cont(rng, m, 0.3, _LAG), missed(rng, m))


@_coupling(
    "missing-bursts",
    "correlation .3 at 5 s, 15 % of the bins missing in stretches: whole answers are lost",
    rho=0.3,
)
def missing_bursts(rng: Rng, m: int) -> Pair:
    """Return `cont` with holes that come in bursts."""
    return _with_holes(cont(rng, m, 0.3, _LAG), missed_in_bursts(rng, m))


def _with_holes(pair: Pair, holes: Mask) -> Pair:
    return Pair(without(pair.x, holes), without(pair.y, holes))


def restless_cont(rng: Rng, m: int, rho: float, stretches: int, lag: int = _LAG) -> Pair:
    """Return innovations that correlate by rho, both restless in the same stretches, AR(.5)."""
    before = rng.standard_normal(m)
    after = rho * delayed(before, lag) + np.sqrt(1 - rho**2) * rng.standard_normal(m)
    volatility = restless(rng, m, stretches=stretches)
    return Pair(autoregressive(before * volatility, 0.5), autoregressive(after * volatility, 0.5))


_coupling(
    "burst.3", "correlation .3 at 5 s, both restless in one stretch: it weighs as much as the rest", rho=0.3
)(partial(restless_cont, rho=0.3, stretches=1))
_coupling(
    "bursts.3", "correlation .3 at 5 s, both restless in four stretches: few products carry the sum", rho=0.3
)(partial(restless_cont, rho=0.3, stretches=4))


@_coupling("held5-coupled", "correlation .3 at 5 s, both held for 5 s: the lag blurs", rho=0.3)
def held_cont(rng: Rng, m: int, rho: float = 0.3) -> Pair:
    """Return `cont` with both sides shown every 5 bins only."""
    pair = cont(rng, m, rho, _LAG)
    x, y = (held(values, 5, int(rng.integers(5))) for values in (pair.x, pair.y))
    return Pair(x, y)


def in_degrees(rng: Rng, m: int, rho: float, lag: int = _LAG, sd: float = 0.5) -> Pair:
    """Return `cont` with y in whole degrees, of which it moves by `sd`."""
    x, y, *_ = cont(rng, m, rho, lag, 0.7)
    return Pair(x, np.round(60.0 + rng.uniform() + sd * standardised(y)))


_coupling(
    "degrees.2",
    "correlation .2 at 5 s of a device that moves by half a degree, in whole ones: rounding weakens it",
    rho=0.2,
)(partial(in_degrees, rho=0.2))
_coupling(
    "degrees.3",
    "correlation .3 at 5 s of a device that moves by half a degree, in whole ones: rounding weakens it",
    rho=0.3,
)(partial(in_degrees, rho=0.3))


def noisy_sensor(rng: Rng, m: int, rho: float = 0.3, lag: int = _LAG) -> Pair:
    """Return `cont` with sensor noise on y as large as its signal."""
    x, y, *_ = cont(rng, m, rho, lag)
    return Pair(x, standardised(y) + rng.standard_normal(m))


_coupling(
    "noisy-sensor",
    "correlation .3 at 5 s, sensor noise as large as the signal: half of each surprise is the sensor",
    rho=0.3,
)(noisy_sensor)


@_coupling(
    "heavy-tails",
    "correlation .3 at 5 s of heavy-tailed innovations: a few bins weigh most",
    rho=0.3,
)
def heavy_tails(rng: Rng, m: int, rho: float = 0.3) -> Pair:
    """Return AR(.9) series of correlated t3 innovations."""
    before, noise = rng.standard_t(3, (2, WARM_UP + m)) / np.sqrt(3.0)
    after = rho * delayed(before, _LAG) + np.sqrt(1 - rho**2) * noise
    return Pair(autoregressive(before, 0.9)[WARM_UP:], autoregressive(after, 0.9)[WARM_UP:])
