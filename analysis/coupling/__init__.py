"""Whether two series are coupled, on plain arrays: residuals, resampling, verdicts, several runs."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "cross_correlation": "Coupling naive_pearson residual_cross_correlation",
        "detectable": "samples_needed samples_to_exclude smallest_detectable",
        "session_swaps": "SessionSwap session_swap",
        "verdict": "gates holm",
    },
)

if TYPE_CHECKING:
    from thermograd.analysis.coupling.cross_correlation import (
        Coupling as Coupling,
        naive_pearson as naive_pearson,
        residual_cross_correlation as residual_cross_correlation,
    )
    from thermograd.analysis.coupling.detectable import (
        samples_needed as samples_needed,
        samples_to_exclude as samples_to_exclude,
        smallest_detectable as smallest_detectable,
    )
    from thermograd.analysis.coupling.session_swaps import (
        SessionSwap as SessionSwap,
        session_swap as session_swap,
    )
    from thermograd.analysis.coupling.verdict import gates as gates, holm as holm
