"""Bets that what is new in x goes along with what is new in y: what they are worth, of all devices."""

from collections.abc import Iterable, Sequence
from math import isfinite, nan
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from thermograd.stream.coupling.columns import Columns, places, some
from thermograd.stream.coupling.controls import BLOCK, Controls, Products
from thermograd.stream.coupling.cycles import Cycle
from thermograd.stream.coupling.innovations import Innovations
from thermograd.stream.coupling.past import Echoes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BETS = np.array((0.1, -0.1, 0.2, -0.2, 0.4, -0.4, 0.9, -0.9))[:, None, None]
_STRENGTH_RATE = 0.005
_FORTUNE_MOST, _FORTUNE_LEAST = 1e200, 1e-200  # keeps products away from overflow and denormals
_WITHHELD = 0.1  # what is left of the bets behind an alarm that does not hold
_RUN_FROM = 300  # ticks before the bets of the whole run begin: controls must be known


class Terms(NamedTuple):
    """What all devices of a bank share, see `thermograd.stream.coupling.detector.CouplingMonitor`."""

    drivers: int
    alarm_ticks: float
    max_lag: int
    warmup_ticks: int
    order: int
    forgetting: float
    scale_rate: float
    mean_rate: float
    driver_lags: int
    sensors: int
    memories: tuple[float, ...]


class Row(NamedTuple):
    """A tick of a device: x and the sensors, drivers, phase of a cycle; NaN or infinity: not known."""

    values: Sequence[float]
    drivers: Sequence[float]
    phase: float


