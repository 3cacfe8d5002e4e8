"""Where an import puts what does not fit into memory, and whom it tells how far it is."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

Progress = Callable[
    [str, int, int, int], object
]  # what is done, bytes or rows done, of how many, rows so far


class Workplace(NamedTuple):
    """The folder of temporary files (None: the system's), and who is told of progress."""

    folder: Path | None = None
    progress: Progress | None = None
    opened: ExitStack | None = None  # what is closed when the import ends


_NOWHERE = Workplace()
_here: ContextVar[Workplace] = ContextVar("workplace", default=_NOWHERE)


def workplace() -> Workplace:
    """Return the place of the import that is going on."""
    return _here.get()


@contextmanager
def working_in(folder: Path | None, progress: Progress | None) -> Iterator[None]:
    """Let recordings put rows into files of a folder while the block runs; it is made where it is needed.

    Without a folder they are put where the system keeps temporary files.
    """
    was_there = folder is None or folder.exists()
    with ExitStack() as opened:
        token = _here.set(Workplace(folder, progress or _here.get().progress, opened))
        try:
            yield
        finally:
            _here.reset(token)
            opened.close()
            if folder is not None and not was_there:
                with suppress(OSError):  # a run is in it, or it has not been needed
                    folder.rmdir()


@contextmanager
def telling(progress: Progress) -> Iterator[None]:
    """Tell somebody of the progress of all imports of the block."""
    token = _here.set(_here.get()._replace(progress=progress))
    try:
        yield
    finally:
        _here.reset(token)


def tell(what: str, done: int, of: int, rows: int) -> None:
    """Say how far the import is, if somebody wants to know."""
    progress = workplace().progress
    if progress is not None:
        progress(what, done, of, rows)
