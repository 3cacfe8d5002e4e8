"""Where a run is stays clear, whatever becomes of the working directory and of the run's own."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import thermograd
from thermograd.ingest.agent.description import Description
from thermograd.ingest.callback import TrainerRun
from thermograd.store.files import read_json, write_json
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run
from thermograd.store.runs.catalogue import Run, list_runs

posix = pytest.mark.skipif(sys.platform == "win32", reason="an open directory cannot be moved")


def wait_for(condition, what="it", timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.05)


def delete(path):
    """Delete it like `rm -rf`, again where somebody wrote meanwhile; what is made anew there stays."""
    descriptor = os.open(path, os.O_RDONLY)  # while it is held, no other directory gets its number
    deleted = os.fstat(descriptor)
    wait_for(lambda: shutil.rmtree(path, ignore_errors=True) or not is_at(path, deleted), "the deletion")
    os.close(descriptor)


def is_at(path, directory):
    try:
        return os.path.samestat(path.stat(), directory)
    except FileNotFoundError:
        return False


def count(path, kind):
    return len(read_kind(path, kind))


@pytest.mark.parametrize("how", ["argument", "variable", "default"])
def test_a_script_that_changes_directory_goes_on_in_the_same_run(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THERMOGRAD_RUNS", raising=False)
    if how == "variable":
        monkeypatch.setenv("THERMOGRAD_RUNS", "runs")
    with thermograd.start_run(runs="runs" if how == "argument" else None, agent=False) as run:
        run.step(loss=1.0)
        (tmp_path / "elsewhere").mkdir()
        os.chdir("elsewhere")
        for _ in range(3000):
            run.step(loss=1.0)
    assert run.path == tmp_path / "runs" / run.run_id
    assert count(run.path, "step") == 3001
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_callback_means_the_directory_where_it_was_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = TrainerRun("t", "runs")
    (tmp_path / "elsewhere").mkdir()
    os.chdir("elsewhere")
    monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)
    training.open(None, dict, deferred_end=False)
    training.close()
    assert [run.path.parent for run in list_runs(tmp_path / "runs")] == [tmp_path / "runs"]


@posix
def test_a_working_directory_that_is_gone_is_no_reason_not_to_record(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with thermograd.start_run(runs=tmp_path / "runs", agent=False) as run:
        run.step(loss=1.0)
    assert count(run.path, "step") == 1


@posix
def test_an_agent_that_is_started_again_has_the_directory_and_the_settings_of_the_first(
    tmp_path, monkeypatch
):
    (tmp_path / "t.toml").write_text('[sinks.file]\ntype = "jsonl"\npath = "alerts.jsonl"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THERMOGRAD_CONFIG", "t.toml")
    with thermograd.start_run(runs="runs", simulate="dc") as run:
        wait_for(lambda: count(run.path, "sample"), "samples")
        (tmp_path / "elsewhere").mkdir()
        os.chdir("elsewhere")
        monkeypatch.setenv("THERMOGRAD_CONFIG", "another.toml")
        first = run.agent.pid
        os.kill(first, 9)
        wait_for(lambda: run.agent.pid != first, "the second agent")
        before = count(run.path, "sample")
        wait_for(lambda: count(run.path, "sample") > before, "its samples")
        run.step(loss=float("nan"))
        wait_for((tmp_path / "alerts.jsonl").exists, "the alert")
    assert os.listdir(tmp_path / "elsewhere") == []
    assert verify_run(run.path)["ok"]


@posix
@pytest.mark.parametrize("replaced", [False, True])
def test_run_and_agent_follow_a_directory_that_is_moved(tmp_path, replaced):
    with thermograd.start_run(runs=tmp_path / "runs", simulate="dc") as run:
        run.step(loss=1.0)
        there = run.path
        wait_for(lambda: count(there, "sample"), "samples")
        there.rename(tmp_path / "moved")
        if replaced:
            there.write_text("a file in its place")
        run.step(loss=2.0)
        wait_for(lambda: run.path == tmp_path / "moved", "the run to follow")
        before = count(run.path, "sample")
        wait_for(lambda: count(run.path, "sample") > before, "the agent to follow")
        run.step(loss=float("nan"))
        wait_for(lambda: count(run.path, "alert"), "the alert: the stream layer follows too")
    assert count(tmp_path / "moved", "step") == 3
    assert verify_run(run.path)["ok"]
    assert Run(run.path).state() == "finished"
    assert there.exists() == replaced


@posix
def test_run_and_agent_make_a_directory_anew_that_is_deleted(tmp_path):
    with thermograd.start_run("kept", tmp_path / "runs", simulate="dc") as run:
        run.step(loss=1.0)
        wait_for(lambda: count(run.path, "sample"), "samples")
        delete(run.path)
        run.step(loss=2.0)
        wait_for(lambda: run.path.exists() and count(run.path, "sample"), "new samples")
        facts = lambda: read_json(run.path / "run.json")  # noqa: E731 - it is asked again and again
        wait_for(
            lambda: "simulated:dc" in facts().get("devices", {}) and "argv" in facts(), "the description"
        )
    [listed] = list_runs(tmp_path / "runs")
    assert (listed.name, listed.state()) == ("kept", "finished")
    assert 2.0 in read_kind(run.path, "step")["loss"].to_pylist()
    told = [file["reason"] for file in verify_run(run.path)["files"] if "reason" in file]
    assert all(DELETED.fullmatch(reason) for reason in told), told


DELETED = re.compile(
    r"events 0 to \d+ of this writer are missing"
)  # what had been moved on before it was gone


@posix
def test_an_agent_whose_directory_cannot_be_used_says_so_once_and_waits(tmp_path):
    place = tmp_path / "run"
    place.write_text("a file")
    told = {"run_dir": str(place), "hz": 5.0, "parent": os.getpid(), "simulate": None}
    told |= {"alerts_json": False, "card": False}
    command = [sys.executable, "-m", "thermograd.commands.agent", "agent", json.dumps(told)]
    agent = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = agent.stderr.readline()
    assert "cannot work in" in said
    place.unlink()
    place.mkdir()
    assert "works in" in agent.stderr.readline()
    wait_for(lambda: count(place, "sample"), "samples")
    rest = agent.communicate("stop\n")[1]
    assert "Traceback" not in rest
    assert agent.returncode == 0


# -- what the agent adds to run.json ------------------------------------------------------------------------


@pytest.fixture
def describe(tmp_path):
    write_json(tmp_path / "run.json", {"name": "x", "devices": {"cpu": {"model": "old"}}, "sampling": 5})
    return Description(tmp_path, {"cpu": {"model": "new"}}, {"amd": "none"}, {"w": {"period_ns": 1}})


def test_devices_are_added_to_what_stands_there(describe, tmp_path):
    describe.write(tmp_path)
    facts = read_json(tmp_path / "run.json")
    assert facts == {
        "name": "x", "devices": {"cpu": {"model": "new"}}, "devices_absent": {"amd": "none"},
        "sampling": {"w": {"period_ns": 1}},
    }  # fmt: skip


@pytest.mark.parametrize("left", [None, {"name": "x", "argv": []}])
def test_devices_are_added_again_where_the_file_is_another_one(describe, tmp_path, left):
    describe.write(tmp_path)
    describe.keep(tmp_path)
    (tmp_path / "run.json").unlink()
    if left is not None:
        write_json(tmp_path / "run.json", left)
    describe.keep(tmp_path)
    facts = read_json(tmp_path / "run.json")
    assert facts["name"] == "x"
    assert facts["devices"]["cpu"]["model"] == "new"
    assert ("argv" in facts) == (left is not None)


def test_agents_of_two_nodes_do_not_write_in_turns(describe, tmp_path):
    other = Description(tmp_path, {"gpu": {}}, {"amd": "not here"}, {"v": {}})
    for agent in (describe, other):
        agent.write(tmp_path)
    text = (tmp_path / "run.json").read_text()
    for _ in range(3):
        describe.keep(tmp_path)
        other.keep(tmp_path)
    assert (tmp_path / "run.json").read_text() == text
    assert set(json.loads(text)["devices"]) == {"cpu", "gpu"}


def test_a_run_that_is_not_described_yet_is_left_to_who_describes_it(tmp_path):
    Description(tmp_path, {"cpu": {}}, {}, {}).write(tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_what_the_agent_adds_makes_no_directory_in_the_place_of_one_that_was_just_moved(
    tmp_path, monkeypatch
):
    run_dir, moved = tmp_path / "run", tmp_path / "moved"
    run_dir.mkdir()
    write_json(run_dir / "run.json", {"name": "first"})
    described = Description(run_dir, {"cpu": {}}, {}, {})

    def read_and_move(path):
        facts = read_json(path)
        run_dir.rename(moved)
        return facts

    monkeypatch.setattr("thermograd.ingest.agent.description.read_json", read_and_move)
    described.keep(run_dir)
    monkeypatch.undo()
    assert not run_dir.exists()
    described.keep(moved)
    assert read_json(moved / "run.json") == {"name": "first", "devices": {"cpu": {}}} | {
        "devices_absent": {},
        "sampling": {},
    }
