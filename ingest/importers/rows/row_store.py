"""Rows of one kind as they come: their values in batches, partly on the disk, the rest in arrays.

In memory are some 20 bytes a row: its time, its line, which device it is of, and its place in time order.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from thermograd.ingest.importers.rows.constants import Constants
from thermograd.ingest.importers.rows.spill import Spill

_OWN = ("_line", "_time_ns", "_naive", "device")
_WINDOW_ROWS = 1 << 17  # in time order that are made at a time
_SAMPLED = 1 << 16
_FEW_DEVICES = 32
_MOST_NARROW = 1 << 32


class RowStore:
    """Rows in the order of the file; what `put` has given is looked at once all have come.

    Attributes
    ----------
    devices
        The devices, in the order in which they came; empty for rows of none.
    late
        How many rows were late by the times of the file, once these are no longer kept.
    constants
        Which columns of a device hold a value, and which the same in all rows.
    """

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.constants = Constants()
        self._numbers: dict[str, int] = {}
        self._spill = Spill()
        self._lengths: list[int] = []
        self._validity: list[dict[str, np.ndarray | bool]] = []  # of each batch: all, none, or packed bits
        self._parts: dict[str, list[np.ndarray]] = {name: [] for name in ("line", "time", "naive", "code")}
        self._arrays: dict[str, np.ndarray] = {}
        self._kept: np.ndarray | None = None
        self.late: int | None = None

    def __len__(self) -> int:
        return sum(self._lengths) if self._kept is None else int(self._kept.sum())

    def put(self, table: pa.Table) -> None:
        """Keep rows: ``_line``, ``_time_ns``, ``_naive``, and columns of the event."""
        table = table.combine_chunks()
        values = table.select([name for name in table.column_names if name not in _OWN])
        codes = self._codes(table)
        self._parts["line"].append(_narrow(table["_line"].to_numpy()))
        self._parts["time"].append(table["_time_ns"].to_numpy().copy())  # a view holds all of its batch
        self._parts["naive"].append(_one_or_all(table["_naive"].to_numpy()))
        self._parts["code"].append(_one_or_all(codes))
        self._arrays.clear()
        self.constants.note(values, codes)
        self._validity.append({name: _validity(values[name]) for name in values.column_names})
        self._spill.put(pa.record_batch([_one(column) for column in values.columns], schema=values.schema))
        self._lengths.append(len(table))

    def _codes(self, table: pa.Table) -> np.ndarray:
        if "device" not in table.column_names:
            return np.zeros(len(table), np.int32)
        names = _one(table["device"])
        names = names if pa.types.is_dictionary(names.type) else names.dictionary_encode()
        texts = names.dictionary.to_pylist()
        for text in texts:
            if text not in self._numbers:
                self._numbers[text] = len(self.devices)
                self.devices.append(text)
        codes: np.ndarray = np.array([self._numbers[text] for text in texts], np.int32)
        return np.asarray(codes[np.asarray(names.indices)])

    def drop(self, lines: np.ndarray) -> int:
        """Take the rows of some lines away; return how many lines there were of these."""
        if not len(lines):
            return 0
        own = self._array("line")
        at = np.minimum(np.searchsorted(lines, own), len(lines) - 1)
        gone = lines[at] == own
        self._kept = ~gone if self._kept is None else self._kept & ~gone
        self._arrays.clear()
        return len(np.unique(own[gone]))

    def _array(self, name: str) -> np.ndarray:
        parts = self._parts[name]
        if len(parts) > 1:
            parts[:] = [_joined(parts)]
        return parts[0] if parts else np.empty(0, np.int64)

    def _kept_of(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            array = self._array(name)
            self._arrays[name] = array if self._kept is None else array[self._kept]
        return self._arrays[name]

    @property
    def times(self) -> np.ndarray:
        """The time of each row, ns, as the file gives it."""
        return self._kept_of("time")

    @property
    def lines(self) -> np.ndarray:
        """Where each row stands in the file."""
        return self._kept_of("line")

    @property
    def naive(self) -> np.ndarray:
        """Whether the time of each row names no zone."""
        return self._kept_of("naive")

    @property
    def codes(self) -> np.ndarray:
        """The device of each row, by its place among `devices`; 0 where rows are of none."""
        return self._kept_of("code")

    @property
    def columns(self) -> set[str]:
        """The columns that any row has, but for the device."""
        return {name for batch in self._validity for name in batch}

    def known(self, column: str) -> np.ndarray:
        """Return which rows hold a value of a column."""
        flags = [
            _flags(validity.get(column, False), rows)
            for validity, rows in zip(self._validity, self._lengths, strict=True)
        ]
        known = np.concatenate(flags)
        return known if self._kept is None else known[self._kept]

    def by_device(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each device that has rows, and where these are."""
        return groups_of(self.codes, max(len(self.devices), 1))

    def batches(self) -> Iterator[tuple[int, pa.Table]]:
        """Yield the rows in the order of the file, a batch at a time: the place of the first, and them."""
        for number, at, kept in self._places():
            yield at, self._batch(number, at, kept)

    def _places(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield each batch that has rows left: its number, the place of the first, which are left."""
        begin = at = 0
        for number, rows in enumerate(self._lengths):
            kept = np.ones(rows, bool) if self._kept is None else self._kept[begin : begin + rows]
            count = int(kept.sum())
            if count:
                yield number, at, kept
            begin, at = begin + rows, at + count

    def _batch(self, number: int, at: int, kept: np.ndarray) -> pa.Table:
        values, count = self._spill.get(number), int(kept.sum())
        if count < len(kept):
            values = values.filter(pa.array(kept)) if values.num_columns else values
        rows = slice(at, at + count)
        own: dict[str, pa.Array] = {
            "_line": pa.array(self.lines[rows], pa.int64()),
            "_time_ns": pa.array(self.times[rows], pa.int64()),
            "_naive": pa.array(self.naive[rows], pa.bool_()),
        }
        if self.devices:
            names = pa.DictionaryArray.from_arrays(pa.array(self.codes[rows]), pa.array(self.devices))
            own["device"] = names.cast(pa.string())
        return pa.table(own | dict(zip(values.schema.names, values.columns, strict=True)))

    def in_order(self, times: np.ndarray) -> Iterator[pa.Table]:
        """Yield the rows by `times`, which become ``_time_ns``; equal ones in the order of the file."""
        if not (times[1:] < times[:-1]).any():
            for at, table in self.batches():
                yield _at_times(table, times[at : at + len(table)])
            return
        for first, last in itertools.pairwise([None, *_cuts(times), None]):
            wanted = np.ones(len(times), bool) if first is None else times >= first
            if last is not None:
                wanted &= times < last
            if wanted.any():
                yield self._window(times, wanted)

    def _window(self, times: np.ndarray, wanted: np.ndarray) -> pa.Table:
        """Return some rows in time order: one look at each batch that has any of them."""
        parts = []
        for number, at, kept in self._places():
            mine = np.flatnonzero(wanted[at : at + int(kept.sum())])
            if len(mine):
                table = self._batch(number, at, kept).take(pa.array(mine))
                parts.append(_at_times(table, times[at + mine]))
        window = pa.concat_tables(parts, promote_options="default")
        del parts
        return window.take(pa.array(np.argsort(window["_time_ns"].to_numpy(), kind="stable")))

    def set_times(self, times: np.ndarray) -> None:
        """Put other times, UTC, in the place of those of the file; `late` counts by what was there before."""
        self.late = self._count_late()
        if self._kept is not None:
            every = self._array("time").copy()  # a single batch's cannot be written to
            every[self._kept] = times
            times = every
        self._parts["time"] = [times]
        self._arrays.pop("time", None)

    def count_late(self) -> int:
        """Count the rows before whose time in the file a row of the same device has already been."""
        return self._count_late() if self.late is None else self.late

    def _count_late(self) -> int:
        each = (self.times[rows] for _, rows in self.by_device())
        return sum(int((own[1:] < np.maximum.accumulate(own)[:-1]).sum()) for own in each)


def groups_of(codes: np.ndarray, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each number below `count` that is among some, and where it stands."""
    if count <= _FEW_DEVICES:
        for code in range(count):
            rows = np.flatnonzero(codes == code) if count > 1 else np.arange(len(codes))
            if rows.size:
                yield code, rows
        return
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=count))
    for code, end in enumerate(ends.tolist()):
        begin = int(ends[code - 1]) if code else 0
        if end > begin:
            yield code, order[begin:end]


