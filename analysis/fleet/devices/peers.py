"""Which rank of one job is slower than its peers, over blocks of the job's length.

A rank's noise has memory, and its blocks are no independent witnesses. What is independent are the ranks: how
much the others differ from each other over the whole job, by noise with any memory and by nature, is how much
one rank may differ by chance. So p is that of Student's t of a rank's mean against the others', and at least
that of how often the rank was the slowest in a block, without the block that speaks most against it. Ranks
that are slower by less than the tolerance are not slow.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, ndtri, stdtr, stdtrit
from thermograd.analysis.arrays import Floats
from thermograd.analysis.fleet.devices import FEWEST_RANKS

TOLERANCE = 0.03
_FEWEST_BLOCKS = 5
_TRIMMED = 0.1  # of a rank's blocks at either end
_LEAST_SPREAD = 1e-3  # of two ranks' mean times: clocks and rounding


@dataclass(frozen=True)
class Slow:
    """How one rank stands: its time over its peers' with a 95 % interval, and p corrected for all ranks."""

    rank: int
    ratio: float
    ratio_low: float
    ratio_high: float
    p: float


@dataclass(frozen=True)
class SlowTest:
    """The ranks that are slow, the slowest first, and which ratio would have been told nine times in ten."""

    named: list[Slow]
    ranks: int
    detectable: float | None


def slow_ranks(ratios: dict[int, Floats], alpha: float) -> SlowTest:
    """Judge the ranks of a job.

    Parameters
    ----------
    ratios
        By rank its time over the ranks' median in each block; NaN where it has none.
    alpha
        Probability that any rank of a job without a slow one is named.

    Examples
    --------
    >>> blocks = np.ones(20)
    >>> found = slow_ranks({rank: blocks * (1.1 if rank == 5 else 1 + rank / 1e4) for rank in range(8)}, .05)
    >>> [(slow.rank, round(slow.ratio, 2)) for slow in found.named]
    [(5, 1.1)]
    """
    logs = {rank: np.log(of) for rank, of in ratios.items() if np.isfinite(of).sum() >= _FEWEST_BLOCKS}
    means = {rank: _mean(of) for rank, of in logs.items()}
    family, named, detectable = len(logs), list[Slow](), None
    while len(means) >= FEWEST_RANKS and len(named) <= family // 4:
        detectable = _detectable(np.array(list(means.values())), alpha / family)
        worst = _standing(max(means, key=means.__getitem__), means, logs, family)
        if worst.p > alpha:
            break
        named.append(worst)
        del means[worst.rank]
    return SlowTest(named, family, detectable)


def _standing(rank: int, means: dict[int, float], logs: dict[int, Floats], family: int) -> Slow:
    others = np.array([mean for name, mean in means.items() if name != rank])
    excess, freedom, scale = means[rank] - others.mean(), len(others) - 1, _scale(others)
    of_means = stdtr(freedom, (np.log1p(TOLERANCE) - excess) / scale)
    p = max(of_means, _p_of_blocks(logs[rank], np.array([logs[name] for name in means if name != rank])))
    reach = -stdtrit(freedom, 0.025) * scale
    low, high = np.exp(excess - reach), np.exp(excess + reach)
    return Slow(rank, float(np.exp(excess)), float(low), float(high), float(min(1.0, p * family)))


def _scale(others: Floats) -> float:
    """Return by how much one rank differs from the mean of others by chance."""
    return float(max(others.std(ddof=1), _LEAST_SPREAD) * np.sqrt(1.0 + 1.0 / len(others)))


def _p_of_blocks(own: Floats, others: Floats) -> float:
    """Return how likely a rank is the slowest in so many blocks but one, if any rank may be."""
    largest = np.where(np.isfinite(others), others, -np.inf).max(axis=0)
    is_known = np.isfinite(own) & np.isfinite(largest)
    wins = int((own - np.log1p(TOLERANCE) > largest)[is_known].sum())
    return _at_least(wins - 1, max(int(is_known.sum()) - 1, 1), 1.0 / (len(others) + 1))


def _at_least(successes: int, trials: int, chance: float) -> float:
    """Return the probability of so many successes or more."""
    if successes <= 0:
        return 1.0
    return float(betainc(successes, trials - successes + 1, chance)) if successes <= trials else 0.0


def _mean(logs: Floats) -> float:
    """Return the mean of the blocks without the largest and smallest."""
    known = np.sort(logs[np.isfinite(logs)])
    cut = int(_TRIMMED * len(known))
    return float(known[cut : len(known) - cut].mean())


def _detectable(means: Floats, alpha: float) -> float:
    reach = -stdtrit(len(means) - 2, alpha) - ndtri(0.1)
    return float((1.0 + TOLERANCE) * np.exp(reach * _scale(means)))
