"""Correlation over a sliding window that a passing spike leaves exact."""

from math import isfinite, sqrt

from river import stats

__all__ = ["RollingCorrelation"]

_CONSTANT = 1e-9  # a side whose sd is below this share of its mean does not vary


# of the pairs from one on to the end of the block: count; x and y of the last pair, which the rest is
# relative to; means; centred sums of squares and of products
_Tail = tuple[int, float, float, float, float, float, float, float]
_NO_TAIL: _Tail = (0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class RollingCorrelation(stats.base.Bivariate):  # type: ignore[misc]  # river ships no types
    """Pearson correlation of the last `window` pairs.

    Nothing that left the window is ever subtracted: the window is the tail of the last block of
    `window` pairs, whose sums were taken once from its end backwards, and the present block, whose
    sums grow. So however large a spike was, once it has left the window the result is exact again.
    Either sum is relative to a pair that is always in the window (the last of the one block, the first of
    the other), so at most a factor `window` of precision is lost, at any level.

    `get` is None until the window is full (or holds `min_pairs`), and while a side does not vary
    (standard deviation <= 1e-9 of its mean's size), for example a device at 100 % utilisation. A pair
    with a member that is NaN or infinite does not enter the window; it is counted in `skipped`.

    Parameters
    ----------
    window
        Pairs in the window, at least 2.
    min_pairs
        Pairs needed for a result; None (default) means a full window.

    Raises
    ------
    ValueError
        If window < 2 or min_pairs is not in 2..window.

    Examples
    --------
    >>> correlation = RollingCorrelation(window=4)
    >>> for x, y in zip([0, 0, 0, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6]):
    ...     correlation.update(x, y)
    ...     print(correlation.get())
    None
    None
    None
    0.7745966692414834
    0.8944271909999159
    0.7745966692414834
    None

    References
    ----------
    Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance, The American
    Statistician 37(3), eq. 2.1 (merging of centred sums).
    """

    def __init__(self, window: int = 128, min_pairs: int | None = None) -> None:
        if window < 2 or not (min_pairs is None or 2 <= min_pairs <= window):
            raise ValueError(f"window={window!r}, min_pairs={min_pairs!r}; expected 2 <= min_pairs <= window")
        self.window = window
        self.min_pairs = min_pairs
        self.skipped = 0
        self._block: list[tuple[float, float]] = []
        self._tails: list[_Tail] = []  # [i]: the last block from its pair i + 1 on
        self._tail = _NO_TAIL
        self._begin()

    def update(self, x: float, y: float) -> None:
        """Let a pair enter the window, and the oldest leave it."""
        if not x - x == 0.0 == y - y:  # NaN or infinite
            self.skipped += 1
            return
        block = self._block
        n = len(block)
        if n == self.window:
            self._turn_over()
            block, n = self._block, 0
        if n == 0:
            self._first_x, self._first_y = float(x), float(y)
        else:
            away_x, away_y = x - self._first_x, y - self._first_y
            self._x += away_x
            self._y += away_y
            self._xx += away_x * away_x
            self._yy += away_y * away_y
            self._xy += away_x * away_y
        block.append((x, y))
        self._tail = self._tails[n] if self._tails else _NO_TAIL

    def _begin(self) -> None:
        self._first_x = self._first_y = 0.0
        self._x = self._y = self._xx = self._yy = self._xy = 0.0

    def _turn_over(self) -> None:
        last_x, last_y = self._block[-1]
        sum_x = sum_y = xx = yy = xy = 0.0
        tails = [_NO_TAIL]
        for n, (x, y) in enumerate(reversed(self._block[1:]), 1):
            x, y = x - last_x, y - last_y
            sum_x += x
            sum_y += y
            xx += x * x
            yy += y * y
            xy += x * y
            mean_x, mean_y = sum_x / n, sum_y / n
            centred = (xx - mean_x * sum_x, yy - mean_y * sum_y, xy - mean_x * sum_y)
            tails.append((n, last_x, last_y, mean_x, mean_y, *centred))
        tails.reverse()
        self._tails = tails
        self._block = []
        self._begin()

    def get(self) -> float | None:
        """Return the correlation in [-1, 1], or None where there is none."""
        older, last_x, last_y, tail_x, tail_y, xx, yy, xy = self._tail
        newer = len(self._block)
        n = newer + older
        if n < (self.window if self.min_pairs is None else self.min_pairs):
            return None
        mean_x, mean_y = self._x / newer, self._y / newer
        xx += self._xx - mean_x * self._x
        yy += self._yy - mean_y * self._y
        xy += self._xy - mean_x * self._y
        mean_x, mean_y = mean_x + self._first_x, mean_y + self._first_y
        if older:
            apart_x = (last_x - self._first_x) + (tail_x - self._x / newer)
            apart_y = (last_y - self._first_y) + (tail_y - self._y / newer)
            share = older / n
            weight = share * newer
            xx += apart_x * apart_x * weight
            yy += apart_y * apart_y * weight
            xy += apart_x * apart_y * weight
            mean_x += share * apart_x
            mean_y += share * apart_y
        if not (xx > 0.0 and yy > 0.0):
            return None
        deviation_x, deviation_y = sqrt(xx / n), sqrt(yy / n)
        if not (deviation_x > _CONSTANT * abs(mean_x) and deviation_y > _CONSTANT * abs(mean_y)):
            return None
        if not (isfinite(deviation_x) and isfinite(deviation_y) and isfinite(xy)):
            return None  # squares of values beyond 1e150 overflow
        return min(max(xy / n / deviation_x / deviation_y, -1.0), 1.0)
