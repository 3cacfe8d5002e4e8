"""What a script does to gradients by itself between the backward pass and the optimizer's step.

Clipping by hand (``p.grad.mul_``, ``clamp_``, ``p.grad = p.grad * c``) must not count: the norm is the one
before it. Averaging over micro-batches or ranks, undoing a loss scale, noise and gradients that are put
there (PCGrad) must: the norm is the one that the optimizer steps on. A few entries of the gradients,
looked at after the backward pass and before the first clip or step, tell which of the two it is, together
with both norms. Nothing is waited for: what is compared are numbers that are read back later.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

_MOST_PARAMETERS = 16
_MOST_ENTRIES = 32
_ROUNDING = 0.01  # of half precision
_EXACT = 1e-4
_TINY = 1e-30
_CLEARLY = 4.0

BEFORE = "gradients are clipped by hand: grad_norm is of what the backward pass left"
AFTER = "gradients are changed by hand after the backward pass: grad_norm is of what the optimizer steps on"


class Sketch:
    """A few entries of the gradients of a few parameters, as a backward pass left them."""

    def __init__(self, parameters: Sequence[Tensor], entries: Tensor) -> None:
        self._parameters, self._before = parameters, entries
        self._after: Tensor | None = None
        self._is_gone = False

    @property
    def is_compared(self) -> bool:
        """Whether the gradients have been looked at again."""
        return self._after is not None

    def look_again(self) -> None:
        """Take the same entries as they are now, before the first clip or step."""
        kept = [p for p in self._parameters if _is_plain(p.grad)]
        self._is_gone = len(kept) < len(self._parameters)
        after = self._before if self._is_gone else _entries(kept)
        self._after = after if after.shape == self._before.shape else None

    def ratios(self, scale: Tensor | None) -> dict[str, Any]:
        """Return lowest, highest and mean ratio of what is there now to what was; `scale` still is on it."""
        if self._after is None:
            return {}
        with torch.no_grad():
            after = self._after if scale is None else self._after / scale
            ratio = after / self._before
            usable = self._before.isfinite() & (self._before.abs() > _TINY) & after.isfinite()
            count = usable.sum()
            return {
                "low": torch.where(usable, ratio, math.inf).amin(),
                "high": torch.where(usable, ratio, -math.inf).amax(),
                "mean": torch.where(usable, ratio, 0.0).sum() / count,
                "is_gone": self._is_gone,
            }


def sketch_of(parameters: Sequence[Tensor], scale: Tensor | None) -> Sketch | None:
    """Return a few entries of these gradients without the loss `scale`, None where none is dense."""
    held = [p for p in parameters if p.grad is not None]
    chosen = [p for p in spread(held, _MOST_PARAMETERS) if _is_plain(p.grad)]
    chosen = [p for p in chosen if p.device == chosen[0].device]
    if not chosen:
        return None
    entries = _entries(chosen)
    return Sketch(chosen, entries if scale is None else entries / scale)


def spread(items: Sequence[Any], most: int) -> Sequence[Any]:
    """Return at most so many, evenly over all of them, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[i * (len(items) - 1) // (most - 1)] for i in range(most)]


def _is_plain(gradient: Tensor | None) -> bool:
    return (
        type(gradient) is Tensor
        and gradient.layout is torch.strided
        and gradient.is_floating_point()
        and gradient.numel() > 0
    )


def _entries(parameters: Sequence[Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.cat([_few(p.grad).float() for p in parameters if p.grad is not None])


def _few(gradient: Tensor) -> Tensor:
    while gradient.dim() > 1 and not gradient.is_contiguous():
        gradient = gradient[gradient.shape[0] // 2]  # a view: nothing is copied
    flat = gradient.reshape(-1)
    return flat[:: len(flat) // _MOST_ENTRIES | 1][:_MOST_ENTRIES]  # an odd stride: not always one column


class Comparison(NamedTuple):
    """Both norms of a step, and the ratios of what was there at the step to what the backward pass left."""

    before: float
    seen: float
    low: float
    high: float
    mean: float
    is_gone: bool

    @property
    def is_known(self) -> bool:
        """Whether there is anything to compare."""
        norms = self.before > 0 and math.isfinite(self.before) and math.isfinite(self.seen)
        return norms and self.low <= self.high

    @property
    def is_same(self) -> bool:
        """Whether the entries are what they were."""
        return not self.is_gone and self.low > 1 - _ROUNDING and self.high < 1 + _ROUNDING

    @property
    def is_smaller(self) -> bool:
        """Whether no entry has grown."""
        return self.high < 1 + _ROUNDING and self.seen < self.before * (1 + _ROUNDING)

    @property
    def is_uniform(self) -> bool:
        """Whether all entries were multiplied by one factor."""
        return self.high - self.low <= _ROUNDING * self.high

    def drift_from(self, other: "Comparison") -> float:
        """Return how far the factors are from those of another step."""
        pairs = ((self.low, other.low), (self.high, other.high), (self.mean, other.mean))
        return max(_log_ratio(a, b) for a, b in pairs)


def _log_ratio(a: float, b: float) -> float:
    return abs(math.log(a / b)) if a > 0 and b > 0 else math.inf


class HandChanges:
    """Judges step by step which of two norms counts; once that is clear, it stays.

    Attributes
    ----------
    verdict
        What is clear: `BEFORE`, `AFTER`, or None while gradients came to the step as they were.
    is_replaced
        Whether other gradients were put in the place of those of the backward pass.
    """

    def __init__(self) -> None:
        self.verdict: str | None = None
        self.is_replaced = False
        self.is_open = False  # a change was seen of which it is not clear what it is
        self._last: Comparison | None = None
        self._was_same = False

    def judge(self, step: Comparison) -> bool:
        """Look at a step; return False while it takes another one to tell."""
        if self.verdict is None and step.is_known:
            self.verdict = self._tell(step)
            self.is_open = self.verdict is None and self._last is not None
            self._last = self._last if step.is_same else step
        return not self.is_open

    def give_up(self) -> None:
        """Nothing more will come: a change of which it is not clear what it is counts as clipping."""
        if self.is_open:
            self.verdict, self.is_open = BEFORE, False

    def _tell(self, step: Comparison) -> str | None:
        if step.is_gone:
            return AFTER
        if step.is_same:
            return self._of_a_step_without(step)
        if step.low < 0:
            self.is_replaced = True
            return AFTER
        if step.low == 0:
            return AFTER  # clipping makes nothing zero, a mask does
        if self._was_same and step.is_smaller:
            return BEFORE
        if self._last is None:
            self._last, self.is_open = step, True
            return None
        return self._of_two(step, self._last)

    def _of_a_step_without(self, step: Comparison) -> str | None:
        self._was_same = True
        if self._last is not None and self._last.is_smaller:
            return BEFORE  # sometimes, and then smaller
        return BEFORE if step.seen < step.before * (1 - _ROUNDING) else None

    @staticmethod
    def _of_two(step: Comparison, last: Comparison) -> str | None:
        """Tell from two steps: a fixed factor is no clipping, a result steadier than the factor is."""
        drift, change = step.drift_from(last), _log_ratio(step.seen, last.seen)
        if max(drift, change) < _ROUNDING:
            return None  # two steps that are alike tell nothing
        if drift < _EXACT or (step.is_uniform and change > _CLEARLY * drift):
            return AFTER
        if drift > _CLEARLY * change:
            return BEFORE
        return BEFORE if step.is_smaller and not step.is_uniform else AFTER


class Constant:
    """Notices norms that sit on a constant: a bound that gradients are clipped to before they can be seen."""

    _WINDOW, _ENOUGH, _ALIKE = 20, 10, 1e-5

    def __init__(self) -> None:
        self._norms: deque[float] = deque(maxlen=self._WINDOW)
        self._losses: deque[float] = deque(maxlen=self._WINDOW)

    def follow(self, norm: float | None, loss: float | None) -> float | None:
        """Take a step; return the constant that the largest norms of the last steps sit on."""
        if norm is None or not math.isfinite(norm) or norm <= 0:
            return None
        self._norms.append(norm)
        self._losses.append(loss if loss is not None and math.isfinite(loss) else 0.0)
        top = max(self._norms)
        if sum(top - n <= self._ALIKE * top for n in self._norms) < self._ENOUGH or not self._is_training():
            return None
        return top

    def _is_training(self) -> bool:
        """Whether losses move while the norms do not."""
        largest = max(map(abs, self._losses))
        return max(self._losses) - min(self._losses) > 1e-3 * largest
