"""Whether two runs are one training: told from a few bytes of each, so that thousands can be compared."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from thermograd.analysis.arrays import Floats
from thermograd.analysis.coupling.cross_correlation import naive_pearson
from thermograd.analysis.run.series import RunSeries

_BITS = 512  # changes from step to step whose direction is kept
_FEWEST_BITS = 64
_SMOOTH_ABOVE = 0.5  # correlation of a change with the next one: any two smooth curves fall alike
# Changes that correlate by .95 have one direction in .90 of the steps, independent ones in half of them: of
# 64, as many as this are never so by chance, not even in a million pairs (8 standard deviations in 512).
_SAME_SHARE = 0.87
_BLOCK = 512


def digest(data: RunSeries) -> bytes | None:
    """Return a hash of what the steps measured; None where they measured nothing."""
    columns = [data.training(name) for name in ("loss", "grad_norm")]
    if not any(np.isfinite(column).any() for column in columns):
        return None
    whole = b"".join(np.nan_to_num(column, nan=-1.0).tobytes() for column in columns)
    return hashlib.blake2b(whole, digest_size=16).digest()


def likeness(data: RunSeries) -> bytes | None:
    """Return in which of the first steps the gradient norm, else the loss, rose; with which steps those are.

    None where there are too few, or where the changes follow each other.
    """
    numbers = data.training("step")
    for name in ("grad_norm", "loss"):
        known = np.isfinite(data.tested(name)) & np.isfinite(numbers)
        steps, place = np.unique(numbers[known], return_index=True)
        values = data.tested(name)[known][place][: _BITS + 1]
        changes = np.diff(values)
        if changes.size >= _FEWEST_BITS and np.ptp(changes) and not _is_smooth(changes):
            which = hashlib.blake2b(steps[: values.size].tobytes() + name.encode(), digest_size=8).digest()
            return which + np.packbits(changes > 0).tobytes()
    return None


def _is_smooth(changes: Floats) -> bool:
    ranks = np.argsort(np.argsort(changes)).astype(np.float64)
    return naive_pearson(ranks[:-1], ranks[1:]) > _SMOOTH_ABOVE


def repeated(digests: Sequence[bytes | None], likenesses: Sequence[bytes | None]) -> dict[int, int]:
    """Return, by place, the first run whose training a later one repeats."""
    found: dict[int, int] = {}
    seen: dict[bytes, int] = {}
    for place, known in enumerate(digests):
        if known is not None and seen.setdefault(known, place) != place:
            found[place] = seen[known]
    for group in _groups(likenesses):
        for later, first in _alike(group, likenesses):
            if later not in found and first not in found:
                found[later] = first
    return found


def _groups(likenesses: Sequence[bytes | None]) -> list[list[int]]:
    """Return the places of runs that logged the same steps, two or more."""
    groups: dict[tuple[bytes, int], list[int]] = {}
    for place, known in enumerate(likenesses):
        if known is not None:
            groups.setdefault((known[:8], len(known)), []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def _alike(group: list[int], likenesses: Sequence[bytes | None]) -> list[tuple[int, int]]:
    """Return pairs of places, the later first, of which nearly all changes have one direction."""
    bits = np.array([np.frombuffer((likenesses[place] or b"")[8:], np.uint8) for place in group])
    signs = np.unpackbits(bits, axis=1).astype(np.float32) * 2 - 1
    found: list[tuple[int, int]] = []
    for first in range(0, len(group), _BLOCK):
        agree: NDArray[np.float32] = signs[first : first + _BLOCK] @ signs.T / signs.shape[1]
        ahead, behind = np.nonzero(agree > 2 * _SAME_SHARE - 1)
        found += [
            (group[other], group[one])
            for one, other in zip((ahead + first).tolist(), behind.tolist(), strict=True)
            if one < other
        ]
    return sorted(found)
