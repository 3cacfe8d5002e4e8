"""An e-value that may be looked at after every pair, and what each pair contributes to it.

A coin decides a pair. If what was measured would have been the same under the other side (the sharp null),
its contribution is a fair sign times a number that no coin has touched; so the factor
``exp(l d) / cosh(l d)`` has mean 1 whatever the series holds, for every l that is chosen before the coin
is known. It is never below ``exp(l d - l**2 d**2 / 2)`` of de la Pena, for cosh(x) <= exp(x**2 / 2). The
product, mixed over l of both signs, is 20 or more, ever, in at most 1 of 20 runs without an effect. Pure; no
arrays.
"""

import math
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from thermograd.store.experiment.schedules import Schedule, ScheduleError, Switchback

REJECT_AT = 20.0  # an e-value that counts: by Ville's inequality 1 of 20 runs reaches it by chance

_STRENGTHS = (0.5, 1.0, 2.0)  # l, per sd of a contribution; both signs, equal shares
_SD_OF_MEDIAN = 1.4826  # sd of normal numbers, over the median of their magnitudes
_CLIP_SD = 4.0
_LARGEST_LOG = 700.0  # above, exp overflows
_TRIM = 0.1  # of a block's values, left out on each side


class EProcess:
    """Evidence against "no effect", contribution by contribution.

    The scale is the median magnitude of the contributions so far, of the new one too: given its magnitude,
    its sign is still fair. So no scale has to be known, and neither the first pair nor a burst sets it.

    Attributes
    ----------
    n
        Contributions that counted: all but those that are not known.

    Examples
    --------
    >>> process = EProcess()
    >>> for d in (0.9, 1.1, 1.0, 1.3, 0.8, 1.2, 0.7, 1.1):
    ...     process.update(d)
    >>> process.n, process.e_value > 20
    (8, True)
    """

    def __init__(self) -> None:
        self._lambdas = [sign * strength for strength in _STRENGTHS for sign in (1.0, -1.0)]
        self._logs = [0.0] * len(self._lambdas)
        self._magnitudes: list[float] = []
        self.n = 0
        self._largest_log = 0.0

    def update(self, d: float | None) -> None:
        """Take what a pair contributes: hot less cool; one that is None or not finite is skipped."""
        if d is not None:
            self.update_among((d, -d), 0)

    def update_among(self, scores: Sequence[float], drawn: int) -> None:
        """Take an assignment that was drawn uniformly among several, as a pulse's place.

        Parameters
        ----------
        scores
            What each of the possible draws would contribute, from the same measured values.
        drawn
            Which of them was drawn.
        """
        if not all(map(math.isfinite, scores)):
            return
        centre = math.fsum(scores) / len(scores)
        around = [score - centre for score in scores]
        magnitude = math.hypot(*around) / math.sqrt(len(around))
        if not math.isfinite(magnitude):
            return
        self.n += 1
        insort(self._magnitudes, magnitude)
        scale = _SD_OF_MEDIAN * _median(self._magnitudes)
        if scale > 0.0:
            self._multiply([_clipped(each / scale) for each in around], drawn)

    def _multiply(self, scaled: list[float], drawn: int) -> None:
        for index, strength in enumerate(self._lambdas):
            exponents = [strength * each for each in scaled]
            self._logs[index] += exponents[drawn] - _log_mean_exp(exponents)
        self._largest_log = max(self._largest_log, self.log_e_value)

    @property
    def log_e_value(self) -> float:
        """Natural logarithm of `e_value`, without its bounds."""
        return _log_mean_exp(self._logs)

    @property
    def e_value(self) -> float:
        """So far; 1 before the first contribution."""
        return math.exp(min(self.log_e_value, _LARGEST_LOG))

    @property
    def largest(self) -> float:
        """The largest on the way: reject "no effect" once it is `REJECT_AT` or more."""
        return math.exp(min(self._largest_log, _LARGEST_LOG))


