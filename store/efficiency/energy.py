"""Energy between readings: from a device's own counter, or from its power over time."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COUNTER, POWER = "energy counter", "power over time"
_GAP_INTERVALS = 5.0  # power is not known across a hole longer than this many median intervals

Floats = NDArray[np.float64]


class Joules(NamedTuple):
    """Where an energy is from; begin and end (UTC epoch ns) and joules of each interval between readings."""

    source: str
    start_ns: Floats
    end_ns: Floats
    joules: Floats


def joules_between(
    time_ns: NDArray[np.int64], energy_j: Floats | None, power_w: Floats | None
) -> Joules | None:
    """Return the energy between a device's readings, which are in time order and NaN where not known.

    The counter's difference where it runs, else mean power times time; what went back (a counter that was
    reset) is left out. None where a device has neither an energy counter nor a power sensor.
    """
    source, values = (COUNTER, energy_j) if _several(energy_j) else (POWER, power_w)
    if values is None or not _several(values):
        return None
    known = np.isfinite(values)
    times, values = time_ns[known].astype(np.float64), values[known]
    elapsed = np.diff(times)
    if source == COUNTER:
        joules, usable = np.diff(values), elapsed > 0
    else:
        joules = (values[1:] + values[:-1]) / 2 * elapsed / 1e9
        usable = (elapsed > 0) & (elapsed <= _GAP_INTERVALS * _median(elapsed))
    usable &= joules >= 0
    if not usable.any():
        return None
    return Joules(source, times[:-1][usable], times[1:][usable], joules[usable])


def _median(values: Floats) -> float:
    """Return the median, as numpy's own, which for its check for NaN imports masked arrays."""
    middle = values.size // 2
    places = [middle] if values.size % 2 else [middle - 1, middle]
    return float(np.partition(values, places)[places].mean())


def _several(values: Floats | None) -> bool:
    return values is not None and int(np.isfinite(values).sum()) > 1
