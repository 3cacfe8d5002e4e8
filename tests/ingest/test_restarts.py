"""Where a log's steps go back, a training began again; a loop that numbers oddly has not."""

import pytest
from thermograd.ingest.restarts import Restart, Restarts

S = 10**9


def found(steps):
    follower = Restarts()
    told = [follower.follow(step, time_s * S) for step, time_s in steps]
    return [restart for restart in told if restart is not None]


def test_steps_that_come_twice_after_minutes_are_a_restart():
    first = [(step, step) for step in range(1, 141)]
    again = [(step, 520 + step) for step in range(100, 141)]
    (restart,) = found(first + again)
    assert restart == Restart(140, 100, 480.0)
    assert restart.text == (
        "the training began again at step 100, 8 min after step 140: "
        "what it logs again of steps 100 to 140 is there twice"
    )
    assert restart.detail == {"last_step": 140, "again_from": 100, "pause_s": 480.0}


@pytest.mark.parametrize("pause_s", [1, 30, 480])
def test_a_second_training_from_the_start_is_a_restart_at_once(pause_s):
    assert found([(1, 1), (2, 2), (3, 3), (1, 3 + pause_s)]) == [Restart(3, 1, pause_s)]


def test_a_checkpoint_of_the_last_step_is_seen_by_the_pause():
    assert found([(8, 8), (9, 9), (9, 400), (10, 401)]) == [Restart(9, 9, 391.0)]


@pytest.mark.parametrize(
    "steps",
    [
        [(1, 1), (2, 2), (3, 500), (4, 501)],  # an evaluation of minutes
        [(1, 1), (1, 2), (2, 3), (2, 4)],  # two rows a step
        [(1, 1), (3, 2), (2, 3), (4, 4)],  # two that changed places
        [(1, 1), (2, 400), (2, 800), (3, 1200)],  # steps of minutes
        [(None, 1), (None, 2)],
        [(5, 1), (100, 2)],  # a log of every n-th step
    ],
)
def test_what_only_looks_like_one_is_none(steps):
    assert found(steps) == []


def test_interleaved_sequences_do_not_fill_the_log():
    assert len(found([(1000 * (i % 2) + i, i) for i in range(1000)])) == 20
