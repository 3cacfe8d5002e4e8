"""Many rows of an nvidia-smi log at once: each distinct text is read once, by what reads it in one row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from thermograd.ingest.importers.accounting import Account
from thermograd.ingest.importers.csv_table import Taken
from thermograd.ingest.importers.recording import Recording
from thermograd.ingest.importers.rows.plain_block import Distinct, PlainBlock, keys_of
from thermograd.ingest.importers.rows.plain_times import plain_times
from thermograd.ingest.importers.text_files import WHOLE, LeftOutError, OddCellError, is_known
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.events import arrow_schema

Read = Callable[[str], float | int | None]
_MOST_READ = 1 << 17  # texts of a column that are remembered


class Cell(NamedTuple):
    """What a text says: a value, whether it says something else, and what that is where it is counted."""

    value: float | int | None
    is_odd: bool
    error: OddCellError | None

    @classmethod
    def of(cls, text: str, read: Read) -> "Cell":
        """Read a text."""
        try:
            value = read(text)
        except OddCellError as error:
            return cls(None, is_known(text), error)
        return cls(value, value is None and is_known(text), None)


class Reader(NamedTuple):
    """A column of a log: the event's column, and what reads a text of it; `known`: what has been read."""

    name: str
    read: Read
    known: dict[str, Cell]

    def cells(self, texts: Sequence[str]) -> list[Cell]:
        """Return what texts say."""
        if len(self.known) > _MOST_READ:
            self.known.clear()
        for text in texts:
            if text not in self.known:
                self.known[text] = Cell.of(text, self.read)
        return [self.known[text] for text in texts]


class Names(NamedTuple):
    """The devices of rows: by the distinct texts that name one."""

    texts: list[dict[str, str]]  # field and text of each combination, in the order of their first rows
    codes: np.ndarray  # which combination each row has


class SmiBlock:
    """The rows of a block; `readers` by the place of the column."""

    def __init__(
        self, recording: Recording, block: PlainBlock, fields: Sequence[str], readers: Mapping[int, Reader]
    ) -> None:
        self._recording, self._block = recording, block
        self._readers = readers
        last = {field: position for position, field in enumerate(fields)}
        self._places = last
        self._time = last["timestamp"]
        self._columns = {at: block.distinct(at) for at in range(len(fields)) if at != self._time}

    def take(
        self,
        naming: Sequence[str],
        read_moment: Callable[[str], Moment | None],
        device: Callable[[Mapping[str, str]], str],
        is_settled: Callable[[Names], bool],
    ) -> Taken | None:
        """Prepare to take the rows; None where they have to be read one by one.

        `naming`: the fields that name a device; `device`: names it, or LeftOutError; `is_settled`: whether
        the order of the rows makes no difference to that.
        """
        found = plain_times(self._block.columns[self._time], read_moment)
        if found is None:
            return None
        times, known, naive = found
        names = self._names([field for field in naming if field in self._places])
        cells = {at: reader.cells(self._columns[at].texts) for at, reader in self._readers.items()}
        errors = sum(cell.error is not None for column in cells.values() for cell in column)
        if not is_settled(names) or not self._recording.account.has_room(errors):
            return None
        odd = self._block.numbers[~known].tolist()
        return Taken(lambda: self._keep(times, known, naive, names, cells, device), odd)

    def _names(self, fields: list[str]) -> Names:
        columns = [self._columns[self._places[field]] for field in fields]
        together = np.zeros(len(self._block.numbers), np.int64)
        for column in columns:
            together = together * len(column.texts) + column.codes
        _, first, codes = np.unique(together, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.argsort(order)
        texts = [
            {field: c.texts[c.codes[row]] for field, c in zip(fields, columns, strict=True)}
            for row in first[order].tolist()
        ]
        return Names(texts, rank[codes])

    def _keep(
        self,
        times: np.ndarray,
        known: np.ndarray,
        naive: bool,
        names: Names,
        cells: Mapping[int, list[Cell]],
        device: Callable[[Mapping[str, str]], str],
    ) -> None:
        chosen = known.copy()
        devices = [self._device_of(place, names, chosen, device) for place in range(len(names.texts))]
        self._count_nulls(chosen, cells)
        if not chosen.any():
            return
        columns = self._values(cells)
        named = pa.DictionaryArray.from_arrays(
            pa.array(names.codes[chosen].astype(np.int32)), pa.array(devices)
        )
        rows = {
            "_line": pa.array(self._block.numbers[chosen], pa.int64()),
            "_time_ns": pa.array(times[chosen]),
            "device": named.cast(pa.string()),
        }
        rows |= {name: column.filter(pa.array(chosen)) for name, column in columns.items()}
        keys = keys_of([self._key_column(at) for at in range(len(self._columns) + 1)])
        self._recording.add_many(pa.table(rows), keys[chosen], naive, self._block.line)

    def _key_column(self, at: int) -> Distinct | list[str]:
        return self._columns[at] if at != self._time else self._block.texts(at)

    def _device_of(
        self, place: int, names: Names, chosen: np.ndarray, device: Callable[[Mapping[str, str]], str]
    ) -> str:
        """Return the name of a combination's device; its rows are left out where it names none."""
        mine = chosen & (names.codes == place)
        if not mine.any():
            return ""
        try:
            return device(names.texts[place])
        except LeftOutError as reason:
            number = int(self._block.numbers[np.argmax(mine)])
            rows = int(mine.sum())
            account = self._recording.account
            account.leave_out_many(reason, rows, number, self._block.line(number))
            account.count(0, rows)
            chosen &= ~mine
            return ""

    def _count_nulls(self, chosen: np.ndarray, cells: Mapping[int, list[Cell]]) -> None:
        """Count the cells that hold no value, in the order of their first rows."""
        found: list[tuple[int, int, str, OddCellError, int]] = []
        for at, column in cells.items():
            codes = self._columns[at].codes
            for code, cell in enumerate(column):
                if cell.error is not None and (mine := chosen & (codes == code)).any():
                    number = int(self._block.numbers[np.argmax(mine)])
                    found.append((number, at, self._readers[at].name, cell.error, int(mine.sum())))
        account: Account = self._recording.account
        for number, _, name, error, count in sorted(found, key=lambda null: null[:2]):
            account.null_many(name, error, count, number)

    def _values(self, cells: Mapping[int, list[Cell]]) -> dict[str, pa.Array]:
        """Return the event's columns; the parts of one that several fields give are added up."""
        values: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        odd: dict[str, np.ndarray] = {}
        for at, column in cells.items():
            name, codes = self._readers[at].name, self._columns[at].codes
            own, known = _arrays(name, column)
            own, known = own[codes], known[codes]
            if any(cell.is_odd for cell in column):
                strange = np.array([cell.is_odd for cell in column])[codes]
                odd[name] = odd.get(name, False) | strange
            if name in values:
                before, was_known = values[name]
                both = own + before if name in WHOLE else own
                own = np.where(known, np.where(was_known, both, own), before)
                known = known | was_known
            values[name] = own, known
        return {
            name: pa.array(own, arrow_schema("sample").field(name).type, mask=~known | odd.get(name, False))
            for name, (own, known) in values.items()
        }


def _arrays(name: str, cells: list[Cell]) -> tuple[np.ndarray, np.ndarray]:
    of: Any = arrow_schema("sample").field(name).type.to_pandas_dtype()
    values = np.array([0 if cell.value is None else cell.value for cell in cells], of)
    return values, np.array([cell.value is not None for cell in cells], bool)
