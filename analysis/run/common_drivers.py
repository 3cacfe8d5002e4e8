"""What is logged and moves both sides of a pair without being on the way between them."""

from dataclasses import dataclass

import numpy as np
from thermograd.analysis.align.grid import CausalGrid
from thermograd.analysis.align.matching import interval_mean
from thermograd.analysis.arrays import Floats, Times
from thermograd.analysis.coupling.residuals import trend_order
from thermograd.analysis.run.series import Device, RunSeries

_OF_STEPS = ("learning_rate", "step_time_s", "tokens")
_OF_MARKS = ("evaluation", "checkpoint")
_FEWEST_MARKS = 2
_FEWEST_PERIODIC = 4  # marks that show a period
_SAME_INTERVAL = 0.1  # spread of their intervals, as a share
_SHORTEST_PERIOD = 4.0  # bins; faster is not resolved
_LAGS = 4  # 0..3 bins


@dataclass(frozen=True, slots=True, eq=False)
class Drivers:
    """Columns to regress out of both sides of a pair."""

    names: list[str]  # what they are, one name a driver
    lagged: Floats  # shape (n, k): those that act through their last bins too
    unlagged: Floats  # shape (n, j): sine and cosine of known periods
    left_out: list[str]  # names of drivers for which the run is too short


def driver_columns(
    data: RunSeries, device: Device, grid: CausalGrid, x: str, y: str, *, with_power: bool = False
) -> Drivers:
    """Gather the drivers of a pair of signals on its grid.

    Utilisation, learning rate, step time and tokens; evaluation and checkpoint marks (in the first bin
    that ends at or after them, for the time around them often has no step); two harmonics of the epoch
    and of evenly spaced marks. A signal is no driver of itself, nor is the load one of what is
    computed from it. Drivers are taken in this order, as many as the bins can bear.

    `with_power` makes power a driver too: then what is left of a coupling with temperature is the direct
    effect, without the way through power.
    """
    none = np.empty((grid.x.size, 0))
    if not grid.x.size:
        return Drivers([], none, none, [])
    lagged = _lagged(data, device, grid, x, y, with_power)
    waves = _harmonics(data, grid)
    room = (grid.x.size - 10) // 2 - (3 + trend_order(grid.x.size) + int(grid.segment[-1]))
    kept: dict[str, Floats] = {}
    for name, columns in (lagged | waves).items():
        cost = _LAGS if name in lagged else columns.shape[1]
        if cost <= room:
            room -= cost
            kept[name] = columns
    return Drivers(
        list(kept),
        np.column_stack([none, *(kept[name] for name in kept if name in lagged)]),
        np.column_stack([none, *(kept[name] for name in kept if name in waves)]),
        [name for name in lagged | waves if name not in kept],
    )


def _lagged(
    data: RunSeries, device: Device, grid: CausalGrid, x: str, y: str, with_power: bool
) -> dict[str, Floats]:
    starts = grid.time_ns - round(grid.period_s * 1e9)
    found: dict[str, Floats] = {}
    computed = y in ("rle", "reported_rle")
    for name, wanted in (("power_w", with_power), ("utilization_pct", not computed)):
        values = device.signal(name) if wanted and name != y else None
        if values is not None:
            found[name] = interval_mean(starts, grid.time_ns, device.time_ns, values)
    for name in _OF_STEPS:
        if name != x:
            found[name] = interval_mean(starts, grid.time_ns, data.step_time_ns, data.training(name))
    usable = {n: _filled(values) for n, values in found.items() if np.isfinite(values).mean() > 0.9}
    varying = {name: values for name, values in usable.items() if np.ptp(values) > 0}
    return varying | _pulses(data, grid)


def _filled(column: Floats) -> Floats:
    """Give the few bins that hold no value of a driver the one before, so that they cost no bin."""
    known = np.flatnonzero(np.isfinite(column))
    before = np.searchsorted(known, np.arange(column.size), side="right") - 1
    return column[known[np.maximum(before, 0)]]


def _mark_times(data: RunSeries, kind: str) -> Times:
    return np.array([mark["time_ns"] for mark in data.marks if mark["mark"] == kind], dtype=np.int64)


def _pulses(data: RunSeries, grid: CausalGrid) -> dict[str, Floats]:
    """Return per kind of mark how many fall into every bin."""
    found = {}
    for kind in _OF_MARKS:
        place = np.searchsorted(grid.time_ns, _mark_times(data, kind))
        pulses = np.bincount(place, minlength=grid.x.size + 1)[: grid.x.size].astype(np.float64)
        if (pulses > 0).sum() >= _FEWEST_MARKS:
            found[f"{kind} marks"] = pulses
    return found


def _harmonics(data: RunSeries, grid: CausalGrid) -> dict[str, Floats]:
    """Return sine and cosine of the first two harmonics of every known period."""
    turns = {"epoch": _epochs(data, grid)}
    for kind in _OF_MARKS:
        turns[f"period of {kind} marks"] = _turns_of_marks(_mark_times(data, kind), grid)
    found = {}
    for name, turn in turns.items():
        if turn is None or turn[-1] - turn[0] < 2 or grid.x.size / (turn[-1] - turn[0]) < _SHORTEST_PERIOD:
            continue
        phase = 2 * np.pi * turn
        found[name] = np.column_stack([wave(k * phase) for k in (1, 2) for wave in (np.sin, np.cos)])
    return found


def _epochs(data: RunSeries, grid: CausalGrid) -> Floats | None:
    """Return how many epochs have passed at every bin; whole numbers in the log are filled in by step."""
    epoch = data.training("epoch")
    known = np.isfinite(epoch)
    if known.sum() < 2 or (np.diff(epoch[known]) < 0).any():
        return None
    time_s, values = (data.step_time_ns[known] - grid.time_ns[0]) / 1e9, epoch[known]
    if (values == np.round(values)).all():
        begins = np.flatnonzero(np.append(True, np.diff(values) > 0))
        time_s, values = time_s[begins], values[begins]
    return np.asarray(np.interp((grid.time_ns - grid.time_ns[0]) / 1e9, time_s, values))


def _turns_of_marks(times: Times, grid: CausalGrid) -> Floats | None:
    if times.size < _FEWEST_PERIODIC:
        return None
    seconds = np.unique(times - grid.time_ns[0]) / 1e9
    spacing = np.diff(seconds)
    if spacing.size < _FEWEST_PERIODIC - 1 or np.std(spacing) > _SAME_INTERVAL * np.mean(spacing):
        return None
    middle = float(np.mean(spacing))
    at = (grid.time_ns - grid.time_ns[0]) / 1e9
    inside = np.interp(at, seconds, np.arange(seconds.size, dtype=np.float64))
    outside = np.minimum(at - seconds[0], 0.0) / middle + np.maximum(at - seconds[-1], 0.0) / middle
    return np.asarray(inside + outside)
