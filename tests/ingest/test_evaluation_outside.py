"""Evaluations before and after a training: in the run around them, or said to be lost."""

import pytest
import thermograd
from thermograd.ingest.callback import TrainerRun
from thermograd.store.query.connection import query


def test_an_evaluation_after_the_training_goes_into_the_run_around_it(tmp_path):
    training = TrainerRun()
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.step(loss=1.0)
        training.mark("evaluation", 1, detail={"eval_loss": 2.0})
        training.log({"eval_loss": 2.0}, 1)
    assert query("SELECT name, value FROM metrics", tmp_path).to_pylist() == [
        {"name": "eval_loss", "value": 2.0}
    ]
    assert query("SELECT count(*) AS n FROM marks WHERE mark = 'evaluation'", tmp_path).to_pylist() == [
        {"n": 1}
    ]


def test_where_no_run_is_open_it_is_said_once(caplog):
    training = TrainerRun()
    for _ in range(2):
        training.mark("evaluation", 1, detail={"eval_loss": 2.0})
        training.log({"eval_loss": 2.0}, 1)
    assert caplog.text.count("before or after train() is not recorded") == 1


def test_watch_takes_the_options_of_other_trackers(tmp_path, caplog):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.watch(model, log="gradients", log_freq=10)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    assert "watch knows no log, log_freq" in caplog.text
    assert query("SELECT count(*) AS n FROM steps", tmp_path).to_pylist() == [{"n": 3}]


def test_a_name_that_is_taken_is_told_at_the_start(tmp_path, capfd):
    for _ in range(2):
        thermograd.start_run("same", runs=tmp_path, agent=False).close()
    first, second = [line for line in capfd.readouterr().err.splitlines() if "recording to" in line]
    assert " as " not in first
    assert second.endswith(' as "same-2"')
