"""A simulated experiment: its marks are what a training's would be, and it says what is true of it."""

import json

import numpy as np
import pytest
from simulated_runs import END_NS
from thermograd.ingest.simulate.experiment import WORLDS, simulate_experiment
from thermograd.ingest.simulate.write import DEVICE
from thermograd.store.errors import ScenarioError
from thermograd.store.experiment.marks import read_experiments
from thermograd.store.experiment.schedules import Schedule
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run


def rows(run, kind):
    return read_kind(run.path, kind).to_pylist()


@pytest.fixture(scope="module", params=["experiment-drift", "experiment-training-to-hardware"])
def world(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    return simulate_experiment(folder, request.param, minutes=6, seed=3, end_ns=END_NS)


def test_the_marks_are_those_that_the_schedule_in_the_truth_draws(world):
    (recorded,) = read_experiments(rows(world, "mark"))
    assert recorded.schedule == Schedule.from_json(world.facts["truth"]["experiment"])
    assert recorded.faults == []
    assert [*recorded.assigned] == [*range(len(recorded.assigned))] == [*recorded.applied]
    assert len(recorded.assigned) >= 3


def test_an_assignment_is_logged_before_its_first_step_ends(world):
    ends = {row["step"]: row["time_ns"] for row in rows(world, "step")}
    marks = [row for row in rows(world, "mark") if row["mark"] == "intervention"]
    assigned = [row for row in marks if "assigned" in json.loads(row["detail"])]
    assert assigned
    assert all(row["time_ns"] < ends[row["step"]] for row in assigned)


def test_it_is_labelled_and_whole(world):
    assert world.facts["devices"][DEVICE]["simulated"] is True
    assert world.name.startswith("simulated: experiment-")
    assert verify_run(world.path)["ok"]


def test_a_cool_block_cools_the_device_and_leaves_step_times_alone(tmp_path):
    run = simulate_experiment(tmp_path, "experiment-null", minutes=10, seed=1, end_ns=END_NS)
    (recorded,) = read_experiments(rows(run, "mark"))
    begun = {index: each.time_ns for index, each in recorded.assigned.items()}
    levels = {index: each.assignment.level for index, each in recorded.assigned.items()}
    samples, steps = rows(run, "sample"), rows(run, "step")
    ends = [*list(begun.values())[1:], run.facts["ended_time_ns"]]
    late_c = {"hot": [], "cool": []}
    for (index, begin), end in zip(begun.items(), ends, strict=True):
        late_c[levels[index]] += [
            s["temperature_c"] for s in samples if begin + 3 * (end - begin) / 4 < s["time_ns"] <= end
        ]
    assert np.mean(late_c["hot"]) - np.mean(late_c["cool"]) > 4
    taken = np.array([s["step_time_s"] for s in steps])
    assert taken.mean() == pytest.approx(0.5, rel=0.01)


def test_the_same_seed_gives_the_same_run_and_another_another_schedule(tmp_path):
    def norms(seed):
        run = simulate_experiment(tmp_path, "experiment-null", minutes=2, seed=seed, end_ns=END_NS)
        return [row["grad_norm"] for row in rows(run, "step")], run.facts["truth"]["experiment"]

    assert norms(1) == norms(1)
    assert norms(1)[1]["seed"] != norms(2)[1]["seed"]


@pytest.mark.parametrize("minutes", [1, float("nan"), 1e6])
def test_a_length_that_no_experiment_can_have_is_refused(tmp_path, minutes):
    with pytest.raises(ScenarioError, match="allowed for an experiment are 2 to 1440"):
        simulate_experiment(tmp_path, "experiment-null", minutes=minutes)
    assert not list(tmp_path.iterdir())


def test_every_world_says_what_is_true_of_it():
    assert all(world.about and name.startswith("experiment-") for name, world in WORLDS.items())
    assert {world.question for world in WORLDS.values()} == {"heat to training", "training to hardware"}
