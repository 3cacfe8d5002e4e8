"""An outcome without its trend, its memory and its wild values, and the same done to a schedule.

What is done depends on the outcome alone, never on the schedule: so a test that draws the schedule anew stays
exact.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.ndimage import median_filter
from scipy.signal import lfilter
from thermograd.analysis.arrays import Floats, Ints

AR_ORDER = 3
_FEWEST = 40  # values, beside those that the trend takes
_MOST_COSINES = 24
_MEDIAN_WINDOW = 31  # values
_WILD_SD = 5.0  # from the median around: what is beyond is set back to it
_INNOVATION_SD = 2.5
_SD_PER_MAD = 1.4826


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
    filter_
        Shape (4,): the outcome's AR(3) as a filter.
    trend
        Shape (n - 3, k): the filtered trend, orthonormal.
    sd
        Of the outcome without its trend, in its unit.
    kept
        How much of a small effect the setting back leaves.
    """

    steps: int
    rows: Ints
    innovations: Floats
    filter_: Floats
    trend: Floats
    sd: float
    kept: float

    def of(self, series: Floats) -> Floats:
        """Return series over all steps, shape (steps,) or (steps, m), in the form of the innovations."""
        filtered = lfilter(self.filter_, 1.0, series[self.rows], axis=0)[AR_ORDER:]
        return np.asarray(filtered - self.trend @ (self.trend.T @ filtered))

    def weights(self, innovations: Floats) -> Floats:
        """Return w, shape (steps,), such that w @ series is innovations @ of(series)."""
        inside = innovations - self.trend @ (self.trend.T @ innovations)
        turned = lfilter(self.filter_, 1.0, np.append(inside[::-1], np.zeros(AR_ORDER)))[::-1]
        w = np.zeros(self.steps)
        w[self.rows] = turned
        return w


def whitened(outcome: Floats, pairs: int) -> Whitened | None:
    """Return an outcome's innovations; None where it is too short, constant, or fully predicted.

    `pairs`: of the experiment; the trend has one cosine for three of them, so that it cannot follow the
    blocks.
    """
    rows = np.flatnonzero(np.isfinite(outcome)).astype(np.int64)
    cosines = int(np.clip(np.ceil(pairs / 3), 2, _MOST_COSINES))
    if rows.size < _FEWEST + 2 * cosines:
        return None
    tame = _without_wild(outcome[rows])
    scale = float(np.max(np.abs(tame - tame.mean())))
    if not scale > 1e-12 * float(np.max(np.abs(tame))):
        return None
    trend = _trend(rows, cosines)
    residual = tame - trend @ scipy.linalg.lstsq(trend, tame)[0]
    filter_ = np.append(1.0, -_memory(residual))
    basis, _ = np.linalg.qr(lfilter(filter_, 1.0, trend, axis=0)[AR_ORDER:])
    innovations = lfilter(filter_, 1.0, residual)[AR_ORDER:]
    innovations = innovations - basis @ (basis.T @ innovations)
    limit = _INNOVATION_SD * (_spread(innovations) or float(innovations.std()))
    if not limit > 1e-9 * scale:
        return None
    kept = float(np.mean(np.abs(innovations) < limit))
    innovations = innovations.clip(-limit, limit)
    innovations = innovations - basis @ (basis.T @ innovations)
    return Whitened(outcome.size, rows, innovations, filter_, basis, float(residual.std()), kept)


def _without_wild(values: Floats) -> Floats:
    """Return values of which spikes shorter than half a window are set back to what is around them."""
    around = median_filter(values, _MEDIAN_WINDOW, mode="nearest")
    apart = values - around
    spread = _spread(apart)
    if spread == 0:  # most values are their median: quantised, or still
        return values
    return np.asarray(around + apart.clip(-_WILD_SD * spread, _WILD_SD * spread))


def _spread(values: Floats) -> float:
    return _SD_PER_MAD * float(np.median(np.abs(values - np.median(values))))


def _trend(rows: Ints, cosines: int) -> Floats:
    place = (rows - rows[0] + 0.5) / (rows[-1] - rows[0] + 1)
    waves = np.cos(np.pi * np.outer(place, np.arange(1, cosines + 1)))
    return np.column_stack([np.ones(rows.size), place - 0.5, waves])


def _memory(residual: Floats) -> Floats:
    """Return the coefficients of an AR(3), by least squares."""
    past = np.column_stack([residual[AR_ORDER - 1 - i : residual.size - 1 - i] for i in range(AR_ORDER)])
    return np.asarray(scipy.linalg.lstsq(past, residual[AR_ORDER:])[0])
