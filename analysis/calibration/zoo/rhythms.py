"""Nothing is coupled; both repeat themselves: epochs, shards, fans, telemetry ticks, control loops."""

from functools import partial
from itertools import pairwise

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.calibration.zoo import process
from thermograd.analysis.calibration.zoo.memory import ar
from thermograd.analysis.calibration.zoo.process import Pair, Rng
from thermograd.analysis.calibration.zoo.signals import held, remembering, struck

_null = partial(process.null, group="rhythms")


def harmonics(m: int, length: float, count: int = 2) -> Floats:
    """Return sines and cosines of the first multiples of a frequency, shape (m, 2 count)."""
    phase = 2.0 * np.pi * np.arange(m) / length
    return np.column_stack([wave(k * phase) for k in range(1, count + 1) for wave in (np.sin, np.cos)])


@_null(
    "period",
    "one epoch length in both, each with a phase of its own: some lag fits (the epoch is logged)",
    cycle_s=25.0,
)
def period(rng: Rng, m: int, length: float = 25.0) -> Pair:
    """Return two independent series with a period in common but random phases; drivers know it."""
    phase = 2.0 * np.pi * np.arange(m) / length
    shifts = rng.uniform(0, 2 * np.pi, 2)
    noise = ar(rng, m, 0.5)
    x = noise.x + 1.5 * np.sin(phase + shifts[0]) + 0.5 * np.sin(2 * phase + shifts[0])
    y = noise.y + 1.5 * np.sin(phase + shifts[1])
    return Pair(x, y, harmonics(m, length))


def cycle(rng: Rng, m: int, length: int, size: float = 0.7) -> Pair:
    """Return x and y with a pattern each of `length` bins that repeats, over noise of sd 1."""
    hard, long = size * rng.standard_normal((2, length))
    batch = np.arange(m) % length
    return Pair(hard[batch] + rng.standard_normal(m), long[batch] + remembering(rng, m, 0.5))


_null(
    "cycle24",
    "a loader that does not shuffle, 24 batches an epoch: a chance likeness of two patterns repeats",
    cycle_s=24.0,
)(partial(cycle, length=24))
_null(
    "cycle24-unlogged",
    "a cycle of 24 batches of which the log knows no epoch: it must be found in the readings",
)(partial(cycle, length=24))


@_null(
    "cycle24-told",
    "a cycle of 24 batches with two harmonics of the epoch as drivers: a pattern has twelve",
    cycle_s=24.0,
)
def cycle_told(rng: Rng, m: int) -> Pair:
    """Return the cycle of 24 with harmonics."""
    return cycle(rng, m, 24)._replace(drivers=harmonics(m, 24.0))


@_null(
    "cycle31-drift",
    "31 batches an epoch whose patterns drift: neighbours in time still repeat, the whole run does not",
    cycle_s=31.0,
)
def cycle_drift(rng: Rng, m: int, length: int = 31, kept: float = 0.95) -> Pair:
    """Return patterns that repeat almost."""
    x, y = (_drifting(rng, m, length, kept) for _ in range(2))
    return Pair(x + rng.standard_normal(m), y + remembering(rng, m, 0.5))


def _drifting(rng: Rng, m: int, length: int, kept: float, size: float = 0.7) -> Floats:
    epochs = -(-m // length)
    patterns = rng.standard_normal((epochs, length))
    for before, after in pairwise(patterns):
        after[:] = kept * before + np.sqrt(1.0 - kept**2) * after
    return size * patterns.ravel()[:m]


@_null(
    "cycle24-held",
    "a cycle of 24 batches before a sensor held for 4 s: the pattern shows at a coarser grain",
    cycle_s=24.0,
)
def cycle_held(rng: Rng, m: int) -> Pair:
    """Return the cycle of 24 with y held."""
    pair = cycle(rng, m, 24)
    return pair._replace(y=held(pair.y, 4, int(rng.integers(4))))


def pulses(
    rng: Rng,
    m: int,
    every_x: float = 20.0,
    every_y: float = 20.0,
    jitter: float = 0.0,
    noise: float = 1.0,
) -> Pair:
    """Return white x with rises of 3 sd and AR(.5) y with dips of 3 sd, of random phases."""
    x, y = (_ticks(rng, m, every, jitter) for every in (every_x, every_y))
    base_x, base_y = rng.standard_normal(m), remembering(rng, m, 0.5)
    return Pair(noise * base_x + 3.0 * x, noise * base_y - 3.0 * y)


def _ticks(rng: Rng, m: int, every: float, jitter: float) -> Floats:
    if not jitter:
        return struck(m, every, rng.uniform(0, every))
    times = np.arange(rng.uniform(0, every), m, every)
    place = np.round(times + jitter * rng.standard_normal(times.size)).astype(np.int64)
    ticks = np.zeros(m)
    ticks[place[(place >= 0) & (place < m)]] = 1.0
    return ticks


for _name, _about, _make in (
    ("pulses20", "a shard is loaded and a fan ticks, each every 20 s: at some lag they always meet", pulses),
    ("pulses17.3", "pulses every 17.3 s on both sides: no whole number of bins holds the period",
     partial(pulses, every_x=17.3, every_y=17.3)),
    ("pulses20-jitter", "pulses every 20 s, give or take a second: real clocks wander",
     partial(pulses, jitter=1.0)),
    ("pulses20-21", "clocks of 20 and of 21 s: they meet for minutes at a time and then part",
     partial(pulses, every_y=21.0)),
    ("pulses20-40", "a clock of 20 s beside one of 40 s: they meet at every second tick",
     partial(pulses, every_y=40.0)),
):  # fmt: skip
    _null(_name, _about)(_make)


@_null("periods20-21", "waves of 20 and of 21 s: within a few minutes they cannot be told from one wave")
def periods(rng: Rng, m: int) -> Pair:
    """Return waves of nearly one period, over AR(.5) noise."""
    noise, shifts = ar(rng, m, 0.5), rng.uniform(0, 2 * np.pi, 2)
    x, y = (
        1.5 * np.sin(2 * np.pi * np.arange(m) / length + shift)
        for length, shift in zip((20.0, 21.0), shifts, strict=True)
    )
    return Pair(noise.x + x, noise.y + y)


@_null("limit-cycle", "two control loops that hunt with almost one period and lose their phase slowly")
def limit_cycle(rng: Rng, m: int) -> Pair:
    """Return two oscillations whose phases wander."""
    x, y = (np.sin(_phase(rng, m, length)) for length in (25.0, 23.0))
    return Pair(x + 0.3 * rng.standard_normal(m), y + 0.3 * rng.standard_normal(m))


def _phase(rng: Rng, m: int, length: float) -> Floats:
    return rng.uniform(0, 2 * np.pi) + np.cumsum(2 * np.pi / length + 0.1 * rng.standard_normal(m))


@_null(
    "sawtooth30",
    "a fan that heats up and drops back every 30 s beside a learning rate that restarts every 30 s",
)
def sawtooth(rng: Rng, m: int) -> Pair:
    """Return two sawtooths of one period and random phases, over AR(.5) noise."""
    noise, shifts = ar(rng, m, 0.5), rng.uniform(0, 30.0, 2)
    x, y = (((np.arange(m) + shift) % 30.0) / 15.0 - 1.0 for shift in shifts)
    return Pair(noise.x - 2.0 * x, noise.y + 2.0 * y)
