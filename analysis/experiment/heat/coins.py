"""The coins of a switchback, drawn anew."""

import itertools

import numpy as np
from thermograd.analysis.arrays import Floats

MOST_ENUMERATED = 12  # pairs: up to here every draw is looked at


def redrawn_coins(pairs: int, redraws: int, seed: int) -> Floats:
    """Return which pairs a draw turns around, shape (1 + r, pairs): 1 as observed, -1 turned around.

    The first is the observed draw. Of few pairs all draws are there, but for those that turn around every
    pair of another: a two-sided statistic is the same. Of many, `redraws` of them by chance.
    """
    if pairs <= MOST_ENUMERATED:
        turned = itertools.product((1.0, -1.0), repeat=max(pairs - 1, 0))
        return np.array([(1.0,) * min(pairs, 1) + each for each in turned])
    drawn = np.random.default_rng(seed).integers(0, 2, (redraws, pairs))
    return np.vstack([np.ones(pairs), 1.0 - 2.0 * drawn])
