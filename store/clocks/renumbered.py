"""Step ends of a host that numbers its steps in its own way: matched by how long the steps take.

A host that joins late, or whose processes were started again, counts from 1 where the others go on. What
the steps took, one after the other, is the same on all hosts: their pattern tells which step is which.
"""

import numpy as np
from thermograd.store.clocks.lines import Floats
from thermograd.store.clocks.step_ends import StepEnds

_FEWEST = 100  # steps that must overlap: fewer may be alike by chance
_ALIKE = 0.6  # correlation of their lengths; of chance, the largest over thousands of shifts is below 0.5
_CLIP_SD = 3.0


def numbered_as(ends: StepEnds, own: StepEnds) -> StepEnds | None:
    """Return a host's step ends with the numbers that another gives the same steps, None if none are."""
    mine, theirs = (np.argsort(each.time_s, kind="stable") for each in (ends, own))
    if min(mine.size, theirs.size) <= _FEWEST:
        return None
    lengths = [_lengths(each.time_s[order]) for each, order in ((ends, mine), (own, theirs))]
    shift = _best_shift(*lengths)
    if shift is None:
        return None
    first, stop = max(0, -shift), min(mine.size, theirs.size - shift)
    step, time_s = own.step[theirs[first + shift : stop + shift]], ends.time_s[mine[first:stop]]
    order = np.argsort(step)
    return StepEnds(step[order], time_s[order])


def _lengths(time_s: Floats) -> Floats:
    """Return what steps took, in standard deviations, long pauses cut."""
    lengths = np.diff(time_s)
    low, middle, high = np.quantile(lengths, (0.25, 0.5, 0.75))
    width = max(float(high - low) / 1.35, 1e-9)
    return np.asarray(np.clip((lengths - middle) / width, -_CLIP_SD, _CLIP_SD))


def _best_shift(lengths: Floats, others: Floats) -> int | None:
    """Return how many places later the others have the same steps."""
    from scipy import fft  # where it is needed: it takes longer to import than `show` to answer

    size = fft.next_fast_len(lengths.size + others.size)

    def products(first: Floats, second: Floats) -> Floats:
        spectrum = np.conj(fft.rfft(first, size)) * fft.rfft(second, size)
        return np.asarray(fft.irfft(spectrum, size))

    ones = np.ones(lengths.size), np.ones(others.size)
    overlap = np.round(products(*ones))
    power = products(lengths**2, ones[1]) * products(ones[0], others**2)
    alike = products(lengths, others) / np.sqrt(np.maximum(power, 1e-9))
    alike[overlap < _FEWEST] = -1.0
    best = int(np.argmax(alike))
    if alike[best] < _ALIKE:
        return None
    return best if best < others.size else best - size
