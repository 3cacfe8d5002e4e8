"""Rolling correlations of many pairs at many lags at once."""

import numpy as np

# by name: the interpreter looks each up anew in a module that has a `__getattr__`, a fifth of a small call
from numpy import add, count_nonzero, divide, less_equal, multiply, putmask, sqrt, subtract
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

__all__ = ["CorrelationGrid"]

Floats = NDArray[np.float64]

_AT_ONCE = 16  # products of so many ticks stay in the processor's cache until they are summed
_CONSTANT = 1e-9  # a side whose sd is below this share of its mean does not vary


class CorrelationGrid:
    """Pearson correlation of x at t - lag with y at t, for many pairs and for lags 0 to `lags` - 1.

    The same as one `thermograd.stream.correlation.RollingCorrelation` for each pair and lag, in a few
    array operations per tick: nothing that left the window is ever subtracted, for the window is a tail
    of the last block, summed once from its end backwards, and what came since. All sums are relative to a
    pair that lies in every lag's window, so a spike that has passed leaves nothing behind.

    Parameters
    ----------
    pairs
        Number of pairs.
    lags
        Number of lags, in ticks: 0 to lags - 1; above 0, x leads.
    window
        Ticks in the window; more than `lags`.

    Raises
    ------
    ValueError
        If pairs or lags are below 1, or the window is not above `lags` + 1.

    Examples
    --------
    >>> grid = CorrelationGrid(pairs=1, lags=3, window=8)
    >>> noise = [0.3, -1.0, 0.8, 0.1, -0.4, 1.2, -0.9, 0.5, 0.0, -0.7, 1.1, 0.2]
    >>> for x, y in zip(noise[2:], noise):  # y is what x was two ticks ago
    ...     grid.update([x], [y])
    >>> grid.get().round(6)[2]
    array([1.])
    """

    def __init__(self, pairs: int, lags: int, window: int = 128) -> None:
        if not (pairs >= 1 and lags >= 1 and window > lags + 1):
            raise ValueError(
                f"pairs={pairs!r}, lags={lags!r}, window={window!r}; expected at least 1, 1, lags + 2"
            )
        self.pairs, self.lags, self.window = pairs, lags, window
        self._block = block = window - lags  # ticks between two summations
        self._kept = window + lags  # ticks whose values are needed
        self._since = self._learnt = 0  # ticks of this block that there are; that were learnt
        # rows are ticks, the newest in row `_block - _since`, which moves towards 0
        length = self._kept + block
        self._values = np.full((length, 2, pairs), np.nan)
        self._near_x = np.full((length, pairs), np.nan)  # relative to the origin
        self._means = np.full((length, pairs), np.nan)  # of the window of x that ends at each tick
        self._weights = np.full((length, pairs), np.nan)  # 1 / sqrt of its centred sum of squares
        self._origin, self._least = np.zeros((2, pairs)), np.zeros((2, pairs))
        # rows are what is summed: products at each lag; x and y; squares of x and y
        summed = (lags + 4, pairs)
        self._terms = np.zeros(summed)  # of the newest tick
        self._sums = np.zeros(summed)  # of this block
        self._tails = np.zeros((block + 1, *summed))  # of the last block, what is still in the window
        self._tails[:, lags:] = np.nan
        self._totals = np.full(summed, np.nan)  # of the window; in place of squares, weights
        # what each tick needs again: an operation into memory that is there takes half as long
        self._count, self._ones = np.full((2, pairs), float(window)), np.ones((2, pairs))
        self._mean, self._flat = np.empty((2, pairs)), np.empty((2, pairs), dtype=bool)
        self._spread, self._near = np.empty((2, lags, pairs)), np.empty((self._kept, 2, pairs))
        self._many, self._many_spread = np.empty((_AT_ONCE, *summed)), np.empty((_AT_ONCE, lags, pairs))
        self._one, self._minus_one = np.array(1.0), np.array(-1.0)
        self._result = np.full((lags, pairs), np.nan)
        self._look()

    def _look(self) -> None:
        """Take the views that every tick needs: each taken anew costs as much as a small sum."""
        lags, terms, totals, spread = self.lags, self._terms, self._totals, self._spread
        near, mean, weights = terms[lags : lags + 2], self._mean, totals[lags + 2 :]
        self._to_learn = (
            *(near, near[0], near[1], terms[lags + 2 :], terms[:lags]),
            *(totals[lags : lags + 2], mean, mean[0], weights, weights[0]),
        )
        self._to_correlate = (totals[lags + 1 :: 2, None], spread[0], spread[1], totals[:lags])
        self._at = []  # by `_since`
        for at in range(self._block, -1, -1):
            x, means, weights = (
                array[at : at + lags] for array in (self._near_x, self._means, self._weights)
            )
            tail = self._tails[self._block - at]
            self._at.append((self._values[at], x[0], x, means[0], means, weights[0], weights, tail))

    def __getstate__(self) -> dict[str, object]:
        """Leave out the views, which would be copied as arrays of their own."""
        views = ("_to_learn", "_to_correlate", "_at")
        return {name: value for name, value in self.__dict__.items() if name not in views}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Take the views of the arrays that are there now."""
        self.__dict__.update(state)
        self._look()

    def update(self, x: Floats | list[float], y: Floats | list[float]) -> None:
        """Let one tick enter: the newest values of every pair, shape (pairs,) each.

        It is learnt when a result is asked for, or when the block is over.
        """
        if self._since == self._block:
            self._turn_over()
        since = self._since + 1
        values = self._at[since][0]
        values[0], values[1] = x, y
        self._since = since

    @np.errstate(all="ignore")  # what is not finite propagates as NaN, which is the answer
    def get(self) -> Floats:
        """Return the correlations, shape (lags, pairs); NaN where there is none.

        There is none until the window is full, while anything in it is not finite, and where a side does
        not vary. The array is the grid's own: the next call overwrites it.
        """
        self._learn()
        of_y, total, weight, products = self._to_correlate
        _, _, _, _, means, _, weights, _ = self._at[self._since]
        result = self._result
        self._spread[...] = of_y  # spread out first, which is faster
        multiply(total, means, total)
        subtract(products, total, result)
        multiply(result, weights, result)
        multiply(result, weight, result)
        result.clip(self._minus_one, self._one, result)
        return result

    def _learn(self) -> None:
        """Learn what entered and is not learnt yet, tick by tick."""
        near, near_x, near_y, squares, products, total, mean, mean_x, centred, weight_x = self._to_learn
        terms, sums, totals, flat = self._terms, self._sums, self._totals, self._flat
        while self._learnt < self._since:
            self._learnt += 1
            values, newest_x, lagged_x, newest_mean, _, newest_weight, _, tail = self._at[self._learnt]
            subtract(values, self._origin, near)
            multiply(near, near, squares)
            newest_x[...] = near_x
            products[...] = near_y
            multiply(products, lagged_x, products)
            add(sums, terms, sums)
            add(sums, tail, totals)
            divide(total, self._count, mean)
            newest_mean[...] = mean_x
            multiply(mean, total, mean)
            subtract(centred, mean, centred)
            less_equal(centred, self._least, flat)
            if count_nonzero(flat):
                putmask(centred, flat, np.nan)
            sqrt(centred, centred)
            divide(self._ones, centred, centred)
            newest_weight[...] = weight_x

    @np.errstate(all="ignore")
    def follow(self, x: Floats, y: Floats, out: Floats) -> None:
        """Learn ticks, shape (ticks, pairs), and write what `get` would say after each into `out`.

        Bit for bit as tick by tick, in less time; `out` is of shape (ticks, lags, pairs).
        """
        self._learn()
        first = 0
        while first < len(x):
            if self._since == self._block:
                self._turn_over()
            these = slice(first, first + min(_AT_ONCE, len(x) - first, self._block - self._since))
            self._correlate(self._learn_many(x[these], y[these]), out[these])
            first = these.stop

    def _learn_many(self, x: Floats, y: Floats) -> Floats:
        """Learn ticks of one block; return the totals after each, with weights in place of squares."""
        stop, since, lags = self._block - self._since, self._since, self.lags
        self._since = self._learnt = since + len(x)
        rows = slice(stop - len(x), stop)
        values, terms = self._values[rows][::-1], self._many[: len(x)]
        values[:, 0], values[:, 1] = x, y
        near = np.subtract(values, self._origin, terms[:, lags : lags + 2])
        np.multiply(near, near, terms[:, lags + 2 :])
        self._near_x[rows][::-1] = near[:, 0]
        products = terms[:, :lags]
        products[:] = near[:, 1, None]
        np.multiply(products, self._lagged(self._near_x, len(x)), products)
        sums = self._sums
        for row in terms:
            sums = add(sums, row, row)
        self._sums[:] = sums
        terms += self._tails[since + 1 : self._since + 1]
        total, centred = terms[:, lags : lags + 2], terms[:, lags + 2 :]
        mean = total / self._count
        self._means[rows][::-1] = mean[:, 0]
        mean *= total
        centred -= mean
        centred[centred <= self._least] = np.nan
        np.divide(1.0, np.sqrt(centred, centred), centred)
        self._weights[rows][::-1] = centred[:, 0]
        self._totals[:] = terms[-1]
        return terms

    def _correlate(self, totals: Floats, out: Floats) -> None:
        """Write the correlations after each of the newest ticks, given the totals after each."""
        count, lags = len(out), self.lags
        spread = self._many_spread[:count]
        spread[:] = totals[:, lags + 1, None]
        np.multiply(spread, self._lagged(self._means, count), spread)
        np.subtract(totals[:, :lags], spread, out)
        np.multiply(out, self._lagged(self._weights, count), out)
        spread[:] = totals[:, lags + 3, None]
        np.multiply(out, spread, out)
        out.clip(self._minus_one, self._one, out)

    def _lagged(self, array: Floats, count: int) -> Floats:
        """Return the rows of the newest ticks, the oldest first, each with those of all lags."""
        tick, pair = array.strides
        shape = (count, self.lags, self.pairs)
        return as_strided(array[self._block - self._since :], shape, (tick, tick, pair))[::-1]

    @np.errstate(all="ignore")
    def _turn_over(self) -> None:
        """Make room at the front, choose a new origin, and sum the window from its end backwards."""
        self._learn()
        block, lags, kept, values = self._block, self.lags, self._kept, self._values
        for first in range((kept - 1) // block * block, -1, -block):  # so that no part lies where it goes
            stop = min(first + block, kept)
            values[block + first : block + stop] = values[first:stop]
        for array in (self._means, self._weights):
            array[block : block + lags] = array[:lags]
        self._since = self._learnt = 0
        origin = values[block + lags - 1]  # in the window at every lag until the next turn
        origin = np.where(np.isfinite(origin), origin, self._origin)
        self._means[block : block + lags] += self._origin[0] - origin[0]
        self._origin[:] = origin
        self._least[:] = self.window * (_CONSTANT * origin) ** 2
        near = np.subtract(values[block : block + kept], origin, self._near)
        self._near_x[block : block + kept] = near[:, 0]
        self._sums[:] = 0.0
        self._sum_back(near[: self.window - 1], self._lagged(self._near_x, self.window - 1)[::-1])

    def _sum_back(self, near: Floats, lagged_x: Floats) -> None:
        """Fill row n of the tails, from 1, with the sum over all ticks, newest first, but the last n - 1."""
        lags, tails = self.lags, self._tails[:0:-1]
        early = len(near) - len(tails)  # in every row
        sums, first = np.zeros(self._sums.shape), 0
        while first < len(near):
            if first < early:
                terms = self._many[: early - first]
            else:
                terms = tails[first - early : first - early + _AT_ONCE]
            these = slice(first, first + len(terms))
            products, squares = terms[:, :lags], terms[:, lags + 2 :]
            products[:] = near[these, 1, None]
            np.multiply(products, lagged_x[these], products)
            terms[:, lags : lags + 2] = near[these]
            np.multiply(near[these], near[these], squares)
            for row in terms:
                sums = add(sums, row, row)
            if first < early:
                sums = sums.copy()  # its memory is used again
            first = these.stop
