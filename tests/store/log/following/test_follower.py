import os
import random
import subprocess
import sys

import pytest
from thermograd.store.log.following.follower import Follower
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter

LOADED = """
import sys
from pathlib import Path
from thermograd.store.card.tally import FollowedRun
run = FollowedRun(lambda: Path(sys.argv[1]))
assert len(run.poll()) == 3
print(sorted({"pyarrow", "pandas", "duckdb"} & sys.modules.keys()))
"""


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path


def full_tail(run_dir, **more):
    """A writer whose first tail has been read but for its last events, and has moved on."""
    log = EventWriter(run_dir, "r", "w", batch_rows=8)
    follower = Follower(run_dir, **more)
    for step in range(5):
        log.append("step", step=step)
    assert [event.values["step"] for event in follower.poll()] == [0, 1, 2, 3, 4]
    for step in range(5, 11):
        log.append("step", step=step)
    first = run_dir / "open" / "w" / "step-000000000000.tail"
    while first.exists():
        log._wake.put(None)
    return log, follower


@pytest.mark.skipif(not hasattr(os, "pread"), reason="an open file could not be removed")
def test_a_tail_that_is_kept_open_is_read_to_its_end_where_it_was(run_dir, monkeypatch):
    log, follower = full_tail(run_dir, kept_open=4)
    monkeypatch.setattr(Follower, "_catch_up", lambda *_: pytest.fail("Arrow would be loaded for it"))
    assert [event.values["step"] for event in follower.poll()] == list(range(5, 11))
    follower.close()
    log.append("step", step=11)
    assert [event.values["step"] for event in follower.poll()] == [11]
    follower.close()
    log.close()


def test_a_tail_that_is_not_kept_open_is_read_where_it_has_gone_to(run_dir):
    log, follower = full_tail(run_dir, kept_open=0)
    assert [event.values["step"] for event in follower.poll()] == list(range(5, 11))
    log.close()


def test_no_more_tails_are_kept_open_than_there_may_be(run_dir):
    logs = [EventWriter(run_dir, "r", f"w{number}") for number in range(5)]
    for log in logs:
        log.append("step", step=1)
    follower = Follower(run_dir, kept_open=2)
    assert len(follower.poll()) == 5
    assert sum(each.file is not None for each in follower._positions.values()) == 2
    for log in logs:
        log.append("step", step=2)
    assert len(follower.poll()) == 5
    follower.close()
    assert not any(each.file for each in follower._positions.values())
    for log in logs:
        log.close()


@pytest.mark.parametrize("count", [0, 4])
def test_a_full_tail_that_could_not_be_removed_hides_nothing_that_comes_after_it(run_dir, count):
    log, follower = EventWriter(run_dir, "r", "w", batch_rows=8), Follower(run_dir, kept_open=count)
    first, seen = run_dir / "open" / "w" / "step-000000000000.tail", []
    log.append("step", step=0)
    seen += follower.poll()
    os.link(first, run_dir / "kept")
    for step in range(1, 40):
        log.append("step", step=step)
        while step == 20 and first.exists():
            log._wake.put(None)
    while len(list(first.parent.glob("step-*.tail"))) > 1:
        log._wake.put(None)
    os.link(run_dir / "kept", first)
    for _ in range(3):
        seen += follower.poll()
    log.close()
    seen += follower.poll()
    assert [event.values["step"] for event in seen] == list(range(40))
    follower.close()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_open_changes_nothing_of_what_is_read(run_dir, seed):
    """Whatever the writer, its own thread and a sealer do between two looks."""
    draw = random.Random(seed)
    log = EventWriter(run_dir, "r", "w", batch_rows=6)
    followers = [Follower(run_dir, kept_open=count) for count in (0, 1, 8)]
    seen, step = [[] for _ in followers], 0
    for _ in range(60):
        for _ in range(draw.randrange(12)):
            log.append(draw.choice(["step", "step", "mark"]), step=step)
            step += 1
        if draw.random() < 0.5:
            log._wake.put(None)
        if draw.random() < 0.1:
            seal_run(run_dir, "r")
        for follower, events in zip(followers, seen, strict=True):
            if draw.random() < 0.7:
                events += follower.poll()
    log.close()
    seal_run(run_dir, "r")
    for follower, events in zip(followers, seen, strict=True):
        events += follower.poll()
        assert sorted(event.values["step"] for event in events) == list(range(step))
        for kind in ("step", "mark"):
            numbers = [event.values["seq"] for event in events if event.kind == kind]
            assert numbers == list(range(len(numbers)))
        follower.close()


def test_who_follows_a_run_loads_nothing_of_arrow(run_dir):
    log = EventWriter(run_dir, "r", "w", ("step", "sample", "mark"))
    log.append("step", step=1, loss=2.0)
    log.append("sample", device="cpu", power_w=3.0)
    log.append("mark", mark="note", text="hello")
    told = subprocess.run(
        [sys.executable, "-c", LOADED, str(run_dir)], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"
    log.close()
