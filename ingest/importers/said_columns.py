"""The columns of a device log that a person names: found in its header, read in each row."""

import re
from collections.abc import Collection

from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.hints.units import COLUMNS, units_said
from thermograd.ingest.importers.recording import Recording, listed_names
from thermograd.store.errors import ImportFormatError

_UNIT = re.compile(r" ?[\[(][^\[\]()]*[\])]$")


def said_columns(hints: Hints) -> dict[str, str]:
    """Return what a person calls the columns of samples: the log's name of each."""
    return {name: tag for name, tag in hints.columns if name in COLUMNS["sample"]}


def said_positions(recording: Recording, header: list[str]) -> dict[str, int]:
    """Return where the columns that a person names stand; a name may leave out the unit behind it.

    The unit of each is that of the header's cell, where none is said.
    """
    found = {}
    for name, tag in said_columns(recording.hints).items():
        cell = next((cell for cell in header if cell == tag), None)
        cell = cell or next((cell for cell in header if _UNIT.sub("", cell) == tag), None)
        if cell is None:
            require_names(recording, header)
            continue
        found[name] = header.index(cell)
        recording.columns[name] = cell
        units = units_said(recording.kind, Hints(columns=((name, cell),), units=recording.hints.units))
        recording.units |= {name: unit.ours for name, unit in units.items()}
    return found


def require_names(recording: Recording, names: Collection[str]) -> None:
    """Refuse a name that a person gave and the log has not."""
    for name, tag in said_columns(recording.hints).items():
        if tag not in names:
            raise ImportFormatError(
                f"{recording.path}: --column {name}={tag}, but this device log has no {tag}; allowed is one "
                f"of: {listed_names(names, most=40) or '(it has none)'}"
            )
