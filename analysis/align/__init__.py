"""Steps and samples matched in time: the rule on arrays, and a regular grid."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.analysis.align.grid import CausalGrid, causal_grid
    from thermograd.analysis.align.matching import asof, interval_mean, nearest
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "thermograd.analysis.align.grid": "CausalGrid causal_grid",
            "thermograd.analysis.align.matching": "asof interval_mean nearest",
        },
    )

__all__ = ["CausalGrid", "asof", "causal_grid", "interval_mean", "nearest"]
