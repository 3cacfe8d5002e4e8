"""Mean and variance over a sliding window, as river has them."""

from collections import deque


class RollingVariance:
    """Mean and variance (ddof 1) of the last `window` values.

    The same numbers, bit for bit, as river's ``utils.Rolling(stats.Var, window)``, in one call instead of
    five: this is learnt twice a step. It is as little proof against extreme values, see
    `thermograd.stream.spike.SpikeDetector` for the gate.

    Parameters
    ----------
    window
        Values in the window, at least 2.

    Attributes
    ----------
    values
        Those in the window, the oldest first.
    mean
        Of them; 0 before the first.

    Examples
    --------
    >>> rolling = RollingVariance(3)
    >>> for x in (9.0, 1.0, 2.0, 3.0):
    ...     rolling.update(x)
    >>> rolling.mean, rolling.variance
    (2.0, 1.0)

    References
    ----------
    West (1979), Updating mean and variance estimates: an improved method, CACM 22(9).
    """

    def __init__(self, window: int = 128) -> None:
        self.values: deque[float] = deque(maxlen=window)
        self.mean = 0.0
        self._squares = 0.0  # of distances from the mean, summed

    @property
    def variance(self) -> float:
        """Variance of the values; 0 before the second."""
        n = len(self.values)
        return self._squares / (n - 1) if n > 1 else 0.0

    def update(self, x: float) -> None:
        """Let a value enter, and the oldest leave where the window is full."""
        values, before = self.values, self.mean
        n = len(values)
        if n == values.maxlen:
            n -= 1
            oldest = values[0]
            mean = before - 1.0 / n * (oldest - before)
            self._squares -= (oldest - before) * (oldest - mean)
            before = mean
        self.mean = mean = before + 1.0 / (n + 1) * (x - before)
        self._squares += (x - before) * (x - mean)
        values.append(x)
