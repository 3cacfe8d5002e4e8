"""What the conductor does of a schedule, step by step, and when an arm or a process fails."""

import json

import pytest
from intervening import Conducted, Told
from thermograd.ingest.experiment import probe
from thermograd.ingest.experiment.arms.arm import Scene
from thermograd.ingest.experiment.arms.duty import DutyArm
from thermograd.ingest.experiment.schedule_file import PLAN, read_schedule
from thermograd.store.experiment.schedules import Assignment, Schedule, Switchback


def conducted(tmp_path, **options):
    return Conducted(tmp_path, **{"block_steps": 3, "start_step": 6, "seed": 1} | options)


def test_each_block_is_marked_before_it_begins_and_after_its_last_step(tmp_path):
    run = conducted(tmp_path)
    run.step_to(12)
    levels = [run.conductor.schedule.assignment(i).level for i in range(3)]
    assert [c for c in run.arm.log if c != ("prepare",)] == [
        ("mark", f"duty: block 1 is {levels[0]}, steps 6 to 8"),
        ("begin", 0, levels[0]),
        *(("after", step) for step in (6, 7, 8)),
        ("end",),
        ("mark", "duty: block 1 applied in 3 steps"),
        ("mark", f"duty: block 2 is {levels[1]}, steps 9 to 11"),
        ("begin", 1, levels[1]),
        *(("after", step) for step in (9, 10, 11)),
        ("end",),
        ("mark", "duty: block 2 applied in 3 steps"),
        ("mark", f"duty: block 3 is {levels[2]}, steps 12 to 14"),
        ("begin", 2, levels[2]),
        ("after", 12),
    ]


def test_the_log_says_what_the_seed_draws(tmp_path):
    run = conducted(tmp_path)
    run.step_to(6 + 3 * 40)
    run.conductor.close()
    recorded = run.recorded
    assert recorded.faults == []
    assert recorded.schedule == run.conductor.schedule == read_schedule(tmp_path)
    assert [a.assignment for a in recorded.assigned.values()] == [
        recorded.schedule.at(6 + 3 * i) for i in range(41)
    ]
    assert {applied.steps for applied in list(recorded.applied.values())[:40]} == {3}
    assert recorded.applied[40].failed == "the run ended after 1 of 3 steps"


def test_blocks_that_pass_before_the_arm_is_ready_are_assigned_and_not_applied(tmp_path):
    run = conducted(tmp_path, arm=Told(answers=[False] * 8), block_steps=2, start_step=4)
    run.step_to(20)
    run.conductor.close()
    recorded = run.recorded
    assert sorted(recorded.assigned) == list(range(9))
    not_ready = [each.index for each in recorded.failures if each.failed == "the arm was not ready yet"]
    assert not_ready == [0, 1, 2, 3]  # the arm has answered after step 11, in block 3
    assert [call[1] for call in run.calls("begin")] == [4, 5, 6, 7, 8]
    assert [recorded.applied[index].steps for index in (4, 5, 6, 7)] == [2] * 4
    assert run.texts[0].startswith("duty: block 1 is ")


def test_a_first_block_that_had_begun_before_anything_was_seen_is_assigned_and_not_applied(tmp_path):
    run = conducted(tmp_path, block_steps=8, start_step=1)
    run.step_to(20)
    recorded = run.recorded
    assert sorted(recorded.assigned) == [0, 1, 2]
    assert recorded.applied[0].failed == "this rank came to the schedule late"
    assert [call[1] for call in run.calls("begin")] == [1, 2]


def test_a_pulse_comes_once_after_its_step(tmp_path):
    arm = Told()
    arm.design, arm.kinds = "pulses", ("zeros", "noise")
    run = conducted(tmp_path, arm=arm, block_steps=None, bin_steps=2, stratum_bins=5, lag_bins=2)
    run.step_to(5 + 10 * 8)
    schedule = run.conductor.schedule
    expected = [schedule.assignment(i) for i in range(8)]
    assert run.calls("pulse") == [("pulse", a.pulse_step) for a in expected]
    for a in expected:
        at = arm.log.index(("pulse", a.pulse_step))
        assert arm.log[at - 1] == ("after", a.pulse_step)
    assert {a.kind for a in expected} == {"zeros", "noise"}


