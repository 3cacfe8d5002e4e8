"""What a gradient scaler multiplied the loss by, and whether that is still on the gradients."""

import weakref
from typing import Any

from torch import Tensor


class Scaled:
    """What a gradient scaler was last asked to scale."""

    def __init__(self, loss: Any = None, result: Any = None, factor: Any = None) -> None:
        self.loss = loss
        self.result = weakref.ref(result) if isinstance(result, Tensor) else None
        self.factor = factor
        self.is_fresh = factor is not None

    def unscaled(self, tensor: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return a tensor that backward is called on as it was before scaling, and its scale, if any."""
        if self.result is not None and self.result() is tensor:
            value, scale = self.loss, self.factor
        else:  # made from what was scaled, where something was since the last backward
            value, scale = (tensor.detach() / self.factor, self.factor) if self.is_fresh else (tensor, None)
        self.is_fresh = False
        return value, scale


def pending_scale(scaler: Any, optimizer: Any) -> Tensor | None:
    """Return the scale of gradients that have not been unscaled yet: a clip before saw it."""
    state = getattr(scaler, "_per_optimizer_states", {}).get(id(optimizer))
    is_ready = state is None or getattr(state.get("stage"), "name", "") == "READY"
    scale = getattr(scaler, "_scale", None)
    return scale.detach().clone() if is_ready and scale is not None else None
