"""Norms of gradients as they lie in memory: dense, sparse, complex, sharded, on several devices.

Nothing here communicates: of a gradient that is sharded over ranks, each rank's norm covers its own
shard, weighted so that the norm of the whole is the root of the sum of the ranks' squares::

    SELECT run_id, step, sqrt(sum(grad_norm * grad_norm)) AS grad_norm FROM steps GROUP BY run_id, step

A rank whose log holds such norms says so in a `note` mark with ``{"grad_norm": "shard"}`` in its detail.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

_LOW_PRECISION = (torch.float16, torch.bfloat16)


class GradientNorm(NamedTuple):
    """A norm in parts whose squares add up, and whether it covers only this rank's shard."""

    parts: tuple[Tensor, ...]
    is_shard: bool = False


def parameters_of(optimizer: Any) -> Iterator[Tensor]:
    """Iterate over the parameters of an optimizer, group by group, or over a list that it keeps."""
    groups = getattr(optimizer, "param_groups", None)
    if groups is None:
        own = getattr(optimizer, "params", getattr(optimizer, "parameters", ()))
        listed = own() if callable(own) else own
        groups = [{"params": [p for p in listed if isinstance(p, Tensor)]}]
    for group in groups:
        yield from group["params"]


def joined(norms: Iterable["GradientNorm | None"]) -> "GradientNorm | None":
    """Return the norm of all, of norms for different parameters; one that is there twice counts once."""
    known = [norm for norm in norms if norm is not None]
    if len(known) > 1:
        known = list({id(norm): norm for norm in known}.values())
    if len(known) < 2:
        return known[0] if known else None
    parts = added_up(wide(part) for norm in known for part in norm.parts)
    return GradientNorm(parts, any(norm.is_shard for norm in known))


def without_scale(norm: "GradientNorm", scale: Any) -> "GradientNorm":
    """Return a norm of scaled gradients as it is without the scale, where there is one."""
    if scale is None:
        return norm
    factor = scale if isinstance(scale, Tensor) else torch.tensor(float(scale))
    return GradientNorm(
        tuple(wide(part) / factor.to(part.device, non_blocking=True) for part in norm.parts), norm.is_shard
    )


def gradient_norm(parameters: Iterable[Tensor]) -> GradientNorm | None:
    """Return the L2 norm of the gradients there are, None where there is none.

    Low precision is summed in single precision: the largest half-precision number is 65,504.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return None
    kinds = {(type(g), g.layout, g.dtype, g.device) for g in gradients}
    if len(kinds) == 1:
        ((kind, layout, dtype, _),) = kinds
        if kind is Tensor and layout is torch.strided:  # what nearly every model's are
            return GradientNorm((_norm_of_all(_fused_norms(gradients, dtype)),))
    if all(kind is Tensor and layout is torch.strided for kind, layout, _, _ in kinds):
        return GradientNorm(added_up(row_norms(gradients)))
    if not any(_is_distributed(g) for g in gradients):
        return GradientNorm(added_up(row_norms([local_part(g) for g in gradients])))
    by_replicas: dict[int, list[Tensor]] = {}
    for gradient in gradients:
        by_replicas.setdefault(_replicas(gradient), []).append(local_part(gradient))
    parts = [
        norm / math.sqrt(replicas)
        for replicas, group in by_replicas.items()
        for norm in added_up(row_norms(group))
    ]
    return GradientNorm(tuple(parts), is_shard=True)


def added_up(norms: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Return the norm of all parts, one a device: to bring them together would make one wait for another."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for norm in norms:
        by_device.setdefault(norm.device, []).append(norm)
    return tuple(map(_norm_of_all, by_device.values()))


def _norm_of_all(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.linalg.vector_norm(torch.stack(parts))  # type: ignore[arg-type]


def wide(value: Tensor) -> Tensor:
    """Return half precision as single, so that sums of it neither overflow nor are rounded twice."""
    return value.float() if value.dtype in _LOW_PRECISION else value


def row_norms(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Return the norm of each gradient, where it lies; fused over gradients of one kind."""
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, gradient in enumerate(gradients):
        groups.setdefault((gradient.device, gradient.dtype), []).append(index)
    norms: list[Tensor] = [torch.empty(0)] * len(gradients)
    for (_, dtype), indices in groups.items():
        group = _fused_norms([gradients[i] for i in indices], dtype)
        for index, norm in zip(indices, group, strict=True):
            norms[index] = norm
    return norms


def _fused_norms(gradients: list[Tensor], dtype: torch.dtype) -> Sequence[Tensor]:
    """Return the norm of each of some gradients of one kind."""
    wide = torch.float32 if dtype in _LOW_PRECISION else None
    with torch.no_grad():  # gradients of gradients have a graph of their own
        return torch._foreach_norm(gradients, 2.0, dtype=wide)


def combine(values: Sequence[float]) -> float:
    """Return the norm of a whole from the norms of its parts; what is not finite stays so."""
    if len(values) == 1:
        return values[0]
    return math.nan if any(map(math.isnan, values)) else math.hypot(*values)


def local_norm(norm: Tensor) -> GradientNorm:
    """Return what this rank holds of a norm that clipping computed.

    A replicated one is the norm of the whole; a partial one covers this rank's shard.
    """
    if type(norm) is Tensor or not _is_distributed(norm):
        return GradientNorm((norm.detach().clone(),))
    is_shard = any(not placement.is_replicate() for placement in norm.placements)  # type: ignore[attr-defined]
    return GradientNorm((_local(norm).clone(),), is_shard)


def _is_distributed(tensor: Any) -> bool:
    return hasattr(tensor, "placements") and hasattr(tensor, "to_local")


def _local(tensor: Any) -> Tensor:
    local: Tensor = tensor.detach().to_local() if _is_distributed(tensor) else tensor.detach()
    return local


def local_part(gradient: Tensor) -> Tensor:
    """Return the entries of a gradient that this rank holds."""
    local = _local(gradient)
    if local.layout is torch.sparse_coo:
        return local.coalesce()._values()  # entries of one index add up first
    return local


def world_size() -> int:
    """Return how many processes train together, as torch.distributed says."""
    dist = torch.distributed
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _replicas(gradient: Any) -> int:
    """Return how many ranks hold the same numbers: their squares must count once in a sum over ranks."""
    if not _is_distributed(gradient):
        return world_size()
    sizes = gradient.device_mesh.shape
    return math.prod(
        size for size, placement in zip(sizes, gradient.placements, strict=True) if placement.is_replicate()
    )
