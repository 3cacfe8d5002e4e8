"""The faces of packages: public names that are imported when they are first used."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package that imports its public names on first use.

    Parameters
    ----------
    package
        The package's ``__name__``; its ``__all__`` lists the names.
    places
        Each module and its public names, with spaces between. No name may be that of a module of the
        package itself: importing the module would put it in the name's place.
    """
    homes = {name: module for module, names in places.items() for name in names.split()}

    def load(name: str) -> Any:
        face = sys.modules[package]
        if name not in homes:
            public = ", ".join(face.__all__)
            raise AttributeError(f"module {package!r} has no attribute {name!r}; public names: {public}")
        value = getattr(import_module(homes[name]), name)
        setattr(face, name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *homes})
