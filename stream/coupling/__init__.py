"""Online detection of coupling (e-SR)."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {"detector": "CouplingMonitor"})

if TYPE_CHECKING:
    from thermograd.stream.coupling.detector import CouplingMonitor as CouplingMonitor
