"""Statistics over the last seconds of event time, in plain ``+ - * / sqrt``.

No function of a mathematics library is called, so results are the same bits on every machine.
"""

from collections import deque
from math import isfinite, sqrt
from typing import Any, TypeVar, cast

from numpy import float64
from numpy.typing import NDArray

_Value = TypeVar("_Value", float, NDArray[float64])


class TimeWindow:
    """Time-weighted mean and sd of what was read in the last `window_s` seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._entries: deque[tuple[float, float, float]] = deque()  # from, to, value
        self._begin_s = 0.0

    def append(self, time_s: float, stands_s: float | None, value: float) -> None:
        """Add a value that stands for the `stands_s` seconds before `time_s`."""
        entries = self._entries
        if stands_s is not None and len(entries) == 1 and entries[0][0] == entries[0][1]:
            _, end_s, first = entries[0]
            entries[0] = (end_s - stands_s, end_s, first)
        entries.append((time_s - (stands_s or 0.0), time_s, value))
        self._begin_s = time_s - self._window_s
        while entries[0][1] <= self._begin_s:
            entries.popleft()

    def observed_s(self) -> float:
        """Return how many of the window's seconds were observed."""
        return self._sums()[0]

    def mean(self) -> float:
        """Return the time-weighted mean."""
        seconds, total = self._sums()
        return total / seconds if seconds > 0.0 else self._entries[-1][2]

    def deviation(self) -> float:
        """Return the time-weighted population standard deviation."""
        seconds, total = self._sums()
        if seconds <= 0.0:
            return 0.0
        mean = total / seconds
        squares = 0.0
        begin_s = self._begin_s
        for start_s, end_s, value in self._entries:
            away = value - mean
            squares += (end_s - (start_s if start_s > begin_s else begin_s)) * away * away
        return sqrt(squares / seconds)

    def _sums(self) -> tuple[float, float]:
        seconds = total = 0.0
        begin_s = self._begin_s
        for start_s, end_s, value in self._entries:
            weight_s = end_s - (start_s if start_s > begin_s else begin_s)
            seconds += weight_s
            total += weight_s * value
        return seconds, total


def known(value: float | None) -> float | None:
    """Return the value as a float, None where it is missing or not finite."""
    if value is None:
        return None
    value = float(value)
    return value if isfinite(value) else None


def slope(readings: deque[tuple[float, float]]) -> float | None:
    """Return the least-squares slope of (time_s, value), None below two readings."""
    n = len(readings)
    if n < 2:
        return None
    last_s, last = readings[-1]
    if n == 2:
        return (last - readings[0][1]) / (last_s - readings[0][0])
    time_sum = value_sum = 0.0
    for time_s, value in readings:
        time_sum += time_s - last_s
        value_sum += value - last
    time_mean, value_mean = time_sum / n, value_sum / n
    products = squares = 0.0
    for time_s, value in readings:
        away_s = time_s - last_s - time_mean
        products += away_s * (value - last - value_mean)
        squares += away_s * away_s
    return products / squares


def integer_power(base: float, exponent: int) -> float:
    """Return base ** exponent by repeated squaring."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def exp_minus(x: _Value) -> _Value:
    """Return e**-x for 0 <= x < 1 by its series: bit-identical everywhere, unlike a library's."""
    term: Any = 1.0
    result: Any = 1.0
    for order in range(1, 20):
        term = term * (-x / order)
        result = result + term
    return cast("_Value", result)


def minus_log_ratio(ratio: float) -> float:
    """Return -ln(ratio) for 0.5 <= ratio <= 1 by the series of the area tangent."""
    if not 0.5 <= ratio <= 1.0:
        raise ValueError(f"peak_decay_per_s is {ratio!r}; expected 0.5 to 1")
    y = (1.0 - ratio) / (1.0 + ratio)
    power = y
    result = 0.0
    for order in range(1, 60, 2):
        result += power / order
        power *= y * y
    return 2.0 * result
