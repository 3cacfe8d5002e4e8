from pathlib import Path

import pytest


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Return the empty directory of a run."""
    path = tmp_path / "run"
    path.mkdir()
    return path
