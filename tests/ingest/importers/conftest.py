"""Fixtures of the importers' tests: an import that succeeds, and one that is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from importing import Importer
from thermograd.ingest.importers.import_logs import import_run
from thermograd.store.errors import ImportFormatError
from thermograd.store.runs.catalogue import Run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def do_import(runs: Path) -> Importer:
    def run_import(*paths: Path, **options: Any) -> tuple[dict[str, Any], Run]:
        given = dict.fromkeys(("training", "telemetry", "timezone", "name")) | options
        result = import_run(runs, list(paths), **given)
        return result, Run(runs / result["run_id"])

    return run_import


@pytest.fixture
def refusal(runs: Path, do_import: Importer) -> Callable[..., str]:
    """Return the sentence with which an import is refused, and check that nothing is left behind."""

    def message(*paths: Path, **options: Any) -> str:
        with pytest.raises(ImportFormatError) as caught:
            do_import(*paths, **options)
        assert not list(runs.glob("*"))
        assert not list(runs.glob(".*"))
        return str(caught.value)

    return message
