"""Rows of a log that grow in memory, and what is worked out of them as they come."""

import ctypes
import time
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from thermograd.analysis.arrays import Floats, Times
from thermograd.store.efficiency.columns import INPUT
from thermograd.store.efficiency.estimator import Efficiency
from thermograd.store.events import arrow_schema

_MOST_PARTS = 64  # that are small
_LARGE_ROWS = 65_536  # of a part that is copied no more: of a long run that would be all of it at once
_ROWS = 2000  # of which the clock is looked at


class Grown:
    """Rows of one schema in time order, to which others are added."""

    def __init__(self, kind: str, names: Iterable[str]) -> None:
        schema = arrow_schema(kind)
        self._schema = pa.schema([schema.field(name) for name in names if name in schema.names])
        self._parts: list[pa.Table] = []
        self._last_ns = -(2**63)
        self.is_sorted = True

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._schema.names)

    def add(self, table: pa.Table) -> None:
        """Add rows, of which only our columns are kept; those without a value take no memory."""
        if not len(table):
            return
        times = np.asarray(table.column("time_ns"))
        self.is_sorted &= bool(times[0] >= self._last_ns and (np.diff(times) >= 0).all())
        self._last_ns = max(self._last_ns, int(times.max()))
        self._parts.append(table.select(self.names).combine_chunks())
        if sum(len(part) < _LARGE_ROWS for part in self._parts) > _MOST_PARTS:
            self._parts = _merged(self._parts)

    def table(self) -> pa.Table:
        """Return all rows in time order."""
        if not self._parts:
            return self._schema.empty_table()
        whole = pa.concat_tables(self._parts, promote_options="default")
        if not self.is_sorted:
            whole = whole.sort_by([("time_ns", "ascending")])
            self._parts, self.is_sorted = [whole.combine_chunks()], True
        return whole

    def span_ns(self) -> tuple[int, int] | None:
        """Return the times of the first and the last row; None for no row."""
        self.table()
        if not self._parts:
            return None
        return int(_times(self._parts[0])[0]), int(_times(self._parts[-1])[-1])

    def between(self, from_ns: int | None, to_ns: int | None) -> slice:
        """Return which rows lie between two times, and one more on either side: curves go to the edges."""
        count = len(self.table())
        first = 0 if from_ns is None else max(0, self._place(from_ns, "left") - 1)
        last = count if to_ns is None else self._place(to_ns, "right") + 1
        return slice(first, max(first, min(count, last)))

    def _place(self, time_ns: int, side: Literal["left", "right"]) -> int:
        place = 0
        for part in self._parts:
            found = int(np.searchsorted(_times(part), time_ns, side))
            place += found
            if found < len(part):
                break
        return place

    def rows(self, events: list[Mapping[str, Any]]) -> pa.Table:
        """Return events as rows."""
        columns = {name: [each.get(name) for each in events] for name in self.names}
        return pa.table({field.name: pa.array(columns[field.name], field.type) for field in self._schema})


def _times(part: pa.Table) -> Times:
    """Return the times of a part as they lie in memory: no copy is made."""
    return np.asarray(part.column("time_ns").chunk(0))


def _merged(parts: list[pa.Table]) -> list[pa.Table]:
    """Merge small parts with those before them, so that each row is copied a few times only."""
    kept: list[pa.Table] = []
    for part in parts:
        group = [part]
        while kept and len(kept[-1]) < _LARGE_ROWS and len(kept[-1]) <= 4 * sum(map(len, group)):
            group.insert(0, kept.pop())
        one = len(group) == 1
        kept.append(part if one else pa.concat_tables(group, promote_options="default").combine_chunks())
    return kept


class Smoothed:
    """The smoothed efficiency of a device, worked out once a sample, a slice of time at a time."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        self.begin()

    def begin(self) -> None:
        """Begin anew: samples have come between others."""
        self._estimator = Efficiency(self._facts.get("rated_power_w"), self._facts.get("temperature_limit_c"))
        self._values = np.empty(0)

    def advance(self, samples: pa.Table, until_s: float) -> bool:
        """Take in what is new until a time by the steady clock; return whether that was all."""
        while len(self._values) < len(samples) and time.monotonic() < until_s:
            part = samples.slice(len(self._values), _ROWS).select(INPUT)
            new = np.full(len(part), np.nan)
            columns = (column.to_pylist() for column in part.columns)
            for place, (time_ns, *readings) in enumerate(zip(*columns, strict=True)):
                self._estimator.update(time_ns / 1e9, *readings)
                if self._estimator.rle_smoothed is not None:
                    new[place] = self._estimator.rle_smoothed
            self._values = np.concatenate([self._values, new])
        return len(self._values) >= len(samples)

    def of(self, count: int) -> Floats:
        """Return the values of the first so many samples, NaN where they are not worked out yet."""
        known = self._values[:count]
        return np.concatenate([known, np.full(count - known.size, np.nan)])


def give_back_memory() -> None:
    """Give memory that is free again to the system: a long run is read in large pieces that come and go."""
    pa.default_memory_pool().release_unused()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    """Return glibc's function that does so; None where the C library has none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def part_of(times: Times, from_ns: int | None, to_ns: int | None) -> slice:
    """Return where times lie between two, with one more on either side: curves go to the edges."""
    first = 0 if from_ns is None else max(0, int(np.searchsorted(times, from_ns)) - 1)
    last = times.size if to_ns is None else int(np.searchsorted(times, to_ns, side="right")) + 1
    return slice(first, max(first, min(times.size, last)))
