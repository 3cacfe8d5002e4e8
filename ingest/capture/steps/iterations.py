"""Which optimizer steps make one step of the training: those on gradients of one backward pass.

An iteration stays open while an optimizer is left that may step on what others have stepped on, and
inside a backward pass or a wrapper's step. Whom an optimizer steps with is learned from its first steps.
"""

from typing import Any

from thermograd.ingest.capture.optimizers import Optimizers, Passes, State, do_share
from thermograd.ingest.capture.readback import Scalar, tensor_of
from thermograd.ingest.capture.situation import is_inside_backward
from thermograd.ingest.capture.steps.iteration import Iteration, Part
from thermograd.ingest.capture.steps.rows import Rows
from thermograd.ingest.capture.watched import Watched

_UNSEEN_AFTER = 3  # iterations; an optimizer that has not stepped by then is not waited for
_KNOWN_AFTER = 2  # steps; by then it is known which optimizers an optimizer steps with


class Iterations:
    """Puts steps together and hands each iteration on to `rows`; with `is_deferred` a callback lets it go.

    `steps` counts the optimizer steps seen.
    """

    def __init__(self, optimizers: Optimizers, watched: Watched, rows: Rows, is_deferred: bool) -> None:
        self._optimizers, self._watched, self._rows = optimizers, watched, rows
        self.is_deferred = is_deferred
        self.steps = 0
        self._open: Iteration | None = None
        self._closed: Iteration | None = None  # the one before

    @property
    def is_open(self) -> bool:
        """Whether a step has been seen that is not on its way yet."""
        return self._open is not None

    def stepped_inside(self) -> list[State]:
        """Return who has stepped inside the backward pass that is going on."""
        parts = self._open.parts if self._open is not None else []
        return [part.state for part in parts if part.is_inside and part.state is not None]

    def set_loss(self, loss: Scalar | None) -> None:
        """Set the loss of the backward pass that the steps were made inside of."""
        if self._open is not None:
            self._open.loss = loss

    def join(self, part: Part) -> None:
        """Add a step that has been made to the iteration that it belongs to."""
        self.steps += 1
        part.end()
        state, optimizer = part.state, part.optimizer()
        if state is None:
            loss = self._optimizers.take_unknown()
            is_mean = loss is not None and part.loss_parts > 1
            part.loss = tensor_of(loss) / part.loss_parts if loss is not None and is_mean else loss
            part.started_ns = self._optimizers.restart_engine(part.monotonic_ns)
        else:
            part.is_inside = is_inside_backward()
            now = self._optimizers.passes + 1
            part.passes, part.was_dropped = state.passes, state.was_dropped
            if part.is_inside and state.passes is None:
                part.passes = Passes(now, now)
            part.loss = self._optimizers.take(state)
            part.started_ns, state.started_ns = state.started_ns, part.monotonic_ns
        if self._open is not None and not self._belongs(part):
            self.close()
        self._make_partners(part)
        if self._open is None:
            self._open = Iteration()
        self._open.add(part)
        self._watched.has_stepped(optimizer)
        if state is not None:
            state.steps, state.was_dropped = state.steps + (not part.skipped), False
            state.spend()
        self.close_if_whole()

    def _make_partners(self, part: Part) -> None:
        """Remember who steps on gradients of the same pass, also where the one before was not waited for."""
        last = self._open if self._open is not None else self._closed
        for other in last.parts if last is not None else ():
            first, second = part.state, other.state
            is_near = last is self._open or other.passes is not None
            if first and second and first is not second and is_near and do_share(part.passes, other.passes):
                first.partners.add(second)
                second.partners.add(first)

    def _belongs(self, part: Part) -> bool:
        assert self._open is not None
        if part.state is None:
            return False
        if part.optimizer() in self._open:
            return self._watched.depth > 0
        if is_inside_backward() or self._watched.depth or self._is_watched_with(part.optimizer()):
            return True
        return any(do_share(part.passes, p.passes) for p in self._open.parts)

    def _is_watched_with(self, optimizer: Any) -> bool:
        assert self._open is not None
        return any(self._watched.are_one(optimizer, p.optimizer()) for p in self._open.parts)

    def may_step(self, state: State) -> bool:
        """Whether an optimizer may step: there are some that never do."""
        return state.steps > 0 or self._rows.made < _UNSEEN_AFTER

    def _is_awaited(self, state: State) -> bool:
        """Whether an optimizer may be the next that steps in this iteration, as far as is known."""
        assert self._open is not None
        if not self.may_step(state):
            return False
        if state.steps >= _KNOWN_AFTER and not any(p.state in state.partners for p in self._open.parts):
            return False
        return self._open.shares_pass(state) and state.is_pending()

    def close_if_whole(self) -> None:
        """End the iteration where nobody is left who steps on what it stepped on."""
        iteration = self._open
        if iteration is None or is_inside_backward() or self._watched.depth:
            return
        for state in self._optimizers.all():
            optimizer = state.optimizer()
            if optimizer is None or optimizer in iteration or not self._watched.counts(optimizer):
                continue
            if not state.ids <= iteration.ids and (
                self._is_watched_with(optimizer) or self._is_awaited(state)
            ):
                return
        self.close()

    def close_unless_watched_as_one(self) -> None:
        """End the iteration, but where optimizers that are watched as one have yet to step."""
        iteration = self._open
        if iteration is None:
            return
        waits = (s.optimizer() for s in self._optimizers.all() if not s.ids <= iteration.ids)
        if not any(o is not None and o not in iteration and self._is_watched_with(o) for o in waits):
            self.close()

    def close(self) -> None:
        """End the iteration: its row is on its way."""
        iteration, self._open = self._open, None
        if iteration is not None:
            self._closed = iteration
            self._rows.add(iteration, self.is_deferred)
