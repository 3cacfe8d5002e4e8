"""Coupling found while it runs: an e-detector on the innovations of two series.

Whoever bets, tick by tick, that what is new in x goes along with what is new in y some seconds later (or
earlier) cannot expect to win if the two are uncoupled. `CouplingMonitor` places such bets at all lags and on
slow echoes of what was new, in both directions and of several sizes, and its e-value is what they have made.
The sum of bets that were begun at every tick has expectation <= t after t ticks of uncoupled data, so an
alarm at A comes in the mean at most once in A ticks, whatever the distributions; no calibration is needed.

What the guarantee rests on is that the innovations of one of the two cannot be predicted. Rhythms, averaging
sensors and a memory that changes break that, so it is tested on the stream itself: `Controls` places the
same bets where no coupling is looked for, and what these win is withheld. It only takes away; where
innovations are as they should be, the guarantee is untouched. A driver that both series follow within the
lags and that is not told still looks like a coupling.

References
----------
Shin, Ramdas & Rinaldo, E-detectors: a nonparametric framework for sequential change detection (2022);
Ville (1939) for the statement about the whole run.
"""

from collections.abc import Iterable, Sequence
from math import isfinite, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import base
from thermograd.stream.coupling.bets import Bank, Row, Terms, mean

Floats = NDArray[np.float64]

_HALVINGS, _MOST_TAX = 10, 700.0
MEMORIES = (4.0, 12.0, 36.0)


