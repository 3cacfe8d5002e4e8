"""When to ship: settings in seconds, and longer and longer pauses while it fails."""

import os
import random
from contextlib import suppress

_EVERY_S = 10.0
_PATIENCE_S = 60.0
_SHARE = 0.8  # of the time that a run may be behind; the rest is for the shipping itself
_LONGEST_PAUSE_S = 30.0


def period_s() -> float:
    """Return how often a live run is shipped, s.

    It is then behind by ``$THERMOGRAD_SHIP_EVERY_S`` at most, by default 10.
    """
    return _SHARE * seconds_of("THERMOGRAD_SHIP_EVERY_S", _EVERY_S, 1.0)


def patience_s() -> float:
    """Return how long a run that has ended is shipped in vain, s: ``$THERMOGRAD_SHIP_PATIENCE_S``; 60."""
    return seconds_of("THERMOGRAD_SHIP_PATIENCE_S", _PATIENCE_S)


def exit_wait_s() -> float:
    """Return how long a training's exit waits for it, s: ``$THERMOGRAD_SHIP_WAIT_S``; 0: it does not."""
    return seconds_of("THERMOGRAD_SHIP_WAIT_S", 0.0)


def seconds_of(variable: str, otherwise: float, least: float = 0.0) -> float:
    """Return the number that a variable of the environment holds, where it holds one that is allowed."""
    with suppress(ValueError):
        value = float(os.environ.get(variable) or otherwise)
        return value if least <= value < float("inf") else otherwise
    return otherwise


class Pauses:
    """How long to wait before the next attempt: a period, or longer and longer while attempts fail."""

    def __init__(self, period_s: float) -> None:
        self._period_s, self._failures = period_s, 0

    def after(self, went_well: bool, took_s: float) -> float:
        """Return the next pause, s; not the same in every process, lest all come back at once."""
        self._failures = 0 if went_well else self._failures + 1
        if went_well:
            return max(self._period_s - took_s, self._period_s / 10)
        longest_s = min(_LONGEST_PAUSE_S, 2.0 ** min(self._failures - 1, 10))
        return longest_s * random.uniform(0.7, 1.0)
