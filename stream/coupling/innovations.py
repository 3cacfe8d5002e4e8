"""What is new in a series: its error of prediction from its own past and from known drivers.

Only ``+ - * / sqrt`` and comparisons, of numbers or of arrays element by element or added along an axis:
no library function whose last bit depends on the processor, and no BLAS, whose result may depend on the
number of threads.
"""

from collections.abc import Sequence
from math import isfinite, nan, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SETTLE = 30  # values that fix origin and scale
_PRIOR = 10.0  # variance of a coefficient before anything is known, in squared units of the series
_VARIANCE_CAP = 1e3  # a direction that nothing excites is forgotten no further than this
_CAP_EVERY = 64
_OUTLIER = 10.0  # deviations beyond which a value is learnt as if it were there
_LOST = 5  # outliers in a row after which the prediction is what is wrong
_SMALLEST_SD = 1e-4
_TINY = 1e-9
_NOTHING = 1e-3  # an innovation below this is none
_MOST = 1e12  # a scaled value beyond is learnt as if it were that
_ABSURD = 1e150  # its square overflows
_VARYING = 3  # so many of the first values must differ from their median
_MEDIAN_OF_NORMAL = 0.6745  # median of |z|
_FROZEN = 60  # values in a row that are the same
_FEWEST = 20  # innovations before their size is known
_QUICK_FORGETTING = 0.98  # a minute
_QUICK_VARIANCE_CAP = 20.0
_QUICK_MOST = 0.7


