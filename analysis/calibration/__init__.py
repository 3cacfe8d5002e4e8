"""Processes of known truth, and how often the instrument is wrong on them."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "processes": "COUPLINGS NULLS",
        "scenarios": "SCENARIOS draw",
    },
)

if TYPE_CHECKING:
    from thermograd.analysis.calibration.processes import COUPLINGS as COUPLINGS
    from thermograd.analysis.calibration.processes import NULLS as NULLS
    from thermograd.analysis.calibration.scenarios import SCENARIOS as SCENARIOS
    from thermograd.analysis.calibration.scenarios import draw as draw
