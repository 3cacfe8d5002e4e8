"""What is logged and moves both sides of a pair without being on the way between them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from thermograd.analysis.align.grid import CausalGrid
from thermograd.analysis.arrays import Floats, Mask, Times
from thermograd.analysis.coupling.cleaning.residuals import trend_columns
from thermograd.analysis.remembered import Lasting, plainly
from thermograd.analysis.run.cycles import cycle_waves, logged_cycles, mark_times, with_drift
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.align.matching import interval_mean

_OF_STEPS = ("learning_rate", "step_time_s", "tokens")
_OF_MARKS = ("evaluation", "checkpoint")
_FEWEST_MARKS = 2
_MOVED = ("step_time_s", "utilization_pct")
_LAGS = 4  # 0..3 bins
_SHARE_OF_CYCLES = 4  # their columns are at most one of so many bins
_MOST_WORK = 5e8  # bins x columns^2 of cycles: seconds of processor time


@dataclass(frozen=True, slots=True)
class DriverNames:
    """What was regressed out of both sides of a pair, by name."""

    names: list[str]
    moved: list[str]  # those that training and hardware may themselves move
    left_out: list[str]  # those for which the run is too short


@dataclass(frozen=True, slots=True, eq=False)
class Drivers:
    """Columns to regress out of both sides of a pair."""

    names: list[str]  # what they are, one name a driver
    lagged: Floats  # shape (n, k): those that act through their last bins too
    unlagged: Floats  # shape (n, j): sine and cosine of known periods
    left_out: list[str]  # names of drivers for which the run is too short

    @property
    def moved(self) -> Mask:
        """Which of the lagged ones training and hardware may themselves move; shape (k,)."""
        return np.isin(self.names[: self.lagged.shape[1]], _MOVED)

    def named(self) -> DriverNames:
        """Return what they are, without the columns: those of many long pairs would fill the memory."""
        return DriverNames(self.names, [name for name in self.names if name in _MOVED], self.left_out)

    def unmoved(self) -> "Drivers":
        """Return those that neither side moves."""
        kept = ~self.moved
        names = [name for name in self.names if name not in _MOVED]
        return Drivers(names, self.lagged[:, kept], self.unlagged, self.left_out)


def driver_columns(
    data: RunSeries,
    device: Device,
    grid: CausalGrid,
    x: str,
    y: str,
    *,
    with_power: bool = False,
    call: Callable[..., Any] = plainly,
) -> Drivers:
    """Gather the drivers of a pair of signals on its grid.

    Utilisation, learning rate, step time and tokens; evaluation and checkpoint marks (in the first bin
    that ends at or after them, for the time around them often has no step); the whole pattern of what
    repeats as the log tells (see `cycles`): of the epoch first. A signal is no driver of itself, nor is
    the load one of what is computed from it. Drivers are taken in this order, as many as the bins can
    bear, cycles in no more columns than a quarter of the bins; of a longer pattern the slowest waves.

    `with_power` makes power a driver too: then what is left of a coupling with temperature is the direct
    effect, without the way through power. `call` may remember what it was asked (see `Remembered`).
    """
    none = np.empty((grid.x.size, 0))
    if not grid.x.size:
        return Drivers([], none, none, [])
    lagged = _lagged(data, device, grid, x, y, with_power, call)
    room = (grid.x.size - 10) // 2 - (1 + trend_columns(grid.x.size) + int(grid.segment[-1]))
    kept = dict(list(lagged.items())[: max(room, 0) // _LAGS])
    waves, short = _cycles(data, grid, room - _LAGS * len(kept))
    return Drivers(
        [*kept, *waves],
        np.column_stack([none, *kept.values()]),
        np.column_stack([none, *waves.values()]),
        [*(name for name in lagged if name not in kept), *short],
    )


def _cycles(data: RunSeries, grid: CausalGrid, room: int) -> tuple[dict[str, Floats], list[str]]:
    """Return the columns of every cycle, at most `room` of them, and what had no room, in words."""
    bins = grid.x.size
    room = max(0, min(room, bins // _SHARE_OF_CYCLES, int((_MOST_WORK / bins) ** 0.5)))
    waves, short = {}, []
    for cycle in logged_cycles(data):
        columns, whole = cycle_waves(cycle, data, grid, room // 2)
        taken = columns.shape[1] // 2
        if taken == whole:
            columns = with_drift(columns, grid, room - columns.shape[1])
        room -= columns.shape[1]
        if taken:
            waves[cycle.name] = columns
        if taken < whole:
            short.append(
                f"{cycle.name} (waves {taken + 1} to {whole} of its pattern)" if taken else cycle.name
            )
    return waves, short


def _lagged(
    data: RunSeries,
    device: Device,
    grid: CausalGrid,
    x: str,
    y: str,
    with_power: bool,
    call: Callable[..., Any],
) -> dict[str, Floats]:
    starts = grid.time_ns - round(grid.period_s * 1e9)
    found: dict[str, Floats] = {}
    computed = y in ("rle", "reported_rle")
    for name, wanted in (("power_w", with_power), ("utilization_pct", not computed)):
        if wanted and name != y and device.offers(name):
            found[name] = call(_mean_of_samples, Lasting(device), name, starts, grid.time_ns)
    for name in _OF_STEPS:
        if name != x:
            found[name] = call(_mean_of_steps, Lasting(data), name, starts, grid.time_ns)
    usable = {n: _filled(values) for n, values in found.items() if np.isfinite(values).mean() > 0.9}
    varying = {name: values for name, values in usable.items() if np.ptp(values) > 0}
    return varying | _pulses(data, grid)


def _mean_of_samples(device: Lasting, name: str, starts: Times, ends: Times) -> Floats:
    return interval_mean(starts, ends, device.it.time_ns, device.it.signal(name))


def _mean_of_steps(data: Lasting, name: str, starts: Times, ends: Times) -> Floats:
    return interval_mean(starts, ends, data.it.step_time_ns, data.it.training(name))


def _filled(column: Floats) -> Floats:
    """Give the few bins that hold no value of a driver the one before, so that they cost no bin."""
    known = np.flatnonzero(np.isfinite(column))
    before = np.searchsorted(known, np.arange(column.size), side="right") - 1
    return column[known[np.maximum(before, 0)]]


def _pulses(data: RunSeries, grid: CausalGrid) -> dict[str, Floats]:
    """Return per kind of mark how many fall into every bin."""
    found = {}
    for kind in _OF_MARKS:
        place = np.searchsorted(grid.time_ns, mark_times(data, kind))
        pulses = np.bincount(place, minlength=grid.x.size + 1)[: grid.x.size].astype(np.float64)
        if (pulses > 0).sum() >= _FEWEST_MARKS:
            found[f"{kind} marks"] = pulses
    return found
