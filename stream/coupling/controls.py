"""Controls: what the same bets win where no coupling is looked for, a minute to half an hour away.

That bets on uncoupled series win nothing in the mean rests on innovations that cannot be predicted. Rhythms,
averaging and held sensors or a memory that has just changed leave some of both series' memory in them, and
then products of innovations add up at *every* lag. So the lags far away are controls: what moves there is no
coupling, and says by how much sums of products really vary. `Controls` uses it to withhold, never to add:

- bets are taxed by the variance that exceeds that of unpredictable innovations (`excess`),
- an alarm holds only if the sums at its lag exceed those at all controls (`confirms`),
- and the e-value of the whole run is taxed by the most that any control has won in it (`run_excess`).

Only ``+ - * / sqrt`` and comparisons, sums in one fixed order, as in the innovations.
"""

import threading
from collections.abc import Sequence
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from thermograd.stream.coupling.columns import Columns
from thermograd.stream.coupling.past import Past

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Lags = NDArray[np.int64]

WINDOW = 1921  # ticks that are looked back
# Every lag where a rhythm may be sharp; from eight minutes on (evaluations), what lasts for seconds.
_SPANS = (range(481), range(484, WINDOW, 4))
_ECHO_SPANS = (range(0, 481, 6), range(504, WINDOW, 24))  # echoes are smooth
_LAGS, _ECHO_LAGS = (np.array([*near, *far]) for near, far in (_SPANS, _ECHO_SPANS))
BLOCK = 16  # ticks whose products are added to the sums together, while these are in the processor's cache
_AT_ONCE = 8  # ticks whose products are made together
_GROWTH = 160  # ticks by which the lags that there are sums of become more, until all are
_FAR = 60  # from here on a lag is a control
_RATES = np.array((1.0 / 200.0, 1.0 / 1000.0, 1.0 / 5000.0, 0.0))  # recent sums, and the whole run's
_BY_RATE = _RATES[:, None]
_RUN = len(_RATES) - 1
_POWER_RATE = 0.01
_FEWEST_TICKS = 150
# What chance makes of the mean square over all controls; echoes of neighbouring lags are alike, so more.
_CHANCE, _CHANCE_ECHO = 0.1, 0.5
# An alarm's sum must be so many times the largest control's, and more while there are few ticks.
_MORE, _MORE_YOUNG = 1.2, 80.0
_USUAL_LARGEST = 5.0  # square of the largest of some hundred standard deviates, and less than nearly all
_rooms = threading.local()  # half of what a monitor would need
_YOUNG = 300.0  # ticks within which memory may have no time to show


class Products(Columns):
    """How large products of innovations are, and how much sums of them vary: what is usual.

    There are `series` series, x first, for each of `devices`.
    """

    columns: ClassVar[dict[str, str]] = {"_squares": "series", "power": "sensors", "weight": "", "_ticks": ""}

    def __init__(self, series: int, devices: int = 1) -> None:
        self.series, self.sensors, self.devices = series, series - 1, devices
        self._squares = np.zeros(series * devices)  # means of the squares of innovations, recently
        self.power = np.zeros((len(_RATES), self.sensors * devices))  # mean of the product of both
        self.weight = np.zeros((len(_RATES), devices))  # variance of a sum over that of a product
        self._ticks = np.zeros(devices, int)

    def take(self, squares: Floats, new: Bools) -> None:
        """Take in the squares of innovations of a tick, of the devices for which it brought anything."""
        self._ticks += new
        young = 1.0 / np.maximum(self._ticks, 1)
        rates = np.maximum(_BY_RATE, young) * new
        of_squares = (np.maximum(_POWER_RATE, young) * new).repeat(self.series)
        change = squares - self._squares
        change *= of_squares
        self._squares += change
        by_device = self._squares.reshape(-1, self.series)
        power = (by_device[:, :1] * by_device[:, 1:]).ravel()
        change = power - self.power
        change *= rates.repeat(self.sensors, axis=1)
        self.power += change
        kept = 1.0 - rates
        kept *= kept
        kept *= self.weight
        kept += rates * rates
        self.weight = kept


