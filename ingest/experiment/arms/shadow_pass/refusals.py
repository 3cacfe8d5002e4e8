"""What is known to be unsafe before anything is tried: Refusal, with what it is."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from thermograd.ingest.experiment.arms.arm import Refusal
from torch import Tensor
from torch.nn import Module, Parameter

_MOST_COPIED_BYTES = 512 * 2**20
_SPARE = 0.95  # of the memory of a device
_KINDS = {  # class that a module, or a base of it, has; what it is
    "FullyShardedDataParallel": "FSDP, which gathers the parameters from all ranks in every pass",
    "FSDPModule": "FSDP2, which gathers the parameters from all ranks in every pass",
    "DeepSpeedEngine": "DeepSpeed, whose engine owns the passes and the gradients",
    "PipelineEngine": "DeepSpeed, whose engine owns the passes and the gradients",
    "DataParallel": "DataParallel, which spreads a batch over devices; DistributedDataParallel is followed",
    "SyncBatchNorm": "SyncBatchNorm, which communicates in every forward pass",
    "ScriptModule": "a module that TorchScript has compiled, whose parameters cannot be exchanged",
}
_HOMES = {
    "megatron": "Megatron, whose kernels add to gradients of their own",
    "transformer_engine": "Transformer Engine, whose scales are kept outside of the modules",
    "deepspeed": "DeepSpeed, whose engine owns the passes and the gradients",
    "fairscale": "FairScale, which shards the parameters",
}
_SENTENCE = "shadow steps are not given: the training uses {}; the duty cycle (arm=duty) is safe here"


def refuse(what: str) -> Refusal:
    """Return the refusal of a training that uses this."""
    return Refusal(_SENTENCE.format(what))


def check(modules: Sequence[Module], parameters: Sequence[Tensor]) -> None:
    """Refuse what a pass could harm or would communicate, and what would need too much memory."""
    for module in modules:
        _check_module(module)
    own: dict[int, Tensor] = {id(p): p for p in parameters}
    own.update((id(p), p) for module in modules for p in module._parameters.values() if p is not None)
    for parameter in own.values():
        _check_parameter(parameter)
    stage = _pipeline_class()
    if stage is not None and any(isinstance(module, stage) for module in modules):
        raise refuse("pipeline parallelism, where a rank has only a stage of the model")
    hooks = torch.nn.modules.module
    found = [name for name in vars(hooks) if name.startswith("_global_") and "hook" in name]
    if any(isinstance(value := getattr(hooks, name), dict) and value for name in found):
        raise refuse("hooks on all modules (register_module_forward_hook), which would see the shadow pass")
    check_copies(modules)


def check_memory(parameters: Iterable[Tensor]) -> None:
    """Refuse where a second set of gradients beside the training's own may not fit on a device."""
    by_device: dict[torch.device, int] = {}
    for parameter in parameters:
        if parameter.is_cuda and parameter.requires_grad:
            size = parameter.numel() * parameter.element_size()
            by_device[parameter.device] = by_device.get(parameter.device, 0) + size
    cuda: Any = torch.cuda
    for device, size in by_device.items():
        free, _ = cuda.mem_get_info(device)
        room = free + cuda.memory_reserved(device)
        if cuda.max_memory_allocated(device) + size > _SPARE * room:
            raise refuse(
                f"so much memory of {device} that its gradients and a shadow pass may not fit together"
            )


def check_copies(modules: Iterable[Module]) -> None:
    """Refuse buffers too large to be cloned for a pass."""
    buffers = {id(b): b for module in modules for b in module._buffers.values() if b is not None}
    size = sum(buffer.numel() * buffer.element_size() for buffer in buffers.values())
    if size > _MOST_COPIED_BYTES:
        raise refuse(f"buffers of {size / 2**20:.0f} MiB, too many to be cloned for a pass")


def _check_module(module: Module) -> None:
    for kind in type(module).__mro__:
        if kind.__name__ in _KINDS:
            if kind.__name__ == "SyncBatchNorm" and _world_size() == 1:
                continue
            raise refuse(_KINDS[kind.__name__])
        if (home := kind.__module__.split(".")[0]) in _HOMES:
            raise refuse(_HOMES[home])


def _check_parameter(parameter: Tensor) -> None:
    kinds = [kind.__name__ for kind in type(parameter).__mro__]
    inner = [kind.__name__ for kind in type(parameter.data).__mro__]
    if "DTensor" in kinds or "DTensor" in inner:
        raise refuse("parameters that are sharded over ranks (DTensor: FSDP2 or tensor parallelism)")
    if hasattr(parameter, "ds_id"):
        raise refuse(_HOMES["deepspeed"])
    if getattr(parameter, "main_grad", None) is not None:
        raise refuse("gradients in main_grad, which fused kernels add to by themselves")
    if getattr(parameter, "_post_accumulate_grad_hooks", None):
        raise refuse("hooks that step or reduce inside the backward pass (post_accumulate_grad_hook)")
    if parameter.is_meta:
        raise refuse("parameters that are loaded when they are used (offloading)")
    if parameter.requires_grad and type(parameter) not in (Parameter, Tensor):
        raise refuse(f"trainable parameters of a class of their own ({type(parameter).__name__})")
    if parameter.is_inference():
        raise refuse("parameters made in inference mode")


def _pipeline_class() -> Any:
    pipelining = sys.modules.get("torch.distributed.pipelining.stage")
    return getattr(pipelining, "_PipelineStageBase", None)


def _world_size() -> int:
    distributed: Any = torch.distributed
    is_on = distributed.is_available() and distributed.is_initialized()
    return int(distributed.get_world_size()) if is_on else 1
