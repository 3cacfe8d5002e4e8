"""How little of the trainer's machine the agent takes: one thread, and no memory pools of its own."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

FRUGAL = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
}
_REFUSED = "pandas"  # pyarrow tries to import it: 55 MiB
_PUT_OFF = ("narwhals", "narwhals.stable", "narwhals.stable.v2")  # river, for data frames: 3 MiB and 0.2 s


@contextmanager
def frugal() -> Iterator[None]:
    """Have numpy and pyarrow take little, where they are imported within for the first time.

    For a process that is its own agent. They read these variables when they are loaded, so the variables
    are put back at the end. (MALLOC_ARENA_MAX is read before Python starts: it has no effect here.)
    """
    before = {name: os.environ[name] for name in FRUGAL if name in os.environ}
    os.environ.update(FRUGAL)
    try:
        yield
    finally:
        for name in FRUGAL.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


class SparingFinder(MetaPathFinder, Loader):
    """Refuses pandas, and puts narwhals off until somebody uses it, in a process that it is installed in."""

    def __init__(self) -> None:
        self._put_off: tuple[str, ...] = _PUT_OFF

    def install(self) -> None:
        """Look at every import from here on, unless it is too late for that."""
        if _REFUSED not in sys.modules and self._put_off[0] not in sys.modules:
            sys.meta_path.insert(0, self)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return a spec for these packages alone, so that asking whether they are installed is answered."""
        if fullname == _REFUSED or fullname in self._put_off:
            return ModuleSpec(fullname, self, is_package=fullname in self._put_off)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Refuse what is refused; of what is put off, let an empty module be made."""
        if spec.name == _REFUSED:
            raise ModuleNotFoundError(f"{_REFUSED} is not loaded in thermograd's agent", name=spec.name)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Leave a module empty until an attribute of it is asked for."""

        def attribute(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            for empty in self._put_off:
                sys.modules.pop(empty, None)
            self._put_off = ()
            return getattr(import_module(module.__name__), name)

        module.__getattr__ = attribute  # type: ignore[method-assign]
