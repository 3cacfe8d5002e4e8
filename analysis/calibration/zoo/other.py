"""Coupled in ways that neither one lag nor one slow response describes."""

from functools import partial

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.memory import cont
from thermograd.analysis.calibration.zoo.process import Pair, Rng
from thermograd.analysis.calibration.zoo.signals import autoregressive, delayed, standardised

_LAG = 5
_coupling = partial(process.coupling, group="other couplings", response="other")


def _from(before: Floats, answer: Floats, rng: Rng, rho: Floats | float, phi: float = 0.7) -> Pair:
    """Return AR series: x of its innovations, y of an answer of sd 1 by rho and of noise."""
    after = rho * answer + np.sqrt(1.0 - np.square(rho)) * rng.standard_normal(before.size)
    return Pair(autoregressive(before, phi), autoregressive(after, phi))


@_coupling(
    "size-only",
    "only the size of a surprise in x moves y: up and down cancel, correlation of the size .3",
    rho=0.3,
    lag_s=_LAG,
)
def size_only(rng: Rng, m: int) -> Pair:
    """Return a y that answers |innovation of x|."""
    before = rng.standard_normal(m)
    return _from(before, standardised(delayed(np.abs(before), _LAG)), rng, 0.3)


@_coupling(
    "sign-change",
    "correlation .3 at 5 s in the first half, -.3 in the second: the sum is nothing",
    rho=0.3,
    lag_s=_LAG,
)
def sign_change(rng: Rng, m: int) -> Pair:
    """Return a coupling that turns round at half time."""
    before = rng.standard_normal(m)
    return _from(before, delayed(before, _LAG), rng, np.where(np.arange(m) < m // 2, 0.3, -0.3))


@_coupling("lag-drift", "correlation .3 at a lag that drifts from 2 to 10 s: no lag holds all of it", rho=0.3)
def lag_drift(rng: Rng, m: int) -> Pair:
    """Return a coupling whose lag grows over the run."""
    before = rng.standard_normal(m)
    source = np.arange(m) - np.round(np.linspace(2, 10, m)).astype(np.int64)
    return _from(before, np.where(source >= 0, before[np.maximum(source, 0)], 0.0), rng, 0.3)


_coupling("lag20", "correlation .3 at 20 s: beyond the lags that are searched", rho=0.3, lag_s=20)(
    partial(cont, rho=0.3, lag=20)
)


@_coupling(
    "volatility", "x sets how restless y is 5 s later, not where it goes: no product shows it", lag_s=_LAG
)
def volatility(rng: Rng, m: int) -> Pair:
    """Return a y whose innovations grow and shrink with x."""
    before = rng.standard_normal(m)
    x = autoregressive(before, 0.7)
    restless = np.exp(0.5 * standardised(delayed(x, _LAG)))
    return Pair(x, autoregressive(restless * rng.standard_normal(m), 0.7))


@_coupling(
    "quarter", "correlation .6 at 5 s in one quarter of the run: the rest thins it out", rho=0.6, lag_s=_LAG
)
def quarter(rng: Rng, m: int) -> Pair:
    """Return a coupling that holds in a stretch at random."""
    before, first = rng.standard_normal(m), int(rng.integers(m - m // 4))
    inside = (np.arange(m) >= first) & (np.arange(m) < first + m // 4)
    return _from(before, delayed(before, _LAG), rng, np.where(inside, 0.6, 0.0))


@_coupling(
    "threshold",
    "y answers only the surprises of x above 1 sd, by .3: most of x does nothing",
    rho=0.3,
    lag_s=_LAG,
)
def threshold(rng: Rng, m: int) -> Pair:
    """Return a y that answers the large positive innovations of x."""
    before = rng.standard_normal(m)
    return _from(before, standardised(delayed((before - 1.0).clip(0.0), _LAG)), rng, 0.3)
