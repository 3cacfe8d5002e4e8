"""Hooks for parts of torch and for engines that are rarely there: placed when they have been imported.

Looking for them costs three dictionary look-ups a backward pass, importing them would cost seconds.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

from thermograd.ingest.capture.engines.engine import EngineState, EngineStep, ask, inside
from thermograd.ingest.capture.engines.keras import hook_keras, hook_keras_scaled
from thermograd.ingest.capture.engines.megatron import hook_megatron
from thermograd.store.failures import Guard
from torch import Tensor

_places = Guard("thermograd cannot see what an engine does (%(error)s); training goes on")
_FSDP1 = "torch.distributed.fsdp.fully_sharded_data_parallel"
_SHARDED_SCALER = "torch.distributed.fsdp.sharded_grad_scaler"
_DEEPSPEED = "deepspeed.runtime.engine"
_MEGATRON = "megatron.core.optimizer.optimizer"
_KERAS, _KERAS_SCALED = "keras.src.optimizers.base_optimizer", "keras.src.optimizers.loss_scale_optimizer"
_todo = {_FSDP1, _SHARDED_SCALER, _DEEPSPEED, _MEGATRON, _KERAS, _KERAS_SCALED}


def install(
    engine: EngineState,
    active: list[Any],
    hook_scaler: Callable[[Any], None],
    scaled_by: Callable[[Any, Any, Any], None],
) -> None:
    """Place hooks in what has been imported since the last call.

    `scaled_by` takes a loss, what an engine made of it to call backward on, and the factor between them.
    """
    for name in _todo & sys.modules.keys() if _todo else ():
        _todo.discard(name)
        module = sys.modules[name]
        with _places:  # another version may have other names
            if name == _FSDP1:
                _hook_fsdp1(module.FullyShardedDataParallel, active)
            elif name == _SHARDED_SCALER:
                hook_scaler(module.ShardedGradScaler)
            elif name == _DEEPSPEED:
                hook_deepspeed(module.DeepSpeedEngine, engine, active)
            elif name == _MEGATRON:
                hook_megatron(module, engine, active, scaled_by)
            elif name == _KERAS:
                hook_keras(module, engine, active, scaled_by)
            else:
                hook_keras_scaled(module.LossScaleOptimizer, engine, active, scaled_by)


def _hook_fsdp1(wrapper_class: Any, active: list[Any]) -> None:
    """See the norm that FSDP1 works out over all ranks in its own method."""
    original = wrapper_class.clip_grad_norm_

    @functools.wraps(original)
    def clip_grad_norm_(self: Any, max_norm: float, norm_type: float = 2.0) -> Tensor:
        norm: Tensor = original(self, max_norm, norm_type)
        if float(norm_type) == 2.0:
            for observer in active:
                observer.saw_clip(list(self.parameters()), max_norm, norm, True)
        return norm

    wrapper_class.clip_grad_norm_ = clip_grad_norm_


def hook_deepspeed(engine_class: Any, engine: EngineState, active: list[Any]) -> None:
    """See the steps of a DeepSpeed engine, not those of the optimizers inside it.

    The engine steps its optimizer once a parameter group on clipped partitions; the norm before
    clipping, unscaled, is the engine's to tell. After an overflow that norm is an old one.
    """
    step, backward = engine_class.step, engine_class.backward

    @functools.wraps(step)
    def engine_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        is_boundary = ask(self.is_gradient_accumulation_boundary)
        result = inside(engine, step, self, *args, **kwargs)
        if is_boundary:
            skipped = not ask(self.was_step_applied)
            norm = None if skipped else ask(self.get_global_grad_norm)
            rates = ask(self.get_lr)
            for observer in active:
                observer.saw_engine_step(EngineStep(norm, rates[0] if rates else None, skipped))
        return result

    @functools.wraps(backward)
    def engine_backward(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = inside(engine, backward, self, *args, **kwargs)
        for observer in active:
            observer.saw_loss(loss)  # what it returns is this micro-batch's share of the objective
            observer.after_backward()
        return loss

    engine_class.step, engine_class.backward = engine_step, engine_backward
