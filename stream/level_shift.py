"""Sustained growth, which a spike detector learns to live with."""

from math import isfinite

from river import base, stats
from thermograd.stream.spike import Episode

_IQR_PER_SD = 1.3489795003921634  # of a normal distribution


class LevelShift(base.Estimator):  # type: ignore[misc]  # river ships no types
    """Flags a recent median well above the long-run median.

    Detected if the median of the last `fast_steps` values exceeds both `ratio` times the median of
    the last `slow_steps` and that median by `deviations` robust standard deviations (the slow
    window's interquartile range / 1.349). Both windows include the newest value. Values that are not
    finite, and exact zeros, are not learnt and change nothing.

    Parameters
    ----------
    fast_steps, slow_steps, ratio, deviations, warmup_steps, quiet_steps
        As above; `thermograd.stream.settings.ShiftSettings` says of each what it is.

    Attributes
    ----------
    detected, episode_started
        Whether the level is shifted now, and whether this is the first step of it.
    score
        (recent - level) in robust standard deviations, None during warm-up or if there is no spread.
    recent, level, threshold
        Fast median, slow median, and what the fast one must exceed; None during warm-up.

    Examples
    --------
    >>> detector = LevelShift()
    >>> for step in range(300):
    ...     detector.update((1.0 if step < 280 else 2.0) + 0.01 * (step % 3))
    >>> detector.detected, detector.recent, detector.level
    (True, 2.01, 1.01)
    """

    def __init__(
        self,
        fast_steps: int = 16,
        slow_steps: int = 256,
        ratio: float = 1.6,
        deviations: float = 2.0,
        warmup_steps: int = 64,
        quiet_steps: int = 10,
    ) -> None:
        if not (1 <= fast_steps < slow_steps and ratio >= 1 and 1 <= warmup_steps <= slow_steps):
            raise ValueError(
                f"fast_steps={fast_steps!r}, slow_steps={slow_steps!r}, ratio={ratio!r}, "
                f"warmup_steps={warmup_steps!r}; expected 1 <= fast_steps < slow_steps, ratio >= 1, "
                "1 <= warmup_steps <= slow_steps"
            )
        self.fast_steps, self.slow_steps = fast_steps, slow_steps
        self.ratio, self.deviations = ratio, deviations
        self.warmup_steps, self.quiet_steps = warmup_steps, quiet_steps
        self.detected = self.episode_started = False
        self.score: float | None = None
        self.recent: float | None = None
        self.level: float | None = None
        self.threshold: float | None = None
        self._learnt = 0
        self._episode = Episode(quiet_steps)
        self._fast = stats.RollingQuantile(0.5, fast_steps)
        self._slow = stats.RollingQuantile(0.5, slow_steps)
        self._spread = stats.RollingIQR(slow_steps)

    @property
    def definition_id(self) -> str:
        """Name, version and parameters of the rule, for the record."""
        return f"shift/1({','.join(f'{name}={value!r}' for name, value in self._get_params().items())})"

    def update(self, x: float) -> None:
        """Learn one value and compare the two levels."""
        x = float(x)
        self.detected = self.episode_started = False
        self.score = self.recent = self.level = self.threshold = None
        if not isfinite(x) or x == 0.0:  # river's quantiles panic on NaN
            return
        self._fast.update(x)
        self._slow.update(x)
        self._spread.update(x)
        self._learnt += 1
        if self._learnt >= self.warmup_steps:
            self._compare()
        episode = self._episode
        if self.detected or episode.active:
            episode.update(self.detected)
            self.episode_started = episode.started

    def _compare(self) -> None:
        recent, level = self._fast.get(), self._slow.get()
        deviation = self._spread.get() / _IQR_PER_SD
        self.recent, self.level = recent, level
        self.threshold = level + max((self.ratio - 1.0) * abs(level), self.deviations * deviation)
        self.score = (recent - level) / deviation if deviation > 0.0 else None
        self.detected = recent > self.threshold
