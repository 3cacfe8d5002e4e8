"""Whether a peak is unusual among the peaks that the same two series have at other shifts.

Two series that keep a rhythm of one length meet at some shift, and then at every shift one length further on:
the peak is there, and at a hundred other places too. Shifts are not circular: the overlap gets shorter, no
end is joined to a beginning.
"""

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.coupling.responses import Searched

_WINDOWS = 20  # windows of their own that the shifts must hold for the gate to decide at 1 in 20


def can_decide(place: Ints, looked: Searched) -> bool:
    """Return whether so many bins have enough other shifts."""
    return 2 * (int(place[-1] - place[0] + 1) // 3) >= _WINDOWS * looked.lags.size


def shift_p(leader: Floats, follower: Floats, place: Ints, looked: Searched) -> float:
    """Return the share of shifts, up to a third of the length both ways, with as high a peak.

    At every shift the window of as many lags, and the same slow responses, are searched; r is taken over the
    overlap. `leader`, `follower` and `place` have shape (m,).
    """
    here = place - place[0]
    length = int(here[-1]) + 1
    series = np.zeros((3, length))
    series[0, here], series[1, here], series[2, here] = leader, follower, 1.0
    r = _correlations(series, place.size)
    peaks = _peaks(r, looked)
    farthest = length // 3
    centre = length - 1
    window = looked.lags.size
    others = np.concatenate([
        peaks[centre - farthest : centre - window + 1], peaks[centre + window : centre + farthest + 1]
    ])  # fmt: skip
    return (1 + int((others >= peaks[centre] * (1.0 - 1e-12)).sum())) / (1 + others.size)


def _correlations(series: Floats, m: int) -> Floats:
    """Return r of x at t and y at t + s for every s from -(length - 1) to length - 1, over the overlap."""
    length = series.shape[1]
    size = scipy.fft.next_fast_len(2 * length, real=True)
    x, y, there = scipy.fft.rfft(series, size, axis=1)
    products, pairs = (scipy.fft.irfft(np.conj(a) * b, size) for a, b in ((x, y), (there, there)))
    order = np.arange(-(length - 1), length) % size
    scale = np.sqrt(np.mean(series[0] ** 2) * np.mean(series[1] ** 2)) * length
    r = products[order] / max(float(scale), 1e-300)
    return np.asarray(r * np.sqrt(m / np.maximum(pairs[order], 1.0)))


def _peaks(r: Floats, looked: Searched) -> Floats:
    """Return for every shift the largest |r| that a search there finds."""
    first, last = int(looked.lags[0]), int(looked.lags[-1])
    windows = sliding_window_view(np.abs(np.append(r, np.zeros(last))), looked.lags.size)
    peaks = windows[first : first + r.size].max(axis=1)
    for memory in looked.memories:
        peaks = np.maximum(peaks, np.abs(_slow(r, memory, first)))
    return np.asarray(peaks)


def _slow(r: Floats, memory: float, first: int) -> Floats:
    """Return the correlation with a slow response at every shift; of the spread that single lags have."""
    weights = np.exp(-np.arange(int(np.ceil(5.0 * memory))) / memory)
    weights /= np.linalg.norm(weights)
    summed = np.convolve(r, weights[::-1], mode="full")
    whole = np.append(summed, np.zeros(first))
    return np.asarray(whole[weights.size - 1 + first :][: r.size])
