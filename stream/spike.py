"""Spikes of the gradient norm or the loss against their own recent past."""

from collections import deque
from math import copysign, isfinite, sqrt

from river import base

_REBUILD_WINDOWS = 16
_APART_STEPS = 2
_FINITE = 1e300
_REACH = 2.5  # deviations as which a distance from the level is learnt at most
_EXTREME = 100.0  # a value this many levels high spoils river's sums when it leaves the window


class Episode:
    """Tells the first of a series of detections from the ones that follow it.

    `quiet_steps` without detection end an episode. Within one a detection that stands apart (two steps
    without any before it) and has at least twice the largest score so far begins a new one: a small spike
    must not hide a large one after it.

    Examples
    --------
    >>> episode = Episode(quiet_steps=2)
    >>> started = []
    >>> for detected in [True, True, False, True, False, False, True]:
    ...     episode.update(detected)
    ...     started.append(episode.started)
    >>> started
    [True, False, False, False, False, False, True]
    """

    def __init__(self, quiet_steps: int = 10) -> None:
        self.quiet_steps = quiet_steps
        self.started = False
        self.active = False
        self._quiet = 0
        self._largest = 0.0

    def update(self, detected: bool, score: float = 0.0) -> None:
        """Learn whether the next step is one of a detection, and how strong it is."""
        outgrown = self._quiet >= _APART_STEPS and score >= 2.0 * self._largest > 0.0
        self.started = detected and (not self.active or outgrown)
        if detected:
            self._largest = score if self.started else max(score, self._largest)
        self._quiet = 0 if detected else self._quiet + 1
        self.active = detected or (self.active and self._quiet < self.quiet_steps)


