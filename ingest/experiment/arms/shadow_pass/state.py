"""What a pass may change is lent to it in a copy: parameters, buffers, attributes, random numbers, gradients.

A module's ``__dict__`` is exchanged for another one, which holds aliases of the parameters (leaves of their
own in the same memory, without the hooks of anybody), clones of buffers and of tensors in attributes, copies
of containers and of generators, and no hooks but those of libraries that need them. Afterwards the old one
is put back: it has not been touched.
"""

import copy
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

_DEEPEST = 4  # containers in containers
_LONGEST = 4096  # items; a longer container is copied, not what is in it
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "diffusers", "timm")
_CONTAINERS = (list, dict, set, tuple, deque, OrderedDict, defaultdict, Counter)


class Lent:
    """Modules as a pass sees them.

    Attributes
    ----------
    aliases
        What stands for a parameter in the pass, by the parameter's id.
    """

    def __init__(self, modules: Iterable[Module]) -> None:
        self._modules = list(modules)
        self.aliases: dict[int, Tensor] = {}
        self._copies: dict[int, Any] = {}
        self._originals: list[Any] = []  # so that no id is used again meanwhile

    @contextmanager
    def held(self) -> Iterator["Lent"]:
        """Let the modules be the lent ones."""
        before = [(module, module.__dict__) for module in self._modules]
        lent = [self._lent(own) for _, own in before]
        try:
            for (module, _), own in zip(before, lent, strict=True):
                object.__setattr__(module, "__dict__", own)
            yield self
        finally:
            for module, own in before:
                object.__setattr__(module, "__dict__", own)
            self.aliases.clear()
            self._copies.clear()

    def _lent(self, own: dict[str, Any]) -> dict[str, Any]:
        made = {}
        for name, value in own.items():
            if name == "_modules":
                made[name] = copy.copy(value)
            elif name in _HOOKS:
                made[name] = OrderedDict((key, hook) for key, hook in value.items() if is_librarys(hook))
            else:
                made[name] = self._copy(value, 0)
        return made

    def _copy(self, value: Any, depth: int) -> Any:
        if id(value) in self._copies:
            return self._copies[id(value)]
        if isinstance(value, Tensor):
            made: Any = self._tensor(value)
        elif type(value) in _CONTAINERS and depth < _DEEPEST:
            return self._container(value, depth)
        elif isinstance(value, torch.Generator):
            made = torch.Generator(value.device)
            made.set_state(value.get_state())
        elif isinstance(value, random.Random) or _is_numpys(value):
            made = copy.deepcopy(value)
        else:
            return value
        return self._remember(value, made)

    def _remember(self, value: Any, made: Any) -> Any:
        self._copies[id(value)] = made
        self._originals.append(value)
        return made

    def _tensor(self, value: Tensor) -> Tensor:
        if value.is_meta or isinstance(value, UninitializedParameter | UninitializedBuffer):
            return value
        if type(value) is Parameter or (value.is_leaf and value.requires_grad):
            alias = Parameter(value.detach(), requires_grad=value.requires_grad)
            alias.__dict__.update(value.__dict__)
            self.aliases[id(value)] = alias
            return alias
        return value if isinstance(value, Parameter) else value.detach().clone()

    def _container(self, value: Any, depth: int) -> Any:
        if len(value) > _LONGEST:
            return self._remember(value, copy.copy(value))
        if isinstance(value, dict):
            made = self._remember(value, copy.copy(value))
            for key, item in value.items():
                made[key] = self._copy(item, depth + 1)
        elif isinstance(value, list | deque):
            made = self._remember(value, copy.copy(value))
            for place, item in enumerate(value):
                made[place] = self._copy(item, depth + 1)
        elif isinstance(value, set):
            made = self._remember(value, set(value))
        else:
            items = [self._copy(item, depth + 1) for item in value]
            is_same = all(new is old for new, old in zip(items, value, strict=True))
            made = value if is_same else tuple(items)
        return made


def is_librarys(hook: Any) -> bool:
    """Whether a hook belongs to a library whose modules need it; one of a script's may do anything."""
    home = getattr(hook, "__module__", None) or type(hook).__module__
    return home.split(".")[0] in _LIBRARIES


def _is_numpys(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.random.Generator | numpy.random.RandomState)


@contextmanager
def same_random_numbers(devices: Iterable[torch.device]) -> Iterator[None]:
    """Leave the generators of Python, numpy, torch and of these devices as they were."""
    numpy: Any = sys.modules.get("numpy")
    pythons, numpys = random.getstate(), numpy.random.get_state() if numpy is not None else None
    host = torch.get_rng_state()
    used = {device for device in devices if device.type != "cpu"}
    before = [(device, _of_device(device).get_rng_state(device)) for device in used]
    try:
        yield
    finally:
        for device, state in before:
            _of_device(device).set_rng_state(state, device)
        torch.set_rng_state(host)
        if numpys is not None:
            numpy.random.set_state(numpys)
        random.setstate(pythons)


def _of_device(device: torch.device) -> Any:
    return torch.get_device_module(device)


@contextmanager
def no_gradients(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Take the gradients away meanwhile; the same tensors come back."""
    before = [(parameter, parameter.grad) for parameter in parameters]
    try:
        for parameter, gradient in before:
            if gradient is not None:
                parameter.grad = None
        yield
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


@contextmanager
def as_in_training(autocast: Iterable[tuple[str, bool, torch.dtype]]) -> Iterator[None]:
    """Compute as the training does: its autocast; gradients; nothing compiled anew; no search for faults."""
    is_inside = any(torch.is_autocast_enabled(kind) for kind, _, _ in autocast)
    with ExitStack() as entered:
        entered.enter_context(torch.inference_mode(False))
        entered.enter_context(torch.enable_grad())
        entered.enter_context(torch.autograd.set_detect_anomaly(False))
        if "torch._dynamo" in sys.modules:  # otherwise nothing is compiled, and it takes long to import
            entered.enter_context(torch.compiler.set_stance("force_eager"))
        for kind, is_on, dtype in autocast:
            if is_on or torch.is_autocast_enabled(kind):
                entered.enter_context(
                    torch.autocast(kind, dtype=dtype, enabled=is_on, cache_enabled=not is_inside)
                )
        yield
