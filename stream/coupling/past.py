"""What was new in each series lately, and its slow echoes: what a bet looks back at."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SPARE = 512  # ticks between two moves of the window


class Past:
    """A window of the latest innovations of several series, and of their echoes, newest first.

    The echo of a memory of so many ticks is the exponentially weighted mean of the innovations *before* a
    tick, on the scale of an innovation and clipped to 1: what a heat sink would remember. All is known before
    the innovation of that tick is.

    There are `series` series, an echo for each of `memories`, and `length` ticks are kept.
    """

    def __init__(self, series: int, memories: Sequence[float], length: int) -> None:
        self._length = length
        self._rates = 1.0 / np.array(memories, float)
        self._gains = np.array([sqrt(2.0 * memory) for memory in memories])
        self._means = np.zeros((series, len(memories)))
        self._rows = np.zeros((series, 1 + len(memories), length + _SPARE))
        self._at = _SPARE

    def take(self, innovations: Floats) -> Floats:
        """Take in a tick; return the window, shape (series, 1 + memories, length), innovations first."""
        if not self._at:
            self._rows[:, :, _SPARE:] = self._rows[:, :, : self._length].copy()
            self._at = _SPARE
        self._at -= 1
        newest = self._rows[:, :, self._at]
        newest[:, 0] = innovations
        newest[:, 1:] = (self._means * self._gains).clip(-1.0, 1.0)
        self._means += self._rates * (innovations[:, None] - self._means)
        return self._rows[:, :, self._at : self._at + self._length]
