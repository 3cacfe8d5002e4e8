"""The rows of many runs, of which only those that may have changed are gathered."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.kept.settled import SettledAnswers
from thermograd.store.runs.table import RunRow


def rows_of(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return the rows of runs as they are now, as `RunRow.to_json` gives each."""
    kept: dict[Path, SettledAnswers] = {}
    rows = [_row_of(run, kept) for run in runs]
    for each in kept.values():
        each.save()
    return rows


def _row_of(run: Run, kept: dict[Path, SettledAnswers]) -> dict[str, Any]:
    row = RunRow(run)
    if row.known:
        return row.to_json()
    folder = run.path.parent
    if folder not in kept:
        kept[folder] = SettledAnswers(folder, "rows")
    found: dict[str, Any] = kept[folder].answer(run, run.path.name, row.to_json)
    return found
