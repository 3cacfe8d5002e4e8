"""The norm of a step: what clipping saw, what the backward pass left, or what lies there."""

from collections.abc import Callable
from typing import Any

from thermograd.ingest.capture.by_hand import AFTER
from thermograd.ingest.capture.gradients import gradient_norm, joined, without_scale
from thermograd.ingest.capture.layer_norms import LayerNorms
from thermograd.ingest.capture.optimizers import LeftBehind, Optimizers, State
from thermograd.ingest.capture.steps.clips import Clipped, Clips
from thermograd.ingest.capture.steps.iteration import Part
from thermograd.ingest.capture.watched import Watched
from torch import Tensor


class StepNorms:
    """Finds the norm of each optimizer step, before any clipping and without a loss scale.

    Attributes
    ----------
    clips
        The clip calls that no step has used.
    pending_scale, clip_scale
        Inside a gradient scaler's step: the scale that is on the gradients now, and that which was on them
        before, where clipping saw them.
    """

    def __init__(self, optimizers: Optimizers, watched: Watched, layers: LayerNorms | None) -> None:
        self._optimizers, self._watched, self._layers = optimizers, watched, layers
        self.clips = Clips()
        self.pending_scale: Callable[[], Tensor | None] = lambda: None
        self.clip_scale: Tensor | None = None

    def take(self, part: Part, optimizer: Any) -> None:
        """Take the norm that clipping saw or that the backward pass left, or work it out."""
        state = part.state = self._optimizers.know(optimizer)
        parameters, left = state.parameters(), state.left
        others = (other.ids for other in self._optimizers.all() if other is not state)
        clipped = self.clips.take(id(optimizer), parameters, state.ids, others)
        if clipped is not None:
            part.max_norm = clipped.max_norm
        scale = getattr(optimizer, "grad_scale", None)
        if part.has_closure:
            scale = None  # undone inside the step
        elif scale is None:
            scale = self.pending_scale()
        state.is_covered = clipped is not None and self._is_all(clipped, state)
        if clipped is not None and state.is_covered:
            seen = [without_scale(norm, self.clip_scale) for norm in clipped.norms]
            rest = gradient_norm(clipped.rest)
            part.seen = joined([*seen, *([without_scale(rest, scale)] if rest is not None else [])])
        elif left is None or state.changes.verdict == AFTER or self._is_compared(left, part, clipped):
            own = gradient_norm(parameters)
            part.seen = without_scale(own, scale) if own is not None else None
        if left is not None:
            self._use_what_was_left(part, left, self.clip_scale if clipped is not None else scale)
        if self._layers is not None:
            self._take_layers(part, parameters, clipped, left)

    @staticmethod
    def _is_compared(left: LeftBehind, part: Part, clipped: Clipped | None) -> bool:
        """Whether what lies there tells of changes by hand: not behind a clip call or a closure's step."""
        return left.sketch is not None and clipped is None and not part.has_closure

    def _take_layers(
        self, part: Part, parameters: list[Tensor], clipped: Clipped | None, left: LeftBehind | None
    ) -> None:
        """Take the layers as they were before clipping, or measure them."""
        assert self._layers is not None
        readings = [left.layers] if left is not None else []
        if clipped is not None and not any(readings):
            readings = [*(c.layers for c in clipped.clips), self._layers.measure(clipped.rest)]
        if clipped is None and not any(readings):
            readings = [self._layers.measure(parameters)]
        part.layers = [reading for reading in readings if reading is not None]

    def _is_all(self, clipped: Clipped, state: State) -> bool:
        """Whether what clipping saw is what this optimizer, or those that go with it, will step on."""
        if any(clip.is_given for clip in clipped.clips) and clipped.rest:
            return False
        if clipped.is_exact:
            return True
        extra = set().union(*(clip.ids for clip in clipped.clips)) - state.ids
        users = set.intersection(*(clip.used_by for clip in clipped.clips))
        for other in self._optimizers.all():
            goes_with = other.shares_pass(state.passes) or id(other.optimizer()) in users
            if goes_with and self._watched.counts(other.optimizer()):
                extra -= other.ids
        held = (p for clip in clipped.clips for p in clip.parameters if id(p) in extra)
        return all(p.grad is None for p in held)

    @staticmethod
    def _use_what_was_left(part: Part, left: LeftBehind, scale: Tensor | None) -> None:
        part.before = left.norm if left.is_unscaled else without_scale(left.norm, scale)
        if left.sketch is not None and part.seen is not None and not part.has_closure:
            if not left.sketch.is_compared:
                left.sketch.look_again()
            part.ratios = left.sketch.ratios(scale if left.is_unscaled else None)

    def skipped(self, optimizer: Any) -> Part:
        """Return the step that an optimizer did not make."""
        part = Part(optimizer)
        if optimizer is not None:
            self.take(part, optimizer)
        elif (clipped := self.clips.take_all()) is not None:
            part.seen, part.max_norm = joined(clipped.norms), clipped.max_norm
        part.skipped = True
        return part
