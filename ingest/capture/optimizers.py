"""The optimizers of a training, whose gradients a backward pass changed, and the losses yet to step on."""

import weakref
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from thermograd.ingest.capture.by_hand import AFTER, BEFORE, HandChanges, Sketch, sketch_of, spread
from thermograd.ingest.capture.gradients import GradientNorm, gradient_norm, parameters_of, without_scale
from thermograd.ingest.capture.layer_norms import LayerNorms, LayerReading
from thermograd.ingest.capture.readback import Scalar, tensor_of
from thermograd.ingest.capture.wrappers import optimizers_in
from torch import Tensor
from torch.optim import Optimizer

_MOST_PROBES = 8
_LOOK_AT_FIRST, _LOOK_EVERY = 8, 50


class Passes(NamedTuple):
    """The first and the last backward pass that added to an optimizer's gradients since its last step."""

    first: int
    last: int


def do_share(first: Passes | None, second: Passes | None) -> bool:
    """Whether gradients are of one backward pass; those that a script has put there go together."""
    if first is None or second is None:
        return first is second
    return first.last == second.last or first.first == second.first


class LeftBehind(NamedTuple):
    """What a backward pass left: the norm, a few entries, and the layers where they are measured."""

    norm: GradientNorm
    sketch: Sketch | None
    layers: LayerReading | None
    is_unscaled: bool  # a scale that the loss was multiplied by is taken out


class State:
    """What is known of one optimizer."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = weakref.ref(optimizer)
        self.changes = HandChanges()
        self.loss: Scalar | None = None
        self.passes: Passes | None = None
        self.left: LeftBehind | None = None
        self.started_ns: int | None = None
        self.steps = 0
        self.partners: weakref.WeakSet[State] = weakref.WeakSet()  # who has stepped in the same iteration
        self.is_covered = False  # clipping saw the gradients of the last step, all of them and no other
        self.was_dropped = False  # gradients of a backward pass were zeroed without a step
        self.registered: set[int] | None = None
        self._spent: list[tuple[int, int]] | None = None
        self.refresh(optimizer)

    def refresh(self, optimizer: Any) -> None:
        """Learn the parameters anew."""
        parameters = list(parameters_of(optimizer))
        self.ids = set(map(id, parameters))
        chosen = spread([p for p in parameters if p.requires_grad], _MOST_PROBES)
        self._chosen = [weakref.ref(p) for p in chosen]
        self._outline = _outline(optimizer)
        self._before: list[tuple[int, int]] = []

    def parameters(self) -> list[Tensor]:
        """Return the optimizer's parameters as they are now."""
        optimizer = self.optimizer()
        self._refresh_if_stale(optimizer)
        return list(parameters_of(optimizer)) if optimizer is not None else []

    def _refresh_if_stale(self, optimizer: Any) -> None:
        if optimizer is not None and _outline(optimizer) != self._outline:
            self.refresh(optimizer)

    def _probes(self) -> list[tuple[int, int]]:
        """Return what changes when somebody changes gradients, of a few parameters."""
        gradients = [p.grad if (p := ref()) is not None else None for ref in self._chosen]
        return [(id(g), g._version) if g is not None else (0, 0) for g in gradients]

    def remember(self) -> None:
        """Look at the gradients before a backward pass."""
        self._refresh_if_stale(self.optimizer())
        self._before = self._probes()

    def has_changed(self) -> bool:
        """Whether the backward pass has changed gradients that are looked at."""
        return self._probes() != self._before

    # -- from backward pass to step ------------------------------------------------------------------

    def add_pass(self, number: int, loss: Scalar | None) -> None:
        """Note a backward pass that has added to the gradients, and its loss."""
        self.passes = Passes(self.passes.first if self.passes is not None else number, number)
        self._spent = None
        if loss is not None:
            self.loss = _sum(self.loss, loss)

    def measure(self, scale: Tensor | None, layers: LayerNorms | None) -> None:
        """Take the norm of what a backward pass has left, without the loss `scale`, where it is wanted."""
        self.left = None
        if not self.is_measured:
            return
        parameters = self.parameters()
        norm = gradient_norm(parameters)
        if norm is not None:
            sketch = sketch_of(parameters, scale) if self.is_looked_at and not norm.is_shard else None
            reading = layers.measure(parameters) if layers is not None else None
            self.left = LeftBehind(without_scale(norm, scale), sketch, reading, scale is not None)

    @property
    def is_looked_at(self) -> bool:
        """Whether this step is one in which it is looked for changes by hand."""
        if self.changes.verdict is not None:
            return False
        return self.steps < _LOOK_AT_FIRST or self.steps % _LOOK_EVERY == 0 or self.changes.is_open

    @property
    def is_measured(self) -> bool:
        """Whether the norm is taken at the end of a backward pass: where clipping does not see it all."""
        if self.changes.verdict == AFTER:
            return False
        return self.changes.verdict == BEFORE or not self.is_covered or self.is_looked_at

    def spend(self) -> None:
        """Note that the gradients have been used, or dropped: until they change, nobody will step on them."""
        self.passes = self.left = None
        self._spent = self._probes()

    def is_pending(self) -> bool:
        """Whether there are gradients that nobody has stepped on, also ones that a script has put there."""
        if self.passes is not None:
            return True
        probes = self._probes()
        return probes != self._spent and any(key for key, _ in probes)

    def is_spent(self) -> bool:
        """Whether the gradients are what a step, or who dropped them, left."""
        return self._spent is not None and self._spent == self._probes()

    def shares_pass(self, passes: Passes | None) -> bool:
        """Whether the gradients come from a backward pass that others also step on."""
        return do_share(self.passes, passes)