@dataclass(frozen=True, slots=True)
class PairContrast:
    """What a completed pair of blocks contributes.

    `first_less_second` is of the outcome alone, no coin in it; `sign` is 1 where the hot block came first.
    None: too few values.
    """

    pair: int
    sign: int
    first_less_second: float | None
    last_step: int

    @property
    def d(self) -> float | None:
        """Hot less cool, in the outcome's unit, cleaned of the drift."""
        return None if self.first_less_second is None else self.sign * self.first_less_second


class BlockOutcomes:
    """One outcome of a switchback, step by step; a contrast a completed pair.

    Of each block the later part counts, as its trimmed mean: the device needs time, and one spike is no
    effect. The drift is taken from the pair before, by the difference of the pairs' means, which holds as
    much hot as cool.

    Parameters
    ----------
    schedule
        Of a switchback.
    settle
        Share of a block that is left out at its beginning.

    Attributes
    ----------
    contrasts
        Of the completed pairs, in order.
    """

    def __init__(self, schedule: Schedule, settle: float = 1 / 3) -> None:
        if not isinstance(schedule.design, Switchback):
            raise ScheduleError(f"contrasts of pairs are of a switchback, not of {schedule.design.name}")
        self._schedule = schedule
        self._block_steps = schedule.design.block_steps
        self._settle_steps = int(settle * self._block_steps)
        self._values: tuple[list[float], list[float]] = ([], [])
        self._pair = 0
        self._last_step = schedule.start_step - 1
        self._mean_before: float | None = None
        self.contrasts: list[PairContrast] = []

    def update(self, step: int, value: float | None) -> None:
        """Take an outcome; a step that is not above the largest so far is left out, the first stands."""
        if step <= self._last_step:
            return
        self._last_step = step
        block, within = divmod(step - self._schedule.start_step, self._block_steps)
        pair, second = divmod(block, 2)
        if pair > self._pair:  # the log has lost the last steps of the pair before
            self._complete(pair)
        if value is not None and math.isfinite(value) and within >= self._settle_steps:
            self._values[second].append(value)
        if second and within == self._block_steps - 1:
            self._complete(pair + 1)

    def _complete(self, next_pair: int) -> None:
        pair, self._pair = self._pair, next_pair
        first, second = map(self._of_block, self._values)
        self._values = ([], [])
        difference = mean = None
        if first is not None and second is not None:
            difference, mean = first - second, (first + second) / 2.0
            if self._mean_before is not None:
                difference += (mean - self._mean_before) / 2.0  # drift a block, of two blocks' drift
        adjacent = next_pair == pair + 1
        self._mean_before = mean if adjacent else None
        block = self._schedule.assignment(2 * pair)
        sign = 1 if block.level == "hot" else -1
        last_step = block.last_step + self._block_steps
        self.contrasts.append(PairContrast(pair, sign, difference, last_step))

    def _of_block(self, values: list[float]) -> float | None:
        needed = max((self._block_steps - self._settle_steps) // 2, 1)
        if len(values) < needed:
            return None
        cut = int(_TRIM * len(values))
        kept = sorted(values)[cut : len(values) - cut]
        return math.fsum(kept) / len(kept)


def pair_contrasts(
    schedule: Schedule, steps: Iterable[int], values: Iterable[float | None]
) -> list[PairContrast]:
    """Return the contrasts of the completed pairs; the same, to the bit, as step by step."""
    outcomes = BlockOutcomes(schedule)
    for step, value in zip(steps, values, strict=True):
        outcomes.update(step, value)
    return outcomes.contrasts


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return ordered[middle - 1] / 2.0 + ordered[middle] / 2.0


def _clipped(value: float) -> float:
    return max(-_CLIP_SD, min(_CLIP_SD, value))


def _log_mean_exp(exponents: Sequence[float]) -> float:
    top = max(exponents)
    return top + math.log(math.fsum(math.exp(each - top) for each in exponents) / len(exponents))