def test_rank_0_decides_by_the_time_of_a_step_and_others_follow(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.ingest.experiment.conductor._AHEAD_S", 0.0)
    ranks = [Conducted(tmp_path, rank=r, world_size=2, block_s=1e-9, seed=5) for r in range(2)]
    for step in range(1, 400):
        for rank in ranks:
            rank.conductor.step_ended(step)
        if len(ranks[1].calls("after")) > 5:
            break
    assert ranks[0].conductor.schedule == ranks[1].conductor.schedule == read_schedule(tmp_path)
    assert ranks[0].conductor.schedule.design == Switchback(1)
    assert ranks[0].calls("begin", "after") == ranks[1].calls("begin", "after") != []
    assert ranks[1].marks == []


def test_a_rank_that_comes_late_joins_at_the_next_block_and_says_so(tmp_path):
    run = conducted(tmp_path, rank=1, world_size=2, block_steps=10)
    run.step_to(40, first=19)
    assert run.calls("begin")[0][1] == 2
    assert run.calls("after")[0] == ("after", 26)
    ((index, failed),) = [(a.index, a.failed) for a in run.recorded.failures]
    assert (index, failed) == (1, "this rank came to the schedule late")


def test_a_restarted_job_follows_the_schedule_that_is_there(tmp_path):
    first = Conducted(tmp_path, block_s=3600.0)
    first.step_to(10)
    again = Conducted(tmp_path, block_s=60.0)
    again.step_to(9)
    assert again.conductor.schedule == first.conductor.schedule
    assert again.recorded.assigned[0].assignment == first.recorded.assigned[0].assignment


def test_another_arm_in_the_same_directory_is_refused(tmp_path, caplog):
    conducted(tmp_path).step_to(6)
    other = Told()
    other.name = "burner"
    run = conducted(tmp_path, arm=other)
    run.step_to(20)
    assert run.texts == [
        "no experiment: the run's directory has one of the arm 'duty'; begin another run",
    ]
    assert run.calls("begin", "close") == [("close",)]
    assert "begin another run" in caplog.text


def test_step_numbers_that_go_back_end_the_block_and_repeat_none(tmp_path):
    run = conducted(tmp_path)
    run.step_to(10)
    run.step_to(20, first=2)
    assert run.recorded.applied[1].failed == "the step numbers went back"
    assert [call[1] for call in run.calls("begin")] == [0, 1, 2, 3, 4, 5]
    assert run.recorded.faults == []


def test_step_numbers_that_jump_begin_the_block_that_they_jump_into(tmp_path):
    run = conducted(tmp_path, block_steps=30, start_step=21)
    for step in (1, 2, 3, *range(10, 200, 10)):
        run.conductor.step_ended(step)
    assert [a.assignment.first_step for a in run.recorded.assigned.values()] == [21, 51, 81, 111, 141, 171]
    assert {applied.steps for applied in run.recorded.applied.values()} == {3}


@pytest.mark.parametrize("fault", ["begin", "after", "end"])
def test_an_arm_that_fails_ends_its_block_and_after_three_in_a_row_for_good(tmp_path, fault):
    run = conducted(tmp_path, arm=Told(faults=(fault,)))
    run.step_to(60)
    assert [applied.failed for applied in run.recorded.applied.values()] == [f"{fault} fails"] * 3
    assert run.texts[-1] == "the experiment ends: the arm duty failed 3 times in a row"
    assert len(run.calls("begin")) == 3
    assert run.calls("close") == [("close",)]
    run.conductor.close()
    assert run.calls("close") == [("close",)]


class FailsWhenCool(Told):
    """Fails in blocks of one level, as a power cap does that is no more its own."""

    def begin(self, assignment):
        super().begin(assignment)
        if assignment.level == "cool":
            raise RuntimeError("no cap")


def test_an_arm_that_fails_in_blocks_of_one_level_is_asked_three_times(tmp_path):
    run = conducted(tmp_path, arm=FailsWhenCool())
    run.step_to(90)
    assert run.texts[-1] == "the experiment ends: the arm duty failed 3 times in a row in cool blocks"
    assert [applied.failed for applied in run.recorded.applied.values()].count("no cap") == 3


def test_an_arm_that_refuses_does_nothing_and_says_why(tmp_path, caplog):
    run = conducted(tmp_path, arm=Told(answers=[False, False, "this is no model"]))
    run.step_to(30)
    assert run.texts == ["no experiment: this is no model"]
    assert run.calls("prepare", "begin", "close") == [("prepare",), ("prepare",), ("close",)]
    assert "no experiment: this is no model" in caplog.text


def test_nothing_comes_after_the_last_step_of_a_training(tmp_path):
    run = conducted(tmp_path)
    run.conductor.last_step = 8
    run.step_to(8)
    assert run.calls("after") == [("after", 6), ("after", 7)]


def test_a_run_without_steps_writes_nothing(tmp_path):
    run = conducted(tmp_path)
    run.conductor.close()
    assert run.marks == []
    assert list(tmp_path.iterdir()) == []


def test_a_planned_experiment_probes_both_levels_and_takes_the_plans_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "PROBE_S", 1e-9)
    monkeypatch.setattr("thermograd.ingest.experiment.conductor.PROBE_S", 1e-9)
    run = Conducted(tmp_path, plan=True, seed=1)
    run.step_to(7)
    assert run.calls("begin") == [("begin", -1, "hot"), ("begin", -1, "cool")]
    assert run.conductor.schedule is None
    (tmp_path / PLAN).write_text(json.dumps({"block_s": 1e-9, "bin_s": 1.0, "table": []}))
    run.step_to(9)
    assert run.conductor.schedule.design == Switchback(1)
    notes = [json.loads(m["detail"]) for m in run.marks if m["mark"] == "note"]
    assert [n["experiment_probe"]["level"] for n in notes[:2]] == ["hot", "cool"]
    assert notes[2]["experiment_plan"]["block_s"] == 1e-9


