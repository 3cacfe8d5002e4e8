"""Hooks for parts of torch and for engines that are rarely there: placed when they have been imported.

Looking for them costs three dictionary look-ups a backward pass, importing them would cost seconds.
"""

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

from thermograd.store.failures import Guard
from torch import Tensor

_questions = Guard("thermograd cannot ask the engine: %(error)s", logging.getLogger("thermograd").debug)
_places = Guard("thermograd cannot see what an engine does (%(error)s); training goes on")
_FSDP1 = "torch.distributed.fsdp.fully_sharded_data_parallel"
_SHARDED_SCALER = "torch.distributed.fsdp.sharded_grad_scaler"
_DEEPSPEED = "deepspeed.runtime.engine"
_todo = {_FSDP1, _SHARDED_SCALER, _DEEPSPEED}


class EngineState:
    """Whether an engine is at work (`depth` > 0) that calls backward and optimizers by itself."""

    depth = 0


def install(engine: EngineState, active: list[Any], hook_scaler: Callable[[Any], None]) -> None:
    """Place hooks in what has been imported since the last call."""
    for name in _todo & sys.modules.keys() if _todo else ():
        _todo.discard(name)
        module = sys.modules[name]
        with _places:  # another version may have other names
            if name == _FSDP1:
                _hook_fsdp1(module.FullyShardedDataParallel, active)
            elif name == _SHARDED_SCALER:
                hook_scaler(module.ShardedGradScaler)
            else:
                hook_deepspeed(module.DeepSpeedEngine, engine, active)


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
        is_boundary = _ask(self.is_gradient_accumulation_boundary)
        result = _inside(engine, step, self, *args, **kwargs)
        if is_boundary:
            skipped = not _ask(self.was_step_applied)
            norm = None if skipped else _ask(self.get_global_grad_norm)
            rates = _ask(self.get_lr)
            for observer in active:
                observer.saw_engine_step(norm, rates[0] if rates else None, skipped)
        return result

    @functools.wraps(backward)
    def engine_backward(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = _inside(engine, backward, self, *args, **kwargs)
        for observer in active:
            observer.saw_loss(loss)  # what it returns is this micro-batch's share of the objective
            observer.after_backward()
        return loss

    engine_class.step, engine_class.backward = engine_step, engine_backward


def _ask(question: Callable[[], Any]) -> Any:
    with _questions:  # an engine of another version may fail to answer
        return question()
    return None


def _inside(engine: EngineState, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    engine.depth += 1
    try:
        return function(*args, **kwargs)
    finally:
        engine.depth -= 1
