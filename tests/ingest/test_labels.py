"""The labels of a host reach its writers' facts, `show` and SQL; a wrong one never stops a training."""

import json

import thermograd
from thermograd.ingest.agent.agent import run_agent
from thermograd.store.files import read_json
from thermograd.store.query import connect
from thermograd.store.runs.catalogue import Run, create_run
from thermograd.store.runs.describe import describe_run, run_facts_shown


def trained(tmp_path):
    with thermograd.start_run("labelled", runs=tmp_path, agent=False) as run:
        run.step(loss=1.0)
    return Run(run.path)


def test_labels_are_recorded_shown_and_in_sql(tmp_path, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_LABELS", "rack=r12,switch=s3")
    run = trained(tmp_path)
    shown = run_facts_shown(run)
    (labels,) = shown["labels"].values()
    assert labels == {"rack": "r12", "switch": "s3"}
    assert "rack r12, switch s3" in describe_run(shown)
    with connect([run]) as connection:
        rows = connection.execute("SELECT label, value, rank FROM labels ORDER BY label").fetchall()
    assert rows == [("rack", "r12", 0), ("switch", "s3", 0)]


def test_a_wrong_label_or_a_secret_is_left_out_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("THERMOGRAD_LABELS", "rack=r12,api_key=hunter2hunter2,note=hf_abcdefghijklmnop1234")
    run = trained(tmp_path)
    assert run_facts_shown(run)["labels"].popitem()[1] == {"rack": "r12"}
    monkeypatch.setenv("THERMOGRAD_LABELS", "no label at all")
    assert run_facts_shown(trained(tmp_path))["labels"] == {}
    assert "label 1 is without '='" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_recording_has_the_labels_of_the_file_that_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("THERMOGRAD_LABELS", "switch=s3,no label")
    config = tmp_path / "some.toml"
    config.write_text('[labels]\nrack = "r12"\n')
    run = create_run(tmp_path / "runs", "recorded", {})
    run_agent(run.path, 10, 0, duration_s=0.1, config=config)
    assert run_facts_shown(run)["labels"].popitem()[1] == {"rack": "r12", "switch": "s3"}


def test_labels_of_a_stranger_that_are_no_text_are_left_out(tmp_path):
    run = trained(tmp_path)
    (path,) = (run.path / "writers").glob("*.json")
    path.write_text(json.dumps(read_json(path) | {"labels": {"rack": 3, "switch": "s1", "x": None}}))
    assert run_facts_shown(run)["labels"].popitem()[1] == {"switch": "s1"}
    path.write_text(json.dumps(read_json(path) | {"labels": ["rack"]}))
    assert run_facts_shown(run)["labels"] == {}
