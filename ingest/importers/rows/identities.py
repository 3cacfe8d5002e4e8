"""Rows that have been there before, exactly, found in little memory once all rows are known.

Of each row 64 bits of its text are kept, in the order of the file, and its line. Equal ones are looked for
in parts by their first bits, so that no more than a part is sorted at a time.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from thermograd.ingest.importers.rows.spill import Spill
from thermograd.ingest.importers.timezones import SET_BACK_NS

_BATCH_ROWS = 65_536
_PART_ROWS = 1 << 20
_WORD = (1 << 64) - 1
_MOST_CELLS = 1024
_random = random.Random(0)
_FACTORS = [_random.getrandbits(64) | 1 for _ in range(_MOST_CELLS)]
FACTORS = np.array(_FACTORS, np.uint64)
_OF_COUNT = _random.getrandbits(64) | 1
_OF_EPOCH = _random.getrandbits(64) | 1
_FIELDS = (("key", pa.uint64()), ("line", pa.int64()), ("fate", pa.uint8()))
_SCHEMA = pa.schema(list(_FIELDS))


def key_of(cells: Sequence[object]) -> int:
    """Return 64 bits of a row's cells; the key of many rows at once is `begun_key` and a sum of the same."""
    return (begun_key(len(cells)) + sum(map(int.__mul__, _FACTORS, map(hash, cells)))) & _WORD


def begun_key(cells: int) -> int:
    """Return the part of a key that the number of cells gives."""
    return cells * _OF_COUNT & _WORD


class Repeats(NamedTuple):
    """The lines of rows that have been there before, in order, and what had become of each."""

    lines: np.ndarray
    fates: np.ndarray


class Identities:
    """The keys of rows, as they come."""

    def __init__(self) -> None:
        self.fates: list[str] = [""]  # why a row is left out for another reason; the first is kept
        self._pending: list[tuple[int, int, int]] = []
        self._spill = Spill()
        self._rows = 0
        self._latest_ns = 0  # of the rows that name no zone
        self._epoch = 0  # goes up where a clock without a zone goes back by about an hour: it shows it again

    def add(self, key: int, line: int, naive_ns: int | None) -> None:
        """Add a row; `naive_ns`: its time, where that names no zone."""
        if naive_ns is not None:
            if SET_BACK_NS[0] <= self._latest_ns - naive_ns <= SET_BACK_NS[1]:
                self._epoch += 1
            self._latest_ns = naive_ns
        self._pending.append(((key + self._epoch * _OF_EPOCH) & _WORD, line, 0))
        if len(self._pending) > _BATCH_ROWS:
            self._flush(leave=1)

    def set_fate(self, reason: str) -> None:
        """Say why the latest row is left out after all."""
        self._pending[-1] = (*self._pending[-1][:2], self._fate(reason))

    def add_many(
        self,
        keys: np.ndarray,
        lines: np.ndarray,
        naive_ns: np.ndarray | None,
        left_out: np.ndarray,
        reason: str,
    ) -> None:
        """Add rows; those that are `left_out` are so for a reason."""
        if naive_ns is not None and len(naive_ns):
            back = -np.diff(naive_ns, prepend=self._latest_ns)
            epochs = self._epoch + np.cumsum((back >= SET_BACK_NS[0]) & (back <= SET_BACK_NS[1]))
            self._latest_ns, self._epoch = int(naive_ns[-1]), int(epochs[-1])
        else:
            epochs = np.full(len(keys), self._epoch)
        self._flush(leave=0)
        fates = left_out * np.uint8(self._fate(reason))
        self._put(keys + epochs.astype(np.uint64) * np.uint64(_OF_EPOCH), lines, fates)

    def _fate(self, reason: str) -> int:
        if reason not in self.fates:
            self.fates.append(reason)
        return self.fates.index(reason)

    def _flush(self, leave: int) -> None:
        """Put away the rows that were added, but for so many of the latest, whose fate is open."""
        done = self._pending[: len(self._pending) - leave]
        self._pending = self._pending[len(done) :]
        if done:
            columns = zip(zip(*done, strict=True), _FIELDS, strict=True)
            self._put(*(np.array(column, of.to_pandas_dtype()) for column, (_, of) in columns))

    def _put(self, keys: np.ndarray, lines: np.ndarray, fates: np.ndarray) -> None:
        self._rows += len(keys)
        self._spill.put(pa.record_batch([keys, lines, fates], schema=_SCHEMA))

    def repeats(self) -> Repeats:
        """Return the rows whose key an earlier one has; nothing can be added afterwards."""
        self._flush(leave=0)
        parts = self._rows // _PART_ROWS + 1
        found = [self._repeats_of(part, parts) for part in range(parts)]
        self._spill.close()
        lines, fates = (np.concatenate([part[column] for part in found]) for column in (0, 1))
        order = np.argsort(lines, kind="stable")
        return Repeats(lines[order], fates[order])

    def _repeats_of(self, part: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
        chosen: list[list[np.ndarray]] = [
            [np.empty(0, np.uint64)],
            [np.empty(0, np.int64)],
            [np.empty(0, np.uint8)],
        ]
        for number in range(len(self._spill)):
            columns = [column.to_numpy() for column in self._spill.get(number).columns]
            mine = columns[0] % np.uint64(parts) == part
            for column, kept in zip(columns, chosen, strict=True):
                kept.append(column[mine])
        keys, lines, fates = map(np.concatenate, chosen)
        ordered = np.sort(keys)
        if not (ordered[1:] == ordered[:-1]).any():
            return lines[:0], fates[:0]
        order = np.argsort(keys, kind="stable")
        again = order[1:][keys[order[1:]] == keys[order[:-1]]]
        return lines[again], fates[again]
