"""A run at a URL, followed while it is shipped: its mirror is brought up to date in the background."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from thermograd.store.errors import PlaceError
from thermograd.store.places.mirror import Mirror, mirror_at

_EVERY_S = 2.0


@contextmanager
def kept_fresh(run_dir: Path, every_s: float = _EVERY_S) -> Iterator[None]:
    """Fetch what is shipped of a run in a mirror until the block ends; a run that is here stays as it is.

    A network that is down costs only time: how old what is here is, `shipped_s_ago` tells.
    """
    mirror = mirror_at(run_dir.parent)
    if mirror is None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_fetch, args=(mirror, run_dir.name, over, every_s), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _fetch(mirror: Mirror, run_id: str, over: threading.Event, every_s: float) -> None:
    while not over.wait(every_s):
        with suppress(PlaceError):
            mirror.fetch([run_id])
