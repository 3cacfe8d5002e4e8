"""Steps and samples matched in time: the rule on arrays, and a regular grid."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "grid": "CausalGrid causal_grid",
        "matching": "asof interval_mean nearest",
    },
)

if TYPE_CHECKING:
    from thermograd.analysis.align.grid import CausalGrid as CausalGrid
    from thermograd.analysis.align.grid import causal_grid as causal_grid
    from thermograd.analysis.align.matching import asof as asof
    from thermograd.analysis.align.matching import interval_mean as interval_mean
    from thermograd.analysis.align.matching import nearest as nearest
