"""Slow, obvious versions of the numerics, to compare the fast ones with."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def nearest(steps: Sequence[int], samples: Sequence[int], tolerance: int) -> list[int]:
    """Match by looking at every sample: nearest, then earlier, then logged last."""
    return [_best(int(step), [int(sample) for sample in samples], tolerance) for step in steps]


def _best(step: int, samples: list[int], tolerance: int) -> int:
    near = [i for i, sample in enumerate(samples) if abs(sample - step) <= tolerance]
    return min(near, key=lambda i: (abs(samples[i] - step), samples[i], -i), default=-1)


def asof(steps: Sequence[int], samples: Sequence[int], tolerance: int | None) -> list[int]:
    """Match by looking at every sample: the last one not after the step."""
    result = []
    for step in steps:
        known = [i for i, sample in enumerate(samples) if sample <= step]
        known = [i for i in known if tolerance is None or step - samples[i] <= tolerance]
        result.append(max(known, key=lambda i: (samples[i], i), default=-1))
    return result


def interval_mean(
    starts: Sequence[int], ends: Sequence[int], times: Sequence[int], values: Sequence[float]
) -> list[float]:
    """Average by looking at every sample."""
    result = []
    for start, end in zip(starts, ends, strict=True):
        pairs = zip(times, values, strict=True)
        inside = [value for time, value in pairs if start < time <= end and math.isfinite(value)]
        result.append(math.fsum(inside) / len(inside) if inside else math.nan)
    return result


def pearson(x: Sequence[float], y: Sequence[float]) -> float:
    """Correlate by the textbook formula with exact sums."""
    n = len(x)
    mean_x, mean_y = math.fsum(x) / n, math.fsum(y) / n
    products = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    square_x = math.fsum((a - mean_x) ** 2 for a in x)
    square_y = math.fsum((b - mean_y) ** 2 for b in y)
    return products / math.sqrt(square_x * square_y)


def residuals(z: Floats, nuisance: Floats, volatility: Floats, most: int, slow: int) -> tuple[int, Floats]:
    """Choose the order by one least-squares fit each, refit twice with weights; return order, residuals.

    The sum of the weights of the past is corrected for `slow` trend columns.
    """
    z = (z - z.mean()) / z.std()
    common = np.arange(most, z.size)
    aic = []
    for order in range(most + 1):
        left = z[common] - _fitted(z[common], _columns(z, nuisance, order, common))
        aic.append(common.size * math.log(float(left @ left)) + 2 * order)
    order = int(np.argmin(aic))
    rows = np.arange(order, z.size)
    columns = _columns(z, nuisance, order, rows)
    left, scale = _unbiased(z[rows], columns, np.ones(rows.size), order, slow), np.ones(rows.size)
    for _ in range(2):
        size = np.log(np.abs(left) + 0.05 * np.median(np.abs(left)))
        scale = np.exp(_fitted(size, volatility[rows]))
        left = _unbiased(z[rows], columns, scale, order, slow)
    return order, left / scale


def _unbiased(z: Floats, columns: Floats, scale: Floats, order: int, slow: int) -> Floats:
    """Fit with weights, correct the weight of lag 1, fit the rest again; return what is left."""
    nuisance, past = columns[:, : columns.shape[1] - order], columns[:, columns.shape[1] - order :]
    weights = np.linalg.lstsq(columns / scale[:, None], z / scale, rcond=None)[0][nuisance.shape[1] :]
    total = float(weights.sum())
    quick = 1.0 + sum(ago * weight for ago, weight in enumerate(weights.tolist()))
    if order and total > 0:
        missing = (2 * total + slow * (1 + total)) / z.size * abs(quick)
        weights[0] += min(max(0.9995 - total, 0.0), missing)
    left = z - past @ weights
    rest = np.linalg.lstsq(nuisance / scale[:, None], left / scale, rcond=None)[0]
    return left - nuisance @ rest


def _columns(z: Floats, nuisance: Floats, order: int, rows: NDArray[np.int64]) -> Floats:
    past = [z[rows - lag] for lag in range(1, order + 1)]
    return np.column_stack([nuisance[rows], *past])


def _fitted(z: Floats, columns: Floats) -> Floats:
    return columns @ np.linalg.lstsq(columns, z, rcond=None)[0]


def profile(x: Floats, y: Floats, segments: Sequence[int], max_lag: int) -> list[float]:
    """Correlate at every lag by looking at every pair of bins."""
    scale = math.sqrt(float(x @ x) * float(y @ y))
    result = []
    for lag in range(-max_lag, max_lag + 1):
        total = 0.0
        for t in range(x.size):
            if 0 <= t + lag < x.size and segments[t] == segments[t + lag]:
                total += float(x[t] * y[t + lag])
        result.append(total / scale)
    return result


def permutation_p(x: Floats, shifted: Floats, nuisance: Floats, y_norm: float, orders: Floats) -> float:
    """Project every resampled series off the nuisance columns by least squares, one at a time.

    Ends at the fiftieth peak that is as large.
    """
    peak = max(abs(float(x @ column)) for column in shifted.T) / (float(np.linalg.norm(x)) * y_norm)
    as_large = 0
    for drawn, series in enumerate(orders, 1):
        left = series - _fitted(series, nuisance)
        norm = float(np.linalg.norm(left)) * y_norm
        as_large += max(abs(float(left @ column)) for column in shifted.T) / norm >= peak
        if as_large == 50:
            return 50 / drawn
    return (1 + as_large) / (1 + len(orders))