def test_a_users_own_block_stays_whatever_the_plan_says(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.ingest.experiment.conductor.PROBE_S", 1e-9)
    run = Conducted(tmp_path, plan=True, block_s=1e-9, effect_sd=0.5)
    (tmp_path / PLAN).write_text(json.dumps({"block_s": 3600.0}))
    run.step_to(9)
    assert run.conductor.schedule.design == Switchback(1)
    assert run.conductor.schedule.options["effect_sd"] == 0.5
    assert "the plan of the experiment" in run.texts


def test_without_a_plan_the_experiment_begins_as_it_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.ingest.experiment.conductor.PROBE_S", 1e-9)
    monkeypatch.setattr(probe, "_LONGEST_WAIT_S", 0.0)
    run = Conducted(tmp_path, plan=True, block_s=1e-9)
    run.step_to(9)
    assert isinstance(run.conductor.schedule, Schedule)
    assert "no plan of the experiment came: it begins without" in run.texts


def test_an_arm_that_fails_in_the_probe_is_asked_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.ingest.experiment.conductor.PROBE_S", 1e-9)
    run = Conducted(tmp_path, arm=Told(faults=("after",)), plan=True)
    run.step_to(12)
    assert run.texts[-1] == "no experiment: the probe could not be done (RuntimeError('after fails'))"
    assert len(run.calls("after")) == len(run.calls("close")) == 1


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_schedule_that_cannot_be_written_ends_only_a_job_of_several(tmp_path, world_size):
    run = Conducted(tmp_path / "file" / "run", world_size=world_size, block_s=3600.0)
    (tmp_path / "file").write_text("no directory")
    run.step_to(6)
    begun = [text for text in run.texts if text.startswith("duty: block 1 is")]
    refused = [text for text in run.texts if "the other ranks cannot be told of the schedule" in text]
    assert (len(begun), len(refused)) == ((1, 0) if world_size == 1 else (0, 1))


NOT_LOGGED = "its mark could not be written, so that nothing was done"


def test_nothing_is_done_in_a_block_whose_mark_is_not_in_the_log_and_it_is_said_later(tmp_path):
    run = conducted(tmp_path)
    run.step_to(7)
    run.is_full = True
    run.step_to(12)
    run.is_full = False
    run.step_to(15)
    assert [call[1] for call in run.calls("begin")] == [0, 3]
    assert [call[1] for call in run.calls("after")] == [6, 7, 8, 15]
    assert {a.index: a.failed for a in run.recorded.failures} == {1: NOT_LOGGED, 2: NOT_LOGGED}
    assert sorted(run.recorded.assigned) == [0, 3]


def test_after_three_blocks_that_could_not_be_logged_the_arm_is_put_away(tmp_path, caplog):
    run = conducted(tmp_path)
    run.step_to(4)
    run.is_full = True
    run.step_to(40)
    assert run.calls("begin", "after", "close") == [("close",)]
    assert caplog.text.count("3 assignments in a row could not be logged") == 1
    run.is_full = False
    run.conductor.close()
    assert [(a.index, a.failed) for a in run.recorded.failures] == [(i, NOT_LOGGED) for i in range(3)]


def test_a_pulse_that_is_jumped_over_comes_in_its_bin_or_not_at_all(tmp_path):
    arm = Told()
    arm.design = "pulses"
    run = conducted(
        tmp_path, arm=arm, block_steps=None, bin_steps=2, stratum_bins=5, lag_bins=2, start_step=5
    )
    for step in (1, 2, 3, *range(4, 200, 3)):
        run.conductor.step_ended(step)
    drawn = [run.conductor.schedule.assignment(i).pulse_step for i in range(19)]
    given = {call[1]: arm.log[arm.log.index(call) - 1][1] for call in run.calls("pulse")}
    assert all(due <= after <= due + 1 for due, after in given.items())
    assert any(after == due + 1 for due, after in given.items())
    jumped = {drawn[a.index] for a in run.recorded.failures}
    assert given.keys() | jumped == set(drawn)
    assert given.keys().isdisjoint(jumped)


def test_a_block_with_the_trainings_last_step_is_whole_and_none_begins_after_it(tmp_path):
    run = conducted(tmp_path)
    run.step_to(4)
    run.conductor.last_step = 11
    run.step_to(11)
    run.conductor.close()
    assert {a.index: (a.steps, a.failed) for a in run.recorded.applied.values()} == {
        0: (3, None),
        1: (3, None),
    }
    assert run.calls("after")[-1] == ("after", 10)


def test_a_block_without_a_step_is_told_as_not_begun(tmp_path):
    run = conducted(tmp_path)
    run.step_to(8)
    run.conductor.close()
    assert run.recorded.applied[1].failed == "not begun: the run ended"


def test_a_restart_with_another_seed_is_warned_of_and_with_other_options_refused(tmp_path, caplog):
    conducted(tmp_path).step_to(6)
    conducted(tmp_path, seed=2).step_to(6)
    assert "a schedule of seed 1: it is followed, not 2" in caplog.text
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"options": {"duty": 0.9}}))
    run = conducted(tmp_path)
    run.arm.options = lambda: {"duty": 0.6}
    run.step_to(20)
    assert run.texts == ["no experiment: the run's directory has one with duty 0.9; begin another run"]
    assert run.calls("begin") == []


def test_sleeps_that_take_too_long_do_not_lower_the_duty_of_a_block():
    arm, asked = DutyArm(0.6), []

    def overslept(seconds):
        asked.append(seconds)
        return seconds + 0.004

    arm.prepare(Scene(rest=overslept))
    arm.begin(Assignment(0, 0, 199, 0.9, level="cool"))
    for step in range(200):
        arm.after_step(step, 0.002)
    done = arm.end()
    assert done.detail["duty"] == pytest.approx(0.6, abs=0.01)
    assert len(asked) < 100
    assert done.idle_s == pytest.approx(sum(asked) + 0.004 * len(asked))
