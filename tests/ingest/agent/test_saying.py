"""Who shows the agent's lines: its parent, or itself where that is dead or stopped."""

import json
import os

import pytest
from thermograd.ingest.agent import saying
from thermograd.ingest.agent.saying import Sayings

LINE = "critical  silent.rank  rank 0 on node: its process is stopped"


@pytest.mark.parametrize("state", ["runs", "stopped", "gone"])
def test_a_line_is_shown_once_by_whoever_can(state, capfd, monkeypatch):
    monkeypatch.setattr(saying, "process_state", lambda process: state)
    parent = os.getppid() if state != "gone" else 1 << 22
    Sayings(parent, as_json=True).say(LINE)
    shown = capfd.readouterr()
    if state == "runs":
        assert (shown.out, shown.err) == (f"{LINE}\n", "")
    else:
        assert (json.loads(shown.out), shown.err) == ({"shown": LINE}, f"{LINE}\n")
    Sayings(parent).say(LINE)
    assert capfd.readouterr().out == f"{LINE}\n", "its stdout is its parent's stderr"
