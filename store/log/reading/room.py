"""How much memory the events of some files may take: many times what the files have on the disk."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from thermograd.store.errors import LogError

if TYPE_CHECKING:
    import pyarrow as pa

_LEAST_BYTES, _RATIO = 128 << 20, 64  # the sealed files of real runs hold up to about ten times their size
_BLOCK_BYTES = 512  # of `st_blocks`, whatever the file system's own are


class Room:
    """The memory that is left for the events of some files, named `what`.

    A file of a few kilobytes can hold millions of events that are all the same; none of ours does.
    """

    def __init__(self, what: str, paths: Iterable[Path]) -> None:
        self._what = what
        self._taken, self._most = 0, max(_LEAST_BYTES, _RATIO * sum(map(_disk_bytes, paths)))

    def take(self, table: "pa.Table") -> "pa.Table":
        """Return the table, or raise LogError where there is no room for it."""
        self._taken += table.nbytes
        if self._taken > self._most:
            raise LogError(
                f"{self._what}: more than {self._most >> 20} MB of events, far more than files hold"
            )
        return table


def _disk_bytes(path: Path) -> int:
    """Return what a file takes on the disk; a sealed one may claim more, with holes in it."""
    try:
        found = path.lstat()
    except OSError:  # its events have moved on
        return 0
    if path.suffix != ".parquet" or not hasattr(found, "st_blocks"):
        return found.st_size
    return min(found.st_size, found.st_blocks * _BLOCK_BYTES)
