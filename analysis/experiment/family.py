"""Several outcomes of one experiment, tested on the same redraws: the family's p-values."""

from collections.abc import Sequence

import numpy as np
from thermograd.analysis.arrays import Floats, Ints

_ALIKE = 1e-9  # statistics that differ by less, relatively, are ties: sums in another order


def randomisation_p(statistic: float, redrawn: Floats) -> float:
    """Return how many of the draws, the real one among them, have a statistic at least as large."""
    least = statistic - _ALIKE * max(1.0, abs(statistic))
    return float((1 + np.count_nonzero(redrawn >= least)) / (1 + redrawn.size))


def family_p(statistics: Sequence[float], redrawn: Sequence[Floats]) -> list[float]:
    """Return the p-value of every outcome with all of them taken into account.

    The smallest of the outcomes' p-values is compared with what all draws give, the real one among them, step
    down; so what the outcomes share costs nothing, and the chance of any false one is held, also where few
    draws are there.

    Parameters
    ----------
    statistics, redrawn
        An outcome's observed statistic, and shape (r,) those of the redraws, the same for all.

    References
    ----------
    Westfall and Young (1993), Resampling-Based Multiple Testing, algorithm 2.8 (minP, step down).
    """
    if not statistics:
        return []
    alone = np.stack(
        [_own_p(np.append(own, others)) for own, others in zip(statistics, redrawn, strict=True)]
    )
    observed = alone[:, 0]
    order = np.argsort(observed, kind="stable")
    smallest = np.minimum.accumulate(alone[order[::-1]], axis=0)[::-1]  # of an outcome and all less sure ones
    draws = alone.shape[1]
    at_most = np.count_nonzero(smallest <= observed[order, None] + _ALIKE, axis=1)
    adjusted = np.maximum.accumulate(at_most / draws)
    result = np.empty(observed.size)
    result[order] = np.maximum(adjusted, observed[order])
    return [float(each) for each in result]


def _own_p(statistics: Floats) -> Floats:
    """Return the p-value that every draw would have, had it been the real one."""
    ordered = np.sort(statistics)
    least = statistics - _ALIKE * np.maximum(1.0, np.abs(statistics))
    below: Ints = np.searchsorted(ordered, least, side="left")
    return np.asarray((statistics.size - below) / statistics.size)