class Standardizer:
    """Brings series to comparable numbers: less the median, over the spread, of some first values.

    Origin and scale are fixed once 30 values are known and they vary, and then stay: a scale that moves
    would break linear relations. Medians, so that a spike among those values does not set the scale. Until
    then, and where a value is missing, the result is NaN.
    """

    def __init__(self, series: int) -> None:
        self._first = [[0.0] * _SETTLE for _ in range(series)]
        self._n = [0] * series
        self._moved = [0] * series  # when the value last changed
        self._origin = [0.0] * series
        self._scale = [nan] * series
        self._waiting = list(range(series))

    def update(self, values: Sequence[float] | Floats) -> list[float]:
        """Return the values, as many as there are series, on their own scales; NaN where not known."""
        for at in self._waiting.copy():
            value = float(values[at])
            if abs(value) < _ABSURD:  # False for NaN, too
                self._take(at, value)
        return [
            (float(value) - origin) / scale
            for value, origin, scale in zip(values, self._origin, self._scale, strict=True)
        ]

    def _take(self, at: int, value: float) -> None:
        n, first = self._n[at], self._first[at]
        if value != first[(n - 1) % _SETTLE]:
            self._moved[at] = n
        first[n % _SETTLE] = value
        self._n[at] = n + 1
        if n + 1 >= _SETTLE > n - self._moved[at]:  # a constant is not looked at every time
            self._settle(at)

    def _settle(self, at: int) -> None:
        first = np.sort(self._first[at])
        origin = float(first[_SETTLE // 2])
        away = np.sort(np.abs(first - origin))
        away = away[away > _TINY * abs(origin)]
        if len(away) < _VARYING:
            return
        self._origin[at], self._scale[at] = origin, float(away[len(away) // 2]) / _MEDIAN_OF_NORMAL
        self._waiting.remove(at)


class _Errors:
    """The errors of one series' prediction: how large they usually are, and what is new in the latest."""

    __slots__ = ("beyond", "filled", "frozen", "last", "learnt", "mean", "unchanged", "variance")

    def __init__(self) -> None:
        self.beyond = self.filled = self.learnt = self.unchanged = 0
        self.variance, self.mean = 1.0, 0.0
        self.last = nan
        self.frozen = False

    def see(self, value: float) -> None:
        """Notice whether the series still moves."""
        self.frozen = self.unchanged >= _FROZEN
        self.unchanged = self.unchanged + 1 if value == self.last else 0
        self.last = value

    def judge(self, error: float, mean_rate: float) -> tuple[float, float]:
        """Return the innovation, and the error that is learnt from."""
        if not isfinite(error):  # the model itself overflowed; it is begun anew soon
            return 0.0, 0.0
        deviation = max(sqrt(self.variance), _SMALLEST_SD)
        if self.learnt < _FEWEST:
            return 0.0, error
        raw = 0.5 * max(-2.0, min(error / deviation, 2.0))
        innovation = 0.0
        if abs(raw) > _NOTHING:
            innovation = raw - self.mean
            self.mean += mean_rate * innovation
        most = _OUTLIER * deviation
        self.beyond = self.beyond + 1 if abs(error) > most else 0
        return innovation, max(-most, min(error, most))

    def learn(self, error: float, scale_rate: float) -> None:
        """Let the size follow."""
        self.learnt += 1
        rate = max(scale_rate, 1.0 / self.learnt)
        self.variance += rate * (error * error - self.variance)


class _Quick:
    """What two innovations say about the next, as of the last minute.

    A memory that changes leaves its traces in the innovations until the slow model has followed.
    """

    __slots__ = ("before", "cross", "earlier", "first", "second", "variance", "variance_earlier")

    def __init__(self) -> None:
        self.before = self.earlier = self.first = self.second = self.cross = 0.0
        self.variance = self.variance_earlier = 1.0

    def less(self, innovation: float) -> float:
        """Return what is new in an innovation, and learn it."""
        predicted = self.first * self.before + self.second * self.earlier
        error = innovation - max(-_QUICK_MOST, min(predicted, _QUICK_MOST))
        through = self.variance * self.before + self.cross * self.earlier
        through_earlier = self.cross * self.before + self.variance_earlier * self.earlier
        denominator = _QUICK_FORGETTING + through * self.before + through_earlier * self.earlier
        self.first += through / denominator * error
        self.second += through_earlier / denominator * error
        self.variance = (self.variance - through * through / denominator) / _QUICK_FORGETTING
        self.cross = (self.cross - through * through_earlier / denominator) / _QUICK_FORGETTING
        self.variance_earlier = (
            self.variance_earlier - through_earlier * through_earlier / denominator
        ) / _QUICK_FORGETTING
        self._cap()
        self.before, self.earlier = innovation, self.before
        return max(-1.0, min(error, 1.0)) if innovation else 0.0

    def _cap(self) -> None:
        if self.variance > _QUICK_VARIANCE_CAP:
            self.cross *= sqrt(_QUICK_VARIANCE_CAP / self.variance)
            self.variance = _QUICK_VARIANCE_CAP
        if self.variance_earlier > _QUICK_VARIANCE_CAP:
            self.cross *= sqrt(_QUICK_VARIANCE_CAP / self.variance_earlier)
            self.variance_earlier = _QUICK_VARIANCE_CAP


class Innovations:
    """Bounded one-step prediction errors of several series.

    Each series is predicted from its last `order` values, an intercept and the drivers by recursive
    least squares with forgetting. The error, over the exponentially weighted deviation of the earlier
    errors, is clipped to 2 deviations and halved, and the past mean of the result is taken off, then what the
    two before it say about it by the last minute: a number of about -1 to 1 whose expectation, given the
    past, is 0.

    Robust against what sensors do: a value that is missing changes nothing (and gives 0); one that is
    far off is learnt as if it were 10 deviations off, unless five in a row are, so the model follows a
    change of level within some values, and one spike spoils nothing; directions without excitation are not
    forgotten beyond a bound.

    There are `series` series and `drivers` drivers, each of which enters with its present value and the
    `driver_lags` before. `forgetting` is the weight of a value relative to the next one; `scale_rate` and
    `mean_rate` are those of the deviation of errors, and of the mean that is taken off.
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
        self._errors = [_Errors() for _ in range(series)]
        self._quick = [_Quick() for _ in range(series)]
        self._since_cap = 0

    @property
    def known(self) -> list[bool]:
        """Which series have innovations by now."""
        return [each.learnt >= _FEWEST for each in self._errors]

    @property
    def frozen(self) -> list[bool]:
        """Which series had not changed for a minute when the latest values came."""
        return [each.frozen for each in self._errors]

    def update(self, values: Sequence[float] | Floats, drivers: Sequence[float] | Floats = ()) -> list[float]:
        """Return the innovations of the next values, as many as there are series; 0 where there is none."""
        for each, value in zip(self._errors, values, strict=True):
            each.see(float(value))
        scaled = self._standard.update(values)
        self._take_drivers(drivers)
        given = [isfinite(value) for value in scaled]
        innovations = [0.0] * self.series
        if not any(given):
            return innovations
        predicted = np.add.reduce(self._weights * self._inputs, axis=0).tolist()
        learns, errors, newest = [False] * self.series, [0.0] * self.series, [0.0] * self.series
        for at, each in enumerate(self._errors):
            if not given[at]:
                continue
            newest[at] = value = max(-_MOST, min(scaled[at], _MOST))
            if each.filled < self.order:
                each.filled += 1
                continue
            learns[at] = True
            innovation, errors[at] = each.judge(value - predicted[at], self.mean_rate)
            innovations[at] = self._quick[at].less(innovation) if each.learnt >= _FEWEST else 0.0
            if each.beyond < _LOST:  # else a model that runs away would go on with what it says itself
                newest[at] = predicted[at] + errors[at]
        self._learn(errors, learns)
        self._shift(newest, given)
        return innovations

    def _take_drivers(self, drivers: Sequence[float] | Floats) -> None:
        count, first = self.drivers, self.order + 1
        if not count:
            return
        rows = self._inputs[first:]
        rows[count:] = rows[:-count].copy()
        for row, value in enumerate(self._driver_standard.update(drivers)):
            rows[row] = max(-1e3, min(value, 1e3)) if isfinite(value) else 0.0

    def _learn(self, errors: list[float], learns: list[bool]) -> None:
        covariance, inputs = self._covariance, self._inputs
        through = np.add.reduce(covariance * inputs, axis=1)
        denominator = np.add.reduce(through * inputs, axis=0)
        denominator += self.forgetting
        gain = through / denominator
        self._weights += gain * np.array(errors)
        changed = gain[:, None] * through
        np.subtract(covariance, changed, out=changed)
        changed /= self.forgetting
        for at, learnt in enumerate(learns):
            if learnt:
                self._errors[at].learn(errors[at], self.scale_rate)
            else:
                changed[:, :, at] = covariance[:, :, at]
        self._covariance = changed
        self._since_cap += 1
        if self._since_cap >= _CAP_EVERY:
            self._since_cap = 0
            self._cap()

    def _cap(self) -> None:
        """Keep the covariance symmetric, bounded and positive: shrink directions that nothing has excited.

        What rounding makes unequal in it would grow by 1 / forgetting a value, and spoil it within hours.
        """
        self._covariance += self._covariance.transpose(1, 0, 2).copy()
        self._covariance *= 0.5
        diagonal = self._covariance[self._diagonal, self._diagonal]
        broken = ~(np.isfinite(diagonal) & (diagonal > 0.0) & np.isfinite(self._weights)).all(axis=0)
        if broken.any():  # rounding got the better of it: start the series' model anew
            self._covariance[:, :, broken] = 0.0
            self._covariance[self._diagonal[:, None], self._diagonal[:, None], broken] = _PRIOR
            self._weights[:, broken] = 0.0
            self._weights[0, broken] = 0.5
            diagonal = self._covariance[self._diagonal, self._diagonal]
        shrink = np.sqrt(np.minimum(1.0, _VARIANCE_CAP / diagonal))
        self._covariance *= shrink[:, None] * shrink[None]

    def _shift(self, newest: list[float], given: list[bool]) -> None:
        lags = self._inputs[: self.order]
        before = lags.copy()
        lags[0], lags[1:] = newest, before[:-1]
        for at, known in enumerate(given):
            if not known:
                lags[:, at] = before[:, at]
