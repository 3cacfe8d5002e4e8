"""Which run of a store is meant: the only one, or the one that a person names."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from thermograd.store.errors import ImportFormatError
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable

EVERY = "all"
_LISTED = 20


class StoredRun(NamedTuple):
    """A run in a store, as a list of them shows it."""

    id: str
    name: str | None = None
    said: str = ""  # what else is to be known: how much is in it, how it ended
    path: Path | None = None  # its folder or file, where it has one of its own
    is_deleted: bool = False

    @property
    def listed(self) -> str:
        """It in a list."""
        name = "" if self.name in (None, self.id) else f" {printable(self.name or '', 60)}"
        more = f" ({self.said})" if self.said else ""
        return f"{printable(self.id, 60)}{name}{more}"


def chosen_run(path: Path, runs: Sequence[StoredRun], wanted: str | None) -> StoredRun:
    """Return the run that is wanted by its id or name, or the only one; refuse with the list of all.

    A deleted run is taken where its id is named.
    """
    there = [run for run in runs if not run.is_deleted]
    if wanted is None:
        if len(there) == 1:
            return there[0]
        what = f"{counted(len(there), 'run')} are in it" if there else "no run is in it"
        raise ImportFormatError(f"{path}: {what}{_which(there)}{_gone(runs)}")
    fitting = [run for run in runs if wanted == run.id]
    fitting = fitting or [run for run in there if wanted == run.name]
    if len(wanted) >= 4:
        fitting = fitting or [run for run in there if run.id.startswith(wanted)]
    if len(fitting) == 1:
        return fitting[0]
    what = f"{len(fitting)} runs are called" if fitting else "no run is called"
    raise ImportFormatError(
        f"{path}: {what} {printable(wanted, 60)}{_which(fitting or there)}{'' if fitting else _gone(runs)}"
    )


def deleted_runs(runs: Sequence[StoredRun]) -> list[str]:
    """Return in words which runs of a store are deleted, and so not offered."""
    gone = [run.listed for run in runs if run.is_deleted]
    return [f"{counted(len(gone), 'deleted run')}: {_some(gone)}"] if gone else []


def _which(runs: Sequence[StoredRun]) -> str:
    if not runs:
        return ""
    listed = _some([run.listed for run in runs])
    return f": {listed}; say which with --run ID_OR_NAME, or --run {EVERY} for a run of each"


def _gone(runs: Sequence[StoredRun]) -> str:
    return "".join(f"; {text} (--run with its id imports one)" for text in deleted_runs(runs))


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more
