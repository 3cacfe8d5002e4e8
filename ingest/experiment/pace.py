"""How fast a training steps when nothing is done to it."""

import time
from collections import deque
from statistics import median

_RECENT = 50  # steps


class Pace:
    """Measures steps without what interrupts them.

    Attributes
    ----------
    steps
        Steps that have ended.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._recent_s: deque[float] = deque(maxlen=_RECENT)
        self._begun_ns: int | None = None  # when the step under way was
        self._last_step: int | None = None
        self._first_ns = time.monotonic_ns()

    @property
    def typical_s(self) -> float | None:
        """The median time of a step that nothing was done to; None before two have ended."""
        return median(self._recent_s) if self._recent_s else None

    @property
    def elapsed_s(self) -> float:
        """Time since the first step ended."""
        return (time.monotonic_ns() - self._first_ns) / 1e9 if self.steps else 0.0

    def end_step(self, step: int, is_typical: bool) -> float | None:
        """End a step; return how long it took, s, None of the first, whose begin nobody saw."""
        now_ns = time.monotonic_ns()
        took_s = None
        if self._begun_ns is not None and self._last_step is not None and step > self._last_step:
            took_s = (now_ns - self._begun_ns) / 1e9 / (step - self._last_step)
            if is_typical:
                self._recent_s.append(took_s)
        if not self.steps:
            self._first_ns = now_ns
        self.steps += 1
        self._last_step, self._begun_ns = step, now_ns
        return took_s

    def begin_step(self) -> None:
        """Begin the coming step here: what came before is no part of it."""
        if self._begun_ns is not None:
            self._begun_ns = time.monotonic_ns()

    def skip(self, duration_ns: int) -> None:
        """Take time out of the step under way."""
        if self._begun_ns is not None:
            self._begun_ns += duration_ns
