"""The tap: sees every optimizer step of this process without computing or waiting for anything.

Gradient clipping already computes the norm before clipping at every step, so the tap stands where
`torch.nn.utils.clip_grad` hands it on; where nothing clips, it computes the norm itself in an optimizer
hook. The loss of a step is the sum of the scalars that ``backward`` was called on since the gradients
were last zeroed or used. `thermograd.ingest.capture.readback` says how values leave the device.

What is seen, and the rule for each situation, is in ``tests/ingest/capture``.
"""

import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from thermograd.ingest.capture import hooks
from thermograd.ingest.capture.clips_and_losses import Clip, Clips, Optimizers, unwrapped
from thermograd.ingest.capture.gradients import (
    GradientNorm,
    combine,
    gradient_norm,
    local_norm,
    parameters_of,
)
from thermograd.ingest.capture.layer_norms import LayerNorms, LayerReading
from thermograd.ingest.capture.readback import Readback, own_copy
from thermograd.store.failures import Guard, guarded
from torch import Tensor
from torch.optim import Optimizer


class _Step:
    """An optimizer step that is being put together."""

    def __init__(self, optimizer: Any, has_closure: bool) -> None:
        self.optimizer = weakref.ref(optimizer) if optimizer is not None else lambda: None
        self.has_closure = has_closure
        groups = getattr(optimizer, "param_groups", ())
        self.learning_rate: Any = groups[0].get("lr") if groups else None
        self.norm: GradientNorm | None = None
        self.max_norm: float | None = None
        self.grad_scale: Any = None
        self.found_inf: Any = None
        self.layers: LayerReading | None = None


