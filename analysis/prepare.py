"""One training signal and one hardware signal of a run on regular bins, with what drives both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from thermograd.analysis.align.grid import CausalGrid, causal_grid
from thermograd.analysis.run.drivers import driver_columns
from thermograd.analysis.run.pairs import signal_values
from thermograd.analysis.run.series import Device, RunSeries

Floats = NDArray[np.float64]

_MOST_BINS = 2_000_000  # 23 days of seconds: one wrong clock must not fill the memory


@dataclass(frozen=True, slots=True, eq=False)
class RegularPair:
    """Two signals on one clock without holes in its numbering.

    Attributes
    ----------
    x, y
        Shape (m,): training signal (the norm as its logarithm) and hardware signal; NaN in a bin
        without a value. Bin k is the same time since the training's beginning in every run.
    drivers, unlagged
        Shape (m, k): what moves both without being on the way between them, see `drivers.Drivers`; None
        where nothing does.
    period_s
        Length of a bin.
    n
        Bins that hold both signals.
    """

    x: Floats
    y: Floats
    drivers: Floats | None
    unlagged: Floats | None
    period_s: float
    n: int


def regular_pair(
    data: RunSeries, device: Device, x: str, y: str, min_period_s: float = 1.0
) -> RegularPair | None:
    """Put two signals of a run on regular bins of the slower clock.

    Parameters
    ----------
    data, device
        The run, and one of its devices.
    x, y
        Training and hardware signal.
    min_period_s
        Shortest bin, s.

    Returns
    -------
    RegularPair or None
        None where the run does not have both signals, or never at the same time.
    """
    values = device.signal(y)
    if values is None or x not in data.steps.column_names:
        return None
    grid = causal_grid(
        data.step_time_ns, signal_values(data, x), device.time_ns, values, min_period_s=min_period_s
    )
    if not grid.x.size:
        return None
    place = _places(grid, int(data.step_time_ns[0]))
    if place is None:
        return None
    drivers = driver_columns(data, device, grid, x, y)

    def laid_out(column: Floats) -> Floats:
        whole = np.full(int(place[-1]) + 1, np.nan)
        whole[place] = column
        return whole

    def all_laid_out(columns: Floats | None) -> Floats | None:
        return None if columns is None else np.column_stack([laid_out(column) for column in columns.T])

    lagged, unlagged = all_laid_out(drivers.lagged), all_laid_out(drivers.unlagged)
    return RegularPair(laid_out(grid.x), laid_out(grid.y), lagged, unlagged, grid.period_s, place.size)


def _places(grid: CausalGrid, begin_ns: int) -> NDArray[np.int64] | None:
    """Return each bin's number since the training began; a hole between segments counts by its length."""
    period_ns = grid.period_s * 1e9
    if (grid.time_ns[-1] - begin_ns) / period_ns > _MOST_BINS:
        return None
    ahead = np.ones(grid.time_ns.size, dtype=np.int64)
    ahead[0] = max(0, round((int(grid.time_ns[0]) - begin_ns) / period_ns))
    holes = np.flatnonzero(np.diff(grid.segment)) + 1
    ahead[holes] = np.maximum(1, np.round((grid.time_ns[holes] - grid.time_ns[holes - 1]) / period_ns))
    return np.cumsum(ahead)
