"""Event coincidence: how many events of one kind have one of another kind near, and is that chance.

Two rates describe it: the share of first events that a second one follows (trigger), and the share
of second events that a first one preceded (precursor). Their p-values come from turning one series of
events around the run by every possible shift: that keeps the clustering of both kinds, which a
Poisson formula ignores.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Mask


@dataclass(frozen=True, slots=True)
class Coincidence:
    """What `event_coincidence` found.

    Attributes
    ----------
    trigger_rate
        Share of first events with at least one second event in the window after them; NaN without any.
    precursor_rate
        Share of second events with at least one first event in the window before them.
    trigger_count, precursor_count
        How many those are.
    trigger_p, precursor_p
        Share of all circular shifts with at least as many; NaN if `reason` is set.
    n_first, n_second, n
        Events of either kind, and bins.
    reason
        Why there are no p-values; None otherwise.
    """

    trigger_rate: float
    precursor_rate: float
    trigger_count: int
    precursor_count: int
    trigger_p: float
    precursor_p: float
    n_first: int
    n_second: int
    n: int
    reason: str | None = None


def event_coincidence(
    first: ArrayLike, second: ArrayLike, window: int, *, delay: int = 0, fewest: int = 40
) -> Coincidence:
    """Count coincidences of two kinds of events and compare with all circular shifts.

    Parameters
    ----------
    first, second
        Shape (n,): True or 1 in a bin in which an event of this kind began.
    window
        Length of the window, in bins, at least 1: a second event coincides with a first one in bin t if it is
        in t + delay .. t + delay + window - 1.
    delay
        Bins between a first event and its window; 0 lets both begin in the same bin.
    fewest
        With fewer events of either kind the rates are given without p-values.

    Raises
    ------
    ValueError
        If the shapes differ, or the window is not between 1 bin and the whole.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> first = rng.random(2000) < 0.03
    >>> found = event_coincidence(first, np.roll(first, 4), window=8)
    >>> found.trigger_rate > 0.95, found.trigger_p < 0.01
    (True, True)

    References
    ----------
    Donges et al. (2016), Eur. Phys. J. Spec. Top. 225:471-487 (event coincidence analysis).
    """
    a, b = (np.asarray(events, dtype=np.float64) > 0 for events in (first, second))
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"first has shape {a.shape} and second {b.shape}; expected one equal dimension")
    n, n_first, n_second = a.size, int(a.sum()), int(b.sum())
    if window < 1 or delay < 0 or window + delay > max(n, 1):
        raise ValueError(f"window is {window!r} and delay {delay!r}; expected 1 to {n} bins together")
    last = delay + window - 1
    followed, preceded = any_within(b, delay, last), any_within(a[::-1], delay, last)[::-1]
    trigger, precursor = int((a & followed).sum()), int((b & preceded).sum())
    reason, nothing, fewest = None, float("nan"), max(fewest, 1)
    if min(n_first, n_second) < fewest:
        reason = f"{n_first} and {n_second} events; at least {fewest} of each kind are needed"
    return Coincidence(
        trigger_rate=trigger / n_first if n_first else nothing,
        precursor_rate=precursor / n_second if n_second else nothing,
        trigger_count=trigger,
        precursor_count=precursor,
        trigger_p=nothing if reason else _shift_p(a, b, delay, window),
        precursor_p=nothing if reason else _shift_p(b[::-1], a[::-1], delay, window),
        n_first=n_first,
        n_second=n_second,
        n=n,
        reason=reason,
    )


def any_within(events: Mask, first: int, last: int) -> Mask:
    """Return whether any event lies in t + first .. t + last, for every bin t."""
    counted, here = np.append(0, np.cumsum(events)), np.arange(events.size)
    begin, end = (np.clip(here + edge, 0, events.size) for edge in (first, last + 1))
    return counted[end] > counted[begin]


def _shift_p(a: Mask, b: Mask, delay: int, window: int) -> float:
    """Return the share of circular shifts of a that coincide with b at least as often as no shift."""
    ring = np.append(b, b[: delay + window])  # windows go on past the end, at the beginning
    followed = any_within(ring, delay, delay + window - 1)[: b.size].astype(np.float64)
    spectrum = scipy.fft.rfft(followed) * np.conj(scipy.fft.rfft(a.astype(np.float64)))
    counts = np.round(scipy.fft.irfft(spectrum, n=a.size))
    return float((counts >= counts[0]).mean())
