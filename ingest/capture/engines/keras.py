"""Hooks for the optimizers of Keras 3 with torch below it, which are none of torch's.

Run with Keras 3.15. Its norm before clipping is taken where it works one out itself (`global_clipnorm`),
else of the gradients that it is about to clip: both are this process's, as Keras shares no gradients.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from thermograd.ingest.capture.engines.engine import EngineState, EngineStep, ask, inside
from torch import Tensor


class _Update:
    """What was seen of the update that is being made."""

    gradients: list[Tensor] | None = None
    norm: Any = None


_update = _Update()


def hook_keras(
    module: Any, engine: EngineState, active: list[Any], scaled_by: Callable[[Any, Any, Any], None]
) -> None:
    """See the updates of Keras' optimizers: the gradients before clipping, and when they are applied."""
    kind, global_norm = module.BaseOptimizer, module.global_norm
    clip, apply = kind._clip_gradients, kind.apply

    @functools.wraps(global_norm)
    def own_norm(values: Any) -> Any:
        norm = global_norm(values)
        _update.norm = norm
        return norm

    @functools.wraps(clip)
    def clip_gradients(self: Any, grads: Any) -> Any:
        if active:  # only where gradients are used, not where they are kept for later
            _update.gradients, _update.norm = [g for g in grads if isinstance(g, Tensor)], None
            if not self.global_clipnorm:
                _update.norm = ask(lambda: _norm(_update.gradients))
        return clip(self, grads)

    module.global_norm, kind._clip_gradients = own_norm, clip_gradients
    kind.apply = _applied(apply, engine, active)
    kind.scale_loss = _told(kind.scale_loss, lambda self: self.loss_scale_factor, scaled_by)


def hook_keras_scaled(
    kind: Any, engine: EngineState, active: list[Any], scaled_by: Callable[[Any, Any, Any], None]
) -> None:
    """See the steps of an optimizer that finds a scale of the loss, also those that it leaves out."""
    kind.apply = _applied(kind.apply, engine, active)
    kind.scale_loss = _told(
        kind.scale_loss, lambda self: self.dynamic_scale if self.built else self.initial_scale, scaled_by
    )


def _told(
    original: Callable[..., Any], scale_of: Callable[[Any], Any], scaled_by: Callable[[Any, Any, Any], None]
) -> Callable[..., Any]:
    @functools.wraps(original)
    def scale_loss(self: Any, loss: Any) -> Any:
        scale = ask(lambda: scale_of(self))
        result = original(self, loss)
        if scale is not None:
            ask(lambda: scaled_by(loss, result, getattr(scale, "value", scale)))
        return result

    return scale_loss


def _applied(original: Callable[..., Any], engine: EngineState, active: list[Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def apply(self: Any, *args: Any, **kwargs: Any) -> Any:
        if engine.depth or not active:  # the one inside one that scales
            return original(self, *args, **kwargs)
        _update.gradients = None
        rate = ask(lambda: _rate(self))  # as this update uses it: a schedule goes on with each
        result = inside(engine, original, self, *args, **kwargs)
        step = ask(lambda: _step(self, rate))
        for observer in list(active) if step is not None else ():
            observer.saw_engine_step(step)
        return result

    return apply


def _rate(optimizer: Any) -> Any:
    rate = getattr(optimizer, "inner_optimizer", optimizer).learning_rate
    value = getattr(rate, "value", rate)
    return value.detach().clone() if isinstance(value, Tensor) else value


def _step(optimizer: Any, rate: Any) -> EngineStep | None:
    """Return the step that was made; None where gradients were only added up."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    parts = inner.gradient_accumulation_steps or 1
    was_used = _update.gradients is not None
    if not was_used and (inner is optimizer or parts > 1):
        return None
    bound = inner.global_clipnorm or None
    norm, _update.norm, _update.gradients = _update.norm, None, None
    return EngineStep(norm if was_used else None, rate, not was_used, bound, parts)


@torch.no_grad()
def _norm(gradients: list[Tensor] | None) -> Tensor | None:
    if not gradients:
        return None
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm
