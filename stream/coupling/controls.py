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

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Lags = NDArray[np.int64]

# Every lag where a rhythm may be sharp; from eight minutes on (evaluations), what lasts for seconds.
_LAGS = np.array([*range(481), *range(484, 1921, 4)])
_ECHO_LAGS = np.array([*range(0, 481, 6), *range(504, 1921, 24)])  # echoes are smooth
WINDOW = 1921  # ticks that are looked back
_FAR = 60  # from here on a lag is a control
_RATES = (1.0 / 200.0, 1.0 / 1000.0, 1.0 / 5000.0, 0.0)  # recent sums, and those of the whole run
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


class Controls:
    """Sums of products of innovations at the lags of `WINDOW`, at several rates of forgetting.

    Of `sensors` series y beside one x, for single lags up to `max_lag` and for echoes of `memories`. A
    *family* is what is compared with itself: 0 the single lags, 1 + k the echoes of memory k.
    """

    def __init__(self, sensors: int, memories: Sequence[float], max_lag: int) -> None:
        self._max_lag = max_lag
        echoes = len(memories)
        # by rate, direction (x first, y first), sensor, ..., lag; of the first lags none is a control
        self._lags = np.zeros((len(_RATES), 2, sensors, len(_LAGS)))
        self._echoes = np.zeros((len(_RATES), 2, sensors, echoes, len(_ECHO_LAGS)))
        self._squares = np.zeros(1 + sensors)  # means of the squares of innovations, recently
        self._power = np.zeros((len(_RATES), sensors))  # mean of the product of both
        self._weight = np.zeros(len(_RATES))  # variance of a sum over that of a product
        self._rates = np.array(_RATES)
        self._ticks = 0

    @property
    def spent(self) -> Floats:
        """Expected sum of squared products so far, shape (sensors,)."""
        return np.asarray(self._ticks * self._power[_RUN])

    @property
    def usual_square(self) -> Floats:
        """Expected square of a product of innovations, lately, shape (sensors,)."""
        return np.asarray(self._power[0])

    def take(self, window: Floats, innovations: Floats) -> None:
        """Take in what `Past` holds with a new tick."""
        self._ticks += 1
        rates = np.maximum(self._rates, 1.0 / self._ticks)
        x, ys = innovations[0], innovations[1:]
        products, past = _room(self._lags.shape[1:]), window[:, 0].take(_LAGS, axis=1)
        np.multiply(past[:1], ys[:, None], out=products[0])
        np.multiply(past[1:], x, out=products[1])
        _forget(self._lags, rates, products)
        products, past = _room(self._echoes.shape[1:]), window[:, 1:].take(_ECHO_LAGS, axis=2)
        np.multiply(past[:1], ys[:, None, None], out=products[0])
        np.multiply(past[1:], x, out=products[1])
        _forget(self._echoes, rates, products)
        self._squares += max(_POWER_RATE, 1.0 / self._ticks) * (innovations * innovations - self._squares)
        power = self._squares[0] * self._squares[1:]
        self._power += rates[:, None] * (power - self._power)
        self._weight = (1.0 - rates) * (1.0 - rates) * self._weight + rates * rates

    def excess(self) -> Floats:
        """Return by how much the sums vary beyond what they should, over that; shape (families, sensors).

        0 where all is as it should be, by the rate of forgetting that shows most.
        """
        families = np.zeros((1 + self._echoes.shape[3], self._power.shape[1]))
        if self._ticks < _FEWEST_TICKS:
            return families
        usual = self._weight[:_RUN, None] * self._power[:_RUN]
        families[0] = _beyond(_mean_square(self._known(self._lags[:_RUN])), usual, _CHANCE)
        for echo in range(self._echoes.shape[3]):
            squares = _mean_square(self._known(self._echoes[:_RUN, :, :, echo], _ECHO_LAGS))
            families[1 + echo] = _beyond(squares, usual, _CHANCE_ECHO)
        return families

    def run_excess(self) -> Floats:
        """Return the same of the whole run, by the control that has won most; shape (families, sensors)."""
        largest = [_largest(self._known(self._lags[_RUN:]))[0]]
        for echo in range(self._echoes.shape[3]):
            largest.append(_largest(self._known(self._echoes[_RUN:, :, :, echo], _ECHO_LAGS))[0])
        usual = self._weight[_RUN] * self._power[_RUN] * _USUAL_LARGEST
        squares = np.array([values * values for values in largest]) * (1.0 + _YOUNG / max(self._ticks, 1))
        return np.asarray(np.maximum(_ratio(squares, usual) - 1.0, 0.0))

    def confirms(self, sensor: int, family: int, direction: int) -> bool:
        """Return whether the sum of an alarm exceeds those of its controls, clearly.

        `direction` is 0 where x comes first, 1 where y does. Asked at the rate of forgetting at which the
        alarm stands out most.
        """
        if family:
            sums = self._echoes[:_RUN, :, sensor : sensor + 1, family - 1]
            near, far = np.abs(sums[:, direction, 0, 0]), _largest(self._known(sums, _ECHO_LAGS))[:, 0]
        else:
            sums = self._lags[:_RUN, :, sensor : sensor + 1]
            near = np.abs(sums[:, :, 0, : self._max_lag + 1]).max(axis=(1, 2))
            far = _largest(self._known(sums))[:, 0]
        at = int(np.argmax(near / np.sqrt(self._weight[:_RUN])))
        return bool(near[at] > _MORE * (1.0 + _MORE_YOUNG / self._ticks) * far[at])

    def _known(self, sums: Floats, lags: Lags = _LAGS) -> Floats:
        """Return those at lags that are controls and that the run is old enough for."""
        first, end = np.searchsorted(lags, (_FAR, self._ticks))
        return sums[..., first:end]


def _room(shape: tuple[int, ...]) -> Floats:
    """Return an array of any values, of use until the next call: all monitors of a thread share it."""
    known = vars(_rooms)
    key = str(shape)
    if key not in known:
        known[key] = np.empty(shape)
    return known[key]  # type: ignore[no-any-return]


def _forget(sums: Floats, rates: Floats, products: Floats) -> None:
    rates = rates.reshape(-1, *(1,) * products.ndim)
    sums *= 1.0 - rates
    sums += np.multiply(products, rates, out=_room(sums.shape))


def _mean_square(sums: Floats) -> Floats:
    """Return the mean over directions and lags of sums of shape (rates, 2, sensors, lags), in one order."""
    lags_first = np.ascontiguousarray(np.moveaxis(sums, (3, 1), (0, 1)))
    lags_first *= lags_first
    total: Floats = np.add.reduce(np.add.reduce(lags_first, axis=0), axis=0)
    total /= max(2 * sums.shape[3], 1)
    return total


def _largest(sums: Floats) -> Floats:
    """Return the largest, whatever its sign, of sums of shape (rates, 2, sensors, lags)."""
    return np.asarray(np.abs(sums).max(axis=(1, 3), initial=0.0))


def _beyond(squares: Floats, usual: Floats, chance: float) -> Floats:
    """Return by how much they exceed what is usual, at the rate where they do most; shape (sensors,)."""
    return np.asarray(np.maximum(_ratio(squares, usual) - 1.0 - chance, 0.0).max(axis=0))


def _ratio(squares: Floats, usual: Floats) -> Floats:
    return np.divide(squares, usual, out=np.ones_like(squares), where=usual > 0.0)
