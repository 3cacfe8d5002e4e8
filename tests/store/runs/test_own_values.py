"""Metrics and configuration where people and other layers meet them: show, export, SQL, replay."""

import csv
import json

import pyarrow.parquet as pq
import pytest
import thermograd
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.events import WATCHED_KINDS
from thermograd.store.log.reader import events_in_order, read_kind
from thermograd.store.query import query
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.export import export_run
from thermograd.stream.pipeline.replay import replay_events

HOSTILE = "<script>\x1b[31m\nalert(1)"


@pytest.fixture
def run(tmp_path):
    config = {"lr": 0.1, "optim": {"name": HOSTILE}}
    with thermograd.start_run("own", tmp_path / "runs", agent=False, config=config) as run:
        for i in range(1, 31):
            run.step(loss=1 / i, grad_norm=1.0)
            run.log({"train/a": i, "note": HOSTILE})
        run.log({"eval/loss": 0.5, HOSTILE: 1.0, **{f"layer/{i}": 0.0 for i in range(20)}})
    return Run(run.path)


def invoke(run, *arguments):
    result = CliRunner().invoke(main, ["--runs", str(run.path.parent), *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_show_tells_the_last_values_evaluations_first_and_the_configuration(run):
    shown = invoke(run, "show", "latest").splitlines()
    at = shown.index("Metrics")
    assert shown[at + 1] == "  eval/loss  0.5  (at step 30, 1 logged)"
    assert "  train/a  30  (at step 30, 30 logged)" in shown[at : at + 4]
    assert shown[at + 13] == '  and 12 more: thermograd query "SELECT * FROM metrics"'
    assert shown[shown.index("Config") + 1] == "  lr  0.1"


def test_show_lets_no_text_of_a_script_reach_the_terminal_as_it_is(run):
    assert "\x1b" not in invoke(run, "show", "latest")
    assert "\x1b" not in invoke(run, "query", "SELECT * FROM metrics LIMIT 9")


def test_show_as_json_has_every_metric_and_the_nested_configuration(run):
    document = json.loads(invoke(run, "show", "latest", "--json"))
    assert document["config"] == {"lr": 0.1, "optim": {"name": HOSTILE}}
    assert len(document["metrics"]) == 24
    assert document["metrics"]["train/a"] == {"value": 30.0, "text": None, "step": 30, "logged": 30}


def test_a_run_without_them_shows_neither_heading(tmp_path):
    with thermograd.start_run("none", tmp_path, agent=False) as run:
        run.step(loss=1.0)
    shown = invoke(Run(run.path), "show", "latest").splitlines()
    assert not {"Metrics", "Config"} & set(shown)


def test_exports_have_every_metric(run, tmp_path):
    folder = tmp_path / "out"
    export_run(run, "csv", folder)
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30 * 2 + 22
    assert {row["text"] for row in rows if row["name"] == "note"} == {HOSTILE}
    export_run(run, "parquet", folder)
    table = pq.read_table(folder / "metrics.parquet", partitioning=None).drop_columns("run_id")
    assert table.to_pylist() == read_kind(run.path, "metric").to_pylist()


def test_sql_has_the_columns_that_every_view_of_events_has(run):
    table = query("SELECT * FROM metrics", run.path.parent)
    common = ["run_id", "time", "writer", "seq", "time_ns", "monotonic_ns"]
    assert table.column_names == [*common, "step", "rank", "name", "value", "text"]
    sql = "SELECT s.loss, m.value FROM steps s JOIN metrics m USING (run_id, step) WHERE name = 'eval/loss'"
    assert query(sql, run.path.parent).to_pylist() == [{"loss": 1 / 30, "value": 0.5}]
    assert query("SELECT number FROM config WHERE key = 'lr'", run.path.parent).to_pylist() == [
        {"number": 0.1}
    ]


def test_a_replay_is_the_same_with_and_without_them(run):
    every, watched = events_in_order(run.path), events_in_order(run.path, WATCHED_KINDS)
    assert len(every) > len(watched)
    results = [replay_events(events, {}) for events in (every, watched)]
    assert results[0].digest == results[1].digest
    assert results[0].unseen == results[1].unseen == 0
