"""Correlation over a sliding window that a passing spike leaves exact."""

from collections.abc import Iterable, Iterator, Sequence
from math import inf, sqrt

from river import stats

_CONSTANT = 1e-9  # a side whose sd is below this share of its mean does not vary


_Sums = tuple[float, float, float, float, float]  # of x, y, x * x, y * y, x * y, relative to the origin
_NO_SUMS: _Sums = (0.0, 0.0, 0.0, 0.0, 0.0)


class RollingCorrelation(stats.base.Bivariate):  # type: ignore[misc]  # river ships no types
    """Pearson correlation of the last `window` pairs.

    Nothing that left the window is ever subtracted: the window is the tail of the last block of
    `window` - 1 pairs, whose sums are taken once from its end backwards, and the present block, whose
    sums grow. So however large a spike was, once it has left the window the result is exact again.
    All sums are relative to the last pair of the last block, which is in the window as long as the present
    block grows, so at most a factor `window` of precision is lost, at any level.

    Sums are taken when a result is asked for: `update` alone only keeps the pair.

    `get` is None until the window is full (or holds `min_pairs`), and while a side does not vary
    (standard deviation <= 1e-9 of its mean's size), for example a device at 100 % utilisation. A pair
    with a member that is NaN or infinite does not enter the window; it is counted in `skipped`.

    Parameters
    ----------
    window, min_pairs
        Pairs in the window, at least 2; pairs needed for a result, None (default) means a full window.

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
    Statistician 37(3), section 3 (data shifted by a value of the sample).
    """

    def __init__(self, window: int = 128, min_pairs: int | None = None) -> None:
        if window < 2 or not (min_pairs is None or 2 <= min_pairs <= window):
            raise ValueError(f"window={window!r}, min_pairs={min_pairs!r}; expected 2 <= min_pairs <= window")
        self.window = window
        self.min_pairs = min_pairs
        self.skipped = 0
        self._block: list[tuple[float, float]] = []
        self._last: list[tuple[float, float]] = []  # the block before
        self._tails: list[_Sums] = []  # [n]: of the last block from its pair n on; empty until asked for
        self._origin = (0.0, 0.0)
        self._sums, self._summed = _NO_SUMS, 0  # of the first `_summed` pairs of the block

    def update(self, x: float, y: float) -> None:
        """Let a pair enter the window, and the oldest leave it."""
        if not x - x == 0.0 == y - y:  # NaN or infinite
            self.skipped += 1
            return
        block = self._block
        if len(block) == self.window - 1:
            self._last, self._block = block, [(x, y)]
            self._origin = block[-1]
            self._tails = []
            self._sums, self._summed = _NO_SUMS, 0
            return
        if not block:
            self._origin = (x, y)
        block.append((x, y))

    def extend(self, pairs: Sequence[tuple[float, float]]) -> None:
        """Let several pairs enter, one after the other, that are known to be finite."""
        at = 0
        while at < len(pairs):
            room = self.window - 1 - len(self._block)
            if not room or not self._block:
                self.update(*pairs[at])
                at += 1
                continue
            self._block += pairs[at : at + room]
            at += room

    def get(self) -> float | None:
        """Return the correlation in [-1, 1], or None where there is none."""
        n = self.window if self._last else len(self._block)
        if n < (self.window if self.min_pairs is None else self.min_pairs):
            return None
        x, y, xx, yy, xy = self._add_up()
        mean_x, mean_y = x / n, y / n
        xx = (xx - mean_x * x) / n
        yy = (yy - mean_y * y) / n
        if not (0.0 < xx < inf and 0.0 < yy < inf):  # squares of values beyond 1e150 overflow
            return None
        deviation_x, deviation_y = sqrt(xx), sqrt(yy)
        origin_x, origin_y = self._origin
        if not (
            deviation_x > _CONSTANT * abs(mean_x + origin_x)
            and deviation_y > _CONSTANT * abs(mean_y + origin_y)
        ):
            return None
        result = (xy - mean_x * y) / n / deviation_x / deviation_y
        if -1.0 <= result <= 1.0:
            return result
        return None if result - result != 0.0 else 1.0 if result > 0.0 else -1.0

    def _add_up(self) -> _Sums:
        """Return the sums over the window."""
        block = self._block
        for sums in _running_sums(block[self._summed :], self._origin, self._sums):
            self._sums = sums
        self._summed = len(block)
        if not self._last:
            return self._sums
        if not self._tails:
            self._tails = list(_running_sums(reversed(self._last), self._origin))[::-1]
        sum_x, sum_y, xx, yy, xy = self._sums
        tail_x, tail_y, tail_xx, tail_yy, tail_xy = self._tails[len(block) - 1]
        return sum_x + tail_x, sum_y + tail_y, xx + tail_xx, yy + tail_yy, xy + tail_xy


def _running_sums(
    pairs: Iterable[tuple[float, float]], origin: tuple[float, float], sums: _Sums = _NO_SUMS
) -> Iterator[_Sums]:
    """Yield the sums after each pair, begun with those before."""
    origin_x, origin_y = origin
    sum_x, sum_y, xx, yy, xy = sums
    for x, y in pairs:
        x -= origin_x
        y -= origin_y
        sum_x += x
        sum_y += y
        xx += x * x
        yy += y * y
        xy += x * y
        yield sum_x, sum_y, xx, yy, xy
