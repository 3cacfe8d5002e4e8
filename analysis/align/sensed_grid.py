"""Both series on one causal clock, once it is known how the sensor shows what it measures."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from thermograd.analysis.align.clocks import human_period_s, said_s
from thermograd.analysis.align.grid import CausalGrid, causal_grid
from thermograd.analysis.align.sensors import averaged_over, held
from thermograd.analysis.arrays import Floats, Times
from thermograd.analysis.remembered import plainly

_LONGER = 1.5  # than the finest bin: a sensor that is refreshed about once a bin is averaged over it
_PARTS = 4  # bins in the shorter window where both sides are running means

Series = tuple[Times, Floats]


def sensed_grid(
    steps: Series, samples: Series, min_period_s: float = 1.0, call: Callable[..., Any] = plainly
) -> CausalGrid:
    """Return `causal_grid` of times and values, without a sensor's repeats and with bins that suit its means.

    What was recognised in the readings stands in `notes`, a sentence each: a sensor that holds its values,
    a side that looks like a running mean. `call` may remember what it was asked (see `Remembered`).
    """
    shown, notes = _updates(samples, min_period_s)
    grid = causal_grid(*steps, *shown, min_period_s=min_period_s, call=call)
    windows = [_window_s(grid, values, call) for values in (grid.x, grid.y)]
    shorter = min(windows)
    if shorter / _PARTS > grid.period_s:
        grid = causal_grid(*steps, *shown, min_period_s=human_period_s(shorter / _PARTS), call=call)
    for side, window_s in zip(("The training signal", "The hardware signal"), windows, strict=True):
        if window_s:
            notes.append(
                f"{side} looks like a mean over about {said_s(window_s)}: its lags are known to no better "
                f"than that{_and_bins(grid) if shorter else ''}."
            )
    return replace(grid, notes=[*grid.notes, *notes])


def _and_bins(grid: CausalGrid) -> str:
    return f", and both are compared in bins of {said_s(grid.period_s)}"


def _updates(samples: Series, min_period_s: float) -> tuple[Series, list[str]]:
    times, values = samples
    if (times[1:] < times[:-1]).any():
        return samples, []
    found = held(times, values)
    if found is None or found.period_s < _LONGER * min_period_s:
        return samples, []
    note = f"The sensor shows a new value every {said_s(found.period_s)} only: its repeats are left out."
    return (times[found.first], values[found.first]), [note]


def _window_s(grid: CausalGrid, values: Floats, call: Callable[..., Any]) -> float:
    """Return the window of a running mean, in seconds; 0 where none is recognised."""
    bins = call(averaged_over, grid.laid_out(values)) if grid.x.size else None
    return bins * grid.period_s if bins else 0.0
