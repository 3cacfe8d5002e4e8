"""What became of every row that was read: kept, merged into another one, or left out with a reason.

Read = kept + merged + left out, for every file of every format: `Account.row` is the only way to read a row.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from thermograd.ingest.importers.text_files import LeftOutError, OddCellError
from thermograd.store.errors import ImportFormatError
from thermograd.store.text import printable

_LONGEST_VALUE = 60
_MOST_NULLS = 200
NOTHING_IMPORTED = "nothing in it is imported"


@dataclass(eq=False, repr=False)
class Account:
    """The fate of each row, and of single cells that were not readable."""

    reading: Path  # the file that is being read
    kind: str  # of event that its rows are to become
    place: str = "line"  # what a row is called where rows are counted: line, entry, event, record, series
    # Rows by file and kind: all but blank lines, comments, first headers.
    read: Counter[tuple[Path, str]] = field(default_factory=Counter)
    kept: int = 0
    merged: int = 0
    held: int = 0  # rows that wait for `settle`
    left_out: Counter[str] = field(default_factory=Counter)  # how many, by reason
    # The first row of each reason: its file, where it stands there, and what was wrong with it (a stranger's
    # value, which is cut short and has no control characters).
    first_left_out: dict[str, dict[str, str | None]] = field(default_factory=dict)
    nulls: Counter[str] = field(default_factory=Counter)  # cells that hold no value, by column and text
    first_null: dict[str, str] = field(default_factory=dict)  # where the first of them is
    _fate: str = ""  # of the row that is being read: kept, merged, held or elsewhere
    _number: int = 0

    @contextmanager
    def row(self, number: int, shown: object = None) -> Iterator[None]:
        """Count a row, and leave it out if nothing in it is kept or a LeftOutError refuses it.

        `number` says where it stands in the file; `shown` is the row, for where no value is to blame.
        """
        self.read[self.reading, self.kind] += 1
        self._fate, self._number = "", number
        try:
            yield
            if not self._fate:
                raise LeftOutError(NOTHING_IMPORTED)
        except LeftOutError as error:
            self._leave_out(error, number, shown, 1)
            return
        self.kept += self._fate == "kept"
        self.merged += self._fate == "merged"
        self.held += self._fate == "held"
        self.read[self.reading, self.kind] -= self._fate == "elsewhere"

    def keep(self) -> None:
        """Say that the row gave an event."""
        self._fate = "kept"

    def hold(self) -> None:
        """Say that it is not known yet what becomes of the row: `settle` will."""
        self._fate = "held"

    def merge(self) -> None:
        """Say that the row tells again what an event has already."""
        self._fate = "merged"

    def leave_to_other(self) -> None:
        """Say that the row is of another kind and counted there."""
        self._fate = "elsewhere"

    @contextmanager
    def settle(self, rows: int, number: int, shown: object = None) -> Iterator[None]:
        """Make one event of rows that were held: the first is kept, the others are merged into it."""
        self.held -= rows
        try:
            yield
        except LeftOutError as error:
            self._leave_out(error, number, shown, rows)
            return
        self.kept += 1
        self.merged += rows - 1

    def count(self, kept: int, left_out: int = 0) -> None:
        """Count rows that were read at once: kept ones, and those that `leave_out_many` is told of."""
        self.read[self.reading, self.kind] += kept + left_out
        self.kept += kept

    def leave_out_many(self, reason: LeftOutError, rows: int, number: int, shown: str) -> None:
        """Leave out rows for one reason; the first stands at `number`."""
        self._leave_out(reason, number, shown, rows)

    def has_room(self, nulls: int) -> bool:
        """Return whether so many more texts that are no values can be told apart."""
        return len(self.nulls) + nulls < _MOST_NULLS

    def null_many(self, name: str, error: OddCellError, cells: int, number: int) -> None:
        """Count cells that are null as `null` does; the first is in the row at `number`."""
        self._number = number
        self.null(name, error)
        self.nulls[f"{name} is {_shown(error.text)}{error.why}"] += cells - 1

    def null(self, name: str, error: OddCellError) -> None:
        """Count a cell that is null because what stands there is no value; its row is not lost."""
        key = f"{name} is {_shown(error.text)}{error.why}"
        if key not in self.nulls and len(self.nulls) >= _MOST_NULLS:
            key = f"{name} is something else that is no value"
        self.nulls[key] += 1
        self.first_null.setdefault(key, f"{self.place} {self._number}")

    def recount(self, fates: Mapping[str, int], reason: str, number: int, shown: str | None) -> None:
        """Leave out rows after all: `fates` is how many by what they had become, the empty text for kept.

        The first of them stands at `number`, `shown` is what stands there.
        """
        for fate, rows in fates.items():
            if not fate:
                self.kept -= rows
                continue
            self.left_out[fate] -= rows
            if not self.left_out[fate]:
                del self.left_out[fate], self.first_left_out[fate]
        self._leave_out(LeftOutError(reason), number, shown, sum(fates.values()))

    def absorb(self, other: "Account") -> None:
        """Take over what another account says of its rows, none of which was of use."""
        self.read.update(other.read)
        self.left_out.update(other.left_out)
        self.first_left_out = other.first_left_out | self.first_left_out
        self.nulls.update(other.nulls)
        self.first_null = other.first_null | self.first_null

    def require_balance(self) -> None:
        """Refuse to go on where a row is counted nowhere, or twice."""
        read, counted = self.read.total(), self.kept + self.merged + self.left_out.total()
        if read != counted or self.held:
            raise ImportFormatError(
                f"{self.reading}: {read} rows were read, but {counted} are accounted for; this is a mistake "
                "of thermograd's: please report it"
            )

    def _leave_out(self, reason: LeftOutError, number: int, row: object, rows: int) -> None:
        text = str(reason)
        self.left_out[text] += rows
        if text not in self.first_left_out:
            self.first_left_out[text] = {
                "file": printable(self.reading.name),
                "where": f"{self.place} {number}",
                "value": _shown(row if reason.value is None or reason.value == "" else reason.value),
            }


def _shown(value: object) -> str | None:
    """Return a value in one short line: text as it stands, anything else as JSON."""
    if value is None:
        return None
    if not isinstance(value, str):
        try:
            value = json.dumps(value, default=str, ensure_ascii=False)
        except (ValueError, RecursionError):
            value = type(value).__name__
    return printable(value.strip()[: 2 * _LONGEST_VALUE], _LONGEST_VALUE)
