"""Whether two series are coupled, on plain arrays: residuals, resampling, verdicts, several runs."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.analysis.coupling.cross_correlation import (
        Coupling,
        naive_pearson,
        residual_cross_correlation,
    )
    from thermograd.analysis.coupling.power import samples_needed, samples_to_exclude, smallest_detectable
    from thermograd.analysis.coupling.swap import SessionSwap, session_swap
    from thermograd.analysis.coupling.verdict import gates, holm
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "thermograd.analysis.coupling.cross_correlation": (
                "Coupling naive_pearson residual_cross_correlation"
            ),
            "thermograd.analysis.coupling.power": "samples_needed samples_to_exclude smallest_detectable",
            "thermograd.analysis.coupling.swap": "SessionSwap session_swap",
            "thermograd.analysis.coupling.verdict": "gates holm",
        },
    )

__all__ = [
    "Coupling",
    "SessionSwap",
    "gates",
    "holm",
    "naive_pearson",
    "residual_cross_correlation",
    "samples_needed",
    "samples_to_exclude",
    "session_swap",
    "smallest_detectable",
]
