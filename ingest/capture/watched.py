"""What a script wants watched, and the torch optimizers inside of it, or of the model that it names."""

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from thermograd.ingest.capture import hooks
from thermograd.ingest.capture.wrappers import is_hooked, optimizers_in
from thermograd.store.failures import is_the_users
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

_DEEPEST = 3  # lists in lists
_MOST = 256
_PLEASE = "give the optimizer that the loop steps: run.watch(optimizer)"


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

    def add_found(self, optimizers: list[Any], name: str) -> None:
        """Watch optimizers that were found under a name: in vain only where none of them steps."""
        call = _Watch(optimizers[0], optimizers, weakref.WeakSet())
        call.name = name
        self._calls.append(call)
        self._counted.update(optimizers)

    def names(self) -> list[str]:
        """Return what is watched, in words."""
        return list(dict.fromkeys(call.name for call in self._calls))

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


# -- what a script hands to `watch` --------------------------------------------------------------------


def watch(start_tap: Callable[[], Any], given: Sequence[Any], say: Callable[[str], object]) -> list[Any]:
    """Watch the optimizers among what was given, or else those of the models; return the models.

    What is wrong is told to `say` in a sentence, and harms nothing. Where nothing is left to watch, no tap
    is started.
    """
    asked = _Asked(given)
    if asked.wrong:
        named = ", ".join(asked.wrong)
        say(f"run.watch was given {named}: that is no optimizer and no model; {_PLEASE}")
    if asked.optimizers or not given:
        start_tap().watch(*asked.optimizers)
    elif asked.models:
        _watch_models(start_tap(), asked.models, say)
    return asked.models


def _watch_models(tap: Any, models: list[Any], say: Callable[[str], object]) -> None:
    names = ", ".join(type(model).__name__ for model in models)
    if found := _optimizers_of(models):
        tap.watch_found(found, f"the optimizer of {names}")
    elif not any(hasattr(model, "step") for model in models):  # an engine steps by itself
        until = "until then the steps of every optimizer are recorded"
        say(f"no optimizer holds parameters of {names} yet; {_PLEASE} ({until})")


class _Asked:
    """The arguments of one call of `watch`, sorted; whatever they are, they are looked at without harm."""

    def __init__(self, given: Iterable[Any]) -> None:
        self.optimizers: list[Any] = []
        self.models: list[Any] = []
        self.wrong: list[str] = []  # in words
        for item in _flat(given, _DEEPEST):
            try:
                self._sort(item)
            except Exception as error:  # what it is asked it answers with a failure of its own
                if is_the_users(error):
                    raise
                self._refuse(item)

    def _sort(self, item: Any) -> None:
        if _is_model(item):
            next(iter(item.parameters()), None)  # what only says that it is one raises
            self.models.append(item)
        elif _is_optimizer(stepped := _of_scheduler(item)):
            self.optimizers.append(stepped)
        else:
            self._refuse(item)

    def _refuse(self, item: Any) -> None:
        name = "None" if item is None else _what_it_is(item)
        if name not in self.wrong:
            self.wrong.append(name)


def _what_it_is(item: Any) -> str:
    """Return what an object is, in words."""
    return f"the class {item.__name__}" if type(item) is type else f"an object of type {type(item).__name__}"


def _is_model(item: Any) -> bool:
    is_other = isinstance(item, type) or hasattr(item, "param_groups")
    return isinstance(item, torch.nn.Module) or (hasattr(item, "named_parameters") and not is_other)


def _is_optimizer(item: Any) -> bool:
    """Whether there is a step to see: of optimizers inside it, or of its own on parameters that it has."""
    if isinstance(item, type) or not (found := Watched.inside(item)):
        return False
    return found[0] is not item or any(hasattr(item, name) for name in ("param_groups", "params"))


def _optimizers_of(models: Iterable[Any]) -> list[Any]:
    """Return the live optimizers of torch that hold parameters of these models."""
    held = {id(parameter) for model in models for parameter in model.parameters()}
    return [optimizer for optimizer in _live() if held & _held_by(optimizer)]


def _flat(given: Iterable[Any], depth: int) -> Iterator[Any]:
    for item in list(given)[:_MOST]:
        if depth and type(item) in (list, tuple):
            yield from _flat(item, depth - 1)
        elif depth and type(item) is dict:
            yield from _flat(item.values(), depth - 1)
        else:
            yield item


def _of_scheduler(item: Any) -> Any:
    """Return the optimizer of a scheduler, also of one of accelerate's; anything else as it is."""
    if hasattr(item, "param_groups"):
        return item
    inner = item if isinstance(item, LRScheduler) else getattr(item, "scheduler", None)
    return inner.optimizer if isinstance(inner, LRScheduler) else item


def _live() -> list[Any]:
    """Return all optimizers of torch that there are."""
    tracked = [item for item in gc.get_objects() if issubclass(type(item), Optimizer)]
    found = {id(item): item for item in [*hooks.created.optimizers, *tracked]}
    return [optimizer for optimizer in found.values() if is_hooked(optimizer)]


def _held_by(optimizer: Any) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
