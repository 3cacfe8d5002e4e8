"""Keys that have been there before, known at once and in little memory."""

import numpy as np
from numpy.typing import NDArray

_RECENT = 1 << 15
_FILTER_BYTES = 1 << 24
_FILTER_BITS = 8 * _FILTER_BYTES


class SeenKeys:
    """Whole numbers of 64 bits: the latest in a set, all others sorted, and a bit of each in front of them.

    Most keys are new, and most of these have their bit to themselves.
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._filter: bytearray | None = None
        self._sorted: list[NDArray[np.int64]] = []

    def is_new(self, key: int) -> bool:
        """Return whether a key has not been there, and keep it in mind."""
        if self.has(key):
            return False
        self._recent.add(key)
        if len(self._recent) >= _RECENT:
            self._put_away()
        return True

    def has(self, key: int) -> bool:
        """Return whether a key has been there."""
        return key in self._recent or (self._filter is not None and self._is_put_away(key))

    def _is_put_away(self, key: int) -> bool:
        assert self._filter is not None
        bit = key % _FILTER_BITS
        return bool(self._filter[bit >> 3] >> (bit & 7) & 1) and any(
            _holds(keys, key) for keys in self._sorted
        )

    def _put_away(self) -> None:
        keys = np.array(sorted(self._recent), np.int64)
        self._recent = set()
        if self._filter is None:
            self._filter = bytearray(_FILTER_BYTES)
        bits = keys % _FILTER_BITS
        np.bitwise_or.at(np.frombuffer(self._filter, np.uint8), bits >> 3, (1 << (bits & 7)).astype(np.uint8))
        while self._sorted and len(self._sorted[-1]) <= len(keys):
            keys = np.sort(np.concatenate([self._sorted.pop(), keys]), kind="stable")
        self._sorted.append(keys)


def _holds(keys: NDArray[np.int64], key: int) -> bool:
    place = int(keys.searchsorted(key))
    return place < len(keys) and int(keys[place]) == key
