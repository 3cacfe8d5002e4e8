"""What the figures of a comparison show, in words with the runs' facts."""

from collections.abc import Sequence

import numpy as np
from thermograd.analysis.comparison.result import Comparison, best_of
from thermograd.analysis.display.numbers import interval, shown_number
from thermograd.analysis.report.alt.run import Words, words
from thermograd.analysis.report.data.comparison import ForestRow, Overlay
from thermograd.analysis.report.data.curves import shown_value
from thermograd.store.telling.quantities import few_of

_MOST_RUNS = 10


def simulated_runs(comparison: Comparison) -> str:
    """Return how many runs are simulated, as the beginning of what is said; empty for none."""
    count = comparison.simulated
    return f"SIMULATED: {count} of {len(comparison.runs)} runs. " if count else ""


def forest_words(comparison: Comparison, rows: Sequence[ForestRow]) -> Words:
    """Return each run's residual correlation with its interval, and the pooled one."""
    best = best_of(comparison)
    pair = f"{best.x} ~ {best.y}" if best else "no pair of signals"
    told = [
        f"{row.label} r = {shown_number(row.r, '+.2f')} ({interval(row.low, row.high)})"
        for row in (*rows[: min(len(rows) - 1, _MOST_RUNS)], *rows[-1:])
    ]
    more = len(rows) - len(told)
    rest = f" {more} more runs are drawn." if more > 0 else ""
    opening = f"Residual correlation of {pair} by run, with 95 % intervals:"
    title = f"{len(comparison.runs)} runs: {pair}"
    return words(title, f"{opening} {'; '.join(told)}.{rest}", before=simulated_runs(comparison))


def overlays_words(comparison: Comparison, overlays: Sequence[Overlay], along: str) -> Words:
    """Return which runs are drawn over each other, and the range of each signal."""
    names = [f"run {place}: {label}" for place, label in enumerate(comparison.labels(), 1)]
    opening = f"{len(names)} runs over each other along the {along} ({few_of(names, _MOST_RUNS)})."
    told = [_overlay(overlay) for overlay in overlays]
    signals = ", ".join(overlay.signal.name for overlay in overlays)
    return words(f"{len(names)} runs: {signals}", opening, *told, before=simulated_runs(comparison))


def _overlay(overlay: Overlay) -> str:
    unit = f" {overlay.signal.symbol}" if overlay.signal.unit else ""
    curves = [(line.label, line.values[np.isfinite(line.values)]) for line in overlay.lines[:_MOST_RUNS]]
    told = [f"{label} ends at {_short(values[-1])}{unit}" for label, values in curves if values.size]
    low = min((curve.lowest for curve in overlay.curves if curve.total), default=np.nan)
    high = max((curve.highest for curve in overlay.curves if curve.total), default=np.nan)
    scale = " (logarithmic scale)" * overlay.log
    name = overlay.signal.name.capitalize() if overlay.signal.name.islower() else overlay.signal.name
    return f"{name}{scale}: from {_short(low)} to {_short(high)}{unit}; {', '.join(told)}."


def _short(value: float) -> str:
    return shown_value(float(f"{value:.4g}"))
