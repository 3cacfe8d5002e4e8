"""Gives shadow passes of the modules that a training calls."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Self

import torch
from thermograd.ingest.capture import hooks
from thermograd.ingest.capture.gradients import parameters_of
from thermograd.ingest.capture.situation import is_inside_backward, unseen
from thermograd.ingest.experiment.arms.arm import Refusal
from thermograd.ingest.experiment.arms.shadow_pass import refusals
from thermograd.ingest.experiment.arms.shadow_pass.backward import NotSafeError, run_pass
from thermograd.ingest.experiment.arms.shadow_pass.calls import Calls, Seen, unwrapped
from thermograd.ingest.experiment.arms.shadow_pass.state import (
    Lent,
    as_in_training,
    no_gradients,
    same_random_numbers,
)
from thermograd.ingest.experiment.arms.shadow_pass.traces import Traces
from thermograd.ingest.experiment.arms.shadow_pass.trial import try_pass
from thermograd.store.failures import is_the_users
from torch import Tensor

_SEED = 18  # of the noise
_WRAPPERS = ("DistributedDataParallel", "OptimizedModule")  # are not called, and keep what is theirs


class Giver:
    """Knows the modules and their last batches, and gives passes."""

    def __init__(self, model: Any, parameters: Iterable[Tensor]) -> None:
        self._stepped = list({id(p): p for p in parameters}.values())
        self._calls = Calls(model, self._stepped)
        self._all = self._calls.modules
        self._inner = [m for m in self._all if type(m).__name__ not in _WRAPPERS]
        inside = [p for m in self._all for p in m._parameters.values() if p is not None]
        self._parameters = list({id(p): p for p in [*self._stepped, *inside]}.values())
        refusals.check(self._all, self._parameters)
        self._calls.listen()

    @classmethod
    def of(cls, model: Any, optimizers: Sequence[Any]) -> Self | None:
        """Return one for what these optimizers step; None while nothing is known that is stepped."""
        stepped = [
            p for optimizer in optimizers or list(hooks.created.optimizers) for p in parameters_of(optimizer)
        ]
        trained = [p for p in stepped if isinstance(p, Tensor) and p.requires_grad]
        return cls(model, trained) if trained else None

    @property
    def name(self) -> str:
        """What is called, in words."""
        return ", ".join(dict.fromkeys(type(unwrapped(seen.module)).__name__ for seen in self._calls.tops))

    def settle(self) -> bool:
        """Find the modules that are called, once, then their batches; whether these are known."""
        if not self._calls.tops:
            self._calls.settle()
            return False
        return bool(self._calls.latest())

    def tick(self) -> None:
        """Count a step that has ended."""
        self._calls.tick()

    def close(self) -> None:
        """Look at nothing any more."""
        self._calls.close()

    def try_shapes(self, shapes: Sequence[str]) -> str:
        """Give a pass of each shape, all of the training saved before; return what the loss was."""
        refusals.check(self._all, self._parameters)
        refusals.check_memory(self._parameters)
        told: list[str] = []

        def give() -> None:
            for place, shape in enumerate(shapes):
                told.extend(self._passes(shape, place))

        try:
            try_pass(self._all, self._parameters, give)
        except Refusal:
            raise
        except NotSafeError as error:
            raise refusals.refuse(f"a model of which {error}") from None
        except Exception as error:  # whatever a model says of such a batch: then there are no shadow steps
            if is_the_users(error):
                raise
            what = f"a model of which a pass on a shaped batch fails ({type(error).__name__}: {error})"
            raise refusals.refuse(what) from None
        return ", ".join(dict.fromkeys(told))

    def give(self, shape: str, number: int, repeats: int) -> None:
        """Give passes one after the other; the devices have nothing to do before and after."""
        try:
            refusals.check_copies(self._all)
            traces = Traces(self._all)
            for repeat in range(repeats):
                self._passes(shape, number * repeats + repeat)
        except NotSafeError as error:
            raise refusals.refuse(f"a model of which {error}") from None
        if (place := traces.changed()) is not None:
            raise refusals.refuse(f"a model that keeps state where it cannot be put back ({place})")

    def _passes(self, shape: str, seed: int) -> list[str]:
        """Give one pass of each module that was called last."""
        latest = self._calls.latest()
        if not latest:
            raise RuntimeError("no forward pass was seen in the last two steps")
        if is_inside_backward():
            raise refusals.refuse("an optimizer that steps inside the backward pass")
        devices = {tensor.device for tensor in self._parameters}
        versions = [parameter._version for parameter in self._parameters]
        _wait(devices)
        told = []
        with ExitStack() as kept:
            kept.enter_context(unseen())
            kept.enter_context(same_random_numbers(devices))
            kept.enter_context(no_gradients(self._parameters))
            for seen in latest:
                told.append(self._pass(seen, shape, seed))
        _wait(devices)
        if versions != [parameter._version for parameter in self._parameters]:
            raise refusals.refuse("a model whose forward pass writes to its parameters")
        return told

    def _pass(self, seen: Seen, shape: str, seed: int) -> str:
        if seen.batch is None:
            raise refusals.refuse(f"a batch that cannot be made again: {seen.is_not_shaped}")
        if not seen.batch.is_shaped:
            raise refusals.refuse("a batch without a tensor whose values can be shaped")
        call = unwrapped(seen.module)
        device = next(call.parameters()).device if call is not seen.module else None
        generators: dict[torch.device, torch.Generator] = {}

        def generator(of: torch.device) -> torch.Generator:
            if of not in generators:
                generators[of] = torch.Generator(of).manual_seed(_SEED + seed)
            return generators[of]

        own = {id(parameter) for parameter in self._parameters}
        with as_in_training(seen.autocast), Lent(self._inner).held() as lent:
            return run_pass(call, seen.batch.shaped(shape, generator, device), lent, own)


def _wait(devices: Iterable[torch.device]) -> None:
    for device in devices:
        if device.type not in ("cpu", "meta"):
            torch.get_device_module(device).synchronize(device)
