"""What is new in a series: its error of prediction from its own past and from known drivers.

Only ``+ - * / sqrt`` and comparisons of numpy arrays, element by element or added along an axis: no
library function whose last bit depends on the processor, and no BLAS, whose result may depend on the
number of threads.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Innovations", "Standardizer"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_SETTLE = 30  # values that fix origin and scale
_PRIOR = 10.0  # variance of a coefficient before anything is known, in squared units of the series
_VARIANCE_CAP = 1e3  # a direction that nothing excites is forgotten no further than this
_CAP_EVERY = 64
_OUTLIER = 10.0  # deviations beyond which a value is learnt as if it were there
_SMALLEST_SD = 1e-4
_TINY = 1e-9
_NOTHING = 1e-3  # an innovation below this is none
_ABSURD = 1e150  # its square overflows
_VARYING = 3  # so many of the first values must differ from their median
_MEDIAN_OF_NORMAL = 0.6745  # median of |z|
_FROZEN = 60  # values in a row that are the same
_FEWEST = 20  # innovations before their size is known


class Standardizer:
    """Brings series to comparable numbers: less the median, over the spread, of some first values.

    Origin and scale are fixed once 30 values are known and they vary, and then stay: a scale that moves
    would break linear relations. Medians, so that a spike among those values does not set the scale. Until
    then, and where a value is missing, the result is NaN.
    """

    def __init__(self, series: int) -> None:
        self._first = np.zeros((_SETTLE, series))
        self._n = [0] * series
        self._moved = [0] * series  # when the value last changed
        self._origin = np.zeros(series)
        self._scale = np.full(series, np.nan)
        self._waiting = list(range(series))

    def update(self, values: Floats) -> Floats:
        """Return the values of shape (series,) on their own scales, NaN where not known."""
        for at in self._waiting.copy():
            value = float(values[at])
            if abs(value) < _ABSURD:  # False for NaN, too
                self._take(at, value)
        scaled: Floats = (values - self._origin) / self._scale
        return scaled

    def _take(self, at: int, value: float) -> None:
        n = self._n[at]
        if value != self._first[(n - 1) % _SETTLE, at]:
            self._moved[at] = n
        self._first[n % _SETTLE, at] = value
        self._n[at] = n + 1
        if n + 1 >= _SETTLE > n - self._moved[at]:  # a constant is not looked at every time
            self._settle(at)

    def _settle(self, at: int) -> None:
        first = np.sort(self._first[:, at])
        origin = first[_SETTLE // 2]
        away = np.sort(np.abs(first - origin))
        away = away[away > _TINY * abs(origin)]
        if len(away) < _VARYING:
            return
        self._origin[at], self._scale[at] = origin, away[len(away) // 2] / _MEDIAN_OF_NORMAL
        self._waiting.remove(at)


class Innovations:
    """Bounded one-step prediction errors of several series.

    Each series is predicted from its last `order` values, an intercept and the drivers by recursive
    least squares with forgetting. The error, over the exponentially weighted deviation of the earlier
    errors, is clipped to 2 deviations and halved, and the past mean of the result is taken off: a
    number of about -1 to 1 whose expectation, given the past, is 0.

    Robust against what sensors do: a value that is missing changes nothing (and gives 0); one that is
    far off is learnt as if it were 10 deviations off, so the model follows a change of level within some
    values, and one spike spoils nothing; directions without excitation are not forgotten beyond a bound.

    Parameters
    ----------
    series
        How many series.
    drivers
        How many drivers; each enters with its present value and the `driver_lags` before.
    order
        Own past values.
    forgetting
        Weight of a value relative to the next one.
    scale_rate, mean_rate
        Rates of the deviation of errors, and of the mean that is taken off.
    driver_lags
        Past values of each driver.

    Attributes
    ----------
    frozen
        Shape (series,): which had not changed for a minute when the latest values came.
    """

    def __init__(
        self,
        series: int,
        drivers: int = 0,
        order: int = 4,
        forgetting: float = 0.999,
        scale_rate: float = 0.01,
        mean_rate: float = 0.002,
        driver_lags: int = 1,
    ) -> None:
        self.series, self.drivers, self.order = series, drivers, order
        self.forgetting, self.scale_rate, self.mean_rate = forgetting, scale_rate, mean_rate
        self._standard = Standardizer(series)
        self._driver_standard = Standardizer(drivers)
        inputs = order + 1 + drivers * (1 + driver_lags)
        self._inputs = np.zeros((inputs, series))
        self._inputs[order] = 1.0
        self._weights = np.zeros((inputs, series))
        self._weights[0] = 0.5
        self._covariance = np.zeros((inputs, inputs, series))
        self._diagonal = np.arange(inputs)
        self._covariance[self._diagonal, self._diagonal] = _PRIOR
        self._variance = np.ones(series)
        self._mean = np.zeros(series)
        self._filled = np.zeros(series)
        self._learnt = np.zeros(series)
        self._since_cap = 0
        self._last = np.full(series, np.nan)
        self._unchanged = np.zeros(series)
        self.frozen: Flags = np.zeros(series, bool)

    @property
    def known(self) -> Flags:
        """Which series have innovations by now, shape (series,)."""
        enough: Flags = self._learnt >= _FEWEST
        return enough

    def update(self, values: Floats, drivers: Sequence[float] | Floats = ()) -> Floats:
        """Return the innovations of the next values, shape (series,); 0 where there is none."""
        self.frozen = self._unchanged >= _FROZEN
        self._unchanged = np.where(values == self._last, self._unchanged + 1.0, 0.0)
        self._last = values.copy()
        scaled = self._standard.update(values)
        self._take_drivers(drivers)
        given = np.isfinite(scaled)
        if not given.any():
            return np.zeros(self.series)
        scaled = np.clip(np.where(given, scaled, 0.0), -1e12, 1e12)
        learns = given & (self._filled >= self.order)
        predicted = np.add.reduce(self._weights * self._inputs, axis=0)
        error = np.where(learns, scaled - predicted, 0.0)
        deviation = np.maximum(np.sqrt(self._variance), _SMALLEST_SD)
        result = self._bounded(error / deviation, learns)
        sized = self._learnt >= _FEWEST
        error = np.where(sized, np.clip(error, -_OUTLIER * deviation, _OUTLIER * deviation), error)
        self._learn(error, learns)
        self._shift(np.where(learns, predicted + error, scaled), given)
        return result

    def _take_drivers(self, drivers: Sequence[float] | Floats) -> None:
        count, first = self.drivers, self.order + 1
        if not count:
            return
        scaled = self._driver_standard.update(np.asarray(drivers, float))
        rows = self._inputs[first:]
        rows[count:] = rows[:-count].copy()
        rows[:count] = np.clip(np.where(np.isfinite(scaled), scaled, 0.0), -1e3, 1e3)[:, None]

    def _bounded(self, score: Floats, learns: Flags) -> Floats:
        raw = 0.5 * np.clip(score, -2.0, 2.0)
        counts = learns & (self._learnt >= _FEWEST) & (np.abs(raw) > _NOTHING)
        result: Floats = np.where(counts, raw - self._mean, 0.0)
        self._mean += np.where(counts, self.mean_rate * result, 0.0)
        return result

    def _learn(self, error: Floats, learns: Flags) -> None:
        through = np.add.reduce(self._covariance * self._inputs, axis=1)
        denominator = self.forgetting + np.add.reduce(through * self._inputs, axis=0)
        gain = through / denominator
        self._weights += gain * error
        covariance = (self._covariance - gain[:, None] * through[None]) / self.forgetting
        self._covariance = covariance if learns.all() else np.where(learns, covariance, self._covariance)
        self._learnt += learns
        rate = np.maximum(self.scale_rate, 1.0 / np.maximum(self._learnt, 1.0))
        self._variance += np.where(learns, rate * (error * error - self._variance), 0.0)
        self._since_cap += 1
        if self._since_cap >= _CAP_EVERY:
            self._since_cap = 0
            self._cap()

    def _cap(self) -> None:
        """Keep the covariance bounded and positive: shrink directions that nothing has excited."""
        diagonal = self._covariance[self._diagonal, self._diagonal]
        broken = ~(np.isfinite(diagonal) & (diagonal > 0.0)).all(axis=0)
        if broken.any():  # rounding got the better of it: start the series' model anew
            self._covariance[:, :, broken] = 0.0
            self._covariance[self._diagonal[:, None], self._diagonal[:, None], broken] = _PRIOR
            self._weights[:, broken] = 0.0
            self._weights[0, broken] = 0.5
            diagonal = self._covariance[self._diagonal, self._diagonal]
        shrink = np.sqrt(np.minimum(1.0, _VARIANCE_CAP / diagonal))
        self._covariance *= shrink[:, None] * shrink[None]

    def _shift(self, newest: Floats, given: Flags) -> None:
        lags = self._inputs[: self.order]
        moved = np.empty_like(lags)
        moved[0], moved[1:] = newest, lags[:-1]
        lags[:] = moved if given.all() else np.where(given, moved, lags)
        self._filled += given