class SpikeDetector(base.Estimator):  # type: ignore[misc]  # river ships no types
    """Flags a value far above its recent level, in standard deviations of its recent past.

    ``level`` and ``deviation`` are mean and standard deviation (ddof 1) of the last `window_steps`
    values *before* this one. It is detected if it exceeds ``threshold = level + max(k * deviation,
    0.01 * k * |level|, (ratio - 1) * |level|)``. Afterwards it is learnt winsorised, at most as
    ``threshold``, so neither a spike nor its echo blinds the detector. Until 64 values are known k
    counts 1.5 times, below `warmup_steps` nothing is detected. After `rebase_steps` detections in a
    row the level itself has changed: the window becomes those values. The same after as many values in
    a row that lie below the level by `ratio`: what is left of a higher level would hide spikes for the
    rest of the window.

    A value learnt at the threshold still makes the deviation of the next 128 steps an eighth larger, and a
    changed level within the window far more. So there is a second deviation (`usual`): the root of the mean
    square of the distances from the level at each step, the newest `window_steps` counting most, each as at
    most 2.5 deviations of the window. ``deviation`` is the smaller of both. With the window's alone k would
    have to lie within the tails of usual noise to find as much.

    Values that are not finite, and exact zeros, are never learnt: they are detections of their own
    (`nonfinite`, `zero`) and neither begin nor end an episode.

    This is the live rule: causal, so that a replay gives the same alerts. The analysis after the run has
    another, whose counts differ (`thermograd.analysis.event_study.onsets.residual_spikes`): robust deviations
    of the *residuals* of the whole run, past and future alike, for there a spike is what nothing else
    predicts.

    Parameters
    ----------
    k, window_steps, warmup_steps, rebase_steps, quiet_steps
        As above, in steps but for k; `thermograd.stream.settings.SpikeSettings` says of each what it is.
    ratio
        A value below this multiple of the level is never a spike (1.3 for gradient norms, 1.1 for losses).
    usual
        Whether there is the second deviation; without it this is version 2 of the rule.

    Attributes
    ----------
    detected, episode_started
        Whether the latest value is a spike, and whether it is the first one of its episode.
    score
        (value - level) / max(deviation, |level| / 100), None during warm-up.
    level, deviation, threshold
        What the value was compared with, None during warm-up.
    level_ratio
        value / level.
    rebased, nonfinite, zero
        What else the latest value was: the last of a changed level, not finite, exactly zero.

    Examples
    --------
    >>> detector = SpikeDetector(warmup_steps=5)
    >>> for grad_norm in [1.0, 1.1, 0.9, 1.0, 1.2, 9.0]:
    ...     detector.update(grad_norm)
    >>> detector.detected, round(detector.level, 2), round(detector.score)
    (True, 1.04, 70)

    References
    ----------
    OLMo-core, ``SkipStepOptimizer`` (rolling mean and sd of 128, k = 6), winsorised as in ZClip
    (arXiv:2504.02507), whose reach is 2.5 deviations, too. The rolling sums are those of river's
    ``Rolling(Var)``, behind a gate for what would spoil them (river issues 732, 734, 981).
    """

    def __init__(
        self,
        k: float = 6.75,
        window_steps: int = 128,
        ratio: float = 1.3,
        warmup_steps: int = 20,
        rebase_steps: int = 20,
        quiet_steps: int = 10,
        usual: bool = True,
    ) -> None:
        if not (k > 0 and ratio >= 1 and 2 <= warmup_steps <= window_steps and rebase_steps >= 2):
            raise ValueError(
                f"k={k!r}, ratio={ratio!r}, warmup_steps={warmup_steps!r}, window_steps={window_steps!r}, "
                f"rebase_steps={rebase_steps!r}; expected k > 0, ratio >= 1, "
                "2 <= warmup_steps <= window_steps, rebase_steps >= 2"
            )
        self.k, self.ratio = k, ratio
        self.window_steps, self.warmup_steps = window_steps, warmup_steps
        self.rebase_steps, self.quiet_steps = rebase_steps, quiet_steps
        self.usual = usual
        self.detected = self.episode_started = self.rebased = self.nonfinite = self.zero = False
        self.score: float | None = None
        self.level: float | None = None
        self.deviation: float | None = None
        self.threshold: float | None = None
        self.level_ratio: float | None = None
        self._episode = Episode(quiet_steps)
        self._alarms: deque[float] = deque(maxlen=rebase_steps)
        self._low: deque[float] = deque(maxlen=rebase_steps)
        self._since_rebuild = 0
        self._counted = self._squares = 0.0  # of distances from the level: how many count, their squares
        self._restart(())

    @property
    def definition_id(self) -> str:
        """Name, version and parameters of the rule, for the record.

        Version 2 in its own words: what runs have recorded with it must be had again bit for bit.
        """
        parameters = self._get_params()
        version = 3 if parameters.pop("usual") else 2
        return f"spike/{version}({','.join(f'{name}={value!r}' for name, value in parameters.items())})"

    def update(self, x: float) -> None:
        """Compare one value with its past, then learn it."""
        x = float(x)
        self.detected = self.episode_started = self.rebased = False
        self.nonfinite = not isfinite(x)
        self.zero = x == 0.0
        self.score = self.level = self.deviation = self.threshold = self.level_ratio = None
        if self.nonfinite or self.zero:
            return
        known = len(self._rolling.values)
        if known >= self.warmup_steps:
            self._compare(x, known)
        episode = self._episode
        if self.detected or episode.active:  # else nothing of it changes
            episode.update(self.detected, self.score or 0.0)
            self.episode_started = episode.started
        self._learn(x)

    def _compare(self, x: float, known: int) -> None:
        level, variance = self._rolling.mean, self._rolling.variance
        if not isfinite(variance):  # squares of values beyond 1e150, learnt during warm-up, overflow
            return
        deviation = sqrt(variance) if variance > 0.0 else 0.0  # rounding may leave it below 0
        size = abs(level)
        least = 0.01 * size
        reach = _REACH * (least if least > deviation else deviation)
        if self._counted >= 0.5 * self.window_steps:
            deviation = min(deviation, sqrt(self._squares / self._counted))
        k = self.k if known >= 64 or known == self.window_steps else 1.5 * self.k
        scale = least if least > deviation else deviation
        beyond, beside = k * scale, (self.ratio - 1.0) * size
        threshold = level + (beside if beside > beyond else beyond)
        self.level, self.deviation, self.threshold = level, deviation, threshold
        if scale > 0.0:
            score = (x - level) / scale
            self.score = score if -_FINITE <= score <= _FINITE else copysign(_FINITE, score)
        self.level_ratio = x / level if level != 0.0 else None
        self.detected = x > threshold
        if self.usual:
            distance, kept = abs(x - level), 1.0 - 1.0 / self.window_steps
            if distance > reach:
                distance = reach
            self._counted = self._counted * kept + 1.0
            self._squares = self._squares * kept + distance * distance

    def _learn(self, x: float) -> None:
        level, threshold = self.level, self.threshold
        is_low = level is not None and x * self.ratio < level and level > 0.0
        if (self.detected or is_low or self._alarms or self._low) and self._is_rebased(x, is_low):
            return
        rolling = self._rolling
        leaving = rolling.values[0] if len(rolling.values) == self.window_steps else 0.0
        rolling.update(threshold if threshold is not None and threshold < x else x)
        self._since_rebuild += 1
        spoilt = not abs(leaving) <= _EXTREME * abs(rolling.mean)  # or not finite any more
        if spoilt or self._since_rebuild >= _REBUILD_WINDOWS * self.window_steps:
            self._restart(tuple(rolling.values))

    def _is_rebased(self, x: float, is_low: bool) -> bool:
        """Count values in a row that are beyond the level; start anew with them where they are enough."""
        for beyond, values in ((self.detected, self._alarms), (is_low, self._low)):
            if beyond:
                values.append(x)
            elif values:
                values.clear()
            if len(values) == self.rebase_steps:
                self._restart(tuple(values))
                self._counted = self._squares = 0.0
                values.clear()
                self.rebased = True
                return True
        return False

    def _restart(self, values: tuple[float, ...]) -> None:
        """Build the sums anew: what was subtracted from them leaves its rounding behind."""
        self._rolling = RollingVariance(self.window_steps)
        for value in values:
            self._rolling.update(value)
        self._since_rebuild = 0


class RollingVariance:
    """Mean and variance (ddof 1) of the last `window` values.

    The same numbers, bit for bit, as river's ``utils.Rolling(stats.Var, window)``, in one call instead of
    five: this is learnt twice a step. It is as little proof against extreme values, see
    `SpikeDetector` for the gate. `values` holds those in the window, the oldest first; `mean` is theirs, 0
    before the first.

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
