"""Public names of packages, imported when they are first used; and what must not come into an import.

A collection of garbage, which after torch's import takes a quarter of a second; and a fork: Python's import
locks are not made anew in the child, and one that a thread held is held for ever there. A worker of a
`DataLoader` that imports the same package would hang.
"""

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def lazy(
    package: str, places: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package that imports its names on first use.

    `dir` of the package gives its public names, whether they have been used or not, and nothing else.

    `places`: each module, without the package's name, and its public names, with spaces between. No name
    may be that of a module of the package itself: importing the module would put it in the name's place.
    """
    homes = {name: f"{package}.{module}" for module, names in places.items() for name in names.split()}
    public = sorted(homes)

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}; public names: {', '.join(public)}"
            )
        with no_collection():
            value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: public, public


_LONGEST_WAIT_S = 5.0  # so long a fork waits; an import of ours takes half a second

_turn = threading.RLock()


class _Forking(threading.local):
    """Whether this thread, which forks, has the turn meanwhile."""

    has_turn = False


_forking = _Forking()


@contextmanager
def no_fork() -> Iterator[None]:
    """Let other threads that fork this process wait until the block is done, but not for ever."""
    with _turn:
        yield


def _before_fork() -> None:
    _forking.has_turn = _turn.acquire(timeout=_LONGEST_WAIT_S)


def _after_fork() -> None:
    if _forking.has_turn:
        _turn.release()


def _after_fork_in_child() -> None:
    global _turn
    _turn = threading.RLock()  # who held it is not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


@contextmanager
def no_collection() -> Iterator[None]:
    """Put off the garbage collector."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
