"""A row of a table, whatever the file is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thermograd.ingest.importers.text_files import LeftOutError

SEPARATOR = "/"  # between the names of what is nested
_PLAIN = frozenset({str, int, float, bool})


@dataclass(slots=True)
class TableRow:
    """Where a row stands, how it is shown where it is to blame, and its values by name.

    Where it cannot be read, `values` raises the reason.
    """

    number: int
    shown: object
    _values: Mapping[str, Any] | LeftOutError

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that are there, by the names of their columns."""
        if isinstance(self._values, LeftOutError):
            raise self._values
        return self._values

    def value(self, name: str) -> Any:
        """Return a value by its name; None where it is not there, or the row cannot be read."""
        return None if isinstance(self._values, LeftOutError) else self._values.get(name)


def flattened(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return values by their paths, as `flat` yields them; a row in which nothing is nested, as it is."""
    if all(type(value) in _PLAIN for value in values.values()):
        return values
    return dict(flat(values))


def flat(nested: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is nested by its path; lists and nulls are no values.

    Examples
    --------
    >>> dict(flat({"train": {"loss": 2.5, "parts": [1, 2]}, "step": 1, "lr": None}))
    {'train/loss': 2.5, 'step': 1}
    """
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}{SEPARATOR}")
        elif value is not None and not isinstance(value, list):
            yield f"{before}{key}", value
