from collections.abc import Callable
from pathlib import Path

import pytest
from mirrored_runs import ODD_IDS, write_run
from thermograd.store.places.place import place_of


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of the mirrors."""
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """Give a folder of runs with odd ids."""
    for number, run_id in enumerate(ODD_IDS):
        write_run(tmp_path / "runs", run_id, 5 + number, name=f"{run_id} \\ / $HOME")
    return tmp_path / "runs"


@pytest.fixture
def copied() -> Callable[[Path, str], None]:
    """Give what copies a folder to a URL."""

    def copy(folder: Path, url: str) -> None:
        source, target = place_of(folder), place_of(url)
        for entry in source.list():
            if not entry.name.endswith(".lock"):
                target.put(entry.name, source.get(entry.name))

    return copy
