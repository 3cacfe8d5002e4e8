"""What memory is left in the residuals of both series, and how far it widens the spread of a correlation.

Permuting single bins, or their signs, needs products at different times to be uncorrelated. Where both
residuals have kept some memory (a rhythm, a rolling mean, a memory that changed) they are not. The spread of
a sum of products of two independent series is known all the same: it is the sum, over all pairs of times, of
the product of the two autocovariances (Bartlett 1935, J. R. Stat. Soc. 98:536). These are estimated in blocks
of time, since a memory may come and go; both estimates are independent, so noise in them cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.responses import LaggedPair

_BINS_PER_BLOCK, _MOST_BLOCKS = 100, 8
_FARTHEST = 60  # bins over which memory is added up
_OWN_NOISE = 0.5  # standard deviations that memory must exceed to count


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How widely the correlations of an uncoupled pair are spread.

    Attributes
    ----------
    deviation
        Shape (k,): standard deviation of `LaggedPair.profile` under each response, memory and shared
        restlessness included.
    inflation
        Shape (k,): by how much memory alone multiplies the variance; at least 1. Only what exceeds its own
        noise counts: for a slow response that is large.
    suspicion
        Memory in both residuals, in standard deviations of what white ones show.
    """

    deviation: Floats
    inflation: Floats
    suspicion: float


def spread_of(pair: LaggedPair, place: Ints, lags: int) -> Spread:
    """Return the spread of the profile of a pair whose first `lags` columns are single lags.

    What the peak explains is taken out of the follower first: it would pass for memory in both.
    """
    n, profile = pair.follower.size, pair.profile()
    peak, size = int(np.argmax(np.abs(profile))), float(np.linalg.norm(pair.follower))
    rest = pair.follower - profile[peak] * size * pair.columns[:, peak]
    rest *= np.sqrt(n) / max(float(np.linalg.norm(rest)), 1e-300)
    # Of the leader the memory is the same at all lags.
    columns = pair.columns[:, [0, *range(lags, pair.columns.shape[1])]] * np.sqrt(n)
    added, noise = _memory_of_products(rest, columns, place)
    extra = np.maximum(added - _OWN_NOISE * noise, 0.0)
    extra = np.append(np.full(lags, extra[0]), extra[1:])
    sizes = (pair.follower * pair.follower) @ (pair.columns * pair.columns) / size**2
    return Spread(np.sqrt(sizes + extra / n), 1.0 + extra, float(added[0] / max(noise[0], 1e-300)))


def inflation_of(leader: Floats, follower: Floats, place: Ints) -> float:
    """Return by how much memory in both multiplies the variance of a sum of products; at least 1."""
    scaled = [values / max(float(np.std(values)), 1e-300) for values in (leader, follower)]
    added, noise = _memory_of_products(scaled[1], scaled[0][:, None], place)
    return 1.0 + max(0.0, float(added[0] - _OWN_NOISE * noise[0]))


def _memory_of_products(follower: Floats, columns: Floats, place: Ints) -> tuple[Floats, Floats]:
    """Return what memory adds to the variance of a sum of products, each of variance 1, and its noise."""
    blocks = _blocks(place)
    farthest = min(_FARTHEST, min(rows.size for rows in blocks) // 3)
    is_whole = place[-1] - place[0] == place.size - 1  # nothing is missing
    series = [follower, *columns.T] if is_whole else [follower, *columns.T, np.ones(place.size)]
    sums = _autocovariances(series, place, blocks, farthest)
    if is_whole:
        pairs = np.array([[rows.size] for rows in blocks]) - np.arange(1.0, farthest + 1)
    else:
        pairs, sums = sums[:, -1], sums[:, :-1]
    counts = np.maximum(pairs, 1.0)  # of bins so far apart, in every block
    own, others = sums[:, 0], sums[:, 1:]
    added = 2.0 * np.einsum("bkl,bl->k", others, own / counts)
    noise = 4.0 * np.einsum("bkl,bl->k", others * others, 1.0 / counts)
    return added / follower.size, np.sqrt(noise) / follower.size


def _blocks(place: Ints) -> list[Ints]:
    count = int(np.clip(place.size // _BINS_PER_BLOCK, 1, _MOST_BLOCKS))
    return np.array_split(np.arange(place.size), count)


def _autocovariances(series: Sequence[Floats], place: Ints, blocks: Sequence[Ints], farthest: int) -> Floats:
    """Return the sums of products of values 1..farthest bins apart in each block, of every series.

    Shape (blocks, k, farthest).
    """
    longest = max(int(place[rows[-1]] - place[rows[0]]) + 1 for rows in blocks)
    size = scipy.fft.next_fast_len(longest + farthest, real=True)
    whole = np.zeros((len(blocks), len(series), size))
    for own, rows in zip(whole, blocks, strict=True):
        here = place[rows] - place[rows[0]]
        for line, values in zip(own, series, strict=True):
            line[here] = values[rows[0] : rows[-1] + 1]
    spectrum = scipy.fft.rfft(whole)
    return np.asarray(scipy.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[..., 1 : farthest + 1])
