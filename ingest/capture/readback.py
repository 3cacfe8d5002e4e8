"""Scalars on their way from a device to Python floats, without anybody waiting for the device.

On CUDA a value is copied to pinned memory behind the work that computes it, an event marks the place in
the stream, and the value is read when the event has passed. On the CPU it is there already.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from thermograd.ingest.capture.gradients import wide
from torch import Tensor

_SLOT_WIDTH = 16
_EXACT = (torch.float32, torch.float64)  # in one of Python's numbers


class HostScalar(NamedTuple):
    """A scalar that was read from a tensor on the host when it was seen: one call of torch, not three."""

    value: float
    dtype: torch.dtype


Scalar = Tensor | HostScalar


def tensor_of(scalar: Scalar) -> Tensor:
    """Return a scalar as a tensor, with which is counted as torch does; on the host, whatever the default."""
    if isinstance(scalar, HostScalar):
        return torch.tensor(scalar.value, dtype=scalar.dtype, device="cpu")
    return scalar


class _Event(Protocol):
    def record(self) -> None: ...
    def query(self) -> bool: ...
    def synchronize(self) -> None: ...


class PinnedSlot(NamedTuple):
    """A few pinned float64 cells and the event behind which they are filled."""

    cells: Tensor
    event: _Event


class PinnedSlots:
    """Slots of one device, used again and again: pinning memory is slow, so `count` are made at once.

    More are made where the device is further behind. `pin` and `event` are there for tests.
    """

    def __init__(
        self,
        count: int = 64,
        pin: Callable[[int, int], Tensor] = lambda rows, width: torch.empty(
            (rows, width), dtype=torch.float64, pin_memory=True
        ),
        event: Callable[[], _Event] = lambda: torch.cuda.Event(),  # type: ignore[no-untyped-call]
    ) -> None:
        self._count, self._pin, self._event = count, pin, event
        self._free: list[PinnedSlot] = []
        self.made = 0

    def take(self) -> PinnedSlot:
        """Return a free slot."""
        if not self._free:
            self.made += self._count
            cells = self._pin(self._count, _SLOT_WIDTH)
            self._free = [PinnedSlot(row, self._event()) for row in cells.unbind(0)]
        return self._free.pop()

    def give_back(self, slot: PinnedSlot) -> None:
        """Take back a slot whose values have been read."""
        self._free.append(slot)


_slots_of = functools.cache(lambda device: PinnedSlots())


class Readback:
    """Some named scalars being read back: tensors of one element, on any devices; at most 16 on one.

    A value on the CPU is read here and now, one on another kind of accelerator than CUDA when it is asked
    for. `slots` is there for tests.
    """

    def __init__(
        self, tensors: Mapping[str, Scalar], slots: Callable[[torch.device], PinnedSlots] = _slots_of
    ) -> None:
        self._values: dict[str, float] = {}
        self._late: dict[str, Tensor] = {}
        self._waiting: dict[torch.device, tuple[PinnedSlots, PinnedSlot, list[str]]] = {}
        for name, tensor in tensors.items():
            if isinstance(tensor, HostScalar):
                self._values[name] = tensor.value
            elif tensor.is_cpu:
                self._values[name] = float(tensor)
            elif tensor.is_cuda:
                self._send(name, tensor, slots)
            else:
                self._late[name] = tensor
        for _, slot, _ in self._waiting.values():
            slot.event.record()

    def _send(self, name: str, tensor: Tensor, slots: Callable[[torch.device], PinnedSlots]) -> None:
        if tensor.device not in self._waiting:
            pool = slots(tensor.device)
            self._waiting[tensor.device] = (pool, pool.take(), [])
        _, slot, names = self._waiting[tensor.device]
        value = tensor.detach().to(torch.float64).reshape(())  # of one type: one asynchronous transfer
        slot.cells[len(names)].copy_(value, non_blocking=True)
        names.append(name)

    def ready(self) -> bool:
        """Whether every value has arrived; does not wait."""
        return not self._waiting or all(slot.event.query() for _, slot, _ in self._waiting.values())

    def values(self) -> dict[str, float]:
        """Return the values, waiting for those that are still on their way."""
        for pool, slot, names in self._waiting.values():
            slot.event.synchronize()
            self._values |= dict(zip(names, slot.cells[: len(names)].tolist(), strict=True))
            pool.give_back(slot)
        self._waiting = {}
        self._values |= {name: float(tensor) for name, tensor in self._late.items()}
        self._late = {}
        return self._values


def read_back(tensors: Mapping[str, Any]) -> Readback:
    """Begin to read scalars of any owner, but for those that are parts of a distributed value."""
    copies = {name: own_copy(tensor) for name, tensor in tensors.items()}
    return Readback({name: copy for name, copy in copies.items() if copy is not None})


def own_copy(value: Any) -> Scalar | None:
    """Return a detached copy of a scalar that its owner may change; None for what is no scalar tensor."""
    if type(value) is Tensor and not value.dim() and value.dtype in _EXACT:  # what nearly every loss is
        return HostScalar(value.item(), value.dtype) if value.is_cpu else value.detach().clone()
    if not isinstance(value, Tensor) or value.numel() != 1:
        return None
    placements = getattr(value, "placements", ())
    if not all(placement.is_replicate() for placement in placements):
        return None  # a part of a distributed value: what it adds up to only all ranks know
    scalar: Tensor = value.detach()
    if placements:
        scalar = scalar.to_local()  # type: ignore[attr-defined]
    scalar = scalar.reshape(())
    widened = wide(scalar)
    return widened if widened is not scalar else scalar.clone()
