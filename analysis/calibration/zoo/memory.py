"""Nothing is coupled; each series remembers, in a way of its own."""

from functools import partial

import numpy as np
from scipy.signal import fftconvolve, lfilter
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.process import Pair, Rng
from thermograd.analysis.calibration.zoo.signals import (
    WARM_UP,
    autoregressive,
    changing,
    delayed,
    remembering,
    standardised,
)

_null = partial(process.null, group="memory")
_LONG = 1_000


def ar(rng: Rng, m: int, phi: float = 0.9) -> Pair:
    """Return two independent AR(1) series."""
    x, y = autoregressive(rng.standard_normal((2, WARM_UP + m)), phi)[:, WARM_UP:]
    return Pair(x, y)


def cont(rng: Rng, m: int, rho: float, lag: int, phi: float = 0.9) -> Pair:
    """Return AR(1) series whose innovations correlate by rho, y being `lag` bins behind x (ahead if < 0)."""
    if lag < 0:
        x, y, *_ = cont(rng, m, rho, -lag, phi)
        return Pair(y, x)
    before = rng.standard_normal(WARM_UP + m)
    noise = rng.standard_normal(WARM_UP + m)
    after = rho * delayed(before, lag) + np.sqrt(1.0 - rho**2) * noise
    return Pair(autoregressive(before, phi)[WARM_UP:], autoregressive(after, phi)[WARM_UP:])


_null(
    "ar.5",
    "two independent series with a short memory: neighbours are alike, so there are fewer values than rows",
)(partial(ar, phi=0.5))
_null("ar.9", "two independent series with a memory of ten bins: slow swings meet by chance")(
    partial(ar, phi=0.9)
)
_null("ar.98", "two independent series with a memory of fifty bins: a run holds a few swings only")(
    partial(ar, phi=0.98)
)


@_null("rw", "two independent random walks: each wanders off, and two wanderers always look related")
def rw(rng: Rng, m: int) -> Pair:
    """Return two independent random walks."""
    x, y = np.cumsum(rng.standard_normal((2, m)), axis=1)
    return Pair(x, y)


@_null(
    "local-level",
    "two slowly wandering levels under white noise: the wandering is hidden from a short memory",
)
def local_level(rng: Rng, m: int) -> Pair:
    """Return two random walks, each under noise."""
    walk = np.cumsum(0.2 * rng.standard_normal((2, m)), axis=1)
    x, y = walk + rng.standard_normal((2, m))
    return Pair(x, y)


@_null(
    "arfima.4", "two series whose memory fades like a power, never quite: no autoregression holds all of it"
)
def arfima(rng: Rng, m: int, d: float = 0.4) -> Pair:
    """Return two fractionally integrated series."""
    k = np.arange(1, _LONG + m)
    weights = np.append(1.0, np.cumprod((k - 1 + d) / k))
    noise = rng.standard_normal((2, _LONG + m))
    x, y = fftconvolve(noise, weights[None, :], axes=1)[:, _LONG : _LONG + m]
    return Pair(x, y)


@_null(
    "memswitch",
    "both forget at once in the first half and remember long in the second: one memory fits neither",
)
def memswitch(rng: Rng, m: int) -> Pair:
    """Return two series whose memory changes from none to AR(.95) at half time, at constant variance."""
    return _changing(rng, np.where(np.arange(m) < m // 2, 0.0, 0.95))


@_null(
    "memquarters",
    "the memory of both comes and goes every quarter of the run: their products cluster where it is long",
)
def memquarters(rng: Rng, m: int) -> Pair:
    """Return two series whose memory alternates between none and AR(.95)."""
    return _changing(rng, np.where((4 * np.arange(m) // m) % 2, 0.95, 0.0))


@_null(
    "memglide",
    "the memory of both grows from none to twenty bins: what fits the beginning is wrong at the end",
)
def memglide(rng: Rng, m: int) -> Pair:
    """Return two series whose memory grows from AR(0) to AR(.95)."""
    return _changing(rng, np.linspace(0.0, 0.95, m))


@_null(
    "memhalfhours", "the memory of both comes and goes every half hour: days of it wear out any single model"
)
def memhalfhours(rng: Rng, m: int) -> Pair:
    """Return two series whose memory alternates between none and AR(.95) every 1,800 bins."""
    place = np.arange(m) + int(rng.integers(3_600))
    return _changing(rng, np.where((place // 1_800) % 2, 0.95, 0.0))


def _changing(rng: Rng, phi: Floats) -> Pair:
    x, y = rng.standard_normal((2, phi.size))
    return Pair(changing(x, phi), changing(y, phi))


@_null(
    "threshold-ar", "both remember long above a threshold and hardly below: no linear memory describes them"
)
def threshold_ar(rng: Rng, m: int) -> Pair:
    """Return two independent threshold autoregressions."""
    return Pair(_threshold(rng, m), _threshold(rng, m))


def _threshold(rng: Rng, m: int) -> Floats:
    z = np.zeros(WARM_UP + m)
    for t, shock in enumerate(rng.standard_normal(z.size)):
        last = z[t - 1]
        z[t] = (0.9 if last > 0 else 0.2) * last + shock
    return z[WARM_UP:]


@_null(
    "ou-times",
    "a quick series beside a very slow one: each swing of the slow one meets whatever the quick one does",
)
def ou_times(rng: Rng, m: int) -> Pair:
    """Return Ornstein-Uhlenbeck series of 2 s and 300 s."""
    return Pair(remembering(rng, m, np.exp(-1 / 2)), remembering(rng, m, np.exp(-1 / 300)))


@_null(
    "resonance",
    "both swing at the same frequency, each with phases of its own: swings of one length line up at some lag",
)
def resonance(rng: Rng, m: int, period: float = 16.0, radius: float = 0.97) -> Pair:
    """Return two AR(2) series with one resonance."""
    polynomial = [1.0, -2.0 * radius * np.cos(2 * np.pi / period), radius**2]
    x, y = lfilter([1.0], polynomial, rng.standard_normal((2, WARM_UP + m)))[:, WARM_UP:]
    return Pair(standardised(x), standardised(y))
