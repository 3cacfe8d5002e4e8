"""Public names of packages, imported when they are first used."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: str, places: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package that imports its names on first use.

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
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *public}), public
