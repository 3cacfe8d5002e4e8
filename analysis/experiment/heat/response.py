"""How an outcome answers heat that is switched on: a curve over lag, and a band that holds all of it."""

import itertools

import numpy as np
import scipy.linalg
import scipy.special
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.experiment.heat.blocks import Blocks
from thermograd.analysis.experiment.heat.whitening import Whitened
from thermograd.analysis.experiment.result import Response

_MOST_POINTS = 8
_PAIRS_PER_POINT = 3
_BEND = 1.5  # points lie closer where heat begins
_LEVEL = 0.95


def response_to_heat(clean: Whitened, blocks: Blocks, coins: Floats, unit: str, sd: float) -> Response | None:
    """Return what heat, switched on and left on, has made of an outcome after up to one block.

    Parameters
    ----------
    clean
        The outcome.
    blocks
        As drawn.
    coins
        Shape (1 + r, pairs), as observed first.
    unit, sd
        Of the outcome; sd without the effect.

    Notes
    -----
    Least squares on the heat of stretches of lags, of outcome and heat alike whitened. The band inverts the
    test at the fitted curve: the curve is taken out, the coins are drawn again, and the largest studentised
    departure anywhere is what 95 % of the draws stay within; wider by what the fit has taken from few pairs.
    """
    lags = _lags(blocks)
    points = lags.size - 1
    if points < 1 or blocks.pairs < 2 * points:
        return None
    stretches = list(itertools.pairwise(lags))
    design = clean.of(np.column_stack([blocks.between(*each) for each in stretches]))
    try:
        solved = scipy.linalg.inv(clean.kept * design.T @ design)
    except scipy.linalg.LinAlgError:
        return None
    summed = np.tri(points) @ solved
    steps = solved @ (design.T @ clean.innovations)
    weights = clean.weights(clean.innovations - clean.kept * design @ steps)
    left = np.array([blocks.by_pair_between(*each, weights) for each in stretches])
    departures = coins[1:] @ (summed @ left).T * np.sqrt(blocks.pairs / (blocks.pairs - points))
    error = np.sqrt(np.mean(departures**2, axis=0))
    if not np.all(error > 0):
        return None
    largest = float(np.quantile(np.max(np.abs(departures) / error, axis=1), _LEVEL))
    reach = error * _for_few(largest, blocks.pairs - points)
    curve = np.cumsum(steps)
    return Response(
        lags_s=lags[1:].astype(np.float64) * blocks.hot_step_s,
        effect_sd=curve / sd,
        low_sd=(curve - reach) / sd,
        high_sd=(curve + reach) / sd,
        unit=unit,
        unit_per_sd=sd,
        level=_LEVEL,
    )


def _for_few(normal: float, pairs: int) -> float:
    """Return a limit of a normal number for one whose error is known from a few pairs only."""
    return -float(scipy.special.stdtrit(pairs, scipy.special.ndtr(-normal)))


def _lags(blocks: Blocks) -> Ints:
    """Return the ends of the stretches of lags, in steps; the first is 0."""
    points = max(1, min(_MOST_POINTS, blocks.pairs // _PAIRS_PER_POINT, blocks.block_steps))
    ends = blocks.block_steps * (np.arange(points + 1) / points) ** _BEND
    return np.unique(np.round(ends).astype(np.int64))
