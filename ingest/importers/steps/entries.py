"""What a log has of the steps' columns, entry by entry; what does not fit into memory is on the disk."""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.ingest.importers.rows.spill import Spill
from thermograd.ingest.importers.timezones import Moment

BATCH_ENTRIES = 1 << 15
_PACKED = 1 << 16
_NARROW = (np.int8, np.int16, np.int32, np.int64)
_SCHEMA = pa.schema(
    [
        ("path", pa.int32()),
        ("line", pa.int64()),
        ("time_ns", pa.int64()),
        ("naive", pa.bool_()),
        ("values", pa.list_(pa.float64())),
    ]
)


class Numbers:
    """Whole numbers as they come, each in as few bytes as those around it need."""

    def __init__(self, unknown: int = 0, count: int = 0) -> None:
        self._parts: list[NDArray[np.signedinteger]] = [np.full(count, unknown, np.int8)] if count else []
        self._pending = array("q")

    def append(self, number: int) -> None:
        """Add a number."""
        self._pending.append(number)
        if len(self._pending) >= _PACKED:
            self._pack()

    def _pack(self) -> None:
        numbers = np.frombuffer(self._pending, np.int64)
        low, high = int(numbers.min()), int(numbers.max())
        fits = (kind for kind in _NARROW if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
        self._parts.append(numbers.astype(next(fits)))
        self._pending = array("q")

    def all(self) -> NDArray[np.signedinteger]:
        """Return all of them."""
        if self._pending:
            self._pack()
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0] if self._parts else np.empty(0, np.int8)


@dataclass(slots=True)
class Entry:
    """What was logged at one time, of the steps' columns."""

    number: int  # of all that were logged
    path: Path
    line: int
    moment: Moment
    values: dict[str, float | None]  # by tag


class Entries:
    """Entries in the order in which they come.

    In memory are a few bytes of each: its number, and which tags it has.

    Attributes
    ----------
    layouts
        The tags that entries have, each set of them once.
    """

    def __init__(self) -> None:
        self.layouts: list[tuple[str, ...]] = []
        self._layout_codes: dict[tuple[str, ...], int] = {}
        self._paths: dict[Path, int] = {}
        self._numbers, self._codes = Numbers(), Numbers()
        self._pending: list[tuple[Any, ...]] = []
        self._spill = Spill()

    def __len__(self) -> int:
        return len(self._spill) * BATCH_ENTRIES + len(self._pending)

    def add(
        self, number: int, path: Path, line: int, moment: Moment, values: Mapping[str, float | None]
    ) -> None:
        """Keep an entry."""
        tags = tuple(values)
        code = self._layout_codes.get(tags)
        if code is None:
            code = self._layout_codes[tags] = len(self.layouts)
            self.layouts.append(tags)
        self._codes.append(code)
        self._numbers.append(number)
        place = self._paths.setdefault(path, len(self._paths))
        floats = [None if value is None else float(value) for value in values.values()]
        self._pending.append((place, line, moment.ns, moment.naive, floats))
        if len(self._pending) >= BATCH_ENTRIES:
            self._spill.put(self._batch())
            self._pending = []

    def _batch(self) -> pa.RecordBatch:
        columns = zip(*self._pending, strict=True) if self._pending else [()] * len(_SCHEMA)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
        return pa.record_batch(arrays, schema=_SCHEMA)

    @property
    def numbers(self) -> NDArray[np.signedinteger]:
        """The number of each entry."""
        return self._numbers.all()

    @property
    def codes(self) -> NDArray[np.signedinteger]:
        """The place of each entry's tags among `layouts`."""
        return self._codes.all()

    def frequency(self) -> Counter[str]:
        """Return how many entries have each tag, in the order in which the tags came."""
        found: Counter[str] = Counter()
        for tags, count in zip(self.layouts, np.bincount(self.codes).tolist(), strict=True):
            for tag in tags:
                found[tag] += count
        return found

    def read(self, places: NDArray[np.integer]) -> list[Entry]:
        """Return the entries at some places, in that order."""
        found: dict[int, Entry] = {}
        batches = places // BATCH_ENTRIES
        for batch in np.unique(batches).tolist():
            found.update(self._read_of(batch, places[batches == batch]))
        return [found[place] for place in places.tolist()]

    def _read_of(self, number: int, places: NDArray[np.integer]) -> Sequence[tuple[int, Entry]]:
        batch = self._spill.get(number) if number < len(self._spill) else self._batch()
        columns = batch.take(pa.array(places % BATCH_ENTRIES)).to_pydict()
        tags = [self.layouts[code] for code in self.codes[places].tolist()]
        paths, numbers = list(self._paths), self.numbers[places].tolist()
        rows = zip(places.tolist(), numbers, tags, *columns.values(), strict=True)
        return [
            (place, Entry(own, paths[path], line, Moment(ns, naive), dict(zip(names, values, strict=True))))
            for place, own, names, path, line, ns, naive, values in rows
        ]

    def close(self) -> None:
        """Give up all entries."""
        self._pending = []
        self._spill.close()
