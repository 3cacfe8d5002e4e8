"""How a training's outcome moves by itself, learnt from its first minutes: worlds to try an experiment in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import median_filter
from scipy.signal import lfilter
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.cleaning.residuals import line_and_cosines

FEWEST = 60  # values that say anything
MOST = 2400  # the latest of more
_MEDIAN_WINDOW = 31
_WILD_SD = 5.0
_SD_PER_MAD = 1.4826
_TRIED, _ROUNDS = 600, 4
_SHORTEST_STEPS = 0.3  # memory
_FAST = (-0.5, 0.95)
_FEWEST_LIKELY = 5
_LEAST_BURN_IN, _MEMORIES_OF_BURN_IN = 500, 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """A process that may be the outcome's: two memories, and one of its shocks.

    ``(1 - slow B)(1 - fast B) x = (1 - back B) shocks``, which holds white noise, one memory, one beside
    white noise, and two.
    """

    slow: float
    fast: float
    back: float
    shocks: Floats  # shape (n,), to be drawn from

    def simulate(self, rng: np.random.Generator, size: int) -> Floats:
        """Return a series of the process, shape (size,)."""
        memory = -1.0 / np.log(min(max(self.slow, self.fast, 1e-9), 1.0 - 1e-9))
        burn_in = _LEAST_BURN_IN + round(_MEMORIES_OF_BURN_IN * memory)
        shocks = rng.choice(self.shocks, burn_in + size)
        return np.asarray(lfilter(*_filter(self.slow, self.fast, self.back), shocks)[burn_in:])


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What first minutes say of an outcome: its sd without the trend, and processes that may be its own."""

    sd: float
    worlds: list[Noise]


def used_of(values: ArrayLike) -> int:
    """Return how many of an outcome's values `learnt_noise` learns from.

    Examples
    --------
    >>> used_of([1.0, float("nan"), 2.0]), used_of(range(100_000))
    (2, 2400)
    """
    return min(int(np.isfinite(np.asarray(values, np.float64)).sum()), MOST)


def learnt_noise(values: ArrayLike, cosines: int, count: int, rng: np.random.Generator) -> Learnt | None:
    """Return what an outcome's values, shape (n,), say of its noise; None where too few, or they do not move.

    A line and so many cosines are its trend, of which nothing is known beforehand. The processes are drawn
    as the values leave them possible (a posterior), so that what is not known of a slow wandering after a
    few minutes is not taken as known.

    References
    ----------
    Cappe, Guillin, Marin and Robert (2004), Population Monte Carlo, J. Comput. Graph. Stat. 13.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)][-MOST:]
    if known.size < FEWEST:
        return None
    trend = _trend(known.size, cosines)
    tame = _tame(known)
    residual = tame - trend @ np.linalg.lstsq(trend, tame)[0]
    sd = float(residual.std())
    if not sd > 1e-9 * max(float(np.abs(known).max()), 1e-300):
        return None
    series = np.column_stack([residual / sd, trend])
    drawn = _posterior(series, count, rng)
    return Learnt(sd, [_world(series, each, sd) for each in drawn])


def _trend(size: int, cosines: int) -> Floats:
    place = (np.arange(size) + 0.5) / size
    return np.column_stack([np.ones(size), *line_and_cosines(place, cosines)])


def _tame(values: Floats) -> Floats:
    """Return values of which wild ones are set back towards what is around them."""
    around = median_filter(values, _MEDIAN_WINDOW, mode="nearest")
    apart = values - around
    spread = _SD_PER_MAD * float(np.median(np.abs(apart)))
    if not spread > 0:
        return values
    return np.asarray(around + apart.clip(-_WILD_SD * spread, _WILD_SD * spread))


def _posterior(series: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return slow, fast and back of processes, shape (count, 3), drawn as likely as the series makes them."""
    reach = np.log(_SHORTEST_STEPS), np.log(2.0 * series.shape[0])
    low, high = np.array([reach[0], _FAST[0], reach[0]]), np.array([reach[1], _FAST[1], reach[1]])
    points = rng.uniform(low, high, (2 * _TRIED, 3))
    logs = _log_likelihood(series, points)
    for round_ in range(_ROUNDS):
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        if round_ == _ROUNDS - 1:
            break
        spread = _spread(points, weights, high - low)
        width = (0.5 if round_ == 0 else 0.25) * spread
        kernels = points[rng.choice(len(points), _TRIED, p=weights)]
        proposed = kernels + rng.multivariate_normal(np.zeros(3), width, _TRIED)
        proposed = proposed[np.all((proposed > low) & (proposed < high), axis=1)]
        density = _kernel_density(proposed, kernels, width)
        points, logs = proposed, _log_likelihood(series, proposed) - density
    chosen = points[rng.choice(len(points), count, p=weights)]
    return _processes(chosen)


