"""What a module was called with, without its data: enough to call it again with data of another shape.

*Shape* is what the values look like, not how many there are. Floats of two and more dimensions become
zeros, noise or a constant, and so do whole numbers that are ids (of tokens, of labels). Masks, positions,
lengths, and whatever has fewer dimensions stay as they were, in a copy: an attention kernel that is given
offsets drawn by chance reads outside of its memory.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor

_KEPT_NAMES = ("mask", "position", "seq", "len", "offset", "index", "ptr", "block", "size", "bias", "cache")
_MOST_KEPT_BYTES = 64 * 2**20
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type, torch.dtype, torch.device, torch.Size)
_IDS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class NotShapedError(Exception):
    """Something in a batch that no shaped copy can be made of, in a clause."""


@dataclasses.dataclass(eq=False)
class _Like:
    """A tensor by what it is like: `value` is a copy where it stays as it was, `largest` of ids."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    requires_grad: bool
    memory_format: torch.memory_format
    is_shaped: bool
    value: Tensor | None = None
    largest: Tensor | None = None

    def made(self, shape: str, generator: torch.Generator, device: torch.device | None) -> Tensor:
        """Return a tensor like it."""
        if self.value is not None:
            made = self.value.clone()
        else:
            made = torch.empty(
                self.shape, dtype=self.dtype, device=self.device, memory_format=self.memory_format
            )
            self._fill(made, shape, generator)
        made = made if device is None or self.device.type != "cpu" else made.to(device)
        return made.requires_grad_() if self.requires_grad else made

    def _fill(self, made: Tensor, shape: str, generator: torch.Generator) -> None:
        largest = int(self.largest) if self.largest is not None else 1
        if shape == "zeros" and largest >= 0:
            made.zero_()
        elif self.largest is not None and (shape == "token" or largest <= 0):
            made.fill_(largest)
        elif self.largest is not None:
            made.random_(0, largest + 1, generator=generator)
        elif shape == "token":
            made.fill_(1)
        else:
            made.copy_(_noise(self.shape, self.dtype, self.device, generator))


def _noise(shape: torch.Size, dtype: torch.dtype, device: torch.device, generator: torch.Generator) -> Tensor:
    wide = dtype if dtype.is_complex or dtype.itemsize > 1 else torch.float32
    return torch.randn(shape, dtype=wide, device=device, generator=generator)


class Batch:
    """The arguments of one call; NotShapedError where they cannot be made again.

    Parameters
    ----------
    args, kwargs
        What the module was called with; nothing of it is kept but copies of what stays as it was.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        tensors = list(_tensors((args, dict(kwargs)), ""))
        few = {id(tensor) for name, tensor in tensors if not _is_shaped(name, tensor)}
        if all(id(tensor) in few for _, tensor in tensors):  # a batch of one dimension: its floats
            few = {id(tensor) for _, tensor in tensors if not tensor.is_floating_point()}
        self._kept_bytes = 0
        known: dict[int, _Like] = {}

        def like(tensor: Tensor) -> _Like:
            if id(tensor) not in known:
                known[id(tensor)] = self._like(tensor, id(tensor) not in few)
            return known[id(tensor)]

        with torch.no_grad():
            self._args, self._kwargs = _mapped((args, dict(kwargs)), like)
        self.is_shaped = any(each.is_shaped for each in known.values())

    def _like(self, tensor: Tensor, is_shaped: bool) -> _Like:
        plain = tensor.layout is torch.strided and type(tensor) in (Tensor, torch.nn.Parameter)
        if not plain and is_shaped:
            raise NotShapedError(
                f"the batch holds a tensor that is no plain one ({type(tensor).__name__}, {tensor.layout})"
            )
        is_last = plain and tensor.dim() == 4 and not tensor.is_contiguous()
        is_last = is_last and tensor.is_contiguous(memory_format=torch.channels_last)
        form = torch.channels_last if is_last else torch.contiguous_format
        wants = tensor.requires_grad and tensor.dtype.is_floating_point
        made = _Like(tensor.shape, tensor.dtype, tensor.device, wants, form, is_shaped)
        if not is_shaped:
            self._kept_bytes += tensor.numel() * tensor.element_size()
            if self._kept_bytes > _MOST_KEPT_BYTES:
                raise NotShapedError("masks and whole numbers of a batch are too many to be kept in a copy")
            made.value = tensor.detach().clone()
        elif tensor.dtype in _IDS:
            made.largest = tensor.detach().max() if tensor.numel() else torch.zeros((), dtype=tensor.dtype)
        return made

    def shaped(
        self, shape: str, generator: Callable[[torch.device], torch.Generator], device: torch.device | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments anew, as *zeros*, *noise* or *token*; what lies on the host goes to `device`."""
        made: dict[int, Tensor] = {}

        def make(like: Any) -> Any:
            if id(like) not in made:
                made[id(like)] = like.made(shape, generator(like.device), device)
            return made[id(like)]

        return _mapped((self._args, self._kwargs), make)  # type: ignore[no-any-return]


def signature(value: Any) -> Any:
    """Return what tells whether a call is like the one before: shapes, dtypes, devices and plain values."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device, value.requires_grad
    if isinstance(value, tuple | list):
        return [signature(item) for item in value]
    if isinstance(value, Mapping):
        return [(name, signature(item)) for name, item in value.items()]
    return value if isinstance(value, _PLAIN) else type(value)


def _is_shaped(name: str, tensor: Tensor) -> bool:
    if tensor.dim() < 2 or tensor.layout is not torch.strided:
        return False
    is_data = tensor.dtype in _IDS or tensor.dtype.is_floating_point or tensor.dtype.is_complex
    return is_data and not any(word in name.lower() for word in _KEPT_NAMES)


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, str(key))
    elif isinstance(value, tuple | list):
        names = getattr(value, "_fields", (name,) * len(value))
        for key, item in zip(names, value, strict=False):
            yield from _tensors(item, key)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type | _Like):
        for field in dataclasses.fields(value):
            yield from _tensors(getattr(value, field.name), field.name)


def _mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Return the same structure with every tensor, or what stands for one, replaced."""
    if isinstance(value, Tensor | _Like):
        return leaf(value)
    if isinstance(value, (*_PLAIN, torch.nn.Module)) or callable(value):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(item, leaf) for item in value))
    if type(value) in (tuple, list, set):
        return type(value)(_mapped(item, leaf) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, Mapping):
        fields = {f.name: _mapped(getattr(value, f.name), leaf) for f in dataclasses.fields(value) if f.init}
        return cast("Any", type(value))(**fields)
    if isinstance(value, Mapping):
        inside = {name: _mapped(item, leaf) for name, item in value.items()}
        return inside if type(value) is dict else cast("Any", type(value))(inside)
    raise NotShapedError(f"the batch holds a {type(value).__name__}, of which no shaped copy can be made")
