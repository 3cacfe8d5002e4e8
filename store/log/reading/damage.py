"""What is wrong with a file of the log, and telling it, once a file."""

import logging
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger("thermograd")
_told: dict[Path, str] = {}


class Damage(NamedTuple):
    """Where a file stops being readable, and why; without an offset all of it was read, and healed.

    `is_cut`: the file ends in the middle of a batch, as that of a process that was killed may; or it holds
    beginnings of records, as a full disk leaves them.
    """

    path: Path
    offset: int | None
    reason: str
    is_cut: bool = False


def tell(damage: Damage | None) -> None:
    """Warn, once a file, that what follows a damaged place is not read."""
    if damage is not None and damage.path not in _told:
        where = "" if damage.offset is None else f" at byte {damage.offset}"
        read = "all of it was read" if damage.offset is None else "only what is before was read"
        text = f"{damage.path} is damaged{where} ({damage.reason}); {read}. thermograd verify tells more"
        _told[damage.path] = text
        _log.warning("%s", text)


def was_told(text: str) -> bool:
    """Return whether `tell` has said just this in this process."""
    return text in _told.values()
