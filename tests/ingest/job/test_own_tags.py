"""Tags from a script: kept with the run, and never a reason for a training to fail."""

import logging

import pytest
import thermograd
from thermograd.store.locks import ProcessLock
from thermograd.store.runs.tags import read_tags


@pytest.fixture
def run(tmp_path):
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.step(loss=1.0)
        yield run


def test_a_script_tags_its_run(run):
    run.tag("baseline", "h100", note="first")
    run.tag("late")
    kept = read_tags(run.path)
    assert kept.tags == ["baseline", "h100", "late"]
    assert [note["text"] for note in kept.notes] == ["first"]


@pytest.mark.parametrize("tags", [("",), (3,), (None,), (["a"],), ("a,b",), ("x" * 1000,)])
def test_what_is_no_tag_is_said_and_the_training_goes_on(run, tags, caplog):
    with caplog.at_level(logging.WARNING, "thermograd"):
        run.tag(*tags)
    assert caplog.text.count("thermograd") >= 1
    assert read_tags(run.path).tags == []


def test_a_lock_that_another_holds_is_waited_for_briefly(run, caplog):
    lock = ProcessLock(run.path, "tags")
    assert lock.acquire()
    run.tag("a")
    lock.release()
    assert read_tags(run.path).tags == []
    assert "another process has held" in caplog.text


def test_a_run_that_is_not_recorded_takes_tags_without_a_word(monkeypatch, caplog):
    monkeypatch.setenv("THERMOGRAD_DISABLED", "1")
    thermograd.start_run().tag("a")
    assert caplog.text == ""