class Bank(Columns):
    """The state of the coupling monitors of several devices; the arithmetic of `CouplingMonitor`.

    Each device is as if it were alone. *Cells* are what is bet on: every lag from y first to x first, then
    the echoes of x and those of y.
    """

    columns: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("_worth", "fortune", "moments", "e_values", "excess", "kept"), "sensors"),
        **dict.fromkeys(("_recent", "_pending"), "series"),
        **dict.fromkeys(("_brought", "_waiting", "_ticks", "_weighed"), ""),
        **dict.fromkeys(("begun_count", "detected", "e_value", "alarms", "withheld"), ""),
    }
    parts: ClassVar[tuple[str, ...]] = ("innovations", "_echoes", "_products")

    def __init__(self, terms: Terms, devices: int = 1) -> None:
        self.terms, self.devices = terms, devices
        self.sensors, self.series = terms.sensors, 1 + terms.sensors
        lags, echoes = 2 * terms.max_lag + 1, list(range(1, 1 + len(terms.memories)))
        self.families = np.array([0] * lags + echoes + echoes)  # of each cell
        width, cells = self.sensors * devices, (len(_BETS), len(self.families), self.sensors * devices)
        self.innovations = Innovations(
            self.series,
            terms.drivers,
            terms.order,
            terms.forgetting,
            terms.scale_rate,
            terms.mean_rate,
            terms.driver_lags,
            devices,
        )
        self._echoes = Echoes(self.series, terms.memories, devices)
        self._products = Products(self.series, devices)
        self.controls = [Controls(self.sensors, terms.memories, terms.max_lag) for _ in range(devices)]
        self._cycles: list[Cycle | None] = [None] * devices
        self._worth = np.zeros((2, *cells))
        self.begun_count = np.zeros(devices)  # the mean over the sensors seen
        self.fortune = np.ones(cells)
        self.kept = np.ones(cells)  # what the tax leaves of each cell's bets
        self._is_taxed = False
        self.excess = np.zeros((1 + len(terms.memories), width))
        self.moments = np.zeros((3, *cells[1:]))  # means of what is bet on, and of the squares of both sides
        self.e_values, self.e_value = np.zeros(width), np.zeros(devices)
        self.detected = np.zeros(devices, bool)
        self.alarms, self.withheld = np.zeros((2, devices), int)
        self._recent = np.zeros((terms.max_lag + 1, self.series * devices))  # innovations, newest first
        # ticks that the controls are still without, and which of them brought anything
        self._pending = np.zeros((BLOCK, 1 + len(terms.memories), self.series * devices))
        self._brought = np.zeros((BLOCK, devices), bool)
        self._waiting, self._ticks, self._weighed = np.zeros((3, devices), int)

    @property
    def begun(self) -> Floats:
        """What the bets begun since the last alarm are worth, by bet, cell and sensor."""
        return np.asarray(self._worth[0])

    @property
    def ever_begun(self) -> Floats:
        """What all bets ever begun are worth, by bet, cell and sensor."""
        return np.asarray(self._worth[1])

    def append(self, other: "Bank") -> None:
        """Add the devices of another at the end."""
        super().append(other)
        for name in self.parts:
            getattr(self, name).append(getattr(other, name))
        self.controls += other.controls
        self._is_taxed |= other._is_taxed
        self._cycles += other._cycles

    def part(self, devices: Sequence[int]) -> "Bank":
        """Return a copy of what belongs to some devices."""
        part = super().part(devices)
        for name in self.parts:
            setattr(part, name, getattr(self, name).part(devices))
        part.controls = [self.controls[at] for at in devices]
        part._cycles = [self._cycles[at] for at in devices]
        return part

    def put(self, devices: Sequence[int], part: "Bank") -> None:
        """Take back what `part` gave."""
        super().put(devices, part)
        for name in self.parts:
            getattr(self, name).put(devices, getattr(part, name))
        self._is_taxed |= part._is_taxed
        for at, cycle in zip(devices, part._cycles, strict=True):
            self._cycles[at] = cycle

    def learn(self, devices: Sequence[int], rows: Sequence[Row]) -> None:
        """Learn a tick of some devices, each at most once, in the order of the bank."""
        if len(devices) == self.devices:
            self._learn(rows)
        else:
            part = self.part(devices)
            part._learn(rows)
            self.put(devices, part)

    def settle(self, device: int) -> None:
        """Let the controls of a device know all ticks."""
        count = int(self._waiting[device])
        if count:
            self._waiting[device] = 0
            at, sensors = device * self.series, device * self.sensors
            self.controls[device].extend(
                self._pending[:count, :, at : at + self.series],
                self._brought[:count, device].tolist(),
                self._products.power[:, sensors : sensors + self.sensors].copy(),
                self._products.weight[:, device].copy(),
            )

    def seen(self) -> Bools:
        """Return which sensors have been seen long enough to be bet on, shape (devices, sensors)."""
        return self.innovations.known.reshape(-1, self.series)[:, 1:]

    def _count_seen(self) -> NDArray[np.int64]:
        return np.asarray(np.add.reduce(self.seen(), axis=1))

    def cell(self, column: int) -> int:
        """Return the cell with which the bets on a sensor have gained most."""
        return int(np.argmax(np.add.reduce(self.begun[:, :, column], axis=0)))

    def place(self, cell: int) -> tuple[int, int]:
        """Return direction, 0 where x comes first, and family of a cell."""
        lags = 2 * self.terms.max_lag + 1
        if cell < lags:
            return int(cell < self.terms.max_lag), 0
        return divmod(cell - lags, len(self.terms.memories))[0], int(self.families[cell])

    def tax(self, excess: Floats) -> Floats:
        """Return the tax of each bet per unit of squared products, shape (bets, cells, columns)."""
        return np.asarray(0.5 * _BETS * _BETS * excess[self.families])

    def _learn(self, rows: Sequence[Row]) -> None:
        self._ticks += 1
        values = _known(row.values for row in rows)
        drivers = _known(row.drivers for row in rows)
        new = self.innovations.update(values, drivers)
        for at, row in enumerate(rows):
            if isfinite(row.phase):
                cycle = self._cycles[at] = self._cycles[at] or Cycle(self.series)
                own = slice(at * self.series, (at + 1) * self.series)
                new[own] = cycle.less(new[own], row.phase)
        echoes, by_device = self._echoes.take(new), new.reshape(-1, self.series)
        self._recent[1:] = self._recent[:-1].copy()
        self._recent[0] = new
        if some(self.detected):
            self.begun[..., places(self.detected.nonzero()[0].tolist(), self.sensors)] = 0.0
            self.detected[:] = False
        squares = new * new
        brought: Bools = np.logical_or.reduce(by_device, axis=1)
        self._products.take(squares, brought)
        ticks: list[int] = self._ticks.tolist()
        self._keep(new, echoes, brought, ticks)
        seen = self._count_seen()
        if max(ticks) > self.terms.warmup_ticks:
            self._bet(by_device, squares, echoes, ticks, seen)
        self._judge(seen)

    def _keep(self, new: Floats, echoes: Floats, brought: Bools, ticks: list[int]) -> None:
        """Keep a tick for the controls; let them know those kept, where it is time to set the tax."""
        waiting: list[int] = self._waiting.tolist()
        count = waiting[0]
        if waiting.count(count) == len(waiting):
            self._pending[count, 0], self._pending[count, 1:], self._brought[count] = new, echoes, brought
        else:
            columns = np.arange(len(new))
            at = self._waiting.repeat(self.series)
            self._pending[at, 0, columns] = new
            self._pending[at, 1:, columns] = echoes.T
            self._brought[self._waiting, np.arange(self.devices)] = brought
        self._waiting += 1
        for device, (tick, before) in enumerate(zip(ticks, waiting, strict=True)):
            due = tick % BLOCK == 0
            if due or before + 1 == BLOCK:
                self.settle(device)
            if due:
                self._levy(device)

    def _levy(self, device: int) -> None:
        """Set what the tax leaves, for the next ticks."""
        own, controls = slice(device * self.sensors, (device + 1) * self.sensors), self.controls[device]
        self.excess[:, own] = excess = controls.excess()
        if excess.any() and self._ticks[device] > self.terms.warmup_ticks:
            self.kept[..., own] = 1.0 / (1.0 + self.tax(excess) * controls.usual_square)
            self._is_taxed = True
        elif self._is_taxed:
            self.kept[..., own] = 1.0

    def _bet(
        self, new: Floats, squares: Floats, echoes: Floats, ticks: list[int], seen: NDArray[np.int64]
    ) -> None:
        lags, many = self.terms.max_lag, 2 * self.terms.max_lag + 1
        back = many + len(self.terms.memories)
        x, ys, shape = new[:, :1], new[:, 1:], (-1, self.devices, self.sensors)
        newest = np.empty_like(self.moments)
        products = newest[0].reshape(shape)
        recent, echoes = (each.reshape(-1, *new.shape) for each in (self._recent, echoes))
        np.multiply(recent[:, :, :1], ys, out=products[lags:many])
        np.multiply(recent[:0:-1, :, 1:], x, out=products[:lags])
        np.multiply(echoes[:, :, :1], ys, out=products[many:back])
        np.multiply(echoes[:, :, 1:], x, out=products[back:])
        np.maximum(np.minimum(products, 1.0, out=products), -1.0, out=products)
        # Nothing is won, lost or begun where nothing is known.
        tells = np.logical_or.reduce(products[:many], axis=0)
        bets: Bools = np.logical_or.reduce(tells, axis=1)
        if min(ticks) <= self.terms.warmup_ticks:
            bets &= self._ticks > self.terms.warmup_ticks
        count = np.count_nonzero(bets)
        if not count:
            return
        factors = np.multiply(_BETS, newest[0])
        factors += 1.0
        if self._is_taxed:
            factors *= self.kept
        if count < self.devices:
            factors[..., ~bets.repeat(self.sensors)] = 1.0
        frozen = self.innovations.frozen.reshape(-1, self.series)  # where nothing happens nothing is begun
        begins = tells & ~(frozen[:, :1] | frozen[:, 1:]) & bets[:, None]
        self._worth += begins.ravel().astype(float)
        self._worth *= factors
        ever_begun = self._worth[1]
        if ever_begun.max() > _FORTUNE_MOST:  # to ask takes a third of the time; nothing in it is below 0
            np.minimum(ever_begun, _FORTUNE_MOST, out=ever_begun)
        self.begun_count += np.add.reduce(begins, axis=1) / np.maximum(seen, 1)
        run_from = max(self.terms.warmup_ticks, _RUN_FROM)
        if max(ticks) > run_from:
            if min(ticks) <= run_from:
                factors[..., ~(self._ticks > run_from).repeat(self.sensors)] = 1.0
            self.fortune *= factors
            if self.fortune.max() > _FORTUNE_MOST:
                np.minimum(self.fortune, _FORTUNE_MOST, out=self.fortune)
            if self.fortune.min() < _FORTUNE_LEAST:
                np.maximum(self.fortune, _FORTUNE_LEAST, out=self.fortune)
        self._weigh(newest, squares.reshape(new.shape), echoes, bets)

    def _weigh(self, newest: Floats, squares: Floats, echoes: Floats, bets: Bools) -> None:
        many = 2 * self.terms.max_lag + 1
        back = many + len(self.terms.memories)
        self._weighed += bets
        rates = np.maximum(_STRENGTH_RATE, 1.0 / np.maximum(self._weighed, 1)) * bets
        of_x, of_ys = newest[1:].reshape(2, -1, self.devices, self.sensors)
        of_x[:], of_ys[:] = squares[:, :1], squares[:, 1:]
        np.multiply(echoes[:, :, :1], echoes[:, :, :1], out=of_x[many:back])
        np.multiply(echoes[:, :, 1:], echoes[:, :, 1:], out=of_ys[back:])
        newest -= self.moments
        newest *= rates.repeat(self.sensors)
        self.moments += newest

    def _judge(self, seen: NDArray[np.int64]) -> None:
        """Raise alarms, unless the controls moved as much as what raises them."""
        self._sum_up(seen)
        for device, e_value in enumerate(self.e_value.tolist()):
            if not e_value >= self.terms.alarm_ticks:
                continue
            while self.e_value[device] >= self.terms.alarm_ticks and not self.detected[device]:
                first = device * self.sensors
                sensor = int(np.argmax(self.e_values[first : first + self.sensors]))
                direction, family = self.place(self.cell(first + sensor))
                self.settle(device)
                self.detected[device] = self.controls[device].confirms(sensor, family, direction)
                if not self.detected[device]:
                    self.withheld[device] += 1
                    self.begun[:, :, first + sensor] *= _WITHHELD
                    self.ever_begun[:, :, first + sensor] *= _WITHHELD
                    self._sum_up(seen)
            self.alarms[device] += self.detected[device]

    def _sum_up(self, seen: NDArray[np.int64]) -> None:
        """Work out each device's e-value: an absent sensor, that has no innovations, costs nothing."""
        self.e_values = mean(self.begun)
        by_device = self.e_values.reshape(-1, self.sensors).tolist()
        self.e_value = np.array(
            [
                _added(of_sensors) / max(count, 1) * (count > 0)
                for of_sensors, count in zip(by_device, seen.tolist(), strict=True)
            ]
        )


def _added(numbers: list[float]) -> float:
    """Return the sum, added in order: the built-in one makes up for rounding."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def _known(rows: Iterable[Sequence[float]]) -> Floats:
    """Return the numbers of all rows; NaN for what is not finite."""
    return np.array([value if value - value == 0.0 else nan for row in rows for value in row], float)


def mean(cells: Floats) -> Floats:
    """Return the mean over bets and cells, added in one fixed order."""
    total: Floats = np.add.reduce(np.add.reduce(cells, axis=0), axis=0)
    total /= cells.shape[0] * cells.shape[1]
    return total
