"""The options of a run that is recorded, and what is allowed for them."""

from numbers import Real
from typing import Literal

from thermograd.store.log.plain import said

LayerMode = bool | Literal["after_spike"]
Reinit = Literal["new", "return"]


def check_options(
    hz: float, layer_norms: LayerMode, simulate: str | None = None, reinit: Reinit = "new"
) -> None:
    """Raise `ValueError` where an option of `start_run` is out of bounds."""
    if not (issubclass(type(hz), Real) and 0.1 <= hz <= 10):
        raise ValueError(f"hz is {said(hz)}; allowed: 0.1 to 10 samples a second")
    if type(layer_norms) not in (bool, int, str) or layer_norms not in (True, False, "after_spike"):
        raise ValueError(f"layer_norms is {said(layer_norms)}; allowed: True, False, 'after_spike'")
    if not issubclass(type(reinit), str) or reinit not in ("new", "return"):
        raise ValueError(f"reinit is {said(reinit)}; allowed: 'new', 'return'")
    if simulate is not None:
        _check_preset(simulate)


def _check_preset(simulate: str) -> None:
    from thermograd.ingest.simulate.gpu import PRESETS  # takes milliseconds of a start

    if not (issubclass(type(simulate), str) and simulate in PRESETS):
        raise ValueError(f"simulate is {said(simulate)}; allowed: None, {', '.join(map(repr, PRESETS))}")