class StepTap:
    """Turns what happens inside the training loop into one `step` event an optimizer step.

    `emit` takes the columns of a step as keyword arguments, with ``time_ns`` and ``monotonic_ns``; `note`
    takes what readers must know about the steps, as text and keyword arguments. A step ends when the
    optimizer has stepped, or, with `deferred_end`, when a callback that knows number and epoch calls
    `finish_step`. The `guard` counts the steps that could not be read.

    Several optimizers: every step of a watched optimizer is a step; without `watch` every optimizer of
    the process counts. An optimizer that is stepped inside another one's step belongs to that step.
    """

    def __init__(
        self,
        emit: Callable[..., object],
        rank: int = 0,
        deferred_end: bool = False,
        note: Callable[..., object] = lambda text, **detail: None,
        layers: LayerNorms | None = None,
    ) -> None:
        self._emit, self._note, self._layers = emit, note, layers
        self._rank = rank
        self.deferred_end = deferred_end
        self._watched: weakref.WeakSet[Any] = weakref.WeakSet()
        self._clips = Clips()
        self._optimizers = Optimizers()
        self._clip_scale: Tensor | None = None
        self._under_way: list[_Step] = []
        self._closed_steps = self._closed_before = 0
        self._held: dict[str, Any] | None = None
        self._queue: deque[tuple[dict[str, Any], Readback, LayerReading | None]] = deque()
        self._said: set[str] = set()
        self.steps = 0  # number of the last; a callback that resumes a training may set it
        self.epoch: float | None = None  # of steps that `finish_step` does not end; a callback may set it
        self.guard = Guard("thermograd could not read a training step (%(error)s); training goes on")

    def watch(self, optimizer: Any) -> None:
        """Count only the steps of this optimizer (and of others watched before)."""
        inner = unwrapped(optimizer)
        self._watched.add(inner)
        self._optimizers.know(inner)

    def start(self) -> None:
        """Begin to see steps."""
        hooks.add(self)

    def stop(self) -> None:
        """See no more steps; emit what was still on its way."""
        hooks.remove(self)
        with self.guard:
            self._drain(wait=True)

    def begin_step(self) -> None:
        """Start the clock of the coming step here: what came before (an evaluation) is not part of it."""
        self._optimizers.begin(time.monotonic_ns())

    @guarded
    def finish_step(self, step: int | None = None, epoch: float | None = None) -> None:
        """End a step that a callback delimits; one without an optimizer step was skipped."""
        if self._held is None:
            self._close(self._skipped(None))
        row, self._held = self._held, None
        if row is not None:
            self._deliver(row, step, epoch)

    # -- what the hooks see ----------------------------------------------------------------------

    @guarded
    def before_backward(self) -> None:
        """Forget what the last step has used; remember whose gradients change."""
        if self._under_way and not self._under_way[-1].has_closure:
            self._under_way.clear()  # a step that raised
        self._clips.new_window()
        self._optimizers.before_backward()

    @guarded
    def after_backward(self, loss: Tensor) -> None:
        """Add the loss to the coming step's."""
        self._optimizers.add(own_copy(loss))

    @guarded
    def saw_clip(
        self, parameters: list[Tensor], max_norm: float | None, norm: Tensor | None, is_given: bool
    ) -> None:
        """Keep the norm before clipping for the step that uses the gradients; None: not L2, or not known.

        `is_given`: the script worked the total out itself and may clip in several calls.
        """
        known = gradient_norm(parameters) if norm is None else local_norm(norm)
        bound = None if max_norm is None or max_norm == float("inf") else float(max_norm)
        fresh = self._clips.add(Clip(parameters, bound, known, is_given))
        if fresh and self._layers is not None and not is_given:
            self._clips.layers = self._layers.measure(parameters)

    @guarded
    def before_step(self, optimizer: Optimizer, has_closure: bool) -> None:
        """Begin to put a step together; an optimizer inside another belongs to that one."""
        if not self._counts(optimizer):
            return
        while any(step.optimizer() is optimizer for step in self._under_way):
            self._under_way.pop()  # its last step raised
        step = _Step(optimizer, has_closure)
        self._under_way.append(step)
        if len(self._under_way) > 1:
            return
        step.grad_scale = getattr(optimizer, "grad_scale", None)
        step.found_inf = getattr(optimizer, "found_inf", None)
        if not has_closure:  # with a closure the gradients are those of the step before
            self._take_norm(step, optimizer)

    @guarded
    def after_step(self, optimizer: Optimizer, has_closure: bool) -> None:
        """Finish the step."""
        if not self._under_way or self._under_way[-1].optimizer() is not optimizer:
            return
        step = self._under_way.pop()
        if self._under_way:
            return
        if has_closure:  # it ran inside the step: its gradients are there now
            self._take_norm(step, optimizer)
        self._close(self._row(step, optimizer, skipped=False))

    @guarded
    def before_scaler_step(self, optimizer: Any, scale: Tensor | None) -> None:
        """Remember what changes if the scaler lets the optimizer step; gradients hold `scale` until then."""
        self._closed_before, self._clip_scale = self._closed_steps, scale

    @guarded
    def after_scaler_step(self, optimizer: Any) -> None:
        """Finish a step that the scaler left out."""
        optimizer = unwrapped(optimizer)
        if self._closed_steps == self._closed_before and self._counts(optimizer):
            self._close(self._skipped(optimizer))
        self._clip_scale = None

    @guarded
    def zeroed(self, owner: Any) -> None:
        """Drop the losses; gradients that were clipped and then dropped are a skipped step."""
        for optimizer, state in self._optimizers.zeroed_by(owner):
            if self._counts(optimizer) and self._clips.has_unused(state.ids):
                self._close(self._skipped(optimizer))  # clipped, and then dropped without a step
            state.loss = None

    @guarded
    def saw_engine_step(self, norm: Any, learning_rate: Any, skipped: bool) -> None:
        """Finish a step that an engine which owns the optimizer has made or left out."""
        step = _Step(None, False)
        step.learning_rate = learning_rate
        if norm is not None:
            step.norm = local_norm(norm if isinstance(norm, Tensor) else torch.tensor(float(norm)))
        self._close(self._row(step, None, skipped))

    def _counts(self, optimizer: Any) -> bool:
        return not self._watched or optimizer in self._watched

    # -- from step to event ----------------------------------------------------------------------

    def _take_norm(self, step: _Step, optimizer: Optimizer) -> None:
        """Take the norm that clipping saw, or work it out, undoing a loss scale still pending."""
        clipped = self._clips.take(id(optimizer), self._optimizers.know(optimizer).ids)
        step.layers, self._clips.layers = self._clips.layers, None
        if clipped is not None:
            step.norm, step.max_norm, step.grad_scale = clipped.norm, clipped.max_norm, self._clip_scale
            return
        step.norm = gradient_norm(parameters_of(optimizer))
        if step.has_closure:
            step.grad_scale = None  # undone inside the step
        if self._layers is not None:
            step.layers = self._layers.measure(list(parameters_of(optimizer)))

    def _skipped(self, optimizer: Any) -> dict[str, Any]:
        """Return the row of a step that the optimizer did not make."""
        step = _Step(optimizer, False)
        if optimizer is not None:
            self._take_norm(step, optimizer)
        elif (clipped := self._clips.take(0, None)) is not None:
            step.norm, step.max_norm = clipped.norm, clipped.max_norm
        return self._row(step, optimizer, skipped=True)

    def _row(self, step: _Step, optimizer: Any, skipped: bool) -> dict[str, Any]:
        now_ns = time.monotonic_ns()
        started_ns = self._optimizers.restart(optimizer, now_ns)
        norms = step.norm.parts if step.norm is not None else ()
        self._say(step, optimizer)
        tensors: dict[str, Any] = {f"norm{i}": part for i, part in enumerate(norms)}
        tensors |= {"loss": self._optimizers.take(optimizer), "scale": step.grad_scale, "inf": step.found_inf}
        rate = step.learning_rate
        if isinstance(rate, Tensor):
            tensors["rate"], rate = rate, None
        return {
            "time_ns": time.time_ns(),
            "monotonic_ns": now_ns,
            "max_grad_norm": step.max_norm,
            "learning_rate": None if rate is None else float(rate),
            "step_time_s": (now_ns - started_ns) / 1e9 if started_ns is not None else None,
            "skipped": skipped,
            "readback": Readback({n: t for n, t in tensors.items() if isinstance(t, Tensor)}),
            "layers": step.layers,
        }

    def _say(self, step: _Step, optimizer: Any) -> None:
        """Note once what readers of the steps must know."""
        if step.norm is not None and step.norm.is_shard and "shard" not in self._said:
            self._said.add("shard")
            whole = "the whole is the root of the sum of the ranks' squares"
            self._note(f"grad_norm covers this rank's shard: {whole}", grad_norm="shard", rank=self._rank)
        if optimizer is not None and self._optimizers.stepping() > 1 and "several" not in self._said:
            self._said.add("several")
            self._note("several optimizers step in turn; run.watch(optimizer) picks one")

    def _close(self, row: dict[str, Any]) -> None:
        self._closed_steps += 1
        if self.deferred_end:
            self._held = row
        else:
            self._deliver(row, None, self.epoch)

    def _deliver(self, row: dict[str, Any], step: int | None, epoch: float | None) -> None:
        self.steps = step if step is not None else self.steps + 1
        readback, layers = row.pop("readback"), row.pop("layers")
        self._queue.append((row | {"step": self.steps, "rank": self._rank, "epoch": epoch}, readback, layers))
        self._drain(wait=False)

    def _drain(self, wait: bool) -> None:
        while self._queue:
            row, readback, layers = self._queue[0]
            if not wait and not (readback.ready() and (layers is None or layers.ready())):
                return
            self._queue.popleft()
            _complete(row, readback.values())
            self._emit(**row)
            if self._layers is not None:
                self._layers.judge(row, layers)


def _complete(row: dict[str, Any], values: dict[str, float]) -> None:
    """Add to a step's row what has been read back."""
    norms = [value for name, value in values.items() if name.startswith("norm")]
    row["loss"] = values.get("loss")
    row["grad_norm"] = combine(norms) / values.get("scale", 1.0) if norms else None
    row["learning_rate"] = values.get("rate", row["learning_rate"])
    row["skipped"] = row["skipped"] or values.get("inf", 0.0) > 0
