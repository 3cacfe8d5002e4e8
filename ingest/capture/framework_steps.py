"""How many steps a framework's training has behind it: a resumed one does not begin at 1."""

import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

_DEEPEST = 200
_COUNTS = {  # module of a trainer's class, where it keeps its count, and how far that is ahead in a step
    "transformers.trainer": (("state", "global_step"), 0),
    "lightning.pytorch.trainer.trainer": (("global_step",), 0),
    "pytorch_lightning.trainer.trainer": (("global_step",), 0),
    "torchtitan.trainer": (("step",), 1),
    "torchtitan.train": (("step",), 1),
}
_MEGATRON = "megatron.training.global_vars"  # keeps what is the trainer's elsewhere in its arguments


class FrameworkSteps:
    """Follows the count of the trainer that the first backward pass is called from, where there is one."""

    def __init__(self) -> None:
        self._trainer: Callable[[], Any] | None = None
        self._last = 0

    def begun_at(self) -> int | None:
        """Return the steps made so far where a training begins or begins again, else None."""
        is_first = self._trainer is None
        if self._trainer is None:
            trainer = calling_trainer()
            self._trainer = weakref.ref(trainer) if trainer is not None else lambda: None
        trainer = self._trainer()
        if trainer is None or (count := _count_of(trainer)) is None:
            return None
        last = self._last
        self._last = count
        return count if is_first or count < last else None


def calling_trainer() -> Any:
    """Return the trainer whose method is among the callers; None without one."""
    if _MEGATRON in sys.modules and (arguments := _arguments_of_megatron()) is not None:
        return arguments
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_DEEPEST):
        if frame is None:
            break
        if frame.f_globals.get("__name__") in _COUNTS:
            trainer = frame.f_locals.get("self")
            if _count_of(trainer) is not None:
                return trainer
        frame = frame.f_back
    return None


def _count_of(trainer: Any) -> int | None:
    for kind in type(trainer).__mro__:
        if kind.__module__ in _COUNTS and kind.__name__ == "Trainer":
            names, ahead = _COUNTS[kind.__module__]
            value = trainer
            for name in names:
                value = getattr(value, name, None)
            return value - ahead if isinstance(value, int) and value >= ahead else None
    value = getattr(trainer, "curr_iteration", getattr(trainer, "iteration", None))
    return value if trainer is not None and isinstance(value, int) and value >= 0 else None


def _arguments_of_megatron() -> Any:
    try:
        return sys.modules[_MEGATRON].get_args()
    except Exception:  # noqa: BLE001 - it asserts that there are some
        return None