class Finding(NamedTuple):
    """What the bets on one sensor have gained most with.

    `lag` is in ticks, above 0 where x comes first; `memory` is that of a slow response in ticks, 0 where a
    single lag is meant; `strength` is the correlation of what is new in both there, recently.
    """

    lag: int
    memory: float
    strength: float


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
    memories
        Of slow responses that are looked for as well, in ticks.

    Attributes
    ----------
    standing, begun
        What all bets ever begun are worth, alarm or not, and how many were begun, the expectation of that on
        uncoupled data; of both the mean over the sensors seen. For whoever merges the evidence of many.
    detected, alarms
        Whether the latest tick raised the alarm; alarms so far.
    withheld
        Alarms so far that were none, as the controls moved as much: the innovations can be predicted.
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
        memories: Sequence[float] = MEMORIES,
    ) -> None:
        if not (alarm_ticks > 1 and 1 <= max_lag <= 60 and order >= 1 and 0.9 <= forgetting <= 1.0):
            raise ValueError(
                f"alarm_ticks={alarm_ticks!r}, max_lag={max_lag!r}, order={order!r}, "
                f"forgetting={forgetting!r}; expected > 1, 1 to 60, >= 1, 0.9 to 1"
            )
        self.drivers, self.sensors = drivers, sensors
        self.alarm_ticks, self.max_lag, self.warmup_ticks = alarm_ticks, max_lag, warmup_ticks
        self.order, self.forgetting, self.driver_lags = order, forgetting, driver_lags
        self.scale_rate, self.mean_rate = scale_rate, mean_rate
        self.memories = memories
        self._bank, self._at = Bank(self._terms()), 0

    def _terms(self) -> Terms:
        given = {name: getattr(self, name) for name in Terms._fields}
        return Terms(**given | {"memories": tuple(self.memories)})

    def share(self, other: "CouplingMonitor") -> None:
        """Join a monitor with the same parameters, so that `update_all` moves both on at once.

        Neither has learnt the worse for it: their numbers are the same as alone, to the last bit.
        """
        if other._bank is not self._bank:
            if self._bank.devices > 1 or self._terms() != other._terms():
                raise ValueError("a monitor shares with one of the same parameters, and only once")
            self._at = other._bank.devices
            other._bank.append(self._bank)
            self._bank = other._bank

    @property
    def _own(self) -> slice:
        return slice(self._at * self.sensors, (self._at + 1) * self.sensors)

    @property
    def begun(self) -> float:
        """How many bets were begun, the mean over the sensors seen."""
        return float(self._bank.begun_count[self._at])

    @property
    def detected(self) -> bool:
        """Whether the latest tick raised the alarm."""
        return bool(self._bank.detected[self._at])

    @property
    def alarms(self) -> int:
        """Alarms so far."""
        return int(self._bank.alarms[self._at])

    @property
    def withheld(self) -> int:
        """Alarms so far that were none."""
        return int(self._bank.withheld[self._at])

    @property
    def e_value(self) -> float:
        """The mean of `e_values` over the sensors seen so far."""
        return float(self._bank.e_value[self._at])

    @property
    def e_values(self) -> Floats:
        """What the bets begun since the last alarm are worth, shape (sensors,)."""
        return self._bank.e_values[self._own]

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which sensors have been seen long enough to be bet on, shape (sensors,)."""
        return np.asarray(self._bank.seen()[self._at])

    @property
    def standing(self) -> float:
        """What all bets ever begun are worth, the mean over the sensors seen so far."""
        return self._overall(mean(np.ascontiguousarray(self._bank.ever_begun[..., self._own])))

    @property
    def run_e_values(self) -> Floats:
        """E-values of bets that were never begun anew, shape (sensors,); they stop at 1e200.

        Less what the controls have won in the run: see `Controls.run_excess`.
        """
        self._bank.settle(self._at)
        controls = self._bank.controls[self._at]
        tax = self._bank.tax(controls.run_excess()) * controls.spent
        return mean(self._bank.fortune[..., self._own] * _exp_of_minus(tax))

    @property
    def run_e_value(self) -> float:
        """Mean of `run_e_values` over the sensors seen so far.

        It reaches 20 in at most 5 % of uncoupled runs, at whatever time one looks.
        """
        return self._overall(self.run_e_values)

    @property
    def excess(self) -> Floats:
        """By how much sums vary beyond those of unpredictable innovations, over that, shape (sensors,).

        0 where the guarantee rests on nothing but the bets; above, bets are taxed by it.
        """
        return np.asarray(self._bank.excess[0, self._own])

    @property
    def lag(self) -> int:
        """Ticks by which y follows x where the evidence is strongest; below 0: y comes first."""
        return self.strongest()[1]

    @property
    def strength(self) -> float:
        """Correlation of the innovations at `lag`, recently."""
        return self.strongest()[2]

    def update(
        self,
        x: float | None,
        y: float | Sequence[float | None] | None,
        drivers: Sequence[float | None] = (),
        phase: float = nan,
    ) -> None:
        """Learn one tick, y as many values as `sensors`; None, NaN and infinity are what is not known.

        `phase`, 0 to 1, is that of a cycle which both may follow, as an epoch: its pattern is taken off.
        """
        if len(drivers) != self.drivers:
            raise ValueError(f"{len(drivers)} drivers given; this monitor was made for {self.drivers}")
        ys = y if isinstance(y, Sequence) else (y,)
        values = [_known(value) for value in (x, *ys)]
        self._bank.learn((self._at,), (Row(values, [_known(value) for value in drivers], phase),))

    @staticmethod
    def update_all(ticks: "Iterable[tuple[CouplingMonitor, Row]]") -> None:
        """Learn a tick of each of some monitors that share, as `update` would, each given once."""
        of, rows = zip(*sorted(ticks, key=lambda each: each[0]._at), strict=True)
        of[0]._bank.learn([monitor._at for monitor in of], rows)

    def strongest(self) -> tuple[int, int, float]:
        """Return sensor, lag in ticks and strength of what the bets have gained most with."""
        sensor = int(np.argmax(self.e_values))
        found = self.of(sensor)
        return sensor, found.lag, found.strength

    def of(self, sensor: int) -> Finding:
        """Return what the bets on a sensor have gained most with."""
        at = self._bank.cell(self._own.start + sensor)
        product, *squares = self._bank.moments[:, at, self._own.start + sensor].tolist()
        scale = squares[0] * squares[1]
        strength = product / sqrt(scale) if scale > 0.0 else 0.0
        direction, family = self._bank.place(at)
        lag = at - self.max_lag if not family else 1 - 2 * direction
        memory = self.memories[family - 1] if family else 0.0
        return Finding(lag, memory, min(max(strength, -1.0), 1.0))

    def _overall(self, values: Floats) -> float:
        """Return the mean over the sensors that have innovations: one that is absent costs nothing."""
        seen, total = int(self.seen.sum()), 0.0
        for value in values.tolist():
            total += value
        return total / max(seen, 1) if seen else 0.0


def _exp_of_minus(power: Floats) -> Floats:
    """Return about exp(-power), never less, of what is not negative, by multiplications alone."""
    base = 1.0 + np.minimum(power, _MOST_TAX) / 2.0**_HALVINGS
    for _ in range(_HALVINGS):
        base = base * base
    return np.asarray(1.0 / base)


def _known(value: float | None) -> float:
    if value is None:
        return float("nan")
    value = float(value)
    return value if isfinite(value) else float("nan")
