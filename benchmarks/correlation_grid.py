"""Rolling correlations of many pairs at many lags at once."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["CorrelationGrid"]

Floats = NDArray[np.float64]

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
        self._total_y = self._weight_y = np.full(pairs, np.nan)
        self._near, self._spare = np.empty((self._kept, 2, pairs)), np.empty((self._kept, pairs))
        self._at, self._since = self._block, 0
        self._origin = np.zeros((2, pairs))
        self._least = np.zeros((2, pairs))
        self._powers = np.zeros((2, 2, pairs))  # newest values and their squares; x and y
        self._sums = np.zeros((2, 2, pairs))  # of them, in this block
        self._sums_tails = np.full((self._block + 1, 2, 2, pairs), np.nan)
        self._products = np.zeros((lags, pairs))
        self._products_tails = np.zeros((self._block + 1, lags, pairs))
        self._scratch, self._spread = np.empty((lags, pairs)), np.empty((lags, pairs))
        self._one, self._minus_one = np.ones((lags, pairs)), -np.ones((lags, pairs))
        self._result = np.full((lags, pairs), np.nan)

    @np.errstate(all="ignore")  # what is not finite propagates as NaN, which is the answer
    def update(self, x: Floats | list[float], y: Floats | list[float]) -> None:
        """Learn one tick: the newest values of every pair, shape (pairs,) each."""
        if self._since == self._block:
            self._turn_over()
        self._at = at = self._at - 1
        self._since += 1
        values, powers = self._values[at], self._powers
        values[0], values[1] = x, y
        near = np.subtract(values, self._origin, out=powers[0])
        np.multiply(near, near, out=powers[1])
        self._sums += powers
        self._near_x[at] = near[0]
        self._products += self._times(self._near_x[at : at + self.lags], near[1])
        total, squares = self._sums + self._sums_tails[self._since]
        mean = total / self.window
        centred = squares - mean * total
        centred[centred <= self._least] = np.nan
        weights = 1.0 / np.sqrt(centred)
        self._means[at], self._weights[at] = mean[0], weights[0]
        self._total_y, self._weight_y = total[1], weights[1]

    @np.errstate(all="ignore")
    def get(self) -> Floats:
        """Return the correlations, shape (lags, pairs); NaN where there is none.

        There is none until the window is full, while anything in it is not finite, and where a side does
        not vary. The array is the grid's own: the next call overwrites it.
        """
        result = self._result
        rows = slice(self._at, self._at + self.lags)
        np.add(self._products, self._products_tails[self._since], out=result)
        result -= self._times(self._means[rows], self._total_y)
        result *= self._weights[rows]
        self._spread[:] = self._weight_y
        result *= self._spread
        np.minimum(result, self._one, out=result)
        np.maximum(result, self._minus_one, out=result)
        return result

    def _times(self, x: Floats, y: Floats) -> Floats:
        """Return x, shape (lags, pairs), times y, shape (pairs,); spread out first, which is faster."""
        self._spread[:] = y
        return np.multiply(x, self._spread, out=self._scratch)

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
        powers, sums, products = (
            np.empty_like(self._sums),
            np.zeros_like(self._sums),
            np.zeros_like(self._products),
        )
        for age in range(window - 1):
            row = block + age
            product = self._times(self._near_x[row : row + lags], near[age, 1])
            left = window - 1 - age  # after so many ticks the window ends with this one
            within = left <= block
            powers[0] = near[age]
            np.multiply(near[age], near[age], out=powers[1])
            sums = np.add(sums, powers, out=self._sums_tails[left] if within else sums)
            products = np.add(products, product, out=self._products_tails[left] if within else products)
