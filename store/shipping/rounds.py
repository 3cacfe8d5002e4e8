"""Shipping a run again and again: in the background while it lives, and to its end when it is over.

What fails is tried again, later and later; it is said once. Nobody waits for it but who asked for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from thermograd.store.errors import LogError, RefusedError
from thermograd.store.failures import Guard
from thermograd.store.locks import ProcessLock
from thermograd.store.log.seal import seal_run
from thermograd.store.places.place import Place, place_of
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.shipping.cleaning import clean, keep_days
from thermograd.store.shipping.pace import Pauses, patience_s, period_s
from thermograd.store.shipping.progress import Progress, progress_of
from thermograd.store.shipping.shipper import Shipper
from thermograd.store.shipping.spool import target_of

_log = logging.getLogger("thermograd")
Say = Callable[[str], object]
_LIVE_PAUSE_S = 2.0
_LOCK = "ship"


class Attempts:
    """Attempts to ship one run, wherever its directory is now; what fails is counted and said once.

    `is_asked`: a person waits for it. What a place refuses for good is then raised. `is_repeated`: there are
    more attempts after one that failed; the only one leaves it to `Progress.error`.
    """

    def __init__(
        self,
        url: str,
        say: Say,
        place: Place | None = None,
        is_asked: bool = False,
        is_repeated: bool = True,
    ) -> None:
        self.url, self._say, self._place, self._is_asked = url, say, place, is_asked
        self.shipper: Shipper | None = None
        shown = url.replace("%", "%%")
        self._guard = Guard(
            f"thermograd cannot ship to {shown} now (%(error)s); it keeps what it records and goes on trying",
            say if is_repeated else lambda _: None,
            again=f"thermograd ships to {shown} again, after %(count)d failures",
            keeps=BaseException,  # a panic of the store's client is none of `Exception`
        )

    def attempt(self, run_dir: Path, is_last: bool = True) -> bool:
        """Ship what the run holds now; return whether that went well."""
        try:
            self.shipper = self.shipper or self._begin(run_dir)
            self.shipper.ship(run_dir, is_last)
        except BaseException as error:
            is_final = self._is_asked and isinstance(error, RefusedError)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            if not is_final and not self._guard.keep(error):
                raise
            progress = self.progress(run_dir)
            progress.fail(error)
            progress.save(run_dir)
            if is_final:
                raise
            return False
        self._guard.works()
        self.shipper.progress.save(run_dir)
        return True

    def _begin(self, run_dir: Path) -> Shipper:
        self._place = self._place or place_of(self.url)
        return Shipper(run_dir, self._place, self.url, self._say)

    def progress(self, run_dir: Path) -> Progress:
        """Return how far it has come."""
        return self.shipper.progress if self.shipper is not None else progress_of(run_dir, self.url)


def ship_live(where: Callable[[], Path], url: str, stop: threading.Event, say: Say) -> None:
    """Ship a run while it is written, until `stop`; whoever ships it meanwhile is let go on.

    `where` returns the run's directory as it is now, `say` takes a sentence for a person.
    """
    pauses, attempts = Pauses(period_s()), Attempts(url, say)
    with _turn(where(), stop) as is_ours:
        pause_s = 0.0  # a run is to be seen from its start on
        while is_ours and not stop.wait(pause_s):
            began_s = time.monotonic()
            went_well = attempts.attempt(where(), is_last=False)
            pause_s = pauses.after(went_well, time.monotonic() - began_s)


def ship_to_the_end(
    run_dir: Path,
    url: str,
    say: Say,
    most_s: float | None = None,
    place: Place | None = None,
    is_asked: bool = False,
) -> Progress | None:
    """Seal and ship a run until all of it is there, and while its writers live; None: another process does.

    Given up after `most_s` without an attempt that went well: what is left stays, for the next time. Where
    a person waits for it (`is_asked`) RefusedError is raised at once; else what is refused is tried again.
    """
    most_s = patience_s() if most_s is None else most_s
    pauses, attempts = Pauses(_LIVE_PAUSE_S), Attempts(url, say, place, is_asked, most_s > 0)
    until_s = time.monotonic() + most_s
    with _turn(run_dir, None, most_s) as is_ours:
        while is_ours:
            _seal(run_dir)
            began_s = time.monotonic()
            went_well = attempts.attempt(run_dir)
            if went_well:
                until_s = time.monotonic() + most_s
            if _is_done(attempts) or time.monotonic() >= until_s:
                break
            time.sleep(pauses.after(went_well, time.monotonic() - began_s))
    return attempts.progress(run_dir) if is_ours else None


def _is_done(attempts: Attempts) -> bool:
    shipper = attempts.shipper
    if shipper is None:
        return False
    return shipper.progress.is_complete or (shipper.is_over and bool(shipper.progress.conflicts))


def _seal(run_dir: Path) -> None:
    run = Run(run_dir)
    with suppress(LogError):  # a full disk, or a directory that only others may write: parts are shipped
        seal_run(run_dir, run.run_id, run.live_writers())


@contextmanager
def _turn(run_dir: Path, stop: threading.Event | None, most_s: float = 0.0) -> Iterator[bool]:
    """Wait until nobody else ships the run; give whether it is ours."""
    lock = ProcessLock(run_dir, _LOCK)
    until_s = time.monotonic() + most_s
    while not (is_ours := _acquired(lock)):
        if stop.wait(1.0) if stop is not None else time.monotonic() >= until_s:
            break
        if stop is None:
            time.sleep(0.1)
    try:
        yield is_ours
    finally:
        with suppress(OSError):
            lock.release()


def _acquired(lock: ProcessLock) -> bool:
    try:
        return lock.acquire()
    except OSError:  # a directory that we may not write to: who may would find what we have shipped
        return True


def rest_of(folder: Path) -> list[Run]:
    """List the runs of a spool folder that have ended and are not known to be shipped, oldest first."""
    return [
        run for run in list_runs(folder) if not progress_of(run.path).is_complete and not run.live_writers()
    ]


def ship_rest(run_dir: Path) -> None:
    """Ship a run to its end, then what others left beside it; ``shipping.json`` tells how far it came."""
    url = target_of(run_dir)
    if url is not None:
        ship_to_the_end(run_dir, url, _log.debug)
        tend(run_dir.parent, url, run_dir, threading.Event(), _log.debug)


def tend(folder: Path, url: str, ours: Path | None, stop: threading.Event, say: Say) -> None:
    """Ship what earlier processes left in a spool folder, and remove what has been at the place for long.

    `ours`: a run that another thread ships.
    """
    for run in rest_of(folder):
        if stop.is_set():
            return
        if ours is None or run.path.name != ours.name:
            ship_to_the_end(run.path, url, say, 0.0)
    clean(folder, place_of(url), keep_days())
