"""Thinning a curve to what a screen or a page resolves, without losing an extreme.

References
----------
Jugel et al. (2014), M4: a visualization-oriented time series data aggregation, VLDB 7(10):797-808.
Van Der Donckt et al. (2023), tsdownsample, arXiv:2307.05389 (the compiled search used here).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def decimate(time_s: Floats, values: Floats, buckets: int, keep: Indices | None = None) -> Indices:
    """Choose the points that a screen can show: each bucket's lowest and highest, the ends, its first gap.

    Parameters
    ----------
    time_s, values
        Shape (n,): ascending seconds, and values; what is not finite is a gap.
    buckets
        Equal stretches of time.
    keep
        Indices of points that must stay, such as those with an alert.

    Returns
    -------
    ndarray of int64
        Ascending indices; all of them where there are no more than two a bucket.

    Examples
    --------
    >>> decimate(np.arange(8.0), np.array([1, 9, 2, 3, 3, 3, 0, 3.0]), 2).tolist()
    [0, 1, 4, 6, 7]
    """
    if values.size <= 2 * buckets:
        return np.arange(values.size)
    finite = np.isfinite(values)
    known = np.flatnonzero(finite)
    chosen = [_extremes(time_s, values, known, buckets), np.array([0, values.size - 1])]
    gaps = np.flatnonzero(~finite)
    if gaps.size:
        chosen.append(gaps[np.unique(buckets_of(time_s, buckets)[gaps], return_index=True)[1]])
    if keep is not None:
        chosen.append(keep)
    return np.unique(np.concatenate(chosen)).astype(np.int64)


def _extremes(time_s: Floats, values: Floats, known: Indices, buckets: int) -> Indices:
    """Return where each bucket has its lowest and its highest known value."""
    if known.size <= 2 * buckets:
        return known
    from tsdownsample import MinMaxDownsampler

    whole = known.size == values.size
    first, second = (np.ascontiguousarray(a if whole else a[known]) for a in (time_s, values))
    search: Any = MinMaxDownsampler  # which has no types
    given = (second,) if first[-1] <= first[0] else (first, second)  # where no time passes, by position
    found = np.asarray(search().downsample(*given, n_out=2 * buckets), dtype=np.int64)
    # Of the whole curve they are taken again: a report must not hang on how a bucket's edge is rounded.
    extremes = np.array([np.argmin(second), np.argmax(second)])
    chosen: Indices = known[np.union1d(found, extremes)]
    return chosen


def buckets_of(time_s: Floats, buckets: int) -> Indices:
    """Return which of so many equal stretches of time each point lies in, shape (n,)."""
    span = time_s[-1] - time_s[0]
    share = (time_s - time_s[0]) / span if span > 0 else np.zeros(time_s.size)
    return np.minimum((share * buckets).astype(np.int64), buckets - 1)
