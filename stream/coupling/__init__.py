"""Online detection of coupling (e-SR)."""

from thermograd.stream.coupling.detector import CouplingBank, CouplingMonitor

__all__ = ["CouplingBank", "CouplingMonitor"]
