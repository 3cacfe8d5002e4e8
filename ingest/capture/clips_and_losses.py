"""What has been seen of a step that has not been made yet: clip calls and losses, told apart by optimizer."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from thermograd.ingest.capture.gradients import GradientNorm, added_up, parameters_of, wide
from torch import Tensor
from torch.optim import Optimizer

_MOST_CLIPS = 32


@dataclass(eq=False)
class Clip:
    """The norm of some parameters' gradients before they were clipped."""

    parameters: list[Tensor]
    max_norm: float | None
    norm: GradientNorm | None
    is_given: bool = False
    is_old: bool = False  # a backward pass has added to the gradients since
    used_by: set[int] = field(default_factory=set)

    def shares(self, ids: set[int]) -> bool:
        """Whether some of the parameters are among these."""
        return not ids.isdisjoint(map(id, self.parameters))


class Clips:
    """The clip calls that await their optimizer step.

    Of one backward pass, calls for different parameters add up to one norm; of calls for the same ones
    the first saw the gradients as they were. A total that the script works out itself and clips to in
    several calls (device meshes) is one total.
    """

    def __init__(self) -> None:
        self._clips: list[Clip] = []
        self.layers: Any = None

    def add(self, new: Clip) -> bool:
        """Add a call; return whether it saw gradients that no call before it had clipped."""
        ids: set[int] | None = None
        for clip in list(self._clips):
            if clip.used_by and not clip.is_old:
                continue
            if new.is_given and clip.is_given and not clip.is_old:
                clip.parameters = clip.parameters + new.parameters
                clip.norm, clip.max_norm = new.norm, new.max_norm
                return False
            ids = ids if ids is not None else set(map(id, new.parameters))
            if clip.shares(ids):
                if not clip.is_old:
                    clip.max_norm = clip.max_norm if clip.max_norm is not None else new.max_norm
                    return False
                self._clips.remove(clip)
        self._clips = [*self._clips[1 - _MOST_CLIPS :], new]
        return True

    def new_window(self) -> None:
        """Gradients change from here on: what a step has used is done with."""
        self._clips = [clip for clip in self._clips if not clip.used_by]
        for clip in self._clips:
            clip.is_old = True

    def has_unused(self, ids: set[int]) -> bool:
        """Whether gradients of these parameters were clipped and not used."""
        return any(not clip.used_by and clip.shares(ids) for clip in self._clips)

    def take(self, optimizer_id: int, ids: set[int] | None) -> Clip | None:
        """Return what clipping saw of these parameters (None: of whatever is left), as one call.

        Parameters that no clip call names (master copies) go with the calls that nobody has used.
        """
        unused = [clip for clip in self._clips if optimizer_id not in clip.used_by and ids is not None]
        unused = [c for c in unused if c.shares(ids or set())] or [c for c in self._clips if not c.used_by]
        for clip in unused:
            clip.used_by.add(optimizer_id)
        if len(unused) < 2:
            return unused[0] if unused else None
        bounds = [clip.max_norm for clip in unused if clip.max_norm is not None]
        norms = [clip.norm for clip in unused if clip.norm is not None]
        parts = added_up(wide(part) for norm in norms for part in norm.parts)
        norm = GradientNorm(parts, any(norm.is_shard for norm in norms)) if norms else None
        return Clip([], bounds[0] if len(set(bounds)) == 1 else None, norm)


class _State:
    """What is known of one optimizer."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = weakref.ref(optimizer)
        self.ids = set(map(id, parameters_of(optimizer)))
        self.loss: Tensor | None = None
        self.started_ns: int | None = None
        self.has_stepped = False
        self._before: list[tuple[int, int]] = []

    def is_stale(self, optimizer: Optimizer) -> bool:
        return len(self.ids) != sum(len(group["params"]) for group in optimizer.param_groups)

    def _probes(self) -> list[tuple[int, int]]:
        """Return what changes when a backward pass adds to the gradients, of a few parameters."""
        optimizer = self.optimizer()
        parameters = [p for p in parameters_of(optimizer) if p.requires_grad] if optimizer is not None else []
        chosen = [parameters[i] for i in {0, len(parameters) // 2, len(parameters) - 1}] if parameters else []
        return [(id(p.grad), p.grad._version) if p.grad is not None else (0, 0) for p in chosen]

    def remember(self) -> None:
        self._before = self._probes()

    def has_changed(self) -> bool:
        return self._probes() != self._before


class Optimizers:
    """The optimizers that have stepped or are watched, and the loss that each has yet to step on.

    With one optimizer every loss is its own. With several, a loss belongs to those whose gradients its
    backward pass changed; a gradient penalty or a frozen part that changes none of those that are looked
    at belongs to all.
    """

    def __init__(self) -> None:
        self._states: weakref.WeakKeyDictionary[Any, _State] = weakref.WeakKeyDictionary()
        self._unknown: Tensor | None = None
        self._has_stepped = False
        self.started_ns: int | None = None

    def stepping(self) -> int:
        """Return how many optimizers have stepped."""
        return sum(state.has_stepped for state in self._states.values())

    def know(self, optimizer: Optimizer) -> _State:
        """Return what is known of an optimizer; of a new one, the losses since the last step are its."""
        state = self._states.get(optimizer)
        if state is None:
            state = self._states[optimizer] = _State(optimizer)
            state.loss, state.started_ns = self._unknown, self.started_ns
        elif state.is_stale(optimizer):
            state.ids = set(map(id, parameters_of(optimizer)))
        return state

    def before_backward(self) -> None:
        """Look at the gradients, where it must be told whose they are."""
        if len(self._states) > 1:
            for state in self._states.values():
                state.remember()

    def add(self, loss: Tensor | None) -> None:
        """Add a loss whose backward pass has been."""
        if loss is None:
            return
        if self._has_stepped:
            self._unknown, self._has_stepped = None, False
        self._unknown = _sum(self._unknown, loss)
        states = list(self._states.values())
        if len(states) > 1:
            states = [state for state in states if state.has_changed()] or states
        for state in states:
            state.loss = _sum(state.loss, loss)

    def take(self, optimizer: Optimizer | None) -> Tensor | None:
        """Return the loss that an optimizer steps on, or an engine that nothing is known of."""
        self._has_stepped = True
        if optimizer is None:
            loss, self._unknown = self._unknown, None
            for state in self._states.values():
                state.loss = None
            return loss
        state = self.know(optimizer)
        loss, state.loss = state.loss, None
        return loss

    def zeroed_by(self, owner: Any) -> Iterator[tuple[Optimizer, _State]]:
        """Iterate over the optimizers whose gradients an optimizer or module has dropped."""
        if isinstance(owner, Optimizer):
            inner = unwrapped(owner)
            for optimizer in {id(o): o for o in (owner, inner) if o in self._states or o is inner}.values():
                yield optimizer, self.know(optimizer)
            return
        held: set[int] | None = None
        for optimizer, state in list(self._states.items()):
            if state.loss is not None:
                held = held if held is not None else set(map(id, owner.parameters()))
                if state.ids <= held:
                    yield optimizer, state

    def restart(self, optimizer: Optimizer | None, now_ns: int) -> int | None:
        """Start the clock of an optimizer's next step; return when it was started for this one."""
        if optimizer is None:
            started_ns, self.started_ns = self.started_ns, now_ns
            return started_ns
        state = self.know(optimizer)
        started_ns, state.started_ns, state.has_stepped = state.started_ns, now_ns, True
        return started_ns

    def begin(self, now_ns: int) -> None:
        """Start the clock of everybody's next step."""
        self.started_ns = now_ns
        for state in self._states.values():
            state.started_ns = now_ns


def unwrapped(optimizer: Any) -> Any:
    """Return the torch optimizer inside the wrapper of Accelerate, Lightning or a script."""
    inner = getattr(optimizer, "optimizer", None)
    while isinstance(inner, Optimizer) and inner is not optimizer:
        optimizer, inner = inner, getattr(inner, "optimizer", None)
    return optimizer


def _sum(total: Tensor | None, loss: Tensor) -> Tensor:
    return loss if total is None else total + loss.to(total.device, non_blocking=True)
