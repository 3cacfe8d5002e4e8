"""What a cleaned outcome says for a response, under the draw that was made and all that might have been.

A score is linear in the draw: a sum of rows, of which the draw takes one a stratum (the pulse's place) or
gives each a sign (the pulse's kind). So all redraws are one product, and mean and variance over them exact.
"""

from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.experiment.pulse.cleaning import Cleaned


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """Strata that were measured to their end.

    Attributes
    ----------
    first, place, index
        Shape (s,): the first bin, the pulse's bin in the stratum, and the stratum's number.
    places, lags
        Bins that a pulse may come at; lags of a response, 0 included.
    """

    first: Ints
    place: Ints
    index: Ints
    places: int
    lags: int

    @property
    def size(self) -> int:
        """How many there are."""
        return self.first.size

    def windows(self, values: Floats) -> Floats:
        """Return the bins that a response may touch, shape (s, places + lags - 1); 0 after the last one."""
        span = self.places + self.lags - 1
        longer = np.append(values, np.zeros(span))
        return np.asarray(longer[self.first[:, None] + np.arange(span)], np.float64)

    def response(self, n: int, course: Floats, sizes: Floats | None = None) -> Floats:
        """Return what pulses of this response, of these sizes (1 each), add to n bins."""
        pulses = np.zeros(n)
        pulses[self.first + self.place] = 1.0 if sizes is None else sizes
        return np.convolve(pulses, course)[:n]


def complete_strata(stratum: Ints, place: Ints, places: int, lag_bins: int) -> Strata:
    """Return the strata all of whose bins are there; bins of a stratum follow each other.

    Raises
    ------
    ValueError
        If a pulse lies outside the places.
    """
    if place.size and (place.min() < 0 or place.max() >= places):
        raise ValueError(f"pulses are at bins {place.min()} to {place.max()}; allowed: 0 to {places - 1}")
    inside = np.flatnonzero((stratum >= 0) & (stratum < place.size))
    number, at, count = np.unique(stratum[inside], return_index=True, return_counts=True)
    first = inside[at]
    span = places + lag_bins
    whole = (count >= span) & (first + span <= stratum.size)
    whole[whole] = stratum[first[whole] + span - 1] == number[whole]
    return Strata(first[whole], place[number[whole]], number[whole], places, lag_bins + 1)


class _Drawn:
    """What every draw has: the strata that it was made for, and its redraws, a row each."""

    strata: Strata
    _redrawn: Any

    def through(self, lags: int) -> Self:
        """Return the same draw and redraws, asked for a response of so many lags."""
        found = copy(self)
        found.strata = replace(self.strata, lags=lags)
        return found

    def redrawn(self, rows: Floats) -> Floats:
        """Return the sum under every redraw, shape (redraws, ...)."""
        return np.asarray(self._redrawn @ rows)


class Places(_Drawn):
    """The draw of the pulses' places, for whether there is any answer to pulses."""

    def __init__(self, strata: Strata, redraws: int, rng: np.random.Generator) -> None:
        self.strata = strata
        drawn = rng.integers(strata.places, size=(redraws, strata.size))
        columns = (drawn + strata.places * np.arange(strata.size)).ravel()
        ends = np.arange(redraws + 1) * strata.size
        shape = (redraws, strata.size * strata.places)
        self._redrawn = csr_array((np.ones(columns.size), columns, ends), shape=shape)
        self._drawn = strata.place + strata.places * np.arange(strata.size)
        # of the rest after a fitted response: one row in so many was the real one, and its sum was made 0
        self.inflation = float(np.sqrt(strata.places / max(strata.places - 1, 1)))

    def rows(self, clean: Cleaned) -> Floats:
        """Return every stratum's score at every place, shape (s * places, lags), of a response in each lag.

        Centred over the places: the mean depends on no draw.
        """
        rows = shift_scores(self.strata, clean)
        return np.asarray(rows - rows.mean(axis=1, keepdims=True)).reshape(-1, self.strata.lags)

    def answer(self, clean: Cleaned) -> Floats:
        """Return how the observed sum grows with a response of 1 in each lag (columns), (lags, lags)."""
        placed, weight = placed_shifts(self.strata, clean), self.strata.windows(clean.weight)
        centred, drawn = placed - placed.mean(axis=0), self.strata.place
        return np.asarray(np.tensordot(centred[drawn], weight[:, :, None] * placed[drawn], ((0, 1), (0, 1))))

    def observed(self, rows: Floats) -> Floats:
        """Return the sum of the rows that were drawn."""
        return np.asarray(rows[self._drawn].sum(axis=0))

    def variance(self, rows: Floats) -> Floats:
        """Return the exact variance of the sum over all draws."""
        return np.asarray((rows**2).sum(axis=0) / self.strata.places)

    def redrawn_answers(self, clean: Cleaned, draws: int) -> Floats:
        """Return how the sum would grow with a response to the pulses of that redraw itself.

        Of the first so many redraws, shape (draws, lags, lags).
        """
        placed, weight = placed_shifts(self.strata, clean), self.strata.windows(clean.weight)
        centred = placed - placed.mean(axis=0)
        squares = np.einsum("ptk,ptl->tpkl", centred, placed)
        own = weight @ squares.reshape(weight.shape[1], -1)
        lags = self.strata.lags
        return np.asarray(self._redrawn[:draws] @ own.reshape(-1, lags**2)).reshape(-1, lags, lags)

    def by_stratum(self, rows: Floats) -> Floats:
        """Return what each of the draws would add, shape (s, draws, ...)."""
        return rows.reshape(self.strata.size, self.strata.places, *rows.shape[1:])

    def option(self) -> Ints:
        """Return which of these was drawn."""
        return self.strata.place

    def response(self, n: int, course: Floats) -> Floats:
        """Return what the pulses would add to n bins."""
        return self.strata.response(n, course)