class Optimizers:
    """The optimizers that count, and the loss that each has yet to step on.

    With one optimizer every loss is its own. With several, a loss belongs to those whose gradients its
    backward pass changed; a gradient penalty or a frozen part that changes none of those that are looked
    at belongs to all.
    """

    def __init__(self) -> None:
        self._states: weakref.WeakKeyDictionary[Any, State] = weakref.WeakKeyDictionary()
        self._latest: State | None = None  # that was asked for: with one optimizer always the same
        self._listed: list[State] = []
        self._owners: dict[int, list[State]] = {}
        self._unknown: Scalar | None = None
        self._in_pass: Scalar | None = None
        self._has_stepped = False
        self._is_looked_at = False
        self.passes = 0
        self.started_ns: int | None = None

    def all(self) -> list[State]:
        """Return what is known of each."""
        if len(self._listed) != len(self._states):
            self._listed = list(self._states.values())
        return self._listed

    def know(self, optimizer: Any) -> State:
        """Return what is known of an optimizer; of a new one, the losses since the last step are its."""
        state = self._latest
        if state is None or state.optimizer() is not optimizer:
            state = self._latest = self._states.get(optimizer)
        if state is None:
            state = self._states[optimizer] = State(optimizer)
            self._listed = []
            state.loss = None if self._has_stepped else self._unknown  # a step has used it
            state.started_ns = self.started_ns
        if state.registered is not state.ids:
            state.registered = state.ids
            for key in state.ids:
                self._owners.setdefault(key, []).append(state)
        return state

    def owners(self, parameters: Sequence[Tensor]) -> list[State]:
        """Return whose parameters these are, as some of them tell."""
        found = [state for p in spread(parameters, 3) for state in self._owners.get(id(p), ())]
        return list({id(s): s for s in found if s.optimizer() is not None}.values())

    # -- backward passes -----------------------------------------------------------------------------

    def before_pass(self) -> None:
        """Look at the gradients: it must be told whose change."""
        states, self._in_pass = self.all(), None
        self._is_looked_at = len(states) > 1 or any(state.is_measured for state in states)
        for state in states if self._is_looked_at else ():
            state.remember()

    def add(self, loss: Scalar | None) -> None:
        """Add a loss that the backward pass began from."""
        if loss is not None:
            self._in_pass = _sum(self._in_pass, loss)

    def after_pass(self, stepped: Collection[Any]) -> tuple[list[State], Scalar | None]:
        """Give the loss to those whose gradients have changed; return those that were seen to change, and it.

        Those that have stepped inside the backward pass have used theirs.
        """
        self.passes += 1
        loss, self._in_pass = self._in_pass, None
        if loss is not None:
            if self._has_stepped:
                self._unknown, self._has_stepped = None, False
            self._unknown = _sum(self._unknown, loss)
        states = [state for state in self.all() if state not in stepped]
        changed = [state for state in states if self._is_looked_at and state.has_changed()]
        self._is_looked_at = False
        for state in changed or states:
            state.add_pass(self.passes, loss)
        return changed, loss

    # -- steps ---------------------------------------------------------------------------------------

    def take_unknown(self) -> Scalar | None:
        """Return the loss that an engine steps on of which nothing is known."""
        self._has_stepped = True
        loss, self._unknown = self._unknown, None
        for state in self.all():
            state.loss = None
        return loss

    def take(self, state: State) -> Scalar | None:
        """Return the loss that an optimizer steps on."""
        self._has_stepped = True
        loss, state.loss = state.loss, None
        return loss

    def zeroed_by(self, owner: Any) -> Iterator[tuple[Any, State]]:
        """Iterate over the optimizers whose gradients an optimizer or module has dropped."""
        if hasattr(owner, "param_groups"):
            inner = optimizers_in(owner)
            for optimizer in (owner, *inner):
                if optimizer in self._states or (not inner and isinstance(owner, Optimizer)):
                    yield optimizer, self.know(optimizer)
            return
        held: set[int] | None = None
        for optimizer, state in list(self._states.items()):
            if state.passes is not None or state.loss is not None:
                held = held if held is not None else set(map(id, owner.parameters()))
                if state.ids <= held:
                    yield optimizer, state

    def restart_engine(self, now_ns: int) -> int | None:
        """Start the clock of an engine's next step; return when it was started for this one."""
        started_ns, self.started_ns = self.started_ns, now_ns
        return started_ns

    def begin(self, now_ns: int) -> None:
        """Start the clock of everybody's next step."""
        self.started_ns = now_ns
        for state in self.all():
            state.started_ns = now_ns

    def skip(self, duration_ns: int) -> None:
        """Take time out of everybody's step under way."""
        if self.started_ns is not None:
            self.started_ns += duration_ns
        for state in self.all():
            if state.started_ns is not None:
                state.started_ns += duration_ns


def _outline(optimizer: Any) -> list[tuple[int, ...]]:
    """Return what changes when parameters come, go or are exchanged."""
    groups = getattr(optimizer, "param_groups", None)
    lists = [g["params"] for g in groups] if groups is not None else [list(parameters_of(optimizer))]
    return [(len(held), *map(id, (held[0], held[-1]))) if held else (0,) for held in lists]


def _sum(total: Scalar | None, loss: Scalar) -> Scalar:
    if total is None:
        return loss
    first = tensor_of(total)
    return first + tensor_of(loss).to(first.device, non_blocking=True)
