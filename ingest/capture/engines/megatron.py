"""Hooks for Megatron-LM's optimizers, which clip and step inside their own `step` and tell the norm.

Read in megatron-core 0.16; there is none that runs without a GPU, so the tests use classes of these names.
"""

import functools
from collections.abc import Callable
from typing import Any

from thermograd.ingest.capture.engines.engine import EngineState, EngineStep, ask, inside

_CLASSES = ("FP32Optimizer", "MixedPrecisionOptimizer", "ChainedOptimizer")


def hook_megatron(
    module: Any, engine: EngineState, active: list[Any], scaled_by: Callable[[Any, Any, Any], None]
) -> None:
    """See the outermost step, with the norm that it returns, and the losses without their scale."""
    for name in _CLASSES:
        kind = getattr(module, name, None)
        if kind is not None and "step" in vars(kind):
            kind.step = _seen(kind.step, engine, active)
    base = module.MegatronOptimizer
    base.scale_loss = _told(base.scale_loss, scaled_by)


def _seen(original: Callable[..., Any], engine: EngineState, active: list[Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if engine.depth:  # of a chain that is at work
            return inside(engine, original, self, *args, **kwargs)
        rate = ask(lambda: self.param_groups[0]["lr"])  # as this step uses it
        result = inside(engine, original, self, *args, **kwargs)
        made = ask(lambda: _made(self, result, rate))
        for observer in active if made is not None else ():
            observer.saw_engine_step(made)
        return result

    return step


def _made(optimizer: Any, result: Any, rate: Any) -> EngineStep:
    succeeded, norm = result[:2]
    bound = float(getattr(optimizer.config, "clip_grad", 0.0) or 0.0)
    is_known = succeeded and bound > 0  # without clipping it works out none, and says 0
    return EngineStep(norm if is_known else None, rate, not succeeded, bound if bound > 0 else None)


def _told(original: Callable[..., Any], scaled_by: Callable[[Any, Any, Any], None]) -> Callable[..., Any]:
    @functools.wraps(original)
    def scale_loss(self: Any, loss: Any) -> Any:
        result = original(self, loss)
        ask(lambda: scaled_by(loss, result, self.get_loss_scale()))
        return result

    return scale_loss