class Controls:
    """Sums of products of innovations at the lags of `WINDOW`, at several rates of forgetting.

    Of `sensors` series y beside one x, for single lags up to `max_lag` and for echoes of `memories`. A
    *family* is what is compared with itself: 0 the single lags, 1 + k the echoes of memory k.
    """

    def __init__(self, sensors: int, memories: Sequence[float], max_lag: int) -> None:
        self._max_lag, self._memories = max_lag, len(memories)
        self._awake = slice(0, 0)  # the sensors from the first to the last that ever had an innovation
        # By rate, direction (x first, y first), sensor awake, place: every lag that the run is old enough
        # for, then those of each echo. The rates that are still those of the whole run share the last row.
        self._sums = np.zeros((1, 2, 0, 0))
        self._length = self._reach = self._near = (
            0  # ticks, lags that there are sums of, places of single ones
        )
        self._past = Past(1 + sensors, len(memories), WINDOW)
        self._power = np.zeros((len(_RATES), sensors))
        self._weight = np.zeros(len(_RATES))
        self._ticks = 0

    @property
    def spent(self) -> Floats:
        """Expected sum of squared products so far, shape (sensors,)."""
        return np.asarray(self._ticks * self._power[_RUN])

    @property
    def usual_square(self) -> Floats:
        """Expected square of a product of innovations, lately, shape (sensors,)."""
        return np.asarray(self._power[0])

    @property
    def _rows(self) -> list[int]:
        """The row of each rate of forgetting."""
        return [min(rate, len(self._sums) - 1) for rate in range(_RUN)]

    @property
    def _lags(self) -> Floats:
        """The sums at single lags, by row, direction, sensor, lag; of the first lags none is a control."""
        return self._sums[..., : self._near]

    @property
    def _echoes(self) -> Floats:
        """The sums of echoes, by row, direction, sensor, memory, lag."""
        return self._of_echoes(self._sums)

    def extend(self, ticks: Floats, new: list[bool], power: Floats, weight: Floats) -> None:
        """Take in ticks, the oldest first, shape (ticks, 1 + memories, series); `new`: which brought any.

        `power` and `weight` are those of `Products` after them.
        """
        at, self._power, self._weight = self._past.extend(ticks), power, weight
        for sensor in (ticks[:, 0, 1:] != 0.0).any(axis=0).nonzero()[0].tolist():
            if not self._awake.start <= sensor < self._awake.stop:
                self._wake(sensor)
        count, known = len(ticks), np.cumsum(new)
        self._length += count
        if self._length > self._reach < WINDOW:
            self._grow()
        young = 1.0 / np.maximum(self._ticks + known, 1)
        own = np.count_nonzero(young[-1] < _RATES)
        if own >= len(self._sums):
            self._sums = self._sums[[*range(len(self._sums)), *[-1] * (own + 1 - len(self._sums))]]
        rates = np.maximum(_RATES[[*range(own), _RUN]], young[:, None])[..., None, None, None]
        kept = 1.0 - rates
        for first in range(0, count, _AT_ONCE):
            block = slice(first, first + _AT_ONCE)
            self._add(at + max(count - first - _AT_ONCE, 0), new[block], rates[block], kept[block])
        self._ticks += int(known[-1])

    def _wake(self, sensor: int) -> None:
        """Make room for the sums of a sensor, which were all 0 so far."""
        before = self._awake
        none = before.start == before.stop
        first = sensor if none else min(sensor, before.start)
        self._awake = slice(first, max(sensor + 1, before.stop))
        old = self._sums
        self._sums = np.zeros((*old.shape[:2], self._awake.stop - first, old.shape[3]))
        if not none:
            self._sums[:, :, before.start - first : before.stop - first] = old

    def _grow(self) -> None:
        """Make room for the sums at lags that the run gets old enough for, which were all 0 so far."""
        lags, echoes = self._lags, self._echoes
        self._reach = self._length + _GROWTH
        self._near, far = (int(np.searchsorted(of, self._reach)) for of in (_LAGS, _ECHO_LAGS))
        self._sums = np.zeros((*lags.shape[:-1], self._near + self._memories * far))
        self._lags[..., : lags.shape[-1]] = lags
        self._echoes[..., : echoes.shape[-1]] = echoes

    def _of_echoes(self, places: Floats) -> Floats:
        """Return the view of the places that belong to echoes, by memory."""
        far = (places.shape[-1] - self._near) // max(self._memories, 1)
        return places[..., self._near :].reshape(*places.shape[:-1], self._memories, far)

    def _add(self, at: int, new: list[bool], rates: Floats, kept: Floats) -> None:
        """Add a few ticks, the oldest first, of which the newest is at a place."""
        ticks, awake = len(new), slice(1 + self._awake.start, 1 + self._awake.stop)
        past, of = self._before(at, ticks), self._past.innovations(at, ticks)[..., None]
        sums, products = self._sums, _room("products", (ticks, *self._sums.shape[1:]))
        changes = _room("changes", sums.shape)
        np.multiply(past[:, :1], of[:, awake], out=products[:, 0])
        np.multiply(past[:, awake], of[:, :1], out=products[:, 1])
        for each, is_new in enumerate(new):
            if is_new:
                np.multiply(sums, kept[each], out=sums)
                np.multiply(products[ticks - 1 - each], rates[each], out=changes)
                np.add(sums, changes, out=sums)

    def _before(self, at: int, ticks: int) -> Floats:
        """Return what was before some ticks, the newest first, shape (ticks, series until awake, place)."""
        series = 1 + self._awake.stop
        past = _room("past", (ticks, series, self._sums.shape[3]))
        for spans, out, echoes in (
            (_SPANS, past[..., : self._near], False),
            (_ECHO_SPANS, self._of_echoes(past), True),
        ):
            begin = 0
            for whole in spans:
                span = whole[: out.shape[-1] - begin]
                out[..., begin : begin + len(span)] = self._past.before(at, ticks, series, span, echoes)
                begin += len(span)
        return past

    def excess(self) -> Floats:
        """Return by how much the sums vary beyond what they should, over that; shape (families, sensors).

        0 where all is as it should be, by the rate of forgetting that shows most.
        """
        families, awake = np.zeros((1 + self._memories, self._power.shape[1])), self._awake
        if self._ticks < _FEWEST_TICKS:
            return families
        usual, rows = self._weight[:_RUN, None] * self._power[:_RUN, awake], self._rows
        squares = _mean_square(self._known(self._lags[: rows[-1] + 1]))
        families[0, awake] = _beyond(squares[rows], usual, _CHANCE)
        squares = _mean_square(self._known(self._echoes[: rows[-1] + 1], _ECHO_LAGS))
        families[1:, awake] = _beyond(squares[rows], usual[..., None], _CHANCE_ECHO).T
        return families

    def run_excess(self) -> Floats:
        """Return the same of the whole run, by the control that has won most; shape (families, sensors)."""
        largest = np.zeros((1 + self._memories, self._power.shape[1]))
        largest[0, self._awake] = _largest(self._known(self._lags[-1:]))[0]
        for echo in range(self._memories):
            largest[1 + echo, self._awake] = _largest(self._known(self._echoes[-1:, :, :, echo], _ECHO_LAGS))[
                0
            ]
        usual = self._weight[_RUN] * self._power[_RUN] * _USUAL_LARGEST
        squares = largest * largest * (1.0 + _YOUNG / max(self._ticks, 1))
        return np.asarray(np.maximum(_ratio(squares, usual) - 1.0, 0.0))

    def confirms(self, sensor: int, family: int, direction: int) -> bool:
        """Return whether the sum of an alarm exceeds those of its controls, clearly.

        `direction` is 0 where x comes first, 1 where y does. Asked at the rate of forgetting at which the
        alarm stands out most.
        """
        at = sensor - self._awake.start
        if family:
            sums = self._echoes[self._rows, :, at : at + 1, family - 1]
            near, far = np.abs(sums[:, direction, 0, 0]), _largest(self._known(sums, _ECHO_LAGS))[:, 0]
        else:
            sums = self._lags[self._rows, :, at : at + 1]
            near = np.abs(sums[:, :, 0, : self._max_lag + 1]).max(axis=(1, 2))
            far = _largest(self._known(sums))[:, 0]
        rate = int(np.argmax(near / np.sqrt(self._weight[:_RUN])))
        return bool(near[rate] > _MORE * (1.0 + _MORE_YOUNG / self._ticks) * far[rate])

    def _known(self, sums: Floats, lags: Lags = _LAGS) -> Floats:
        """Return those at lags that are controls and that the run is old enough for."""
        first, end = np.searchsorted(lags, (_FAR, self._ticks))
        return sums[..., first:end]


