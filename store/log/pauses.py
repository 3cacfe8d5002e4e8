"""How the log's own thread lets the training run: it works in small pieces, and sleeps between them.

A thread that computes keeps the interpreter for 5 ms. Nor is it enough that a quick system call gives it
away: a thread that waits for it takes longer to wake up than the call, and finds it taken again.
"""

import time

_LONGEST_HOLD_S = 1e-4
_PAUSE_S = 5e-5


class Pauses:
    """Lets other threads have the interpreter, unless they had it a moment ago."""

    def __init__(self) -> None:
        self._since_s = time.perf_counter()

    def __call__(self) -> None:
        """Pause, if the piece of work that is done now was not a very small one; call it after each."""
        if time.perf_counter() - self._since_s > _LONGEST_HOLD_S:
            time.sleep(_PAUSE_S)
            self._since_s = time.perf_counter()
