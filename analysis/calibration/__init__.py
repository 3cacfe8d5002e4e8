"""Processes of known truth, and how often the instrument is wrong on them."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.analysis.calibration.processes import COUPLINGS, NULLS
    from thermograd.analysis.calibration.scenarios import SCENARIOS, draw
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "thermograd.analysis.calibration.processes": "COUPLINGS NULLS",
            "thermograd.analysis.calibration.scenarios": "SCENARIOS draw",
        },
    )

__all__ = ["COUPLINGS", "NULLS", "SCENARIOS", "draw"]
