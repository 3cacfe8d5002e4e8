"""Which modules a training calls, and with what: the outermost ones that own what its optimizers step.

First every module of the trees that hold the parameters is listened to, for a step; then only the ones
that no other one called. Nothing compiled is listened to inside: that would have it compiled anew.
"""

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from thermograd.ingest.capture.situation import is_capturing, is_unseen
from thermograd.ingest.experiment.arms.shadow_pass.batch import Batch, NotShapedError, signature
from thermograd.store.failures import Guard
from torch import Tensor
from torch.nn import Module

_ONLY_AROUND = ("DistributedDataParallel", "LightningModule")  # what they call inside is what is trained
Autocast = list[tuple[str, bool, torch.dtype]]


class _Hook:
    """A forward hook that nobody else has to know of: in a saved or copied model it does nothing."""

    def __init__(self, see: Callable[[Module, tuple[Any, ...], dict[str, Any]], object]) -> None:
        self._see = see

    def __call__(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.is_grad_enabled() and not (is_unseen() or torch.compiler.is_compiling()):
            self._see(module, args, kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")


class Seen:
    """The calls of one module.

    Attributes
    ----------
    batch
        Of the last call; None before one.
    autocast
        What autocast was at that call, by kind of device.
    is_not_shaped
        Why the last call's batch cannot be made again, or None.
    """

    def __init__(self, module: Module, only_training: bool) -> None:
        self.module = module
        self.batch: Batch | None = None
        self.autocast: Autocast = []
        self.is_not_shaped: str | None = None
        self.tick = self.now = 0
        self._only_training = only_training
        self._signature: Any = None
        self._kinds = sorted({tensor.device.type for tensor in module.parameters()} | {"cpu"})
        self.guard = Guard("thermograd could not look at a batch (%(error)s); training goes on")

    def see(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember a call; what is like the one before costs a comparison."""
        if self._only_training and not module.training:
            return
        with self.guard:
            self.tick = self.now
            like = signature((args, kwargs))
            if like == self._signature or is_capturing():
                return
            self.autocast = [
                (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
                for kind in self._kinds
            ]
            try:
                self.batch, self.is_not_shaped = Batch(args, kwargs), None
            except NotShapedError as error:
                self.batch, self.is_not_shaped = None, str(error)
            self._signature = like


class Calls:
    """Listens to the modules that hold the parameters; `modules` are all in their trees."""

    def __init__(self, model: Any, parameters: Iterable[Tensor]) -> None:
        self._handles: list[Any] = []
        self._called: dict[int, Module] = {}
        self._called_training: dict[int, Module] = {}
        self._parents: dict[int, list[Module]] = {}
        self.tops: list[Seen] = []
        roots = _roots(model, {id(p) for p in parameters})
        self.modules = list({id(m): m for root in roots for m in root.modules()}.values())
        for module in self.modules:
            for child in module.children():
                self._parents.setdefault(id(child), []).append(module)

    def listen(self) -> None:
        """Begin to hear which modules are called."""
        inside = {
            id(inner) for m in self.modules if _is_compiled(m) for inner in m.modules() if inner is not m
        }
        for module in self.modules:
            if id(module) not in inside and not _is_around(module):
                self._place(module, self._hear)

    def settle(self) -> bool:
        """Keep to the outermost of the modules that were called; whether there was one."""
        called = self._called_training or self._called
        if not called:
            return False
        self.close()
        tops = [module for module in called.values() if not self._is_below(module, called)]
        for module in tops:
            if any(p.requires_grad for p in module.parameters()):
                self.tops.append(seen := Seen(module, bool(self._called_training)))
                self._place(module, seen.see)
        return bool(self.tops)

    def tick(self) -> None:
        """Count a step that has ended."""
        for seen in self.tops:
            seen.now += 1

    def latest(self) -> list[Seen]:
        """Return the modules that were called in the last step or the one under way."""
        return [
            seen for seen in self.tops if seen.now - seen.tick <= 1 and (seen.batch or seen.is_not_shaped)
        ]

    def close(self) -> None:
        """Listen to nothing more."""
        for remove in self._handles:
            remove()
        self._handles.clear()

    def _hear(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._called[id(module)] = module
        if module.training:
            self._called_training[id(module)] = module

    def _is_below(self, module: Module, called: dict[int, Module]) -> bool:
        seen, ahead = set(), list(self._parents.get(id(module), ()))
        while ahead:
            parent = ahead.pop()
            if id(parent) in called:
                return True
            if id(parent) not in seen:
                seen.add(id(parent))
                ahead += self._parents.get(id(parent), ())
        return False

    def _place(self, module: Module, see: Callable[..., object]) -> None:
        hook = _Hook(see)
        compiled = module.__dict__.get("_compiled_call_impl")
        if compiled is None:
            handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            self._handles.append(handle.remove)
            return

        def called(*args: Any, **kwargs: Any) -> Any:
            hook(module, args, kwargs)
            return compiled(*args, **kwargs)

        def remove() -> None:
            if module.__dict__.get("_compiled_call_impl") is called:
                module.__dict__["_compiled_call_impl"] = compiled

        module.__dict__["_compiled_call_impl"] = called
        self._handles.append(remove)


def unwrapped(module: Module) -> Module:
    """Return what a pass calls: no wrapper that communicates or compiles."""
    while True:
        inner: Any = None
        if "_orig_mod" in module._modules:
            inner = module._modules["_orig_mod"]
        elif type(module).__name__ == "DistributedDataParallel":
            inner = module._modules["module"]
        if inner is None:
            return module
        module = inner


def _is_compiled(module: Module) -> bool:
    return "_orig_mod" in module._modules or module.__dict__.get("_compiled_call_impl") is not None


def _is_around(module: Module) -> bool:
    return any(kind.__name__ in _ONLY_AROUND for kind in type(module).__mro__)


def _roots(model: Any, own: set[int]) -> list[Module]:
    """Return the modules that hold these parameters and are in no other one."""
    every = [each for each in gc.get_objects() if issubclass(type(each), Module)]
    every = [each for each in every if "_modules" in each.__dict__]
    parents: dict[int, list[Module]] = {}
    for module in every:
        for child in module._modules.values():
            if child is not None:
                parents.setdefault(id(child), []).append(module)
    owners = [m for m in every if any(id(p) in own for p in m._parameters.values())]
    owners += [model] if isinstance(model, Module) else []
    return list({id(root): root for owner in owners for root in _above(owner, parents)}.values())


def _above(module: Module, parents: dict[int, list[Module]]) -> Iterator[Module]:
    seen, ahead = {id(module)}, [module]
    while ahead:
        current = ahead.pop()
        above = parents.get(id(current), [])
        if not above:
            yield current
        for parent in above:
            if id(parent) not in seen:
                seen.add(id(parent))
                ahead.append(parent)