def _processes(points: Floats) -> Floats:
    """Return slow, fast and back of points, whose first and last are the logarithms of memories in steps."""
    return np.column_stack([np.exp(-np.exp(-points[:, 0])), points[:, 1], np.exp(-np.exp(-points[:, 2]))])


def _spread(points: Floats, weights: Floats, reach: Floats) -> Floats:
    """Return how far the likely points are apart, as a covariance."""
    least = np.diag(reach**2)
    if 1.0 / float((weights**2).sum()) < _FEWEST_LIKELY:
        return np.asarray(least / 900.0)
    return np.asarray(np.cov(points.T, aweights=weights) + 1e-6 * least)


def _kernel_density(points: Floats, kernels: Floats, width: Floats) -> Floats:
    """Return the logarithm of the mean of normal kernels at points, but for a constant."""
    root = np.linalg.inv(np.linalg.cholesky(width))
    apart = (points @ root.T)[:, None, :] - (kernels @ root.T)[None, :, :]
    exponents = -0.5 * np.einsum("ijk,ijk->ij", apart, apart)
    top = exponents.max(axis=1)
    return np.asarray(top + np.log(np.exp(exponents - top[:, None]).sum(axis=1)))


def _log_likelihood(series: Floats, points: Floats) -> Floats:
    """Return the likelihood of processes, the trend's weights and the scale integrated out; shape (points,).

    `series`: shape (n, 1 + k), outcome and trend.
    """
    n, columns = series.shape
    sums = np.empty((len(points), columns, columns))
    for at, (slow, fast, back) in enumerate(_processes(points)):
        upper, lower = _filter(slow, fast, back)
        shocks = lfilter(lower, upper, series, axis=0)[2:]
        sums[at] = shocks.T @ shocks
    of_trend = sums[:, 1:, 1:] + 1e-9 * np.eye(columns - 1)
    beside = sums[:, 1:, 0]
    solved = np.linalg.solve(of_trend, beside[:, :, None])[:, :, 0]
    rest = np.maximum(sums[:, 0, 0] - np.einsum("ij,ij->i", beside, solved), 1e-12)
    freedom = n - 2 - (columns - 1)
    return np.asarray(-0.5 * np.linalg.slogdet(of_trend)[1] - 0.5 * freedom * np.log(rest))


def _world(series: Floats, drawn: Floats, sd: float) -> Noise:
    slow, fast, back = map(float, drawn)
    upper, lower = _filter(slow, fast, back)
    shocks = lfilter(lower, upper, series, axis=0)[2:]
    rest = shocks[:, 0] - shocks[:, 1:] @ np.linalg.lstsq(shocks[:, 1:], shocks[:, 0])[0]
    rest = (rest - rest.mean()) * np.sqrt(rest.size / max(rest.size - series.shape[1] - 2, 1))
    return Noise(slow, fast, back, np.asarray(sd * rest))


def _filter(slow: float, fast: float, back: float) -> tuple[list[float], list[float]]:
    """Return the filter that makes a series of shocks: numerator and denominator."""
    return [1.0, -back], [1.0, -(slow + fast), slow * fast]
