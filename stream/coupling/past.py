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
        self.at = _SPARE  # place of the newest tick

    @property
    def is_full(self) -> bool:
        """Whether the next tick moves all that is kept, so that no place is where it was."""
        return not self.at

    def take(self, innovations: Floats) -> Floats:
        """Take in a tick; return the window, shape (series, 1 + memories, length), innovations first."""
        if not self.at:
            self._rows[:, :, _SPARE:] = self._rows[:, :, : self._length].copy()
            self.at = _SPARE
        self.at -= 1
        newest = self._rows[:, :, self.at]
        newest[:, 0] = innovations
        newest[:, 1:] = (self._means * self._gains).clip(-1.0, 1.0)
        self._means += self._rates * (innovations[:, None] - self._means)
        return self._rows[:, :, self.at : self.at + self._length]

    def innovations(self, at: int, ticks: int) -> Floats:
        """Return the innovations of some ticks, the newest at a place and first, shape (ticks, series)."""
        return self._rows[:, 0, at : at + ticks].T

    def before(self, at: int, ticks: int, lags: range, echoes: bool) -> Floats:
        """Return what was so many ticks before each of some ticks, shape (ticks, series, lags).

        With `echoes` theirs instead of the innovations: shape (ticks, series, memories, lags).
        """
        by_series, by_echo, by_tick = self._rows.strides
        shape, strides = [ticks, len(self._rows)], [by_tick, by_series]
        if echoes:
            shape.append(len(self._rates))
            strides.append(by_echo)
        offset = by_echo * echoes + by_tick * (at + lags.start)
        return np.ndarray((*shape, len(lags)), float, self._rows, offset, (*strides, by_tick * lags.step))
