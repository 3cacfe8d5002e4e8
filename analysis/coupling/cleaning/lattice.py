"""Where the rows of a series that are known lie in time."""

from dataclasses import dataclass

import numpy as np
from thermograd.analysis.arrays import Ints, Mask


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Where the rows that are known lie on consecutive bins, of which some may be missing."""

    at: Ints  # shape (n,): bin of every row, from 0, ascending
    stretch: Ints  # shape (n,): number of its gap-free stretch, from 0

    @property
    def size(self) -> int:
        """Number of bins."""
        return int(self.at[-1]) + 1

    @property
    def is_whole(self) -> bool:
        """Whether no bin is missing."""
        return self.size == self.at.size

    def position(self) -> Ints:
        """Return the place of every bin in its stretch, from 0; shape (size,)."""
        begin = self.at[np.flatnonzero(np.diff(self.stretch, prepend=-1))]
        bins = np.arange(self.size)
        return bins - begin[np.searchsorted(begin, bins, side="right") - 1]

    def carried(self) -> Ints:
        """Return for every bin the row that is known there, or the last one before; shape (size,)."""
        return np.searchsorted(self.at, np.arange(self.size), side="right") - 1

    def gaps(self) -> Ints:
        """Return how many bins are missing just before every row of the same stretch; shape (n,)."""
        missing = np.diff(self.at, prepend=self.at[0] - 1) - 1
        return np.where(np.diff(self.stretch, prepend=0) == 0, missing, 0)


def rows_of(mask: Mask) -> slice | Ints:
    """Return the rows of a mask: as a slice, which copies nothing, where they follow each other."""
    rows = np.flatnonzero(mask)
    if rows.size and rows[-1] - rows[0] == rows.size - 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
