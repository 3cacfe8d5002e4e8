"""Coupling found while it runs: an e-detector on the innovations of two series.

Whoever bets, tick by tick, that what is new in x goes along with what is new in y some seconds later (or
earlier) cannot expect to win if the two are uncoupled. `CouplingMonitor` places such bets at all lags,
in both directions and of several sizes, and its e-value is what they have made. The sum of bets that
were begun at every tick has expectation <= t after t ticks of uncoupled data, so an alarm at A comes in
the mean at most once in A ticks, whatever the distributions; no calibration is needed. What the
guarantee rests on is that innovations cannot be predicted: a driver that both series follow and that is
not told breaks it.

References
----------
Shin, Ramdas & Rinaldo, E-detectors: a nonparametric framework for sequential change detection (2022);
Ville (1939) for the statement about the whole run.
"""

from collections.abc import Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from river import base
from thermograd.stream.coupling.innovations import Innovations

Floats = NDArray[np.float64]

_BETS = (0.1, -0.1, 0.2, -0.2, 0.4, -0.4, 0.9, -0.9)
_STRENGTH_RATE = 0.005
_FORTUNE_MOST, _FORTUNE_LEAST = 1e200, 1e-200  # keeps products away from overflow and denormals


class CouplingMonitor(base.Estimator):  # type: ignore[misc]  # river ships no types
    """Raises an alarm when what is new in x goes along with what is new in y.

    To be fed once per tick, 1 s by convention: x is, say, the logarithm of the gradient norm, y a
    sensor. Level, trend and own memory of both are predicted and taken off, so two series that merely
    rise together are no coupling. Nothing is learnt from what is not finite, and no bet is placed on it.

    Several sensors y share one guarantee: the alarm is raised by the *mean* of their e-values, which is
    an e-value again, so it comes at most once in `alarm_ticks` ticks of uncoupled data for all of them
    together. After an alarm the bets begin anew.

    Parameters
    ----------
    drivers
        Number of common drivers (learning rate, load ...) given to `update`, to be regressed out of x and y.
    alarm_ticks
        Alarm at this e-value; on uncoupled data alarms are at least so many ticks apart, in the mean. The
        default is three days at 1 Hz: with one day about one false alarm a day is what is seen, for the
        bound is nearly sharp.
    max_lag, warmup_ticks
        Largest lag, in ticks, in either direction; ticks before the first bet.
    order, forgetting, scale_rate, mean_rate, driver_lags
        Of the predictions, see `thermograd.stream.coupling.innovations.Innovations`.
    sensors
        Number of series y.

    Attributes
    ----------
    detected, alarms
        Whether the latest tick raised the alarm; alarms so far.
    e_values, e_value
        What the bets begun since the last alarm are worth, shape (sensors,); and the mean over the sensors
        seen so far: `alarm_ticks` or more is the alarm.

    Examples
    --------
    >>> from random import Random
    >>> random, monitor, noise = Random(1), CouplingMonitor(), [0.0] * 5
    >>> for tick in range(1500):
    ...     noise = [random.gauss(0.0, 1.0), *noise[:4]]
    ...     monitor.update(noise[0], noise[3] + random.gauss(0.0, 1.0))
    ...     if monitor.detected:
    ...         break
    >>> monitor.detected, monitor.lag, monitor.e_value >= 259_200
    (True, 3, True)
    """

    def __init__(
        self,
        drivers: int = 0,
        alarm_ticks: float = 259_200.0,
        max_lag: int = 12,
        warmup_ticks: int = 120,
        order: int = 4,
        forgetting: float = 0.999,
        scale_rate: float = 0.01,
        mean_rate: float = 0.002,
        driver_lags: int = 1,
        sensors: int = 1,
    ) -> None:
        if not (alarm_ticks > 1 and max_lag >= 1 and order >= 1 and 0.9 <= forgetting <= 1.0):
            raise ValueError(
                f"alarm_ticks={alarm_ticks!r}, max_lag={max_lag!r}, order={order!r}, "
                f"forgetting={forgetting!r}; expected > 1, >= 1, >= 1, 0.9 to 1"
            )
        self.drivers, self.sensors = drivers, sensors
        self.alarm_ticks, self.max_lag, self.warmup_ticks = alarm_ticks, max_lag, warmup_ticks
        self.order, self.forgetting, self.driver_lags = order, forgetting, driver_lags
        self.scale_rate, self.mean_rate = scale_rate, mean_rate
        self._innovations = Innovations(
            1 + sensors, drivers, order, forgetting, scale_rate, mean_rate, driver_lags
        )
        cells = (len(_BETS), 2 * max_lag + 1, sensors)
        self._bets = np.array(_BETS)[:, None, None]
        self._recent = np.zeros((max_lag + 1, 1 + sensors))  # innovations, newest first
        # of the newest tick: its products at every lag, then the squares of y and x
        self._newest = np.zeros((2 * max_lag + 3, sensors))
        self._factors = np.empty(cells)
        self._begun = np.zeros(cells)
        self._fortune = np.ones(cells)
        self._moments = np.zeros_like(self._newest)  # means of the same, recently
        self._ticks = self._weighed = 0
        self.detected = False
        self.e_value = 0.0
        self.e_values = np.zeros(sensors)
        self.alarms = 0

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which sensors have been seen long enough to be bet on, shape (sensors,)."""
        return np.array(self._innovations.known[1:])

    @property
    def run_e_values(self) -> Floats:
        """E-values of bets that were never begun anew, shape (sensors,); they stop at 1e200."""
        return _mean(self._fortune)

    @property
    def run_e_value(self) -> float:
        """Mean of `run_e_values` over the sensors seen so far.

        It reaches 20 in at most 5 % of uncoupled runs, at whatever time one looks.
        """
        return self._overall(self.run_e_values)

    @property
    def lag(self) -> int:
        """Ticks by which y follows x where the evidence is strongest; below 0: y comes first."""
        return self.strongest()[1]

    @property
    def strength(self) -> float:
        """Correlation of the innovations at `lag`, recently."""
        return self.strongest()[2]

    def update(
        self, x: float | None, y: float | Sequence[float | None] | None, drivers: Sequence[float | None] = ()
    ) -> None:
        """Learn one tick, y as many values as `sensors`; None, NaN and infinity are what is not known."""
        if len(drivers) != self.drivers:
            raise ValueError(f"{len(drivers)} drivers given; this monitor was made for {self.drivers}")
        ys = y if isinstance(y, Sequence) else (y,)
        given = [_known(value) for value in (x, *ys)]
        self._ticks += 1
        innovations = self._innovations.update(given, [_known(value) for value in drivers])
        self._recent[1:] = self._recent[:-1].copy()
        self._recent[0] = innovations
        if self.detected:
            self._begun[:] = 0.0
            self.e_values = np.zeros_like(self.e_values)
            self.detected = False
        if self._ticks > self.warmup_ticks:
            self._bet()

    def strongest(self) -> tuple[int, int, float]:
        """Return sensor, lag in ticks and strength of what the bets have gained most with."""
        sensor = int(np.argmax(self.e_values))
        return (sensor, *self.of(sensor))

    def of(self, sensor: int) -> tuple[int, float]:
        """Return lag in ticks and strength (correlation of innovations there, recently) of a sensor."""
        gained = np.add.reduce(self._begun[:, :, sensor], axis=0)
        at = int(np.argmax(gained))
        product, squares = self._moments[at, sensor], self._moments[-2, sensor] * self._moments[-1, sensor]
        strength = product / np.sqrt(squares) if squares > 0.0 else 0.0
        return at - self.max_lag, float(min(max(strength, -1.0), 1.0))

    def _bet(self) -> None:
        lags, recent, products = self.max_lag, self._recent, self._newest[:-2]
        np.multiply(recent[:, :1], recent[0, 1:], out=products[lags:])
        np.multiply(recent[:0:-1, 1:], recent[0, 0], out=products[:lags])
        products.clip(-1.0, 1.0, out=products)
        # Nothing is won, lost or begun where nothing is known.
        tells: list[bool] = np.logical_or.reduce(products, axis=0).tolist()
        if any(tells):
            factors = np.multiply(self._bets, products, out=self._factors)
            factors += 1.0
            x_frozen, *frozen = self._innovations.frozen  # where nothing happens nothing is begun
            begins = [t and not (x_frozen or f) for t, f in zip(tells, frozen, strict=True)]
            self._begun += 1.0 if all(begins) else np.array(begins, float)
            self._begun *= factors
            self._fortune *= factors
            self._fortune.clip(_FORTUNE_LEAST, _FORTUNE_MOST, out=self._fortune)
            self._weigh(recent[0])
        self.e_values = _mean(self._begun)
        self.e_value = self._overall(self.e_values)
        self.detected = self.e_value >= self.alarm_ticks
        self.alarms += self.detected

    def _weigh(self, innovations: Floats) -> None:
        self._weighed += 1
        rate = max(_STRENGTH_RATE, 1.0 / self._weighed)
        newest = self._newest
        np.multiply(innovations[1:], innovations[1:], out=newest[-2])
        newest[-1] = innovations[0] * innovations[0]
        self._moments += rate * (newest - self._moments)

    def _overall(self, values: Floats) -> float:
        """Return the mean over the sensors that have innovations: one that is absent costs nothing."""
        seen = sum(self._innovations.known[1:])
        total = 0.0
        for value in values.tolist():
            total += value
        return total / max(seen, 1) if seen else 0.0


def _mean(cells: Floats) -> Floats:
    """Return the mean over bets and lags, added in one fixed order."""
    total: Floats = np.add.reduce(np.add.reduce(cells, axis=0), axis=0)
    total /= cells.shape[0] * cells.shape[1]
    return total


def _known(value: float | None) -> float:
    if value is None:
        return float("nan")
    value = float(value)
    return value if isfinite(value) else float("nan")
