"""What an engine that owns its optimizers tells of a step, and whether one is at work."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from thermograd.store.failures import Guard

_questions = Guard("thermograd cannot ask the engine: %(error)s", logging.getLogger("thermograd").debug)


class EngineStep(NamedTuple):
    """A step as an engine has made it, or left it out.

    `norm` is the one before clipping, of all ranks where the engine has it, None where it is not known;
    `loss_parts` how many backward passes the step is the mean of.
    """

    norm: Any
    learning_rate: Any
    skipped: bool
    max_norm: float | None = None
    loss_parts: int = 1


class EngineState:
    """Whether an engine is at work (`depth` > 0) that calls backward and optimizers by itself."""

    depth = 0


def ask(question: Callable[[], Any]) -> Any:
    """Return the answer; None where an engine of another version fails to give one."""
    with _questions:
        return question()
    return None


def inside(engine: EngineState, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of an engine's: what torch does inside is its own affair."""
    engine.depth += 1
    try:
        return function(*args, **kwargs)
    finally:
        engine.depth -= 1