def _room(use: str, shape: tuple[int, ...]) -> Floats:
    """Return an array of any values, of use until the next call: all monitors of a thread share it."""
    known, size = vars(_rooms), prod(shape)
    if use not in known or known[use].size < size:
        known[use] = np.empty(size)
    return known[use][:size].reshape(shape)  # type: ignore[no-any-return]


def _mean_square(sums: Floats) -> Floats:
    """Return the mean over directions and lags of sums of shape (rates, 2, ..., lags), in one order."""
    *shape, lags = sums.shape
    by_lag = np.ascontiguousarray(sums.reshape(prod(shape), lags).T)
    by_lag *= by_lag
    both = np.add.reduce(by_lag, axis=0).reshape(shape)
    total: Floats = both[:, 0] + both[:, 1]
    total /= max(2 * lags, 1)
    return total


def _largest(sums: Floats) -> Floats:
    """Return the largest, whatever its sign, of sums of shape (rates, 2, sensors, lags)."""
    return np.asarray(np.abs(sums).max(axis=(1, 3), initial=0.0))


def _beyond(squares: Floats, usual: Floats, chance: float) -> Floats:
    """Return by how much they exceed what is usual, at the rate where they do most: the first axis."""
    return np.asarray(np.maximum(_ratio(squares, usual) - 1.0 - chance, 0.0).max(axis=0))


def _ratio(squares: Floats, usual: Floats) -> Floats:
    return np.divide(squares, usual, out=np.ones_like(squares), where=usual > 0.0)
