"""The time in which the agent itself did not run: stopped, paused with its container, starved.

Each of its threads says until when it waits. One that wakes up much later, or that comes back from its driver
and finds another one overdue, has not been run, and says so in the log before anything else is written.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Any

from thermograd.store.telling.silences import pause_mark

_LEAST_NS = 1_000_000_000  # what is shorter is a busy machine


class OwnTime:
    """Notices that this process did not run; `tell` takes the mark of each stretch, once.

    Examples
    --------
    >>> own = OwnTime(lambda mark: print(mark["text"]))
    >>> own.waits("gpu", 200_000_000)
    >>> own.waits("watch", 1_000_000_000)
    >>> own.woke("watch", 8_400_000_000)
    the agent did not run for 8.2 s: stopped, paused or starved, perhaps with all else here; no samples
    >>> own.woke("gpu", 8_400_100_000)
    """

    def __init__(self, tell: Callable[[dict[str, Any]], object]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._waits: dict[Hashable, int] = {}
        self._told_ns = 0

    def waits(self, thread: Hashable, until_ns: int) -> None:
        """Note that a thread waits, until then at most."""
        with self._lock:
            self._waits[thread] = until_ns

    def woke(self, thread: Hashable, now_ns: int) -> None:
        """Note that it waits no more."""
        with self._lock:
            self._look(now_ns)
            self._waits.pop(thread, None)

    def look(self, now_ns: int) -> None:
        """Tell where a thread that waits should have been awake for long."""
        with self._lock:
            self._look(now_ns)

    def _look(self, now_ns: int) -> None:
        from_ns = max(self._told_ns, min(self._waits.values(), default=now_ns))
        if now_ns - from_ns >= _LEAST_NS:
            self._told_ns = now_ns
            self._tell(pause_mark(from_ns, now_ns))  # in the lock: no sample may come before it
