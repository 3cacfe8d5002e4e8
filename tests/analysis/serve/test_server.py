"""The server as a process: it says where it listens, and ends quietly."""

import json
import signal
import urllib.request
from pathlib import Path

from serving import serving
from thermograd.store.runs.catalogue import create_run


def test_the_server_lists_the_runs_and_ends_quietly_at_ctrl_c(tmp_path: Path) -> None:
    run = create_run(tmp_path, "first")
    with serving(tmp_path) as server:
        with urllib.request.urlopen(f"{server.url}/api/runs") as answer:
            told = json.load(answer)
        assert [row["run_id"] for row in told["rows"]] == [run.run_id]
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""
