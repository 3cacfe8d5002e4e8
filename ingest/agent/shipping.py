"""How the agent ships a run that goes to a URL: in threads of its own, and at its end by another process.

An agent of a run that stays here imports nothing of it. Neither the sampling nor anybody's exit waits for
the network.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from thermograd.store.failures import Guard
from thermograd.store.shipping.handover import is_spool, start_rest

_JOIN_S = 0.1
_TEND_S = 600.0
_FIRST_S = 3.0  # nothing at all is there: credentials may be asked of a network that does not answer
_SILENT_S = 30.0

Say = Callable[[str], object]


class Shipping:
    """Ships a run in the background while the agent lives.

    Parameters
    ----------
    where
        Returns the run's directory as it is now.
    say
        Takes a sentence for a person.
    """

    def __init__(self, where: Callable[[], Path], say: Say) -> None:
        self._where, self._say = where, say
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.url = _url_of(where())
        self._begun_s = time.monotonic()
        self._guard = Guard("thermograd's shipping failed: %(error)s", say, keeps=BaseException)

    def start(self) -> None:
        """Begin, where the run goes to a URL."""
        if self.url is not None:
            self._threads = [
                threading.Thread(target=self._guarded, args=(work,), name="thermograd-ship", daemon=True)
                for work in (self._ship, self._tend)
            ]
            for thread in self._threads:
                thread.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        with self._guard:
            work()

    def _ship(self) -> None:
        from thermograd.store.shipping.rounds import ship_live

        assert self.url is not None
        ship_live(self._where, self.url, self._stop, self._say)

    def _tend(self) -> None:
        """Ship what earlier jobs on this machine have left, from time to time."""
        from thermograd.store.shipping.rounds import tend

        assert self.url is not None
        quiet = Guard("what earlier runs left could not be shipped: %(error)s", lambda _: None)
        while not self._stop.is_set():
            run_dir = self._where()
            with quiet:
                tend(run_dir.parent, self.url, run_dir, self._stop, lambda _: None)
            self._stop.wait(_TEND_S)

    def end(self) -> None:
        """Stop; a request that is on its way is left alone."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_JOIN_S)

    @property
    def is_stuck(self) -> bool:
        """Whether a request has not come back: the process can only be ended without waiting for it."""
        return any(thread.is_alive() for thread in self._threads)

    def hand_over(self) -> None:
        """Let a process of its own ship what is left; where it goes badly, say how to finish that."""
        if self.url is None:
            return
        from thermograd.store.shipping.pace import exit_wait_s, patience_s
        from thermograd.store.shipping.progress import progress_of
        from thermograd.store.shipping.rounds import ship_to_the_end

        run_dir, wait_s = self._where(), exit_wait_s()
        if wait_s:
            last = threading.Thread(target=ship_to_the_end, args=(run_dir, self.url, self._say), daemon=True)
            self._threads.append(last)
            last.start()
            last.join(wait_s)
        progress = progress_of(run_dir, self.url)
        if progress.is_complete:
            return
        start_rest(run_dir)
        most_s = _FIRST_S if progress.shipped_until_ns is None else _SILENT_S
        if progress.error is not None or self._silent_s(progress.shipped_until_ns) > most_s:
            self._say(
                f"run {run_dir.name} is not at {self.url} yet; a process of its own goes on for "
                f"{patience_s():g} s, and later: thermograd ship {run_dir.name} {self.url}"
            )

    def _silent_s(self, shipped_until_ns: int | None) -> float:
        """Return for how long nothing has gone well: a server that hangs gives no error for minutes."""
        silent_s = time.monotonic() - self._begun_s
        if shipped_until_ns is None:
            return silent_s
        return min(silent_s, (time.time_ns() - shipped_until_ns) / 1e9)


def leave(is_stuck: bool) -> None:
    """End the process at once where a thread is inside the store's client: it cannot be ended otherwise."""
    if is_stuck:
        for stream in (sys.stdout, sys.stderr):
            with Guard("%(error)s", lambda _: None):
                stream.flush()
        os._exit(0)


def _url_of(run_dir: Path) -> str | None:
    if not is_spool(run_dir.parent):
        return None
    from thermograd.store.shipping.spool import target_of

    return target_of(run_dir)
