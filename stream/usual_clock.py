"""The clock of a device when nothing slows it: what a loss is compared with."""

from collections import deque
from math import inf

APART_S = 0.5  # of clocks that are kept


class UsualClock:
    """The 0.9 quantile of the clocks of the last `window_s`, in whole MHz, from `min_s` on.

    `observed_s` is for how long clocks stood, `kept_s` when the last one was kept.
    """

    def __init__(self, window_s: float, min_s: float) -> None:
        self.observed_s = 0.0
        self.kept_s = -inf
        self._window_s = window_s
        self._min_s = min_s
        self._kept: deque[tuple[float, int]] = deque()
        self._counts: dict[int, int] = {}

    def take(self, time_s: float, stands_s: float, clock_mhz: float) -> bool:
        """Learn a clock; return whether it was kept: two a second are enough, memory is bounded."""
        self.observed_s += stands_s
        if time_s - self.kept_s < APART_S:
            return False
        clock, self.kept_s = round(clock_mhz), time_s
        self._kept.append((time_s, clock))
        self._counts[clock] = self._counts.get(clock, 0) + 1
        while self._kept[0][0] < time_s - self._window_s:
            _, old = self._kept.popleft()
            self._counts[old] -= 1
            if not self._counts[old]:
                del self._counts[old]
        return True

    def get(self) -> float | None:
        """Return the quantile; None where too little is known."""
        if self.observed_s < self._min_s - 1e-9:
            return None
        above = len(self._kept) // 10  # as many may lie above the quantile
        for clock in sorted(self._counts, reverse=True):
            above -= self._counts[clock]
            if above < 0:
                return float(clock) if clock > 0 else None
        return None
