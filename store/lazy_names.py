"""Public names of packages, imported when they are first used; and what must not come into an import.

A collection of garbage, which after torch's import takes a quarter of a second; and a fork: Python's import
locks are not made anew in the child, and one that a thread held is held for ever there. A worker of a
`DataLoader` that imports the same package would hang. In a command also pandas, which pyarrow looks for
at its first array: that takes longer than most answers.
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


_ASK_IN_VAIN = ("pyarrow", "thermograd", "duckdb")  # none of these needs it in a command


def keep_pandas_out() -> None:
    """Let pyarrow find no pandas in this process, whose own arrays then have no ``to_pandas``.

    For commands, not for somebody's program. Whoever else imports pandas gets it, Dask for one.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())


class _NoPandas:
    """A finder of the import system; its base class, `importlib.abc`, imports more than our help does."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "pandas" and _asker().partition(".")[0] in _ASK_IN_VAIN:
            raise ModuleNotFoundError("pandas is not loaded in thermograd's commands", name=fullname)


def _asker() -> str:
    """Return the module that the import stands in: the first below the import system's own frames.

    What a compiled module imports seems to stand in the module that called it.
    """
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("importlib."):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))
