"""A step of a world of ranks is one step, whatever ended, began again or fell silent."""

import pytest
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name, rank_of_writer
from thermograd.store.runs.catalogue import create_run
from thermograd.store.runs.steps import StepCount, count_steps


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path, "world")


def _log(run, writer, steps, rank):
    log = EventWriter(run.path, run.run_id, writer, kinds=("step",))
    for step in range(steps):
        log.append("step", step=step + 1, rank=rank)
    log.close()


@pytest.mark.parametrize("is_sealed", [False, True])
def test_ranks_log_the_same_steps(run, is_sealed):
    for rank in range(3):
        _log(run, new_writer_name(f"r{rank}"), 20, rank)
    if is_sealed:
        seal_run(run.path, run.run_id)
    assert count_steps(run.path) == StepCount(20, 3)
    assert (run.summary()["steps"], run.summary()["ranks"]) == (20, 3)
    assert run.counts()["step"] == 60


def test_a_rank_that_began_again_goes_on(run):
    _log(run, new_writer_name("r0"), 20, 0)
    _log(run, new_writer_name("r1"), 20, 1)
    _log(run, new_writer_name("r0"), 5, 0)
    assert count_steps(run.path) == StepCount(25, 2)


def test_without_rank_0_the_lowest_counts(run):
    _log(run, new_writer_name("r3"), 7, 3)
    _log(run, new_writer_name("r5"), 9, 5)
    assert count_steps(run.path) == StepCount(7, 2)


def test_writers_of_no_rank_are_one(run):
    assert count_steps(run.path) == StepCount(0, 0)
    _log(run, "import", 4, None)
    _log(run, "more", 5, None)
    assert count_steps(run.path) == StepCount(9, 1)


def test_a_host_that_is_called_like_a_rank_is_none():
    assert rank_of_writer(f"node-r7-x-{new_writer_name('r2').partition('-')[2]}") == 2
    assert rank_of_writer("node-r7-agent-12-abcdef") is None
