"""An experiment inside real trainings: the same losses bit by bit, no gap in a step's time."""

import json
import os
import time

import pytest
import thermograd
from thermograd.store.experiment.marks import read_experiments
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.describe import describe_run, run_facts_shown

torch = pytest.importorskip("torch")
from small_training import batch, make_model  # noqa: E402

DUTY = {"arm": "duty", "block_steps": 3, "start_step": 5, "seed": 4, "duty": 0.2}
STEPS = 15


def train(tmp_path, experiment=None, by_hand=False, steps=STEPS, **options):
    """Train with dropout and a loader that draws; return the run, its losses and the last weights."""
    model = torch.nn.Sequential(make_model(), torch.nn.Dropout(0.2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    torch.manual_seed(7)
    losses = []
    with thermograd.start_run("plain", runs=tmp_path, agent=False, experiment=experiment, **options) as run:
        if not by_hand:
            run.watch(optimizer, model=model)
        for i in range(steps):
            loss = (model(batch(int(torch.randint(1000, ())))) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if by_hand:
                run.step(loss=losses[-1], step=i + 1)
    return run, losses, [p.detach().clone() for p in model.parameters()]


def rows(run, kind):
    return read_kind(run.path, kind).to_pylist()


def recorded(run):
    (experiment,) = read_experiments(rows(run, "mark"))
    return experiment


@pytest.mark.parametrize("by_hand", [False, True], ids=["watched", "by hand"])
def test_a_plain_loop_has_the_same_losses_and_weights_with_a_duty_cycle(tmp_path, by_hand):
    _, losses, weights = train(tmp_path, by_hand=by_hand)
    run, same_losses, same_weights = train(tmp_path, DUTY, by_hand)
    assert same_losses == losses
    assert all(map(torch.equal, same_weights, weights))
    experiment = recorded(run)
    assert experiment.faults == []
    assert [a.assignment for a in experiment.assigned.values()] == [
        experiment.schedule.at(step) for step in (5, 8, 11, 14)
    ]
    lines = describe_run(run_facts_shown(Run(run.path))).splitlines()
    assert "  arm      duty: a randomised experiment, seed 4; 4 blocks assigned, 3 applied" in lines
    idle = {i: applied.idle_s > 0 for i, applied in experiment.applied.items()}
    levels = {i: a.assignment.level == "cool" for i, a in experiment.assigned.items()}
    assert idle == levels
    assert len([step for step in rows(run, "step") if step["loss"] is not None]) == STEPS


@pytest.mark.parametrize("by_hand", [False, True], ids=["watched", "by hand"])
def test_no_gap_is_in_the_time_of_a_step(tmp_path, by_hand):
    run, _, _ = train(tmp_path, DUTY | {"block_steps": 2}, by_hand, steps=15)
    experiment, steps = recorded(run), rows(run, "step")
    assert experiment.assigned[5].assignment.last_step == 16  # block 5 is not over, and hot or cool
    idle_s = sum(applied.idle_s for applied in experiment.applied.values() if applied.index < 5)
    span_s = (steps[-1]["monotonic_ns"] - steps[0]["monotonic_ns"]) / 1e9
    assert idle_s > 0
    assert sum(step["step_time_s"] for step in steps[1:]) <= span_s - idle_s + 1e-6


def test_a_mark_of_a_cool_block_is_in_the_log_before_its_first_gap(tmp_path, monkeypatch):
    from thermograd.ingest.experiment.conductor import Conductor

    seen = []
    rest = Conductor._rest

    def looking(self, seconds):
        marks = read_kind(self._run_dir, "mark").to_pylist()
        seen.append((self._seen, read_experiments(marks)[0].assigned))
        return rest(self, 0.0)

    monkeypatch.setattr(Conductor, "_rest", looking)
    train(tmp_path, DUTY)
    assert len(seen) >= 6
    for step, assigned in seen:
        latest = assigned[max(assigned)].assignment
        assert latest.first_step <= step <= latest.last_step
        assert latest.level == "cool"


def test_an_arm_that_raises_harms_no_training(tmp_path, monkeypatch):
    from thermograd.ingest.experiment.arms.duty import DutyArm

    _, losses, _ = train(tmp_path)
    monkeypatch.setattr(DutyArm, "after_step", lambda self, step, busy_s: 1 / 0)
    run, same_losses, _ = train(tmp_path, DUTY | {"block_steps": 1})
    assert same_losses == losses
    assert {applied.failed for applied in recorded(run).applied.values()} == {"division by zero"}
    assert len(recorded(run).applied) == 3
    assert run.guard.failures == 0


def test_the_environment_asks_for_an_experiment_and_comes_first(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("THERMOGRAD_EXPERIMENT", json.dumps(DUTY | {"seed": 11}))
    run, _, _ = train(tmp_path, DUTY)
    assert recorded(run).schedule.seed == 11
    assert "the run has an experiment already (duty); it stays" in caplog.text


def test_what_the_environment_cannot_mean_is_said_and_left_out(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("THERMOGRAD_EXPERIMENT", '{"arm": "toaster"}')
    run, losses, _ = train(tmp_path, steps=2)
    assert len(losses) == 2
    assert "no experiment: $THERMOGRAD_EXPERIMENT: the experiment's arm is 'toaster'" in caplog.text
    assert [mark for mark in rows(run, "mark") if mark["mark"] == "intervention"] == []


def test_what_is_not_allowed_is_said_when_it_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="the experiment's duty is 7"):
        thermograd.start_run("x", runs=tmp_path, agent=False, experiment={"duty": 7})
    assert list(tmp_path.iterdir()) == []
    with thermograd.start_run("x", runs=tmp_path, agent=False) as run:
        with pytest.raises(ValueError, match="the experiment knows no blocks"):
            run.experiment("duty", blocks=3)
        run.experiment(arm="duty", block_steps=5)
        run.experiment({"arm": "duty"}, block_steps=5)


def test_a_training_by_the_wall_clock_is_refused_in_a_sentence(tmp_path, caplog):
    run, losses, _ = train(tmp_path, DUTY | {"wall_clock_schedule": True})
    assert len(losses) == STEPS
    assert "no experiment: the training has a schedule by the wall clock" in caplog.text
    marks = [mark["text"] for mark in rows(run, "mark") if mark["mark"] in ("note", "intervention")]
    assert marks == [
        "no experiment: the training has a schedule by the wall clock, which gaps and loads would change"
    ]


def test_ctrl_c_in_a_gap_ends_the_gap_and_the_training(tmp_path, monkeypatch):
    def interrupted(self, seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("thermograd.ingest.experiment.conductor.Conductor._rest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, DUTY)
    (path,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    (experiment,) = read_experiments(read_kind(path, "mark").to_pylist())
    (last,) = [applied for applied in experiment.applied.values() if applied.failed]
    assert last.failed == "the run ended after 1 of 3 steps"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # we mean it
def test_a_forked_child_does_nothing(tmp_path):
    with thermograd.start_run("x", runs=tmp_path, agent=False, experiment=DUTY) as run:
        child = os.fork()
        if child == 0:
            os._exit(0 if run._conductor is None else 3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert run._conductor is not None


def test_a_killed_process_leaves_an_experiment_that_can_be_read(tmp_path):
    """What has been assigned stands in the log as soon as the call returns: nothing need be closed."""
    run = thermograd.start_run("x", runs=tmp_path, agent=False, experiment=DUTY)
    for step in range(1, 9):
        run.step(step=step)
    experiment = recorded(run)
    assert experiment.faults == []
    assert sorted(experiment.assigned) == [0, 1]
    assert sorted(experiment.applied) == [0]
    run.close()
    assert time.monotonic_ns() > experiment.assigned[0].monotonic_ns


def test_a_learning_pulse_stands_in_the_learning_rates_of_the_log(tmp_path):
    asked = {"arm": "lr", "factor": 3.0, "bin_steps": 1, "stratum_bins": 4, "lag_bins": 2, "start_step": 5}
    run, _, _ = train(tmp_path, asked)
    experiment = recorded(run)
    pulsed = {a.assignment.pulse_step + 1 for a in experiment.assigned.values() if a.assignment.index < 2}
    rates = {step["step"]: step["learning_rate"] for step in rows(run, "step")[:12]}
    assert len(pulsed) == 2
    assert rates == {step: pytest.approx(0.03 if step in pulsed else 0.01) for step in rates}
    assert [applied.steps for applied in experiment.applied.values()][:2] == [1, 1]
