"""The arrays that the analysis works on, by their element, and moving them in time."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Times = NDArray[np.int64]  # nanoseconds
Mask = NDArray[np.bool_]


def shifted(values: Floats, bins: int) -> Floats:
    """Return the value so many bins later, or earlier where they are negative; NaN beyond the ends."""
    place = np.arange(values.size) + bins
    inside = (place >= 0) & (place < values.size)
    result = np.full(values.size, np.nan)
    result[inside] = values[place[inside]]
    return result
