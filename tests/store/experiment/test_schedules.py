"""Schedules: what a seed draws, step by step, and what the log gives back of it."""

import json
from typing import Any

import pytest
from thermograd.store.experiment.marks import Applied, applied_detail, assigned_detail, read_experiments
from thermograd.store.experiment.schedules import Pulses, Schedule, ScheduleError, Switchback

SWITCHBACK = Schedule("duty", Switchback(100), seed=7, start_step=51, options={"duty": 0.6})
PULSES = Schedule("shadow", Pulses(2, kinds=("zeros", "noise")), seed=7, start_step=51)


def test_pair_has_one_hot_and_one_cool_block() -> None:
    blocks = [SWITCHBACK.assignment(index) for index in range(200)]
    for first, second in zip(blocks[::2], blocks[1::2], strict=True):
        assert {first.level, second.level} == {"hot", "cool"}
        assert first.pair == second.pair
    assert 20 <= sum(block.level == "hot" for block in blocks[::2]) <= 80  # a fair coin: 6 sd around 50


def test_every_step_belongs_to_one_assignment_and_those_before_the_start_to_none() -> None:
    for schedule in (SWITCHBACK, PULSES):
        assert schedule.at(50) is None
        for step in range(51, 1000):
            found = schedule.at(step)
            assert found is not None
            assert found.first_step <= step <= found.last_step
            assert found == schedule.assignment(found.index)


def test_pulses_keep_to_their_places_and_reach_all_of_them() -> None:
    drawn = [PULSES.assignment(index) for index in range(400)]
    assert {each.bin for each in drawn} == set(range(9))  # 20 bins less 10 lags and 1
    assert {each.kind for each in drawn} == {"zeros", "noise"}
    for each in drawn:
        assert each.bin is not None
        assert each.pulse_step == each.first_step + 2 * each.bin


def test_draws_are_the_same_for_ever() -> None:
    """These numbers are in logs: another version that draws others could not replay them."""
    levels = [SWITCHBACK.assignment(index).level for index in range(8)]
    assert levels == ["hot", "cool", "cool", "hot", "hot", "cool", "cool", "hot"]
    assert [(PULSES.assignment(i).bin, PULSES.assignment(i).kind) for i in range(3)] == [
        (6, "zeros"),
        (7, "zeros"),
        (7, "noise"),
    ]


def _mark(detail: dict[str, Any], at: int) -> dict[str, Any]:
    document = json.dumps(detail)
    return {"mark": "intervention", "detail": document, "time_ns": at, "monotonic_ns": at, "step": at}


@pytest.mark.parametrize("schedule", [SWITCHBACK, PULSES], ids=["switchback", "pulses"])
def test_marks_give_back_the_experiment(schedule: Schedule) -> None:
    marks = []
    for index in range(4):
        marks.append(_mark(assigned_detail(schedule, schedule.assignment(index)), 10 * index))
        why = "the step took 4 min" if index == 2 else None
        marks.append(_mark(applied_detail(schedule, Applied(index, 3, failed=why)), 10 * index + 5))
    (recorded,) = read_experiments([{"mark": "intervention", "detail": '"a script\'s own"'}, *marks])
    assert recorded.schedule == schedule
    assert [each.time_ns for each in recorded.assigned.values()] == [0, 10, 20, 30]
    assert [each.index for each in recorded.failures] == [2]
    assert not recorded.faults
    assert len(recorded.applied) == 4


def test_level_that_the_seed_does_not_draw_is_a_fault() -> None:
    detail = assigned_detail(SWITCHBACK, SWITCHBACK.assignment(0))
    detail["assigned"]["level"] = "cool"
    (recorded,) = read_experiments([_mark(detail, 0)])
    assert recorded.faults == ["assignment 0 in the log is not what seed 7 draws"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arm": "oven"}, "the arm is 'oven'; allowed: duty, shadow, burner, cap, lr"),
        ({"seed": -1}, "seed is -1; allowed: a whole number from 0"),
        ({"design": {"name": "switchback", "block_steps": 0}}, "block_steps is 0"),
        ({"design": {"name": "pulses", "bin_steps": 1, "stratum_bins": 5}}, "stratum_bins is 5"),
        ({"design": {"name": "roulette"}}, "no schedule of an experiment"),
    ],
)
def test_what_is_no_schedule_is_refused_in_a_sentence(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        Schedule.from_json(SWITCHBACK.to_json() | change)
