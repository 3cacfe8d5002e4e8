"""What a script wants watched, and the torch optimizers inside of it."""

import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from thermograd.ingest.capture import hooks
from thermograd.ingest.capture.wrappers import is_hooked, optimizers_in


class _Watch:
    """What one call named: its optimizers are one step."""

    def __init__(self, wrapper: Any, members: Iterable[Any], together: "weakref.WeakSet[Any]") -> None:
        inner = ", ".join(type(member).__name__ for member in members if member is not wrapper)
        self.name = type(wrapper).__name__ + (f" around {inner}" if inner else "")
        self.members = weakref.WeakSet(members)
        self.together = together
        self.has_stepped = False


class Watched:
    """The optimizers that count; where nothing is watched, all do.

    Attributes
    ----------
    depth
        How many watched wrappers are making a step.
    """

    def __init__(self) -> None:
        self._calls: list[_Watch] = []
        self._wrappers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._own: weakref.WeakSet[Any] = weakref.WeakSet()
        self._counted: weakref.WeakSet[Any] = weakref.WeakSet()
        self.depth = 0

    def add(self, wrappers: Iterable[Any]) -> list[Any]:
        """Watch what a script names, as one; return the optimizers found in it."""
        together: weakref.WeakSet[Any] = weakref.WeakSet()
        found: list[Any] = []
        for wrapper in wrappers:
            members = self.inside(wrapper)
            if not members:
                raise TypeError(f"{type(wrapper).__name__} is no optimizer: it has no step()")
            self._calls.append(_Watch(wrapper, members, together))
            if not is_hooked(wrapper):
                with suppress(
                    TypeError
                ):  # of an object that takes no weak reference only what is inside is seen
                    (self._own if members[0] is wrapper else self._wrappers).add(wrapper)
                    hooks.hook_wrapper(wrapper)
            found += members
        together.update(found)
        self._counted.update(found)
        return found

    @staticmethod
    def inside(wrapper: Any) -> list[Any]:
        """Return the optimizers that step where this steps: those inside, or itself."""
        inner = [optimizer for optimizer in optimizers_in(wrapper) if is_hooked(optimizer)]
        if is_hooked(wrapper) or (not inner and callable(getattr(wrapper, "step", None))):
            return [wrapper, *inner]
        return inner

    def counts(self, optimizer: Any) -> bool:
        """Whether an optimizer's steps count."""
        return not self._calls or optimizer in self._counted

    def are_one(self, first: Any, second: Any) -> bool:
        """Whether two were named in one call."""
        return any(len(c.together) > 1 and first in c.together and second in c.together for c in self._calls)

    def has_stepped(self, optimizer: Any) -> None:
        """Note that an optimizer, or an engine (None), has stepped."""
        for call in self._calls:
            if not call.has_stepped and (optimizer is None or optimizer in call.members):
                call.has_stepped = True

    def never_stepped(self) -> list[str]:
        """Return what has been watched in vain."""
        return [call.name for call in self._calls if not call.has_stepped]

    # -- steps of wrappers ---------------------------------------------------------------------------

    def enter(self, wrapper: Any) -> bool:
        """Begin a wrapper's step; return whether it is an optimizer of its own, which nobody else sees."""
        if wrapper in self._own:
            return True
        self.depth += wrapper in self._wrappers
        return False

    def leave(self, wrapper: Any) -> bool:
        """End a wrapper's step; return the same."""
        if wrapper in self._own:
            return True
        self.depth = max(0, self.depth - (wrapper in self._wrappers))
        return False
