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

from collections.abc import Sequence
from math import isfinite, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import base
from thermograd.stream.coupling.controls import WINDOW, Controls
from thermograd.stream.coupling.cycles import Cycle
from thermograd.stream.coupling.innovations import Innovations
from thermograd.stream.coupling.past import Past

Floats = NDArray[np.float64]

_BETS = (0.1, -0.1, 0.2, -0.2, 0.4, -0.4, 0.9, -0.9)
_STRENGTH_RATE = 0.005
_FORTUNE_MOST, _FORTUNE_LEAST = 1e200, 1e-200  # keeps products away from overflow and denormals
_TAX_EVERY = 16
_WITHHELD = 0.1  # what is left of the bets behind an alarm that does not hold
_RUN_FROM = 300  # ticks before the bets of the whole run begin: controls must be known
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
        self._innovations = Innovations(
            1 + sensors, drivers, order, forgetting, scale_rate, mean_rate, driver_lags
        )
        self.memories = memories
        self._cycle = Cycle(1 + sensors)
        self._past = Past(1 + sensors, memories, WINDOW)
        self._controls = Controls(sensors, memories, max_lag)
        echoes = list(range(1, 1 + len(memories)))
        self._families = np.array([0] * (2 * max_lag + 1) + echoes + echoes)  # of each cell
        cells = (len(_BETS), len(self._families), sensors)
        self._bets = np.array(_BETS)[:, None, None]
        # of the newest tick: what is bet on, at every lag and then by echo; the squares of both sides of it
        self._newest = np.zeros((3, *cells[1:]))
        self._factors = np.empty(cells)
        self._begun, self._ever_begun = np.zeros(cells), np.zeros(cells)
        self.begun = 0.0
        self._fortune = np.ones(cells)
        self._kept: Floats | None = None  # what the tax leaves of each cell's bets
        self._excess = np.zeros((1 + len(memories), sensors))
        self._moments = np.zeros_like(self._newest)  # means of the same, recently
        self._ticks = self._weighed = 0
        self._run_from = max(warmup_ticks, _RUN_FROM)
        self.detected = False
        self.e_value = 0.0
        self.e_values = np.zeros(sensors)
        self.alarms = self.withheld = 0

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which sensors have been seen long enough to be bet on, shape (sensors,)."""
        return np.array(self._innovations.known[1:])

    @property
    def standing(self) -> float:
        """What all bets ever begun are worth, the mean over the sensors seen so far."""
        return self._overall(_mean(self._ever_begun))

    @property
    def run_e_values(self) -> Floats:
        """E-values of bets that were never begun anew, shape (sensors,); they stop at 1e200.

        Less what the controls have won in the run: see `Controls.run_excess`.
        """
        self._controls.settle(self._past)
        excess = self._controls.run_excess()
        return _mean(self._fortune * _exp_of_minus(self._tax(excess) * self._controls.spent))

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
        return np.asarray(self._excess[0])

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
        given = [_known(value) for value in (x, *ys)]
        self._ticks += 1
        new = np.array(self._innovations.update(given, [_known(value) for value in drivers]))
        new = self._cycle.less(new, phase)
        if self._past.is_full:
            self._controls.settle(self._past)
        window = self._past.take(new)
        if self.detected:
            self._begun[:] = 0.0
            self.e_values = np.zeros_like(self.e_values)
            self.detected = False
        if new.any():
            self._controls.take(self._past, new)
        if not self._ticks % _TAX_EVERY:
            self._levy()
        if self._ticks > self.warmup_ticks:
            self._bet(window, new)

    def strongest(self) -> tuple[int, int, float]:
        """Return sensor, lag in ticks and strength of what the bets have gained most with."""
        sensor = int(np.argmax(self.e_values))
        found = self.of(sensor)
        return sensor, found.lag, found.strength

    def of(self, sensor: int) -> Finding:
        """Return what the bets on a sensor have gained most with."""
        at = self._cell(sensor)
        product, *squares = self._moments[:, at, sensor].tolist()
        scale = squares[0] * squares[1]
        strength = product / sqrt(scale) if scale > 0.0 else 0.0
        direction, family = self._place(at)
        lag = at - self.max_lag if not family else 1 - 2 * direction
        memory = self.memories[family - 1] if family else 0.0
        return Finding(lag, memory, min(max(strength, -1.0), 1.0))

    def _cell(self, sensor: int) -> int:
        return int(np.argmax(np.add.reduce(self._begun[:, :, sensor], axis=0)))

    def _place(self, cell: int) -> tuple[int, int]:
        """Return direction, 0 where x comes first, and family of a cell."""
        lags = 2 * self.max_lag + 1
        if cell < lags:
            return int(cell < self.max_lag), 0
        return divmod(cell - lags, len(self.memories))[0], int(self._families[cell])

    def _levy(self) -> None:
        """Set what the tax leaves, for the next ticks."""
        self._controls.settle(self._past)
        self._excess = self._controls.excess()
        taxed = self._excess.any() and self._ticks > self.warmup_ticks
        tax = self._tax(self._excess) * self._controls.usual_square
        self._kept = 1.0 / (1.0 + tax) if taxed else None

    def _tax(self, excess: Floats) -> Floats:
        """Return the tax of each bet per unit of squared products, shape (bets, cells, sensors)."""
        return np.asarray(0.5 * self._bets * self._bets * excess[self._families])

    def _bet(self, window: Floats, new: Floats) -> None:
        lags, echoes = self.max_lag, 2 * self.max_lag + 1
        back = echoes + len(self.memories)
        products = self._newest[0]
        np.multiply(window[0, 0, : lags + 1, None], new[1:], out=products[lags:echoes])
        np.multiply(window[1:, 0, lags:0:-1].T, new[0], out=products[:lags])
        np.multiply(window[0, 1:, :1], new[1:], out=products[echoes:back])
        np.multiply(window[1:, 1:, 0].T, new[0], out=products[back:])
        products.clip(-1.0, 1.0, out=products)
        # Nothing is won, lost or begun where nothing is known.
        tells: list[bool] = np.logical_or.reduce(products[:echoes], axis=0).tolist()
        if any(tells):
            factors = np.multiply(self._bets, products, out=self._factors)
            factors += 1.0
            if self._kept is not None:
                factors *= self._kept
            x_frozen, *frozen = self._innovations.frozen  # where nothing happens nothing is begun
            begins = [t and not (x_frozen or f) for t, f in zip(tells, frozen, strict=True)]
            begun = 1.0 if all(begins) else np.array(begins, float)
            self._begun += begun
            self._begun *= factors
            self._ever_begun += begun
            self._ever_begun *= factors
            self._ever_begun.clip(0.0, _FORTUNE_MOST, out=self._ever_begun)
            self.begun += sum(begins) / max(sum(self._innovations.known[1:]), 1)
            if self._ticks > self._run_from:
                self._fortune *= factors
                self._fortune.clip(_FORTUNE_LEAST, _FORTUNE_MOST, out=self._fortune)
            self._weigh(window, new)
        self._judge()

    def _judge(self) -> None:
        """Raise the alarm, unless the controls moved as much as what raises it."""
        self._sum_up()
        while self.e_value >= self.alarm_ticks and not self.detected:
            sensor = int(np.argmax(self.e_values))
            direction, family = self._place(self._cell(sensor))
            self._controls.settle(self._past)
            self.detected = self._controls.confirms(sensor, family, direction)
            if not self.detected:
                self.withheld += 1
                self._begun[:, :, sensor] *= _WITHHELD
                self._ever_begun[:, :, sensor] *= _WITHHELD
                self._sum_up()
        self.alarms += self.detected

    def _sum_up(self) -> None:
        self.e_values = _mean(self._begun)
        self.e_value = self._overall(self.e_values)

    def _weigh(self, window: Floats, new: Floats) -> None:
        self._weighed += 1
        rate = max(_STRENGTH_RATE, 1.0 / self._weighed)
        newest, squares, echoes = self._newest, new * new, 2 * self.max_lag + 1
        back = echoes + len(self.memories)
        newest[1], newest[2] = squares[0], squares[1:]
        np.multiply(window[0, 1:, :1], window[0, 1:, :1], out=newest[1, echoes:back])
        np.multiply(window[1:, 1:, 0].T, window[1:, 1:, 0].T, out=newest[2, back:])
        newest -= self._moments
        newest *= rate
        self._moments += newest

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
