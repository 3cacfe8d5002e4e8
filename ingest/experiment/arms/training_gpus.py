"""The GPUs that this process trains on: those whose power limit is ours to set, and no others."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from thermograd.ingest.devices.visible_gpus import Gpu, select_gpus
from thermograd.ingest.experiment.arms.arm import Refusal


def training_gpus(
    model: Any,
    gpus: Sequence[Gpu],
    optimizers: Sequence[Any] = (),
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the UUIDs of the GPUs that this process trains on.

    Those that the parameters of torch's model, or of its optimizers, are on; else those that
    ``CUDA_VISIBLE_DEVICES`` names, which may be left out where there is one GPU. Raises `Refusal` where
    that leaves a doubt: a limit that is set on a GPU of somebody else's slows a stranger's work.
    """
    used = gpus_of_parameters(model, optimizers)
    if used:
        return used
    if used is not None:
        raise Refusal(
            "this training's parameters are on no GPU, and there is no power limit to set elsewhere"
        )
    environment = os.environ if environment is None else environment
    if "MIG-" in environment.get("CUDA_VISIBLE_DEVICES", ""):
        raise Refusal(
            "CUDA_VISIBLE_DEVICES names a part of a GPU (MIG), and a power limit is of the whole GPU"
        )
    if "CUDA_VISIBLE_DEVICES" not in environment and len(gpus) > 1:
        raise Refusal(
            f"{len(gpus)} GPUs are here and it is not known which of them this training uses: "
            "set CUDA_VISIBLE_DEVICES, so that no other job's GPU is capped"
        )
    chosen, note = select_gpus(gpus, {**environment, "LOCAL_WORLD_SIZE": "1"}, lambda name: None)
    if note is not None:
        raise Refusal(f"it is not known which GPUs this training uses: {note}")
    return [gpus[i].uuid for i in chosen]


def gpus_of_parameters(model: Any, optimizers: Sequence[Any] = ()) -> list[str] | None:
    """Return the UUIDs of the GPUs that a torch model's parameters are on, or its optimizers' without one.

    None where neither tells.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    is_model = isinstance(model, torch.nn.Module)
    groups = [group for optimizer in optimizers for group in getattr(optimizer, "param_groups", ())]
    parameters = model.parameters() if is_model else (each for group in groups for each in group["params"])
    devices = {parameter.device for parameter in parameters}
    numbers = sorted(device.index or 0 for device in devices if device.type == "cuda")
    return [_uuid(torch, number) for number in numbers] if is_model or devices else None


def _uuid(torch: Any, number: int) -> str:
    uuid = getattr(torch.cuda.get_device_properties(number), "uuid", None)
    if uuid is None:
        raise Refusal("this torch does not say which GPU it uses; torch 2.6 and newer do")
    return f"GPU-{str(uuid).removeprefix('GPU-')}"
