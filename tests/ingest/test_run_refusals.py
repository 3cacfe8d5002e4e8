"""What `start_run` and `Run.step` refuse, and how they say so."""

import pytest
from thermograd.ingest.callback import TrainerRun
from thermograd.ingest.run import start_run
from thermograd.store.log.reader import read_kind


@pytest.mark.parametrize("start", [start_run, TrainerRun])
def test_a_preset_that_does_not_exist_is_refused_with_those_that_do(tmp_path, start):
    with pytest.raises(ValueError, match=r"simulate is 'nope'; allowed: None, .*'restricted'"):
        start("x", runs=tmp_path, simulate="nope")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_text_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(TypeError, match="name is None; allowed: any text"):
        start_run(None, tmp_path, agent=False)


def test_a_value_that_does_not_fit_is_named_with_its_column(tmp_path, caplog):
    with start_run("x", tmp_path, agent=False) as run:
        run.step(loss="abc")
        run.step(loss=1.0)
    assert "loss is 'abc'" in caplog.text
    steps = read_kind(run.path, "step").to_pylist()
    assert [(row["step"], row["loss"]) for row in steps] == [(1, None), (2, 1.0)]
    assert (run.lost, run.values_left_out) == (0, 1)


@pytest.mark.parametrize("step", [-5, "abc", 1.5])
def test_a_step_that_is_no_step_is_null_and_the_next_is_counted_on(tmp_path, caplog, step):
    with start_run("x", tmp_path, agent=False) as run:
        run.step(loss=1.0, step=step)
        run.step(loss=2.0)
        assert (run.lost, run.values_left_out) == (0, 1)
    assert f"step is {step!r}; allowed: a whole number from 0" in caplog.text
    steps = read_kind(run.path, "step").to_pylist()
    assert [(row["step"], row["loss"]) for row in steps] == [(None, 1.0), (2, 2.0)]
