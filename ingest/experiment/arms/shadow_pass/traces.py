"""What modules hold that a pass is not given in a copy: objects in attributes, and values on classes."""

from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_NOT_ENTERED = (Module, type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)
_DEEPEST, _MOST = 4, 20_000
_TORCHS = frozenset(vars(Module()))
_Place = tuple[int, str]


class Traces:
    """Looks at modules before and after a pass."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self._modules = list(modules)
        self._before = _Look(self._modules)

    def changed(self) -> str | None:
        """Return where something is other than it was, put back where it can be; None: all is the same."""
        before, now = self._before.found, _Look(self._modules).found
        places = [place for place in before.keys() | now.keys() if before.get(place) != now.get(place)]
        for place in places:
            if place in self._before.owners:
                owner, name, value = self._before.owners[place]
                if isinstance(owner, dict):
                    owner[name] = value
                else:
                    setattr(owner, name, value)
        return min(places)[1] if places else None


class _Look:
    """What was found, by the module's number and words for the place; and what holds it there."""

    def __init__(self, modules: list[Module]) -> None:
        self.found: dict[_Place, Any] = {}
        self.owners: dict[_Place, tuple[Any, str, Any]] = {}
        self._seen: set[int] = set()
        classes: dict[type, None] = {}
        for number, module in enumerate(modules):
            for name, value in list(vars(module).items()):
                if name not in _TORCHS:
                    self._note((number, f"{type(module).__name__}.{name}"), value, 0)
            classes.update((kind, None) for kind in type(module).__mro__)
        for kind in classes:
            if kind.__module__.split(".")[0] not in ("torch", "builtins"):
                for name, value in list(vars(kind).items()):
                    if not name.startswith("__"):
                        place = id(kind), f"{kind.__name__}.{name}"
                        self.owners[place] = kind, name, value
                        self._note(place, value, 0)

    def _note(self, place: _Place, value: Any, depth: int) -> None:
        """Add what is at a place and below it."""
        if isinstance(value, _PLAIN):
            self.found[place] = value if value == value else "nan"
        elif len(self.found) >= _MOST or depth > _DEEPEST or id(value) in self._seen:
            return
        elif isinstance(value, Tensor):
            version = 0 if value.is_inference() else value._version
            self.found[place] = id(value), value.data_ptr() if has_memory(value) else 0, version
        elif isinstance(value, _NOT_ENTERED):
            self.found[place] = id(value)
        else:
            self._seen.add(id(value))
            self._enter(place, value, depth + 1)

    def _enter(self, place: _Place, value: Any, depth: int) -> None:
        number, words = place
        if isinstance(value, Mapping):
            items = [(f"[{key!r:.40}]", item) for key, item in list(value.items())[:_MOST]]
        elif isinstance(value, tuple | list | set | frozenset):
            items = [(f"[{key}]", item) for key, item in enumerate(list(value)[:_MOST])]
        else:
            own = getattr(value, "__dict__", {})
            items = [(f".{name}", item) for name, item in list(own.items())]
            self.owners.update(
                ((number, f"{words}.{key}"), (own, key, item)) for key, item in list(own.items())
            )
        self.found[place] = type(value).__name__, len(items)
        for name, item in items:
            self._note((number, f"{words}{name}"), item, depth)


def has_memory(value: Tensor) -> bool:
    """Whether a tensor is a plain one, in memory of its own."""
    return value.layout is torch.strided and not value.is_meta and type(value) in (Tensor, torch.nn.Parameter)
