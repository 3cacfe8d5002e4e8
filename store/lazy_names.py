"""Public names of packages, imported when they are first used; and what must not come into an import.

A collection of garbage, which after torch's import takes a quarter of a second. In a command also pandas,
which pyarrow looks for at its first array: that takes longer than most answers.
"""

import gc
import sys
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


@contextmanager
def numpy_kept_out() -> Iterator[None]:
    """Let pyarrow, where the block imports it, find no numpy: its arrays have no ``to_numpy`` for good then.

    For a command that needs none; numpy takes longer than pyarrow itself. Nor does it find what reads from
    object stores, which looks for this machine's certificates.
    """
    finder = _NoNumpy()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _NoNumpy:
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname in ("numpy", "pyarrow._s3fs", "pyarrow._gcsfs", "pyarrow._azurefs", "pyarrow._hdfs"):
            raise ModuleNotFoundError(f"{fullname} is not loaded for this", name=fullname)


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
