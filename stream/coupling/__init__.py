"""Online detection of coupling (e-SR)."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.stream.coupling.detector import CouplingBank, CouplingMonitor
else:
    __getattr__, __dir__ = lazy(
        __name__, {"thermograd.stream.coupling.detector": "CouplingBank CouplingMonitor"}
    )

__all__ = ["CouplingBank", "CouplingMonitor"]
