"""What is new in a series: its error of prediction from its own past and from known drivers.

Only ``+ - * / sqrt`` and comparisons, of numbers or of arrays element by element or added along an axis:
no library function whose last bit depends on the processor, and no BLAS, whose result may depend on the
number of threads.
"""

from collections.abc import Sequence
from math import nan, sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from thermograd.stream.coupling.columns import Columns, every, places, some

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

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


class Standardizer(Columns):
    """Brings series to comparable numbers: less the median, over the spread, of some first values.

    Origin and scale are fixed once 30 values are known and they vary, and then stay: a scale that moves
    would break linear relations. Medians, so that a spike among those values does not set the scale. Until
    then, and where a value is missing, the result is NaN. There are `series` series for each of `devices`.
    """

    columns: ClassVar[dict[str, str]] = dict.fromkeys(
        ("_first", "_n", "_moved", "_same", "_origin", "_scale", "_waits"), "series"
    )

    def __init__(self, series: int, devices: int = 1) -> None:
        self.series, self.devices = series, devices
        width = series * devices
        self._first = np.zeros((_SETTLE, width))
        self._n = np.zeros(width, int)
        self._moved = np.zeros(width, int)  # when the value last changed
        self._same = np.full(width, nan)  # what all first values are, where they are the same
        self._origin, self._scale = np.zeros(width), np.full(width, nan)
        self._waits = np.ones(width, bool)

    def update(self, values: Sequence[float] | Floats) -> Floats:
        """Return the values, as many as there are series, on their own scales; NaN where not known."""
        values = np.asarray(values, float)
        if some(self._waits):
            same = values == self._same  # a constant is not looked at every time
            same &= self._waits
            self._n += same
            other = self._waits ^ same
            for at in other.nonzero()[0].tolist() if some(other) else ():
                if abs(value := float(values[at])) < _ABSURD:  # False for NaN, too
                    self._take(at, value)
        return np.asarray((values - self._origin) / self._scale)

    def _take(self, at: int, value: float) -> None:
        n, first = int(self._n[at]), self._first[:, at]
        if value != first[(n - 1) % _SETTLE]:
            self._moved[at] = n
        first[n % _SETTLE] = value
        self._n[at] = n + 1
        unchanged = n + 1 - int(self._moved[at])
        self._same[at] = value if unchanged >= _SETTLE else nan
        if n + 1 >= _SETTLE >= unchanged:
            self._settle(at)

    def _settle(self, at: int) -> None:
        first = np.sort(self._first[:, at])
        origin = float(first[_SETTLE // 2])
        away = np.sort(np.abs(first - origin))
        away = away[away > _TINY * abs(origin)]
        if len(away) < _VARYING:
            return
        self._origin[at], self._scale[at] = origin, float(away[len(away) // 2]) / _MEDIAN_OF_NORMAL
        self._waits[at] = False


class _Errors:
    """The errors of one series' prediction: how large they usually are, and what is new in the latest."""

    __slots__ = ("beyond", "filled", "learnt", "mean", "variance")

    def __init__(self) -> None:
        self.beyond = self.filled = self.learnt = 0
        self.variance, self.mean = 1.0, 0.0

    def take(self, error: float, mean_rate: float, scale_rate: float) -> tuple[float, float]:
        """Return the innovation, and the error that is learnt from; let the size follow that."""
        innovation = 0.0
        if error - error != 0.0:  # the model itself overflowed; it is begun anew soon
            error = 0.0
        elif self.learnt >= _FEWEST:
            deviation = sqrt(self.variance)
            if deviation < _SMALLEST_SD:
                deviation = _SMALLEST_SD
            raw = error / deviation
            raw = 0.5 * (2.0 if raw > 2.0 else raw if raw > -2.0 else -2.0)
            if not -_NOTHING <= raw <= _NOTHING:
                innovation = raw - self.mean
                self.mean += mean_rate * innovation
            most = _OUTLIER * deviation
            self.beyond = self.beyond + 1 if error > most or error < -most else 0
            error = most if error > most else error if error > -most else -most
        self.learnt += 1
        rate = 1.0 / self.learnt
        self.variance += (rate if rate > scale_rate else scale_rate) * (error * error - self.variance)
        return innovation, error


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
        before, earlier = self.before, self.earlier
        variance, cross, variance_earlier = self.variance, self.cross, self.variance_earlier
        said = self.first * before + self.second * earlier
        error = innovation - (
            _QUICK_MOST if said > _QUICK_MOST else said if said > -_QUICK_MOST else -_QUICK_MOST
        )
        through = variance * before + cross * earlier
        through_earlier = cross * before + variance_earlier * earlier
        denominator = _QUICK_FORGETTING + through * before + through_earlier * earlier
        gain, gain_earlier = through / denominator, through_earlier / denominator
        self.first += gain * error
        self.second += gain_earlier * error
        self.variance = (variance - through * through / denominator) / _QUICK_FORGETTING
        self.cross = (cross - through * through_earlier / denominator) / _QUICK_FORGETTING
        self.variance_earlier = (
            variance_earlier - through_earlier * through_earlier / denominator
        ) / _QUICK_FORGETTING
        if self.variance > _QUICK_VARIANCE_CAP or self.variance_earlier > _QUICK_VARIANCE_CAP:
            self._cap()
        self.before, self.earlier = innovation, before
        if not innovation:
            return 0.0
        return 1.0 if error > 1.0 else error if error > -1.0 else -1.0

    def _cap(self) -> None:
        if self.variance > _QUICK_VARIANCE_CAP:
            self.cross *= sqrt(_QUICK_VARIANCE_CAP / self.variance)
            self.variance = _QUICK_VARIANCE_CAP
        if self.variance_earlier > _QUICK_VARIANCE_CAP:
            self.cross *= sqrt(_QUICK_VARIANCE_CAP / self.variance_earlier)
            self.variance_earlier = _QUICK_VARIANCE_CAP


class Innovations(Columns):
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
    `mean_rate` are those of the deviation of errors, and of the mean that is taken off. Of several `devices`
    there are so many series and drivers each, one device after the other.
    """

    columns: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("_inputs", "_weights", "_covariance"), "series"),
        **dict.fromkeys(("_last", "_unchanged", "frozen", "known"), "series"),
        "_since_cap": "",
    }

    def __init__(
        self,
        series: int,
        drivers: int = 0,
        order: int = 4,
        forgetting: float = 0.999,
        scale_rate: float = 0.01,
        mean_rate: float = 0.002,
        driver_lags: int = 1,
        devices: int = 1,
    ) -> None:
        self.series, self.drivers, self.order, self.devices = series, drivers, order, devices
        self.forgetting, self.scale_rate, self.mean_rate = forgetting, scale_rate, mean_rate
        self._standard = Standardizer(series, devices)
        self._driver_standard = Standardizer(drivers, devices)
        inputs, width = order + 1 + drivers * (1 + driver_lags), series * devices
        self._inputs = np.zeros((inputs, width))
        self._inputs[order] = 1.0
        self._weights = np.zeros((inputs, width))
        self._weights[0] = 0.5
        self._covariance = np.zeros((inputs, inputs, width))
        self._diagonal = np.arange(inputs)
        self._covariance[self._diagonal, self._diagonal] = _PRIOR
        self._errors = [_Errors() for _ in range(width)]
        self._quick = [_Quick() for _ in range(width)]
        self._last, self._unchanged = np.full(width, nan), np.zeros(width, int)
        self.frozen = np.zeros(width, bool)  # had not changed for a minute when the latest values came
        self.known = np.zeros(width, bool)  # have innovations by now
        self._since_cap = np.zeros(devices, int)

    def append(self, other: "Innovations") -> None:
        """Add the devices of another at the end."""
        super().append(other)
        for name in ("_standard", "_driver_standard"):
            getattr(self, name).append(getattr(other, name))
        self._errors += other._errors
        self._quick += other._quick

    def part(self, devices: Sequence[int]) -> "Innovations":
        """Return a copy of what belongs to some devices; what belongs to one series only is the same."""
        part = super().part(devices)
        for name in ("_standard", "_driver_standard"):
            setattr(part, name, getattr(self, name).part(devices))
        at = places(devices, self.series).tolist()
        part._errors, part._quick = ([of[each] for each in at] for of in (self._errors, self._quick))
        return part

    def put(self, devices: Sequence[int], part: "Innovations") -> None:
        """Take back what `part` gave."""
        super().put(devices, part)
        for name in ("_standard", "_driver_standard"):
            getattr(self, name).put(devices, getattr(part, name))

    def update(self, values: Sequence[float] | Floats, drivers: Sequence[float] | Floats = ()) -> Floats:
        """Return the innovations of the next values, as many as there are series; 0 where there is none."""
        values = np.asarray(values, float)
        with np.errstate(all="ignore"):
            self.frozen = self._unchanged >= _FROZEN
            self._unchanged = (self._unchanged + 1) * (values == self._last)
            self._last = values.copy()
            scaled = self._standard.update(values)
            self._take_drivers(drivers)
            given = np.isfinite(scaled)
            if not some(given):
                return np.zeros(len(values))
            return self._take(scaled, given)

    def _take(self, scaled: Floats, given: Bools) -> Floats:
        width, mean_rate, scale_rate = len(scaled), self.mean_rate, self.scale_rate
        innovations, errors, learns, newest = [0.0] * width, [0.0] * width, [False] * width, [0.0] * width
        values, predicted = scaled.tolist(), np.add.reduce(self._weights * self._inputs, axis=0).tolist()
        for at in given.nonzero()[0].tolist():
            each = self._errors[at]
            value = values[at]
            newest[at] = value = _MOST if value > _MOST else value if value > -_MOST else -_MOST
            if each.filled < self.order:
                each.filled += 1
                continue
            learns[at] = True
            said = predicted[at]
            innovation, errors[at] = each.take(value - said, mean_rate, scale_rate)
            if each.learnt > _FEWEST:
                innovations[at] = self._quick[at].less(innovation)
            elif each.learnt == _FEWEST:
                self.known[at] = True
            if each.beyond < _LOST:  # else a model that runs away would go on with what it says itself
                newest[at] = said + errors[at]
        self._learn(np.array(errors), learns, given)
        self._shift(np.array(newest), given)
        return np.array(innovations)

    def _take_drivers(self, drivers: Sequence[float] | Floats) -> None:
        count, first = self.drivers, self.order + 1
        if not count:
            return
        rows = self._inputs[first:]
        rows[count:] = rows[:-count].copy()
        scaled = self._driver_standard.update(drivers)
        unknown = ~np.isfinite(scaled)
        np.maximum(np.minimum(scaled, 1e3, out=scaled), -1e3, out=scaled)
        scaled[unknown] = 0.0
        rows[:count].reshape(count, -1, self.series)[:] = scaled.reshape(-1, count).T[:, :, None]

    def _learn(self, errors: Floats, learns: list[bool], given: Bools) -> None:
        covariance, inputs = self._covariance, self._inputs
        through = np.add.reduce(covariance * inputs, axis=1)
        denominator = np.add.reduce(through * inputs, axis=0)
        denominator += self.forgetting
        gain = through / denominator
        by_device: Bools = np.logical_or.reduce(given.reshape(-1, self.series), axis=1)
        if not every(by_device):
            gain[:, ~by_device.repeat(self.series)] = 0.0
        self._weights += gain * errors
        changed = gain[:, None] * through
        np.subtract(covariance, changed, out=changed)
        changed /= self.forgetting
        if not all(learns):
            np.copyto(changed, covariance, where=~np.array(learns))
        self._covariance = changed
        self._since_cap += by_device
        due = self._since_cap >= _CAP_EVERY
        if some(due):
            self._since_cap[due] = 0
            self._cap(places(due.nonzero()[0].tolist(), self.series))

    def _cap(self, at: NDArray[Any]) -> None:
        """Keep the covariance symmetric, bounded and positive: shrink directions that nothing has excited.

        What rounding makes unequal in it would grow by 1 / forgetting a value, and spoil it within hours.
        """
        covariance = self._covariance[..., at]
        covariance += covariance.transpose(1, 0, 2).copy()
        covariance *= 0.5
        diagonal = covariance[self._diagonal, self._diagonal]
        weights = self._weights[:, at]
        broken = ~(np.isfinite(diagonal) & (diagonal > 0.0) & np.isfinite(weights)).all(axis=0)
        if broken.any():  # rounding got the better of it: start the series' model anew
            covariance[:, :, broken] = 0.0
            covariance[self._diagonal[:, None], self._diagonal[:, None], broken] = _PRIOR
            weights[:, broken] = 0.0
            weights[0, broken] = 0.5
            self._weights[:, at] = weights
            diagonal = covariance[self._diagonal, self._diagonal]
        shrink = np.sqrt(np.minimum(1.0, _VARIANCE_CAP / diagonal))
        covariance *= shrink[:, None] * shrink[None]
        self._covariance[..., at] = covariance

    def _shift(self, newest: Floats, given: Bools) -> None:
        lags = self._inputs[: self.order]
        before = lags.copy()
        lags[0], lags[1:] = newest, before[:-1]
        if not every(given):
            np.copyto(lags, before, where=~given)
