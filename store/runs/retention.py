"""Deleting old runs: only whole runs, never live ones, and out of sight in one step."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.files import is_folder, is_plain_file
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.store.telling.quantities import age_text

_PARTS = frozenset({"run.json", "tags.json", "tags.lock", "open", "sealed"})
_PARTS |= {"writers", "quarantine", "replays", "report", "shipping.json", "watched"}
_UNITS_S = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


class OldRun(NamedTuple):
    """A run older than asked for, what it takes on the disk, and what became of it."""

    run: Run
    size_bytes: int
    age_s: float
    live: bool
    deleted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the run's id for the run, all else as it is."""
        return {"run_id": self.run.run_id} | {
            name: getattr(self, name) for name in ("age_s", "size_bytes", "live", "deleted")
        }

    def sentence(self) -> str:
        """Return what was done, or would be."""
        text = f"{self.run.run_id}  {age_text(self.age_s)} old  {self.size_bytes / 1e6:.1f} MB"
        if self.live:
            return f"kept     {text}  (live)"
        return f"deleted  {text}" if self.deleted else f"would delete  {text}"


def parse_age(text: str) -> float:
    """Return an age such as ``12h``, ``30d`` or ``4w`` in seconds; a ValueError says what is allowed.

    Examples
    --------
    >>> parse_age("2d")
    172800.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if not match:
        raise ValueError(f"age is {text!r}; allowed: a number and h, d or w, e.g. 30d")
    return float(match[1]) * _UNITS_S[match[2]]


def old_runs(runs_dir: Path, age_s: float) -> list[OldRun]:
    """List the runs whose last event was written more than `age_s` seconds ago, oldest first.

    Other programs have directories with a ``run.json``, too: what thermograd did not make is left out, and
    so is a link to a run that lies elsewhere.
    """
    now_s = time.time()
    found = []
    for run in filter(_is_ours, list_runs(runs_dir)):
        files = [path.lstat() for path in run.path.rglob("*") if is_plain_file(path)]
        newest_s = max((info.st_mtime for info in files), default=now_s)
        if now_s - newest_s >= age_s:
            size = sum(info.st_size for info in files)
            found.append(OldRun(run, size, now_s - newest_s, bool(run.live_writers())))
    return found


def prune(runs_dir: Path, age_s: float, delete: bool) -> Iterator[OldRun]:
    """Iterate over the runs older than `age_s` seconds; with `delete` those that are not live are gone."""
    old = old_runs(runs_dir, age_s)
    if delete:
        finish_deletions(runs_dir)
    for entry in old:
        if delete and not entry.live:
            delete_run(entry.run)
        yield entry._replace(deleted=delete and not entry.live)


def delete_run(run: Run) -> None:
    """Delete a run: it disappears in one step, then its files are removed.

    Raises LogError if the run is live, cannot be moved away, or leaves files that cannot be removed; those
    are tried again by `finish_deletions`.
    """
    if run.live_writers():
        raise LogError(f"run {run.run_id} is live; it is not deleted")
    hidden = run.path.with_name(f".{run.path.name}.deleted")
    with os_errors_as(LogError, f"cannot delete run {run.run_id}"):
        run.path.replace(hidden)
    _remove(hidden)


def finish_deletions(runs_dir: Path) -> None:
    """Remove what deletions that were interrupted left behind; LogError if some of it cannot be removed."""
    for hidden in runs_dir.glob(".*.deleted"):
        names = set(os.listdir(hidden)) if is_folder(hidden) else {""}
        if names <= _PARTS or _is_ours(Run(hidden)):
            _remove(hidden)


def _is_ours(run: Run) -> bool:
    return is_folder(run.path) and "format_version" in run.facts and "run_id" in run.facts


def _remove(hidden: Path) -> None:
    try:
        shutil.rmtree(hidden)
    except FileNotFoundError:  # another removes it too
        return
    except OSError as error:
        where, reason = error.filename or hidden, error.strerror or error
        raise LogError(f"cannot remove {where}: {reason}; the run is out of sight") from error