class Kinds(_Drawn):
    """The draw of the pulses' kinds, their places held, for whether the second does more than the first.

    `signs`: shape (s,), 1 for the second kind, -1 for the first. Half the difference of the kinds is added to
    one and taken from the other.
    """

    def __init__(self, strata: Strata, signs: Floats, redraws: int, rng: np.random.Generator) -> None:
        self.strata, self._signs = strata, signs
        self.inflation = 1.2  # the rest was fitted twice, with what both kinds do too: as benchmarks need it
        self._redrawn = 2.0 * rng.integers(2, size=(redraws, strata.size)) - 1.0

    def rows(self, clean: Cleaned) -> Floats:
        """Return every stratum's score, shape (s, lags), centred: their mean depends on no coin."""
        drawn = shift_scores(self.strata, clean)[np.arange(self.strata.size), self.strata.place]
        return np.asarray(drawn - drawn.mean(axis=0))

    def answer(self, clean: Cleaned) -> Floats:
        """Return how the observed sum grows with a difference of 1 in each lag (columns), (lags, lags)."""
        drawn = placed_shifts(self.strata, clean)[self.strata.place]
        weighted = self.strata.windows(clean.weight)[:, :, None] * drawn
        each = 0.5 * self._signs[:, None, None] * (drawn.transpose(0, 2, 1) @ weighted)
        return np.asarray(np.tensordot(self._signs, each - each.mean(axis=0), 1))

    def observed(self, rows: Floats) -> Floats:
        """Return the sum of the rows with the signs that were drawn."""
        return np.asarray(np.tensordot(self._signs, rows, 1))

    def variance(self, rows: Floats) -> Floats:
        """Return the exact variance of the sum over all draws."""
        return np.asarray((rows**2).sum(axis=0))

    def redrawn_answers(self, clean: Cleaned, draws: int) -> Floats:
        """Return how the sum would grow with a difference by the coins of that redraw: always alike."""
        grown = self.answer(clean)
        return np.broadcast_to(grown, (min(draws, len(self._redrawn)), *grown.shape))

    def by_stratum(self, rows: Floats) -> Floats:
        """Return what each of the draws would add, shape (s, draws, ...)."""
        return np.stack([-rows, rows], axis=1)

    def option(self) -> Ints:
        """Return which of these was drawn."""
        return (self._signs > 0).astype(np.int64)

    def response(self, n: int, course: Floats) -> Floats:
        """Return what the kinds' difference would add to n bins."""
        return self.strata.response(n, course, 0.5 * self._signs)


Draw = Places | Kinds


def shift_scores(strata: Strata, clean: Cleaned) -> Floats:
    """Return the score of a response in each lag, were the pulse there, shape (s, places, lags)."""
    placed, weight = placed_shifts(strata, clean), strata.windows(clean.weight)
    flat = placed.transpose(0, 2, 1).reshape(-1, weight.shape[1])
    rows = (weight * strata.windows(clean.residual)) @ flat.T
    return np.asarray(rows.reshape(strata.size, strata.places, strata.lags))


def placed_shifts(strata: Strata, clean: Cleaned) -> Floats:
    """Return what the cleaning makes of a shift in each lag after each place, (places, window, lags)."""
    one = clean.whitening(strata.lags)
    placed = np.zeros((strata.places, strata.places + strata.lags - 1, strata.lags))
    for place in range(strata.places):
        placed[place, place : place + strata.lags] = one
    return placed
