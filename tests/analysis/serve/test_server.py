"""The server as a process: it says where it listens, and ends quietly."""

import json
import signal
import sys
import urllib.request
from pathlib import Path

import pytest
from serving import serving
from thermograd.store.runs.catalogue import create_run


def test_the_server_lists_the_runs_and_ends_quietly_at_ctrl_c(tmp_path: Path) -> None:
    run = create_run(tmp_path, "first")
    with serving(tmp_path) as server:
        with urllib.request.urlopen(f"{server.url}/api/runs") as answer:
            told = json.load(answer)
        assert [row["run_id"] for row in told["rows"]] == [run.run_id]
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(120) == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def own_folders(place: Path) -> list[str]:
    return [path.name for path in place.glob("thermograd-serve-*")]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals of that kind")
def test_its_own_folder_goes_with_it_also_after_a_kill(tmp_path: Path) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    given = {"TMPDIR": str(place)}
    with serving(tmp_path, environment=given) as killed:
        killed.process.kill()
        killed.process.wait()
    (left,) = own_folders(place)
    with serving(tmp_path, environment=given) as server:
        (now,) = own_folders(place)
        assert now != left
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 143
    assert own_folders(place) == []
