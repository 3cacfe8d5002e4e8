"""When a host's ranks ended their steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from thermograd.store.clocks.lines import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class StepEnds:
    """When one host's ranks ended their steps, by the host's own steady clock.

    Attributes
    ----------
    step, time_s
        Shape (n,): which step, ascending, each once; when the earliest of the host's ranks noted its end.
    """

    step: Ints
    time_s: Floats


def step_ends(rank: Ints, step: Ints, time_s: Floats) -> StepEnds:
    """Return when a host ended each step: its earliest rank. A step that a rank repeats is another step.

    >>> ends = step_ends(np.array([0, 0, 1, 1]), np.array([1, 2, 1, 2]), np.array([5.0, 6.0, 5.1, 5.9]))
    >>> ends.step.tolist(), ends.time_s.tolist()
    ([1, 2], [5.0, 5.9])
    """
    order = np.lexsort((time_s, step, rank))
    rank, step, time_s = rank[order], step[order], time_s[order]
    key = step + (_repetition(rank, step) << 40)
    order = np.lexsort((time_s, key))
    key, time_s = key[order], time_s[order]
    first = np.append(True, key[1:] != key[:-1])[: key.size]
    return StepEnds(key[first], time_s[first])


def _repetition(rank: Ints, step: Ints) -> Ints:
    """Return which time a rank ends a step, from 0; sorted by rank and step."""
    new = np.append(True, (rank[1:] != rank[:-1]) | (step[1:] != step[:-1]))[: step.size]
    place = np.arange(step.size)
    return np.asarray(place - np.maximum.accumulate(np.where(new, place, 0)), dtype=np.int64)
