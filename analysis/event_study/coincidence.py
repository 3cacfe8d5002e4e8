"""Event coincidence: how many events of one kind have one of another kind near, and is that chance.

Two rates describe it: the share of first events that a second one follows (trigger), and the share
of second events that a first one preceded (precursor). Their p-values come from turning one series of
events around the run by every possible shift: that keeps the clustering of both kinds, which a
Poisson formula ignores. Two rates that rise and fall together are no coincidence, nor are two rhythms of one
length that share a phase: counts are compared with those at neighbouring shifts, and shifts are whole turns.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.special
from numpy.typing import ArrayLike
from thermograd.analysis.arrays import Floats, Ints, Mask

_WINDOWS_AROUND = 4  # a wider neighbourhood passes shared bursts of a minute for coincidence
_COUNT_FLOOR = 0.5  # added to what is expected: where next to nothing is, one event is no surprise
_FEWEST_TURNS = 20  # of a rhythm in both: fewer shifts cannot tell 1 in 20
_LONGEST_RHYTHM, _FEWEST_SEEN = 120, 6  # bins; turns in which a rhythm shows
_SURE = 1e-4  # p, after correction for all lengths, from which a rhythm is one
_ROUNDING = 1e-9


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
        Share of all circular shifts with at least as many, compared with shifts nearby; NaN if `reason` is
        set.
    n_first, n_second, n
        Events of either kind, and bins.
    turn
        Length in bins of a rhythm that both kinds keep: only shifts by whole turns are compared; else 1.
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
    turn: int = 1
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
    nothing, turn = float("nan"), 1
    reason = _too_few(n_first, n_second, max(fewest, 1))
    if reason is None:
        turn = _common_turn(a, b)
        reason = _too_few_turns(n, turn)
    return Coincidence(
        trigger_rate=trigger / n_first if n_first else nothing,
        precursor_rate=precursor / n_second if n_second else nothing,
        trigger_count=trigger,
        precursor_count=precursor,
        trigger_p=nothing if reason else _shift_p(a, b, delay, window, turn),
        precursor_p=nothing if reason else _shift_p(b[::-1], a[::-1], delay, window, turn),
        n_first=n_first,
        n_second=n_second,
        n=n,
        turn=turn,
        reason=reason,
    )


def _too_few(n_first: int, n_second: int, fewest: int) -> str | None:
    if min(n_first, n_second) >= fewest:
        return None
    return f"{n_first} and {n_second} events; at least {fewest} of each kind are needed"


def _too_few_turns(n: int, turn: int) -> str | None:
    if n >= _FEWEST_TURNS * turn:
        return None
    return f"both kinds keep a rhythm of {turn} bins, of which only {n // turn} turns can be compared"


def any_within(events: Mask, first: int, last: int) -> Mask:
    """Return whether any event lies in t + first .. t + last, for every bin t."""
    counted, here = np.append(0, np.cumsum(events)), np.arange(events.size)
    begin, end = (np.clip(here + edge, 0, events.size) for edge in (first, last + 1))
    return counted[end] > counted[begin]


def _shift_p(a: Mask, b: Mask, delay: int, window: int, turn: int) -> float:
    """Return the share of circular shifts of a by whole turns that coincide with b as far above their rates.

    At every shift the count is compared with its own neighbourhood: the mean over the shifts from one to some
    windows away, which is what rates that rise and fall together lead one to expect.
    """
    whole = b.size - b.size % turn  # else shifts carry one phase round to another
    a, b = a[:whole], b[:whole]
    ring = np.append(b, b[: delay + window])  # windows go on past the end, at the beginning
    followed = any_within(ring, delay, delay + window - 1)[: b.size].astype(np.float64)
    spectrum = scipy.fft.rfft(followed) * np.conj(scipy.fft.rfft(a.astype(np.float64)))
    around = scipy.fft.rfft(_neighbourhood(b.size, window))
    counts = np.round(scipy.fft.irfft(spectrum, n=b.size))
    expected = scipy.fft.irfft(spectrum * around, n=b.size)
    above = (counts - expected) / np.sqrt(np.maximum(expected, 0.0) + _COUNT_FLOOR)
    return float((above[::turn] >= above[0] - _ROUNDING).mean())


def _neighbourhood(n: int, window: int) -> Floats:
    """Return weights, shape (n,), of shifts on a ring: equal from one window away to some windows away."""
    away = np.minimum(np.arange(n), n - np.arange(n))
    weights = ((away >= window) & (away <= _WINDOWS_AROUND * window)).astype(np.float64)
    return weights / max(float(weights.sum()), 1.0)


def _common_turn(a: Mask, b: Mask) -> int:
    """Return the length in bins of a rhythm that both kinds of events keep; 1 where they keep none."""
    lengths = sorted(_rhythm(events) for events in (a, b))
    return lengths[1] if lengths[0] > 1 and lengths[1] % lengths[0] == 0 else 1


def _rhythm(events: Mask) -> int:
    """Return the length of the cycle in whose phases events are spread least evenly (chi squared), or 1."""
    at = np.flatnonzero(events)
    lengths = range(2, min(_LONGEST_RHYTHM, events.size // _FEWEST_SEEN) + 1)
    if not lengths:
        return 1
    p = [_p_of_even_phases(np.bincount(at % length, minlength=length)) for length in lengths]
    best = int(np.argmin(p))
    return lengths[best] if p[best] * len(p) <= _SURE else 1


def _p_of_even_phases(counts: Ints) -> float:
    expected = counts.sum() / counts.size
    return float(scipy.special.chdtrc(counts.size - 1, ((counts - expected) ** 2).sum() / expected))
