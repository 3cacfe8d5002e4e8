"""What was new in each series lately, and its slow echoes: what a bet looks back at."""

from collections.abc import Sequence
from math import sqrt
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from thermograd.stream.coupling.columns import Columns

Floats = NDArray[np.float64]

_SPARE = 512  # ticks between two moves of the window


class Echoes(Columns):
    """Slow echoes of what was new: what a heat sink would remember.

    The echo of a memory of so many ticks is the exponentially weighted mean of the innovations *before* a
    tick, on the scale of an innovation and clipped to 1. All is known before the innovation of that tick is.
    There are `series` series for each of `devices`, and an echo of each for each of `memories`.
    """

    columns: ClassVar[dict[str, str]] = {"_means": "series"}

    def __init__(self, series: int, memories: Sequence[float], devices: int = 1) -> None:
        self.series, self.devices = series, devices
        self._rates = 1.0 / np.array(memories, float)[:, None]
        self._gains = np.array([sqrt(2.0 * memory) for memory in memories])[:, None]
        self._means = np.zeros((len(memories), series * devices))

    def take(self, innovations: Floats) -> Floats:
        """Return the echoes before a tick, shape (memories, series), and take it in."""
        echoes: Floats = self._means * self._gains
        np.maximum(np.minimum(echoes, 1.0, out=echoes), -1.0, out=echoes)
        change = innovations - self._means
        change *= self._rates
        self._means += change
        return echoes


class Past:
    """A window of the latest innovations of several series, and of their echoes, newest first.

    There are `series` series with `echoes` echoes each, and `length` ticks are kept.
    """

    def __init__(self, series: int, echoes: int, length: int) -> None:
        self._length = length
        self._rows = np.zeros((series, 1 + echoes, length + _SPARE))
        self._at = _SPARE  # of the newest tick

    def extend(self, ticks: Floats) -> int:
        """Take in ticks, the oldest first, shape (ticks, 1 + echoes, series); return the newest's place.

        Those before it are behind it. A place is good until the next call.
        """
        count = len(ticks)
        if self._at < count:
            self._rows[:, :, _SPARE:] = self._rows[:, :, self._at : self._at + self._length].copy()
            self._at = _SPARE
        self._at -= count
        self._rows[:, :, self._at : self._at + count] = ticks[::-1].transpose(2, 1, 0)
        return self._at

    def innovations(self, at: int, ticks: int) -> Floats:
        """Return the innovations of some ticks, the newest at a place and first, shape (ticks, series)."""
        return self._rows[:, 0, at : at + ticks].T

    def before(self, at: int, ticks: int, series: int, lags: range, echoes: bool) -> Floats:
        """Return what was so many ticks before some, of the first series, shape (ticks, series, lags).

        With `echoes` theirs instead of the innovations: shape (ticks, series, memories, lags).
        """
        by_series, by_echo, by_tick = self._rows.strides
        shape, strides = [ticks, series], [by_tick, by_series]
        if echoes:
            shape.append(self._rows.shape[1] - 1)
            strides.append(by_echo)
        offset = by_echo * echoes + by_tick * (at + lags.start)
        return np.ndarray((*shape, len(lags)), float, self._rows, offset, (*strides, by_tick * lags.step))
