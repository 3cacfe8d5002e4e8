"""Importing files in tests: what came of it, or the sentence with which it was refused."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from thermograd.ingest.importers.importing import import_run
from thermograd.store.errors import ImportFormatError
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run


class Imported(NamedTuple):
    """What `import_run` returned, and the run."""

    result: dict[str, Any]
    run: Run

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Return the run's events of a kind, in time order, without columns that are null in all of them."""
        rows = read_kind(self.run.path, kind).to_pylist()
        known = {name for row in rows for name, value in row.items() if value is not None}
        known -= {"seq", "writer", "monotonic_ns"}
        return [{name: value for name, value in row.items() if name in known} for row in rows]


def imported(folder: Path, *paths: Path, **options: Any) -> Imported:
    """Import into a directory of runs beside the files."""
    runs = folder / "runs"
    result = import_run(runs, list(paths), **options)
    return Imported(result, Run(runs / result["run_id"]))


def refused(folder: Path, *paths: Path, **options: Any) -> str:
    """Return the sentence of a refusal; nothing must be left behind."""
    runs = folder / "refused_runs"
    with pytest.raises(ImportFormatError) as caught:
        import_run(runs, list(paths), **options)
    assert not runs.exists() or not list(runs.iterdir())
    return str(caught.value)


def written(path: Path, content: str | bytes) -> Path:
    """Write a file as it is: no line end is changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