def _cuts(times: np.ndarray) -> list[int]:
    """Return times that divide rows into windows of about as many, by a sample of them."""
    sample = np.sort(times[:: max(1, len(times) // _SAMPLED)])
    windows = len(times) // _WINDOW_ROWS + 1
    return sorted({int(sample[len(sample) * window // windows]) for window in range(1, windows)})


def _at_times(table: pa.Table, times: np.ndarray) -> pa.Table:
    return table.set_column(table.schema.get_field_index("_time_ns"), "_time_ns", pa.array(times, pa.int64()))


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _one_or_all(values: np.ndarray) -> np.ndarray:
    """Return values; as one, in the memory of one, where they are all the same."""
    is_one = values.size and (values == values[0]).all()
    return np.broadcast_to(values[0], values.shape) if is_one else values


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Return parts as one; each is given up once it is taken over."""
    rows, firsts = sum(map(len, parts)), [part[0] for part in parts if part.size]
    if all(part.strides == (0,) for part in parts if part.size) and len(set(firsts)) == 1:
        return np.broadcast_to(firsts[0], (rows,))
    joined, at = np.empty(rows, np.result_type(*parts)), 0
    for number, part in enumerate(parts):
        joined[at : at + len(part)] = part
        at += len(part)
        parts[number] = part[:0].copy()
    return joined


def _narrow(numbers: np.ndarray) -> np.ndarray:
    """Return lines in half of the bytes, where they fit."""
    fits = numbers.size and int(numbers.min()) >= 0 and int(numbers.max()) < _MOST_NARROW
    return numbers.astype(np.uint32) if fits else numbers


def _validity(column: pa.ChunkedArray) -> np.ndarray | bool:
    """Return which values are known: all, none, or bits."""
    if column.null_count in (0, len(column)):
        return not column.null_count
    return np.packbits(column.is_valid().to_numpy())


def _flags(validity: np.ndarray | bool, rows: int) -> np.ndarray:
    if isinstance(validity, bool):
        return np.full(rows, validity)
    return np.unpackbits(validity, count=rows).astype(bool)
