"""What the processes are put together from: noise, memory, courses, pulses, sensors."""

import numpy as np
from scipy.signal import lfilter
from thermograd.analysis.arrays import Floats, Mask
from thermograd.analysis.calibration.zoo.process import Rng

WARM_UP = 200


def autoregressive(noise: Floats, phi: float) -> Floats:
    """Give innovations a memory: z(t) = phi z(t-1) + noise(t)."""
    return np.asarray(lfilter([1.0], [1.0, -phi], noise))


def remembering(rng: Rng, m: int, phi: float) -> Floats:
    """Return one AR(1) series with innovations of sd 1, long under way."""
    return autoregressive(rng.standard_normal(WARM_UP + m), phi)[WARM_UP:]


def changing(noise: Floats, phi: Floats) -> Floats:
    """Return an AR(1) series whose memory changes from bin to bin, and whose variance stays 1."""
    z, last = np.empty(noise.size), float(noise[0])
    for t, (shock, kept) in enumerate(zip(noise, phi, strict=True)):
        last = kept * last + np.sqrt(1.0 - kept**2) * shock
        z[t] = last
    return z


def averaged(noise: Floats, window: int) -> Floats:
    """Return rolling means over the last `window` values; the first are left out, so it is shorter."""
    return np.convolve(noise, np.full(window, 1.0 / window), mode="valid")


def smooth(rng: Rng, m: int, tau: float) -> Floats:
    """Return a course without corners: the sum of an Ornstein-Uhlenbeck velocity of sd 1 a bin."""
    kept = np.exp(-1.0 / tau)
    return np.asarray(np.sqrt(1.0 - kept**2) * np.cumsum(remembering(rng, m, kept)))


def standardised(values: Floats) -> Floats:
    """Return the values with mean 0 and sd 1; zeros where they are constant."""
    centred = values - values.mean()
    spread = float(centred.std())
    return np.asarray(centred / spread if spread > 0 else centred)


def decay(rng: Rng, m: int) -> Floats:
    """Return the course of a falling log grad norm."""
    return 2.0 * rng.uniform(0.7, 1.3) * np.exp(-np.arange(m) / (m * rng.uniform(0.15, 0.5)))


def heating(rng: Rng, m: int) -> Floats:
    """Return the course of a heating device with one thermal time constant, in degC."""
    return 45.0 + rng.uniform(12, 30) * (1.0 - np.exp(-np.arange(m) / (m * rng.uniform(0.15, 0.5))))


def risen(m: int, start: int, time_constant: float) -> Floats:
    """Return the rise from 0 to 1 that begins at a bin."""
    return 1.0 - np.exp(-(np.arange(m) - start + 1).clip(0) / time_constant)


def struck(m: int, every: float, phase: float) -> Floats:
    """Return 1 in the bins in which a clock of a period in bins ticks, else 0."""
    return np.asarray(np.diff(np.floor((np.arange(m + 1) + phase) / every)).clip(max=1.0))


def held(values: Floats, bins: int, phase: int = 0) -> Floats:
    """Return what is shown where only every so many bins a new value comes."""
    place = np.arange(values.size)
    return np.asarray(values[np.maximum(place - (place + phase) % bins, 0)])


def delayed(values: Floats, lag: int) -> Floats:
    """Return the values `lag` bins later, beginning with zeros."""
    return np.append(np.zeros(lag), values[: values.size - lag])


def without(values: Floats, missing: Mask) -> Floats:
    """Return the values with NaN where they are missing; a log begins with a bin that is there."""
    return np.where(missing & (np.arange(values.size) > 0), np.nan, values)
