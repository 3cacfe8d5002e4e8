"""Steps and samples matched in time: the rule on arrays, and a regular grid."""

from thermograd.analysis.align.grid import CausalGrid, causal_grid
from thermograd.store.align.matching import asof, interval_mean, nearest

__all__ = ["CausalGrid", "asof", "causal_grid", "interval_mean", "nearest"]
