"""Rolling correlations of many pairs at many lags at once."""

import numpy as np
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
        self._block = window - lags  # ticks between two summations
        self._kept = window + lags  # ticks whose values are needed
        length = self._kept + self._block
        # rows are ticks, the newest in row `_at`, which moves towards 0
        self._values = np.full((length, 2, pairs), np.nan)
        self._near_x = np.full((length, pairs), np.nan)  # relative to the origin
        self._means = np.full((length, pairs), np.nan)  # of the window of x that ends at each tick
        self._weights = np.full((length, pairs), np.nan)  # 1 / sqrt of its centred sum of squares
        self._near, self._spare = np.empty((self._kept, 2, pairs)), np.empty((self._kept, pairs))
        self._at, self._since = self._block, 0
        self._factors = np.ones((window - 1, 2, 2, pairs))  # of values: 1, and for squares themselves
        self._origin = np.zeros((2, pairs))
        self._least = np.zeros((2, pairs))
        self._powers = np.zeros((2, 2, pairs))  # newest values and their squares; x and y
        self._sums = np.zeros((2, 2, pairs))  # of them, in this block
        self._sums_tails = np.full((self._block + 1, 2, 2, pairs), np.nan)
        self._products = np.zeros((lags, pairs))
        self._products_tails = np.zeros((self._block + 1, lags, pairs))
        # what each tick needs again: an operation into memory that is there takes half as long
        self._count, self._ones = np.full((2, pairs), float(window)), np.ones((2, pairs))
        self._totals = np.full((2, 2, pairs), np.nan)  # of the window; in place of squares, weights
        self._mean, self._flat = np.empty((2, pairs)), np.empty((2, pairs), dtype=bool)
        self._scratch, self._spread = np.empty((lags, pairs)), np.empty((2, lags, pairs))
        self._many = np.empty((_AT_ONCE, lags, pairs))
        self._one, self._minus_one = np.ones((lags, pairs)), -np.ones((lags, pairs))
        self._result = np.full((lags, pairs), np.nan)

    @np.errstate(all="ignore")  # what is not finite propagates as NaN, which is the answer
    def update(self, x: Floats | list[float], y: Floats | list[float]) -> None:
        """Learn one tick: the newest values of every pair, shape (pairs,) each."""
        if self._since == self._block:
            self._turn_over()
        self._at = at = self._at - 1
        self._since = since = self._since + 1
        values, powers, sums, totals = self._values[at], self._powers, self._sums, self._totals
        values[0], values[1] = x, y
        near = powers[0]
        np.subtract(values, self._origin, near)
        np.multiply(near, near, powers[1])
        np.add(sums, powers, sums)
        self._near_x[at] = near[0]
        spread, scratch, products = self._spread[0], self._scratch, self._products
        spread[:] = near[1]  # spread out first, which is faster
        np.multiply(self._near_x[at : at + self.lags], spread, scratch)
        np.add(products, scratch, products)
        np.add(sums, self._sums_tails[since], totals)
        total, centred, mean, flat = totals[0], totals[1], self._mean, self._flat
        np.divide(total, self._count, mean)
        self._means[at] = mean[0]
        np.multiply(mean, total, mean)
        np.subtract(centred, mean, centred)
        np.less_equal(centred, self._least, flat)
        np.putmask(centred, flat, np.nan)
        np.sqrt(centred, centred)
        np.divide(self._ones, centred, centred)
        self._weights[at] = centred[0]

    @np.errstate(all="ignore")
    def get(self) -> Floats:
        """Return the correlations, shape (lags, pairs); NaN where there is none.

        There is none until the window is full, while anything in it is not finite, and where a side does
        not vary. The array is the grid's own: the next call overwrites it.
        """
        result, spread, scratch = self._result, self._spread, self._scratch
        at, stop = self._at, self._at + self.lags
        spread[:] = self._totals[:, 1, None]  # of y: total and weight
        np.multiply(self._means[at:stop], spread[0], scratch)
        np.add(self._products, self._products_tails[self._since], result)
        np.subtract(result, scratch, result)
        np.multiply(result, self._weights[at:stop], result)
        np.multiply(result, spread[1], result)
        np.minimum(result, self._one, out=result)
        np.maximum(result, self._minus_one, out=result)
        return result

    @np.errstate(all="ignore")
    def follow(self, x: Floats, y: Floats, out: Floats) -> None:
        """Learn ticks, shape (ticks, pairs), and write what `get` would say after each into `out`.

        Bit for bit as tick by tick, in half the time; `out` is of shape (ticks, lags, pairs).
        """
        first = 0
        while first < len(x):
            if self._since == self._block:
                self._turn_over()
            these = slice(first, first + min(_AT_ONCE, len(x) - first, self._block - self._since))
            near_y, totals, weights = self._learn(x[these], y[these])
            self._correlate(near_y, totals, weights, out[these])
            first = these.stop

    def _learn(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Learn ticks of one block; return of y, tick by tick, relative values, totals and weights."""
        stop, since = self._at, self._since
        self._at, self._since = at, now = stop - len(x), since + len(x)
        values = self._values[at:stop][::-1]
        values[:, 0], values[:, 1] = x, y
        powers = np.empty((len(x), *self._powers.shape))
        near = np.subtract(values, self._origin, powers[:, 0])
        np.multiply(near, near, powers[:, 1])
        self._near_x[at:stop][::-1] = near[:, 0]
        near_y, sums = near[:, 1].copy(), self._sums
        for row in powers:
            sums = np.add(sums, row, row)
        self._sums[:] = sums
        powers += self._sums_tails[since + 1 : now + 1]
        total, centred = powers[:, 0], powers[:, 1]
        mean = total / self._count
        centred -= mean * total
        centred[centred <= self._least] = np.nan
        np.divide(1.0, np.sqrt(centred, centred), centred)
        self._means[at:stop][::-1], self._weights[at:stop][::-1] = mean[:, 0], centred[:, 0]
        self._totals[:] = powers[-1]
        return near_y, total[:, 1], centred[:, 1]

    def _correlate(self, near_y: Floats, totals: Floats, weights: Floats, out: Floats) -> None:
        """Write the correlations after each of the newest ticks, given what there is of y."""
        count, now = len(out), self._since
        scratch, products = self._many[:count], self._products
        np.multiply(self._lagged(self._near_x, count), near_y[:, None], out)
        for row in out:
            products = np.add(products, row, row)
        self._products[:] = products
        np.add(out, self._products_tails[now - count + 1 : now + 1], out)
        np.multiply(self._lagged(self._means, count), totals[:, None], scratch)
        np.subtract(out, scratch, out)
        np.multiply(out, self._lagged(self._weights, count), out)
        np.multiply(out, weights[:, None], out)
        np.minimum(out, self._one, out=out)
        np.maximum(out, self._minus_one, out=out)

    def _lagged(self, array: Floats, count: int) -> Floats:
        """Return the rows of the newest ticks, the oldest first, each with those of all lags."""
        tick, pair = array.strides
        shape = (count, self.lags, self.pairs)
        return as_strided(array[self._at :], shape, (tick, tick, pair))[::-1]

    def _turn_over(self) -> None:
        """Make room at the front, choose a new origin, and sum the window from its end backwards."""
        block, lags, window = self._block, self.lags, self.window
        kept, old = slice(block, block + self._kept), slice(self._at, self._at + self._kept)
        for array, spare in (
            (self._values, self._near),
            (self._means, self._spare),
            (self._weights, self._spare),
        ):
            np.copyto(spare, array[old])  # in memory that is there: what is this large costs when it is new
            array[kept] = spare
        self._at, self._since = block, 0
        origin = self._values[block + lags - 1]  # in the window at every lag until the next turn
        origin = np.where(np.isfinite(origin), origin, self._origin)
        self._means[block : block + lags] += self._origin[0] - origin[0]
        self._origin = origin
        self._least = window * (_CONSTANT * origin) ** 2
        self._sums[:] = 0.0
        self._products[:] = 0.0
        near = np.subtract(self._values[kept], origin, out=self._near)
        self._near_x[kept] = near[:, 0]
        shifted = self._lagged(self._near_x, window - 1)[::-1]
        near, factors = near[: window - 1], self._factors
        factors[:, 1] = near
        _sum_back(self._sums_tails, np.broadcast_to(near[:, None], factors.shape), factors)
        _sum_back(self._products_tails, shifted, near[:, 1:])


def _sum_back(tails: Floats, terms: Floats, factors: Floats) -> None:
    """Fill row n of the tails, from 1, with the sum of all terms, times factors, but the last n - 1."""
    rows = tails[:0:-1]
    early = len(terms) - len(rows)  # in every row
    before = np.zeros(rows.shape[1:])
    for term, factor in zip(terms[:early], factors[:early], strict=True):  # one by one: what is large is slow
        before += term * factor
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        these = slice(early + first, early + first + len(some))
        np.multiply(terms[these], factors[these], some)
        for row in some:
            before = np.add(before, row, row)
