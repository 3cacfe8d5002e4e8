"""Coupled: y answers x slowly, as a heat sink does, through a memory of many seconds."""

from functools import partial

import numpy as np
import scipy.linalg
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.gaps import missed
from thermograd.analysis.calibration.zoo.process import Pair, Rng
from thermograd.analysis.calibration.zoo.signals import (
    autoregressive,
    averaged,
    decay,
    heating,
    remembering,
    standardised,
    without,
)
from thermograd.analysis.coupling.cleaning.residuals import trend_basis, trend_order

_coupling = partial(process.coupling, group="slow responses", response="slow")


def response_of(x: Floats, tau: float) -> Floats:
    """Return what a body with a time constant in bins, heated by x, makes of it; sd 1."""
    return standardised(autoregressive(x, np.exp(-1.0 / tau)))


def under_noise(rng: Rng, m: int, tau: float, r: float, phi: float = 0.3) -> Pair:
    """Return AR(.3) x and its response, which correlates with y by r, under white sensor noise."""
    x, response = _driven(rng, m, tau, phi)
    return Pair(x, r * response + np.sqrt(1.0 - r**2) * rng.standard_normal(m))


def _driven(rng: Rng, m: int, tau: float, phi: float = 0.3) -> tuple[Floats, Floats]:
    """Return m bins of x and of its response, which began long before."""
    before = round(5 * tau)
    x = remembering(rng, before + m, phi)
    return x[before:], standardised(autoregressive(x, np.exp(-1.0 / tau))[before:])


def after_trends(rng: Rng, m: int, tau: float, r: float) -> Pair:
    """Return x and its response under opposite trends; detrended, y and the response correlate by r."""
    x, response = _driven(rng, m, tau)
    return Pair(decay(rng, m) + 0.3 * x, heating(rng, m) + _correlated(rng, response, r))


def _correlated(rng: Rng, response: Floats, r: float) -> Floats:
    """Return a y whose correlation with a response, both detrended, is r on average."""
    seen, noise = (standardised(_detrended(part)) for part in (response, rng.standard_normal(response.size)))
    return np.asarray(r * seen + np.sqrt(1.0 - r**2) * noise)


def _detrended(values: Floats) -> Floats:
    trend = trend_basis(values.size, trend_order(values.size))
    return np.asarray(values - trend @ scipy.linalg.lstsq(trend, values)[0])


for _tau in (10, 30, 60):
    _coupling(
        f"slow{_tau}-trends",
        f"heat arrives with a memory of {_tau} s under trends: spread so thin that no one lag shows it",
        rho=0.3,
        memory_s=_tau,
    )(partial(after_trends, tau=_tau, r=0.3))
for _r in (0.3, 0.5):
    _coupling(
        f"slow30-noise{_r:g}".replace("0.", "."),
        f"a memory of 30 s, correlation {_r:g} with it, read through white sensor noise".replace("0.", "."),
        rho=_r,
        memory_s=30,
    )(partial(under_noise, tau=30.0, r=_r))


@_coupling(
    "slow30-degrees",
    "a memory of 30 s of a device that moves by half a degree, in whole ones: most answers round away",
    rho=0.3,
    memory_s=30,
)
def slow_degrees(rng: Rng, m: int) -> Pair:
    """Return a slow response of .3 after detrending, rounded."""
    x, response = _driven(rng, m, 30.0)
    return Pair(x, np.round(60.0 + rng.uniform() + 0.5 * _correlated(rng, response, 0.3)))


@_coupling(
    "slow20-gaps",
    "a memory of 20 s, correlation .4, with 15 % of the bins missing",
    rho=0.4,
    memory_s=20,
)
def slow_gaps(rng: Rng, m: int) -> Pair:
    """Return a slow response with holes."""
    x, y, *_ = under_noise(rng, m, 20.0, 0.4)
    holes = missed(rng, m)
    return Pair(without(x, holes), without(y, holes))


@_coupling(
    "two-stages",
    "a die of 5 s on a heat sink of 40 s: heat that arrives twice, correlation .4",
    rho=0.4,
    memory_s=40,
)
def two_stages(rng: Rng, m: int) -> Pair:
    """Return x and the sum of a quick and a slow response, under white noise."""
    x = remembering(rng, 200 + m, 0.3)
    response = standardised((response_of(x, 5.0) + response_of(x, 40.0))[200:])
    return Pair(x[200:], 0.4 * response + np.sqrt(1.0 - 0.4**2) * rng.standard_normal(m))


@_coupling(
    "cooling30",
    "the device cools where the norm is high: a memory of 30 s, correlation -.5",
    rho=-0.5,
    memory_s=30,
)
def cooling(rng: Rng, m: int) -> Pair:
    """Return the negative of a slow response, under white noise."""
    return under_noise(rng, m, 30.0, -0.5)


@_coupling(
    "spread13",
    "an answer spread evenly over 13 s, correlation .4: a little at every lag",
    rho=0.4,
    memory_s=13,
)
def spread(rng: Rng, m: int) -> Pair:
    """Return x and its rolling mean over 13 bins, under white noise."""
    x = remembering(rng, 12 + m, 0.3)
    response = standardised(averaged(x, 13))
    return Pair(x[12:], 0.4 * response + np.sqrt(1.0 - 0.4**2) * rng.standard_normal(m))
