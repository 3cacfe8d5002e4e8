"""An outcome without its trend, its memory and its wild values, and the same done to a schedule.

What is done depends on the outcome alone, never on the schedule: so a test that draws the schedule anew stays
exact.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.ndimage import median_filter, uniform_filter1d
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.cleaning.residuals import line_and_cosines

AR_ORDER = 3
_FEWEST = 40  # values, beside those that the trend takes
_MOST_COSINES = 24
_MEDIAN_WINDOW = 31  # values
_WILD_SD = 5.0  # from the median around: what is beyond is set back to it
_MOST_WILD = 0.03  # of all values; what is more often there is how the outcome is
_INNOVATION_SD = 2.5
_COARSE = 0.3  # of the sd is what half of the innovations are within (a normal one: 1)
_STRETCH, _MOST_STRETCHES = 600, 48  # values that an AR is fitted to, at least; fits
_CALM_WINDOW = 151  # values
_WILDEST = 10.0  # sd
_SD_PER_MAD = 1.4826
_LARGEST = 1e100  # beyond, squares overflow: as good as infinite


@dataclass(frozen=True, slots=True, eq=False)
class Whitened:
    """An outcome's innovations, and how to bring a series of all steps to the same form.

    Attributes
    ----------
    steps
        How many steps there are.
    rows
        Shape (n,): those at which the outcome is known.
    innovations
        Shape (n - 3,): filtered, wild ones set back, without trend.
    memory
        Shape (n - 3, 3): coefficients of the outcome's AR(3), which may change over the run.
    calm
        Shape (n - 3,): 1 over how restless the outcome is around each step.
    trend
        Shape (n - 3, k): the trend, filtered and calmed, orthonormal.
    apart, course
        Shape (n,) and (n, j): the outcome about its trend, and the trend, orthonormal; neither filtered.
    sd
        Of the outcome about its trend, in its unit.
    kept
        How much of a small effect the setting back leaves.
    """

    steps: int
    rows: Ints
    innovations: Floats
    memory: Floats
    calm: Floats
    trend: Floats
    apart: Floats
    course: Floats
    sd: float
    kept: float

    def of(self, series: Floats) -> Floats:
        """Return series over all steps, shape (steps,) or (steps, m), in the form of the innovations."""
        filtered = _filtered(series[self.rows], self.memory, self.calm)
        return np.asarray(filtered - self.trend @ (self.trend.T @ filtered))

    def sd_without(self, series: Floats) -> float:
        """Return the sd of the outcome about its trend, in its unit, without a series over all steps."""
        seen = series[self.rows]
        return float(np.std(self.apart - (seen - self.course @ (self.course.T @ seen))))

    def weights(self, innovations: Floats) -> Floats:
        """Return w, shape (steps,), such that w @ series is innovations @ of(series)."""
        inside = innovations - self.trend @ (self.trend.T @ innovations)
        inside = inside * self.calm
        turned = np.append(np.zeros(AR_ORDER), inside)
        for back in range(1, AR_ORDER + 1):
            turned[AR_ORDER - back : turned.size - back] -= self.memory[:, back - 1] * inside
        w = np.zeros(self.steps)
        w[self.rows] = turned
        return w


def whitened(outcome: Floats, pairs: int) -> Whitened | None:
    """Return an outcome's innovations; None where it is too short, constant, or fully predicted.

    `pairs`: of the experiment; the trend has one cosine for three of them, so that it cannot follow the
    blocks.
    """
    rows = np.flatnonzero(np.abs(outcome) < _LARGEST).astype(np.int64)  # no NaN either
    cosines = int(np.clip(np.ceil(pairs / 3), 2, _MOST_COSINES))
    if rows.size < _FEWEST + 2 * cosines:
        return None
    tame = _without_wild(outcome[rows])
    scale = float(np.max(np.abs(tame - tame.mean())))
    if not scale > 1e-12 * float(np.max(np.abs(tame))):
        return None
    trend, _ = np.linalg.qr(_trend(rows, cosines))
    residual = tame - trend @ (trend.T @ tame)
    memory = _memory(residual)
    same = np.ones(len(memory))
    innovations = _filtered(residual, memory, same)
    if not float(innovations.std()) > 1e-9 * scale:
        return None
    is_coarse = _is_coarse(innovations)
    calm = same if is_coarse else _calm(innovations, _spread(innovations))
    basis, _ = np.linalg.qr(_filtered(trend, memory, calm))
    innovations = innovations * calm
    innovations = innovations - basis @ (basis.T @ innovations)
    kept = 1.0
    if not (is_coarse or _is_coarse(innovations)):
        limit = _INNOVATION_SD * _spread(innovations)
        kept = float(np.mean(np.abs(innovations) < limit))
        innovations = innovations.clip(-limit, limit)
        innovations = innovations - basis @ (basis.T @ innovations)
    sd = float(residual.std())
    return Whitened(outcome.size, rows, innovations, memory, calm, basis, residual, trend, sd, kept)


def _is_coarse(innovations: Floats) -> bool:
    """Return whether most of an outcome stands still, so that its rare moves are what it tells, not wild."""
    return _spread(innovations) < _COARSE * float(innovations.std())


def _without_wild(values: Floats) -> Floats:
    """Return values of which spikes shorter than half a window are set back to what is around them."""
    around = median_filter(values, _MEDIAN_WINDOW, mode="nearest")
    apart = values - around
    spread = _spread(apart)
    if spread == 0:  # most values are their median: quantised, or still
        return values
    limit = max(_WILD_SD * spread, float(np.quantile(np.abs(apart), 1.0 - _MOST_WILD)))
    return np.asarray(around + apart.clip(-limit, limit))


def _spread(values: Floats) -> float:
    return _SD_PER_MAD * float(np.median(np.abs(values - np.median(values))))


def _trend(rows: Ints, cosines: int) -> Floats:
    place = (rows - rows[0] + 0.5) / (rows[-1] - rows[0] + 1)
    return np.column_stack([np.ones(rows.size), *line_and_cosines(place, cosines)])


def _memory(residual: Floats) -> Floats:
    """Return the coefficients of an AR(3) at each value, by least squares in stretches of the run."""
    past = np.column_stack([residual[AR_ORDER - 1 - i : residual.size - 1 - i] for i in range(AR_ORDER)])
    stretches = int(np.clip(len(past) // _STRETCH, 1, _MOST_STRETCHES))
    found = []
    for inside in np.array_split(np.arange(len(past)), stretches):
        fitted = scipy.linalg.lstsq(past[inside], residual[AR_ORDER:][inside])[0]
        found.append(np.broadcast_to(fitted, (inside.size, AR_ORDER)))
    return np.concatenate(found)


def _filtered(series: Floats, memory: Floats, calm: Floats) -> Floats:
    """Return what the memory does not foretell of series, shape (n,) or (n, m), calmed."""
    turned = series.T
    left = turned[..., AR_ORDER:].copy()
    for back in range(1, AR_ORDER + 1):
        left -= memory[:, back - 1] * turned[..., AR_ORDER - back : -back]
    return np.asarray((left * calm).T)


def _calm(innovations: Floats, spread: float) -> Floats:
    """Return 1 over the mean size of the innovations around each, relative to their usual one."""
    sizes = np.abs(innovations).clip(0.1 * spread, _WILDEST * spread)
    around = uniform_filter1d(sizes, _CALM_WINDOW, mode="nearest")
    return np.asarray(np.median(around) / around)
