"""The ways in which one series may answer another: after one lag, or slowly, with a memory.

A heat sink answers over tens of seconds: what is new in a temperature follows what was new in the training at
all of many lags a little, and at none of them much. So beside every single lag stand responses that decay
exponentially, each one more column in the same search.
"""

from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.linear_algebra import decaying_sums
from thermograd.analysis.coupling.normal_equations import Span

MEMORIES = (3.0, 6.0, 12.0, 24.0, 48.0)  # bins in which a response falls to 1/e
_BINS_PER_MEMORY = 8.0  # a longer response is what the trend is made of
_FEWEST_BINS = 150  # in fewer what a steep trend leaves looks like a slow response
_ALIKE = 2  # responses of neighbouring memories are nearly the same: all together count as so many


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What is searched: single lags, 0 or more bins, and slow responses that begin at the first of them."""

    lags: Ints
    memories: Floats  # in bins; empty where only lags are searched

    @property
    def alternatives(self) -> int:
        """How many independent looks the search is worth."""
        return self.lags.size + min(_ALIKE, self.memories.size)

    def only(self, at: int) -> "Searched":
        """Return the search of a single response, the last in it; beside a slow one stands the first lag."""
        lags = self.lags.size
        if at < lags:
            return Searched(self.lags[at : at + 1], self.memories[:0])
        return Searched(self.lags[:1], self.memories[at - lags : at - lags + 1])


def searched(lags: Ints, memories: Floats, bins: int) -> Searched:
    """Return what is searched in a series of so many bins; at the same time alone nothing is slow."""
    known = memories[(memories * _BINS_PER_MEMORY <= bins) & (bins >= _FEWEST_BINS)]
    return Searched(lags, known if lags.size > 1 else known[:0])


@dataclass(frozen=True, slots=True, eq=False)
class LaggedPair:
    """The series that follows and, for every response, what it would go along with.

    The follower is what is resampled: a slow answer makes the follower itself slow, and random orders of the
    leader would be compared with a spread that the coupling has widened.
    """

    follower: Floats  # shape (m,): its residuals
    columns: Floats  # shape (m, k): the leader by response; of length 1, free of the follower's nuisance
    basis: Span  # nuisance columns of the follower, on its m rows
    share: Floats  # shape (k,): share of |follower| in bins that have a partner at that response

    @classmethod
    def build(
        cls, leader: Floats, follower: Floats, basis: Span, place: Ints, looked: Searched
    ) -> "LaggedPair":
        """Line up two series; `place`, shape (m,), is each bin's place in time, stretches far apart.

        The `basis` is of the follower's nuisance columns.
        """
        new = basis.taken_out_of(responses(leader, place, looked))
        unit = new / np.maximum(np.sqrt(np.einsum("ij,ij->j", new, new)), 1e-300)
        share = np.append(_shares(follower, place, looked.lags), np.ones(looked.memories.size))
        return cls(follower, unit, basis, share)

    def profile(self) -> Floats:
        """Return the correlation as it is tested, of one spread in all responses; shape (k,)."""
        size = float(np.linalg.norm(self.follower))
        return self.follower @ self.columns / size if size > 0.0 else np.zeros(self.columns.shape[1])

    def effects(self) -> Floats:
        """Return the correlation over the bins that have a partner, shape (k,)."""
        return np.clip(self.profile() / np.maximum(self.share, 1e-9), -1.0, 1.0)


def _shares(follower: Floats, place: Ints, lags: Ints) -> Floats:
    """Return the share of a follower's size in bins that have a partner at each lag, shape (n_lags,)."""
    square = follower * follower
    total = max(float(square.sum()), 1e-300)
    if place[-1] - place[0] == place.size - 1:  # nothing is missing: all but the first bins have one
        without = np.append(0.0, np.cumsum(square))[np.minimum(lags, square.size)]
        return np.sqrt(np.maximum(1.0 - without / total, 0.0))
    there = responses(np.ones_like(follower), place, Searched(lags, np.empty(0))) > 0
    return np.sqrt(square @ there / total)


def responses(leader: Floats, place: Ints, looked: Searched) -> Floats:
    """Return what a follower goes along with under each response: the leader at the lags, or sums of it.

    A slow response is a sum over the past from the first lag on, in which each bin counts e times less than
    one a memory later. Shape (m, k); 0 where the leader is not known.
    """
    reach = int(looked.lags[-1])
    here = place - place[0] + reach
    whole = np.zeros(int(here[-1]) + 1)
    whole[here] = leader
    is_whole = here[-1] == reach + here.size - 1  # nothing is missing: slices, which are not copied
    columns = [whole[reach - lag :][: here.size] if is_whole else whole[here - lag] for lag in looked.lags]
    for memory in looked.memories:
        summed = decaying_sums(whole, np.exp(-1.0 / memory))
        columns.append(summed[here - looked.lags[0]])
    return np.column_stack(columns)
