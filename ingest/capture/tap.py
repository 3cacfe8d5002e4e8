"""The tap: sees every optimizer step of this process without computing or waiting for anything.

Gradient clipping already computes the norm before clipping at every step, so the tap stands where
`torch.nn.utils.clip_grad` hands it on. Where clipping does not see all that the optimizer steps on, and
nothing else, the norm is taken at the end of the backward pass, before anybody can clip by hand; in the
first steps and now and then it is taken there anyway, to notice that (`thermograd.ingest.capture.by_hand`).
The loss of a step is the sum of the scalars that ``backward`` was called on since the gradients were last
zeroed or used. `thermograd.ingest.capture.readback` says how values leave the device.

What is seen, and the rule for each situation, is in ``tests/ingest/capture``.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from thermograd.ingest.capture import hooks
from thermograd.ingest.capture.engines.engine import EngineStep
from thermograd.ingest.capture.framework_steps import FrameworkSteps
from thermograd.ingest.capture.gradients import gradient_norm, local_norm, world_size
from thermograd.ingest.capture.layer_norms import LayerNorms
from thermograd.ingest.capture.optimizers import Optimizers, State
from thermograd.ingest.capture.readback import own_copy
from thermograd.ingest.capture.steps.clips import Clip
from thermograd.ingest.capture.steps.iteration import Part
from thermograd.ingest.capture.steps.iterations import Iterations
from thermograd.ingest.capture.steps.norms import StepNorms
from thermograd.ingest.capture.steps.rows import Rows
from thermograd.ingest.capture.watched import Watched
from thermograd.store.failures import Guard, guarded
from torch import Tensor


class _UnderWay(threading.local):
    """Steps that are being made by this thread, those inside others last."""

    def __init__(self) -> None:
        self.parts: list[Part] = []


class StepTap:
    """Turns what happens inside the training loop into one `step` event an iteration.

    `emit` takes the columns of a step as keyword arguments, with ``time_ns`` and ``monotonic_ns``; `note`
    takes what readers must know about the steps, as text and keyword arguments. A step ends when the
    optimizer has stepped, or, with `deferred_end`, when a callback that knows number and epoch calls
    `finish_step`. The `guard` counts the steps that could not be read.

    Several optimizers: without `watch` every optimizer of the process counts. Steps of different
    optimizers on gradients of one backward pass are one step, with the norm of all (Muon and AdamW, a hook
    a parameter); steps on gradients of different passes (GAN) are each a step, unless they are watched
    together. An optimizer that is stepped inside another one's step belongs to that step.
    """

    def __init__(
        self,
        emit: Callable[..., object],
        rank: int = 0,
        deferred_end: bool = False,
        note: Callable[..., object] = lambda text, **detail: None,
        layers: LayerNorms | None = None,
    ) -> None:
        self._layers = layers
        self._watched = Watched()
        self._optimizers = Optimizers()
        self._under_way = _UnderWay()
        self._spent_clip: list[State] = []
        self._met = 0
        self._is_numbered = False
        self._seen_before = 0
        self._framework = FrameworkSteps()
        self._rows = Rows(emit, note, rank, layers)
        self._norms = StepNorms(self._optimizers, self._watched, layers)
        self._iterations = Iterations(self._optimizers, self._watched, self._rows, deferred_end)
        self.guard = Guard("thermograd could not read a training step (%(error)s); training goes on")

    @property
    def deferred_end(self) -> bool:
        """Whether a callback ends the steps."""
        return self._iterations.is_deferred

    @deferred_end.setter
    def deferred_end(self, is_deferred: bool) -> None:
        self._iterations.is_deferred = is_deferred

    @property
    def steps(self) -> int:
        """Number of the last step; a callback that resumes a training may set it."""
        return self._rows.steps

    @steps.setter
    def steps(self, number: int) -> None:
        self._rows.steps, self._is_numbered = number, True

    @property
    def latest_step(self) -> int:
        """Number of the last step, also of one whose values have not come from the device."""
        return self._rows.latest

    @property
    def epoch(self) -> float | None:
        """Epoch of steps that `finish_step` does not end; a callback may set it."""
        return self._rows.epoch

    @epoch.setter
    def epoch(self, epoch: float | None) -> None:
        self._rows.epoch = epoch

    @guarded
    def watch(self, *optimizers: Any) -> None:
        """Count only the steps of these (and of others watched before); several given at once are one step.

        What holds torch's optimizers inside is found, and so is an object of a script's own with a `step`.
        """
        for optimizer in self._watched.add(optimizers):
            self._optimizers.know(optimizer)

    @guarded
    def watch_found(self, optimizers: list[Any], name: str) -> None:
        """Watch optimizers that were found for a model, which has one or the other of them step."""
        self._watched.add_found(optimizers, name)
        for optimizer in optimizers:
            self._optimizers.know(optimizer)

    @guarded
    def expect(self, *optimizers: Any) -> None:
        """Know optimizers before they step, without ruling out others."""
        for wrapper in optimizers:
            for optimizer in self._watched.inside(wrapper):
                self._optimizers.know(optimizer)

    def never_stepped(self) -> list[str]:
        """Return what is watched and has not stepped, in words."""
        return self._watched.never_stepped()

    def watched_names(self) -> list[str]:
        """Return what is watched, in words."""
        return self._watched.names()

    def start(self) -> None:
        """Begin to see steps."""
        hooks.add(self)

    def stop(self) -> None:
        """See no more steps; emit what was still on its way."""
        hooks.remove(self)
        with self.guard:
            self._iterations.close()
            self._rows.drain(wait=True)

    @property
    def on_step(self) -> Callable[[int | None], object] | None:
        """What is called with the number of each step that has ended; it raises only what is the user's."""
        return self._rows.on_step

    @on_step.setter
    def on_step(self, hear: Callable[[int | None], object] | None) -> None:
        self._rows.on_step = hear

    def skip_time(self, duration_ns: int) -> None:
        """Take time out of the step under way that is not the training's."""
        self._optimizers.skip(duration_ns)

    def optimizers(self) -> list[Any]:
        """Return the optimizers that are known."""
        known = (state.optimizer() for state in self._optimizers.all())
        return [optimizer for optimizer in known if optimizer is not None]

    def begin_step(self) -> None:
        """Start the clock of the coming step here: what came before (an evaluation) is not part of it."""
        self._optimizers.begin(time.monotonic_ns())

    @guarded
    def finish_step(self, step: int | None = None, epoch: float | None = None) -> None:
        """End a step that a callback delimits; one without an optimizer step was skipped."""
        if not self._iterations.is_open and not self._rows.is_holding:
            self._iterations.join(self._norms.skipped(None))
        self._iterations.close()
        self._rows.release(step, epoch)

    # -- what the hooks see ----------------------------------------------------------------------

    @guarded
    def before_backward(self) -> None:
        """Forget what the last step has used; remember whose gradients change."""
        if not self._watched.depth:
            under_way = self._under_way.parts
            if under_way and not under_way[-1].has_closure:
                under_way.clear()  # a step that raised
            if not under_way:
                self._iterations.close_unless_watched_as_one()
        self._norms.clips.forget_done()
        self._meet()
        self._optimizers.before_pass()

    @guarded
    def saw_loss(self, loss: Tensor) -> None:
        """Add a loss that a backward pass began from to the coming step's."""
        self._optimizers.add(own_copy(loss))

    @guarded
    def after_backward(self, scale: Tensor | None = None) -> None:
        """Gradients have changed: take their norm where it may be needed; `scale` is on the loss."""
        stepped = self._iterations.stepped_inside()
        changed, loss = self._optimizers.after_pass(stepped)
        if stepped:
            self._iterations.set_loss(loss)
        known = self._optimizers.all()
        if len(known) < 2 or not changed:
            self._norms.clips.outdate(None)
        for state in changed:
            if len(known) > 1:
                self._norms.clips.outdate(state.ids)
            if self._counts(state.optimizer()) and self._iterations.may_step(state):
                state.measure(scale, self._layers)
        if not self._under_way.parts:
            self._iterations.close_if_whole()

    @guarded
    def saw_clip(
        self, parameters: list[Tensor], max_norm: float | None, norm: Tensor | None, is_given: bool
    ) -> None:
        """Keep the norm before clipping for the step that uses the gradients; None: not L2, or not known.

        `is_given`: the script has the total from somewhere and may clip in several calls. Gradients that
        a step has used already are measured for a log line, and no step will use them.
        """
        if parameters and not any(p.grad is not None for p in parameters):
            return
        owners = self._optimizers.owners(parameters)
        spent = [state for state in owners if state.passes is None and state.is_spent()]
        if spent and len(spent) == len(owners):
            self._spent_clip = spent
            return
        if is_given and world_size() == 1:
            norm, is_given = None, False  # of what the total is can only be known where ranks share it
        known = gradient_norm(parameters) if norm is None else local_norm(norm)
        for state in owners:
            if state.left is not None and state.left.sketch is not None and not state.left.sketch.is_compared:
                state.left.sketch.look_again()
        bound = None if max_norm is None or max_norm == float("inf") else float(max_norm)
        clip = Clip(parameters, bound, known, is_given)
        if is_given or not parameters:
            self._forget_sketches()
        if self._norms.clips.add(clip) and self._layers is not None and not is_given:
            clip.layers = self._layers.measure(clip.parameters)

    def _forget_sketches(self) -> None:
        """Drop what cannot be compared: compiled code and FSDP tell of a clip when it is done."""
        for state in self._optimizers.all():
            if state.left is not None:
                state.left = state.left._replace(sketch=None)

    @guarded
    def after_clip(self) -> None:
        """Where gradients were clipped that nobody will step on, they are still such ones."""
        states, self._spent_clip = self._spent_clip, []
        for state in states:
            state.spend()

    @guarded
    def before_step(self, optimizer: Any, has_closure: bool) -> None:
        """Begin to put a step together; an optimizer inside another belongs to that one."""
        if not self._counts(optimizer):
            return
        self._know_new_ones()
        under_way = self._under_way.parts
        while any(part.optimizer() is optimizer for part in under_way):
            under_way.pop()  # its last step raised
        part = Part(optimizer, has_closure)
        under_way.append(part)
        if len(under_way) == 1 and not has_closure:  # with one the gradients are those of the step before
            self._norms.take(part, optimizer)

    @guarded
    def after_step(self, optimizer: Any, has_closure: bool) -> None:
        """Finish the step."""
        under_way = self._under_way.parts
        if not under_way or under_way[-1].optimizer() is not optimizer:
            return
        part = under_way.pop()
        if under_way:
            return
        if has_closure:  # it ran inside the step: its gradients are there now
            self._norms.take(part, optimizer)
        self._iterations.join(part)

    @guarded
    def before_wrapper(self, wrapper: Any, has_closure: bool) -> None:
        """Begin the step of a wrapper that is watched: whatever steps inside is one step."""
        if self._watched.enter(wrapper):
            self.before_step(wrapper, has_closure)

    @guarded
    def after_wrapper(self, wrapper: Any, has_closure: bool) -> None:
        """Finish it."""
        if self._watched.leave(wrapper):
            self.after_step(wrapper, has_closure)
        else:
            self._iterations.close_if_whole()

    @guarded
    def before_scaler_step(self, optimizer: Any, pending_scale: Callable[[], Tensor | None]) -> None:
        """Remember what changes if the scaler lets the optimizer step, and how to ask for its scale."""
        self._seen_before, self._norms.pending_scale = self._iterations.steps, pending_scale
        self._norms.clip_scale = pending_scale()

    @guarded
    def after_scaler_step(self, optimizer: Any) -> None:
        """Finish a step that the scaler left out."""
        for inner in self._watched.inside(optimizer)[-1:]:
            if self._iterations.steps == self._seen_before and self._counts(inner):
                self._iterations.join(self._norms.skipped(inner))
        self._norms.clip_scale, self._norms.pending_scale = None, lambda: None

    @guarded
    def zeroed(self, owner: Any) -> None:
        """Drop the losses; gradients that were clipped and then dropped are a skipped step."""
        for optimizer, state in self._optimizers.zeroed_by(owner):
            if not self._counts(optimizer):
                continue
            unused = self._norms.clips.unused(state.ids)
            is_closure = any(part.optimizer() is optimizer for part in self._under_way.parts)
            if unused is not None and not is_closure:  # a closure may begin anew in its step
                part = self._norms.skipped(optimizer)
                part.is_measured_only = unused.max_norm is None
                self._iterations.join(part)
            state.was_dropped = state.was_dropped or state.passes is not None
            state.loss = None
            state.spend()
        if not self._under_way.parts:
            self._iterations.close_if_whole()

    @guarded
    def saw_engine_step(self, step: EngineStep) -> None:
        """Finish a step that an engine which owns the optimizer has made or left out."""
        self._iterations.close()
        norm, part = step.norm, Part(None)
        part.learning_rate, part.skipped = step.learning_rate, step.skipped
        part.max_norm, part.loss_parts = step.max_norm, step.loss_parts
        if norm is not None:
            part.seen = local_norm(norm if isinstance(norm, Tensor) else torch.tensor(float(norm)))
        self._iterations.join(part)

    def _counts(self, optimizer: Any) -> bool:
        return self._watched.counts(optimizer)

    def _meet(self) -> None:
        """Know the optimizers that there are, and the number that a framework's training begins at."""
        if not self._is_numbered and (begun_at := self._framework.begun_at()) is not None:
            self._rows.steps = begun_at
        self._know_new_ones()

    def _know_new_ones(self) -> None:
        if self._met != hooks.created.count:
            self._met = hooks.created.count
            for optimizer in filter(self._counts, list(hooks.created.optimizers)):
                self._optimizers.know(optimizer)
