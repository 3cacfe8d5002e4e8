"""The numbers of events, `seq`, brought in order: a file may hold one twice, in disorder, or with a hole.

An interrupt between writing an event and counting it gave the next event its number; a file that vanished
under a writer left a hole in the stream after it. Neither is a reason to give up the rest. Of events that
are the same in every column one is kept; two events that share a number are both kept, for both happened.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from thermograd.store.events import COMMON
from thermograd.store.files import MOST_SEQ

_MOST_PIECES = 1000


def in_order(table: pa.Table) -> tuple[pa.Table, str]:
    """Return the events of a file by number, and what was wrong with their numbers; empty for nothing."""
    wrong = []
    possible = _possible(table)
    if possible is not None:
        import pyarrow.compute as pc  # a third of what importing pyarrow takes

        wrong.append(f"{len(table) - int(pc.sum(possible).as_py() or 0)} events without a number or a time")
        table = table.filter(possible)
    step = np.diff(_seq(table))
    if (step < 0).any():
        wrong.append("events not in the order of their numbers")
        table = table.sort_by([(column.name, "ascending") for column in COMMON])
        step = np.diff(_seq(table))
    if (step == 0).any():
        wrong.append(f"{int((step == 0).sum())} events with the number of another")
        table = table.filter(pa.array(~np.append(False, _repeats(table, step))))
    if (np.diff(_seq(table)) > 1).any():
        wrong.append(f"events {_first_hole(_seq(table))} are missing in its middle")
    return table, "; ".join(wrong)


def pieces(table: pa.Table) -> list[pa.Table]:
    """Cut events in order so that each part has every number from its first to its last, and once.

    Each part has other ends than the others. Only where one number stands three times and more, and where
    the holes are without number, a part stays as it is: no log of ours is like that.
    """
    step = np.diff(_seq(table))
    for is_cut in (step != 1, step > 1, step < 0):
        bounds = [0, *(int(cut) + 1 for cut in np.flatnonzero(is_cut)), len(table)]
        parts = [table.slice(a, b - a) for a, b in pairwise(bounds) if b > a][: _MOST_PIECES + 1]
        ends = {(part["seq"][0].as_py(), part["seq"][-1].as_py()) for part in parts}
        if len(ends) == len(parts) <= _MOST_PIECES:
            break
    return parts


def _seq(table: pa.Table) -> Any:
    return table["seq"].to_numpy()


def _possible(table: pa.Table) -> pa.ChunkedArray | None:
    """Return which rows have a number that a file name can hold, and times; None where all have."""
    complete = not any(table[column.name].null_count for column in COMMON)
    seq = table["seq"]
    if not len(table) or (complete and _within(_seq(table))):
        return None
    import pyarrow.compute as pc

    fits = pc.and_(pc.greater_equal(seq, 0), pc.less(seq, MOST_SEQ))
    for column in COMMON:
        fits = pc.and_kleene(fits, table[column.name].is_valid())
    return fits.fill_null(False)


def _within(seq: Any) -> bool:
    return bool(seq.min() >= 0 and seq.max() < MOST_SEQ)


def _repeats(table: pa.Table, step: Any) -> Any:
    """Return which events, but for the first, are their predecessor once more."""
    same = step == 0
    rows = np.flatnonzero(same)
    before, after = table.take(pa.array(rows)), table.take(pa.array(rows + 1))
    equal = np.ones(len(rows), bool)
    for a, b in zip(before.columns, after.columns, strict=True):
        equal &= _equal(a, b)
    same[rows] = equal
    return same


def _equal(a: pa.ChunkedArray, b: pa.ChunkedArray) -> Any:
    import pyarrow.compute as pc

    both_null = pc.and_(a.is_null(nan_is_null=True), b.is_null(nan_is_null=True))
    return pc.or_kleene(pc.equal(a, b).fill_null(False), both_null).to_numpy()


def _first_hole(seq: Any) -> str:
    at = int(np.flatnonzero(np.diff(seq) > 1)[0])
    return f"{seq[at] + 1} to {seq[at + 1] - 1}"
