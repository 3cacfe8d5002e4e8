"""A training that begins again in one run's log leaves a `gap` mark, in one process or in two."""

import json

import thermograd
from thermograd.ingest.job import rank
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.describe import describe_run, run_facts_shown


def gaps(path):
    return [mark for mark in read_kind(path, "mark").to_pylist() if mark["mark"] == "gap"]


def test_steps_logged_twice_by_one_process_are_a_gap_that_show_tells(tmp_path):
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        for step in [*range(1, 15), *range(10, 20)]:
            run.step(loss=1.0, step=step)
    (gap,) = gaps(run.path)
    assert gap["step"] == 10
    assert gap["text"].endswith("s after step 14: what it logs again of steps 10 to 14 is there twice")
    assert json.loads(gap["detail"])["last_step"] == 14
    assert gap["text"] in describe_run(run_facts_shown(Run(run.path)))
    assert read_kind(run.path, "step").num_rows == 24


def test_a_job_that_is_started_again_into_its_own_run_is_a_gap(tmp_path, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_RUN_ID", "job-1")
    for numbers in (range(1, 15), range(10, 20), range(20, 23)):
        monkeypatch.setattr(rank, "_uses", type(rank._uses)())  # as another process has it
        with thermograd.start_run(runs=tmp_path, agent=False) as run:
            for step in numbers:
                run.step(loss=1.0, step=step)
    assert [gap["step"] for gap in gaps(run.path)] == [10]
    assert "what it logs again of steps 10 to 14 is there twice" in gaps(run.path)[0]["text"]
