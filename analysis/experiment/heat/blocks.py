"""The hot and cool blocks of a switchback, and their heat through a thermal memory."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter, oaconvolve
from thermograd.analysis.arrays import Floats, Ints

_WHOLE = 0.9  # of a block's usual steps


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Hot and cool blocks over all steps of an experiment.

    Attributes
    ----------
    heat
        Shape (steps,): .5 hot, -.5 cool, 0 outside.
    place
        Shape (steps,): number of the pair among those that count, from 0; -1 for none.
    pairs, block_steps
        How many pairs count, and the steps of one block.
    step_s, hot_step_s
        Nominal duration of a step, and that of a hot one, s.
    """

    heat: Floats
    place: Ints
    pairs: int
    block_steps: int
    step_s: float
    hot_step_s: float

    def by_pair(self, weights: Floats) -> Floats:
        """Return what each pair's heat adds to weights @ heat; shape (pairs,)."""
        inside = self.place >= 0
        products = (weights * self.heat)[inside]
        return np.bincount(self.place[inside], products, minlength=self.pairs).astype(np.float64)

    def through(self, memory_s: float) -> Floats:
        """Return the heat through a thermal memory, which comes to 1 between long hot and long cool."""
        return _remembered(self.heat, memory_s / self.step_s)

    def by_pair_through(self, memory_s: float, weights: Floats) -> Floats:
        """Return what each pair's heat, through a memory, adds to weights @ through; shape (pairs,)."""
        return self.by_pair(_remembered(weights[::-1], memory_s / self.step_s)[::-1])

    def between(self, first: int, last: int) -> Floats:
        """Return the mean heat from `first` to `last` - 1 steps before each step."""
        return _averaged(self.heat, first, last)

    def by_pair_between(self, first: int, last: int, weights: Floats) -> Floats:
        """Return what each pair's heat adds to weights @ between; shape (pairs,)."""
        return self.by_pair(_averaged(weights[::-1], first, last)[::-1])

    def at_block_end(self, memory_s: float) -> float:
        """Return how much of a lasting heat's effect one block brings, begun on a device long cool."""
        return float(1.0 - np.exp(-self.block_steps * self.step_s / memory_s))


def blocks_of(time_s: Floats, hot: Floats, pair: Ints) -> Blocks:
    """Return the blocks of whole pairs; see `analyze_switchback` for what is given."""
    known = np.isfinite(hot) & (pair >= 0)
    numbers, place = np.unique(np.where(known, pair, -1), return_inverse=True)
    steps_hot = np.bincount(place, known & (hot > 0.5), minlength=numbers.size)
    steps_cool = np.bincount(place, known & (hot <= 0.5), minlength=numbers.size)
    block_steps = np.median(np.append(steps_hot, steps_cool)[np.tile(numbers >= 0, 2)]) if known.any() else 0
    whole = (numbers >= 0) & (np.minimum(steps_hot, steps_cool) >= _WHOLE * block_steps)
    among = np.where(whole, np.cumsum(whole) - 1, -1)
    counted = among[place]
    heat = np.where(counted >= 0, np.nan_to_num(hot) - 0.5, 0.0)
    taken = np.append(np.nan, np.diff(time_s))
    hot_s, cool_s = (_typical(taken[(counted >= 0) & side]) for side in (heat > 0, heat < 0))
    return Blocks(heat, counted, int(whole.sum()), int(block_steps), _nominal((hot_s + cool_s) / 2), hot_s)


def _typical(durations: Floats) -> float:
    durations = durations[np.isfinite(durations) & (durations > 0)]
    return float(np.median(durations)) if durations.size else 1.0


def _nominal(duration_s: float) -> float:
    """Round to a tenth, so that no draw moves it: the durations are of the steps as they were drawn."""
    return float(1.1 ** round(np.log(duration_s) / np.log(1.1)))


def _remembered(series: Floats, memory_steps: float) -> Floats:
    kept = np.exp(-1.0 / memory_steps)
    return np.asarray(lfilter([1.0 - kept], [1.0, -kept], series))


def _averaged(series: Floats, first: int, last: int) -> Floats:
    window = np.append(np.zeros(first), np.full(last - first, 1.0 / (last - first)))
    return np.asarray(oaconvolve(series, window)[: series.size])
