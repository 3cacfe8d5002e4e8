"""The first pass is tried with everything in a copy: what it has changed is put back, and refused.

What cannot be lent to a pass in a copy (objects in attributes, values on classes) is compared before and
after; the memory of parameters and buffers, which might be written to past all aliases, is saved on the
host.
"""

import dataclasses
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import psutil
import torch
from thermograd.ingest.experiment.arms.shadow_pass.refusals import refuse
from thermograd.ingest.experiment.arms.shadow_pass.traces import Traces, has_memory
from torch import Tensor
from torch.nn import Module
from torch.utils._python_dispatch import TorchDispatchMode

_MOST_OF_MEMORY = 0.8
_COLLECTIVES = ("c10d", "_c10d_functional", "c10d_functional", "_c10d_functional_autograd")


@dataclasses.dataclass(eq=False)
class _Saved:
    tensor: Tensor
    address: int
    copy: Tensor
    gradient: tuple[int, int] | None

    def is_same(self) -> bool:
        now, before = self.tensor.detach(), self.copy.to(self.tensor.device)
        is_there = self.tensor.data_ptr() == self.address and now.shape == before.shape
        return is_there and torch.equal(_bits(now), _bits(before)) and _gradient(self.tensor) == self.gradient

    def put_back(self) -> None:
        self.tensor.data.copy_(self.copy)


def _bits(tensor: Tensor) -> Tensor:
    plain = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return plain.contiguous().reshape(-1).view(torch.uint8)


def _gradient(tensor: Tensor) -> tuple[int, int] | None:
    return (id(tensor.grad), tensor.grad._version) if tensor.is_leaf and tensor.grad is not None else None


def try_pass(modules: list[Module], parameters: list[Tensor], give: Callable[[], object]) -> None:
    """Give a pass and refuse where anything of the training is not as it was before; it is put back."""
    held = {id(p): p for p in parameters}
    for module in modules:
        inside = [*module._parameters.values(), *module._buffers.values(), *vars(module).values()]
        held.update((id(t), t) for t in inside if isinstance(t, Tensor) and has_memory(t))
    _need_room(list(held.values()))
    saved = [
        _Saved(tensor, tensor.data_ptr(), tensor.detach().to("cpu", copy=True), _gradient(tensor))
        for tensor in held.values()
    ]
    modes = [(module, module.training) for module in modules]
    traces = Traces(modules)
    distributed: Any = torch.distributed
    is_shared = distributed.is_available() and distributed.is_initialized()
    try:
        with _NoCollectives() if is_shared else nullcontext():  # type: ignore[no-untyped-call]
            give()
    finally:
        changed = [each for each in saved if not each.is_same()]
        with torch.no_grad():
            for each in changed:
                each.put_back()
        place = traces.changed()
    if changed:
        raise refuse("a model whose forward pass writes to parameters or buffers past its own names for them")
    if any(module.training != mode for module, mode in modes):
        raise refuse("a model whose forward pass changes its mode")
    if place is not None:
        raise refuse(f"a model that keeps state where it cannot be put back ({place})")


def _need_room(tensors: list[Tensor]) -> None:
    """Refuse where the host's memory does not hold the parameters a second time, for every rank on it."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    if size * ranks > _MOST_OF_MEMORY * psutil.virtual_memory().available:
        raise refuse("more parameters than this host has memory for a second time, while a pass is tried")


class _NoCollectives(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Stops a pass before it communicates: the other ranks may be elsewhere."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace in _COLLECTIVES:
            raise refuse(f"a model that communicates in its passes ({function})")
        return function(*args, **(kwargs or {}))
