"""Seeded pairs of series with known truth: uncoupled ones that look coupled, and coupled ones.

Everything is on the 1 Hz grid on which the tests work: x stands for log(grad_norm), y for a sensor.
Each maker takes (rng, m, ...) and returns a Pair. NULLS and COUPLINGS list them by name.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter
from thermograd.analysis.arrays import Floats

Rng = np.random.Generator

WARM_UP = 200


class Pair(NamedTuple):
    """Two series and, where the truth has them, the drivers a test must be told of."""

    x: Floats
    y: Floats
    drivers: Floats | None = None


Maker = Callable[[Rng, int], Pair]


def autoregressive(noise: Floats, phi: float) -> Floats:
    """Give innovations a memory: z(t) = phi z(t-1) + noise(t)."""
    return np.asarray(lfilter([1.0], [1.0, -phi], noise))


def ar(rng: Rng, m: int, phi: float = 0.9) -> Pair:
    """Return two independent AR(1) series."""
    x, y = autoregressive(rng.standard_normal((2, WARM_UP + m)), phi)[:, WARM_UP:]
    return Pair(x, y)


def decay(rng: Rng, m: int) -> Floats:
    """Return the course of a falling log grad norm."""
    return 2.0 * rng.uniform(0.7, 1.3) * np.exp(-np.arange(m) / (m * rng.uniform(0.15, 0.5)))


def heating(rng: Rng, m: int) -> Floats:
    """Return the course of a heating device with one thermal time constant, in degC."""
    return 45.0 + rng.uniform(12, 30) * (1.0 - np.exp(-np.arange(m) / (m * rng.uniform(0.15, 0.5))))


def trend(rng: Rng, m: int) -> Pair:
    """Return a falling norm and a heating device, independent, the sensor in whole degrees."""
    noise = ar(rng, m, 0.5)
    return Pair(decay(rng, m) + 0.3 * noise.x, np.round(heating(rng, m) + 0.5 * ar(rng, m, 0.9).y))


def kink(rng: Rng, m: int) -> Pair:
    """Return a learning rate drop in x and a fan step in y, at independent times."""
    drop, step = rng.integers(m // 4, 3 * m // 4, 2)
    base = ar(rng, m, 0.7)
    return Pair(base.x - 4.0 * _since(m, drop, 0.1), base.y - 6.0 * _since(m, step, 8.0))


def coincident_kink(rng: Rng, m: int, size: float = 7.0) -> Pair:
    """Return a sharp drop in x and, 2 to 5 bins later, a sharp drop in y: one event, no coupling."""
    drop = int(rng.integers(m // 4, 3 * m // 4))
    base = ar(rng, m, 0.7)
    later = drop + int(rng.integers(2, 6))
    return Pair(base.x - size * _since(m, drop, 0.1), base.y - 1.5 * size * _since(m, later, 1.0))


def _since(m: int, start: int, time_constant: float) -> Floats:
    """Return the rise from 0 to 1 that begins at a bin."""
    return 1.0 - np.exp(-(np.arange(m) - start + 1).clip(0) / time_constant)


def rw(rng: Rng, m: int) -> Pair:
    """Return two independent random walks."""
    x, y = np.cumsum(rng.standard_normal((2, m)), axis=1)
    return Pair(x, y)


def heavy(rng: Rng, m: int) -> Pair:
    """Return rare huge spikes in x, bursts of heavy-tailed noise in y."""
    spikes = (rng.random(m) < 0.02) * (1.0 + rng.pareto(1.5, m)).clip(max=50)
    x = autoregressive(rng.standard_normal(m) + 2.0 * spikes, 0.5)
    bursts = 1.0 + 3.0 * (autoregressive(rng.standard_normal(m), 0.9) > 2.5)
    return Pair(x, autoregressive(rng.standard_t(3, m) * bursts, 0.8))


def hetero(rng: Rng, m: int) -> Pair:
    """Return two independent series whose volatilities both fall, to an eighth."""
    volatility = np.exp(np.linspace(0.0, -np.log(8.0), m))
    noise = rng.standard_normal((2, m)) * volatility
    return Pair(autoregressive(noise[0], 0.3), autoregressive(noise[1], 0.8))


def burst(rng: Rng, m: int, size: float = 5.0) -> Pair:
    """Return two independent series that get restless in the same stretch (40 of 400 bins)."""
    length = max(10, m // 10)
    first = rng.integers(m // 8, m - m // 8 - length)
    volatility = np.ones(m)
    volatility[first : first + length] = size
    noise = rng.standard_normal((2, m)) * volatility
    return Pair(autoregressive(noise[0], 0.3), autoregressive(noise[1], 0.6))


def period(rng: Rng, m: int, length: float = 25.0) -> Pair:
    """Return two independent series with a period in common but random phases; drivers know it."""
    phase = 2.0 * np.pi * np.arange(m) / length
    shifts = rng.uniform(0, 2 * np.pi, 2)
    noise = ar(rng, m, 0.5)
    x = noise.x + 1.5 * np.sin(phase + shifts[0]) + 0.5 * np.sin(2 * phase + shifts[0])
    y = noise.y + 1.5 * np.sin(phase + shifts[1])
    harmonics = [wave(k * phase) for k in (1, 2) for wave in (np.sin, np.cos)]
    return Pair(x, y, np.column_stack(harmonics))


def coll(rng: Rng, m: int) -> Pair:
    """Return a spiky x and a rare clustered flag y."""
    state, flags = False, np.zeros(m)
    for t in range(m):
        state = bool(rng.random() < (0.7 if state else 0.03))
        flags[t] = state
    spikes = (rng.random(m) < 0.02) * (1.0 + rng.pareto(1.5, m)).clip(max=50)
    return Pair(autoregressive(rng.standard_normal(m) + 2.0 * spikes, 0.5), flags)


def driver(rng: Rng, m: int, rho: float = 0.0, lag: int = 3) -> Pair:
    """Return an observed utilisation that drives both series, plus a coupling by rho at a lag."""
    load = autoregressive(rng.standard_normal(m), 0.8)
    base = cont(rng, m, rho, lag, 0.7)
    delayed = np.append(np.zeros(1), load[:-1])
    return Pair(base.x + 0.8 * load, base.y + autoregressive(0.8 * delayed, 0.7), load[:, None])


def cont(rng: Rng, m: int, rho: float, lag: int, phi: float = 0.9) -> Pair:
    """Return AR(1) series whose innovations correlate by rho, y being `lag` bins behind x (ahead if < 0)."""
    if lag < 0:
        x, y, _ = cont(rng, m, rho, -lag, phi)
        return Pair(y, x)
    before = rng.standard_normal(WARM_UP + m)
    noise = rng.standard_normal(WARM_UP + m)
    delayed = np.append(np.zeros(lag), before[: before.size - lag])
    after = rho * delayed + np.sqrt(1.0 - rho**2) * noise
    return Pair(autoregressive(before, phi)[WARM_UP:], autoregressive(after, phi)[WARM_UP:])


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


NULLS: dict[str, Maker] = {
    "ar.5": partial(ar, phi=0.5),
    "ar.9": partial(ar, phi=0.9),
    "ar.98": partial(ar, phi=0.98),
    "trend": trend,
    "kink": kink,
    "rw": rw,
    "heavy": heavy,
    "hetero": hetero,
    "burst": burst,
    "period": period,
    "coll": coll,
    "driver": driver,
}


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


COUPLINGS: dict[str, Maker] = {
    **{name: make for name, (make, _) in couplings().items()},
    "cont .5": partial(cont, rho=0.5, lag=5),
}
