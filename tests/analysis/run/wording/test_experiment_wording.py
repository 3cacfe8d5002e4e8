"""What is said of an experiment: heat or only idleness, what an interval leaves out, why nothing moved."""

import numpy as np
import pytest
from thermograd.analysis.experiment.result import Effect, ExperimentResult, Manipulation
from thermograd.analysis.run.experiment.sentences import check_text, experiment_sentence
from thermograd.analysis.run.wording.experiment_words import plain_experiment, told_beside
from thermograd.store.experiment.unbegun import refused_or_ended

BLOCK_NS = 60 * 10**9


def check(outcome, difference, passed=True, cool=40.0, needed=2.0):
    hot = None if difference is None else cool + difference
    known = None if difference is None else cool
    return Manipulation(outcome, "cpu", "%", hot, known, difference, 0.01, needed, passed, 0.02)


def effect(outcome="log_grad_norm", verdict="effect", low=0.2, high=0.8, control=False, **more):
    size = {
        "effect_sd": (low + high) / 2,
        "interval_sd": (low, high),
        "effect": 0.02,
        "interval": (0.01, 0.03),
    }
    chance = {"p": 0.001, "p_family": 0.002, "statistic": 3.0, "redrawn": np.zeros(0), "e_value": 30.0}
    given = {"device": None, "unit": "s" if control else "", "is_control": control, "n": 900, "delay_s": 20.0}
    given |= {"e_largest": 30.0, "detectable_sd": 0.4, "verdict": verdict}
    return Effect(outcome, **given | size | chance | more)


def result(verdict, checks, effects, *, block_s=60.0, units=20, plan=None, design="switchback", arm="duty"):
    block_ns = int(block_s * 1e9)
    schedule = [
        {"first_time_ns": k * block_ns, "last_time_ns": (k + 1) * block_ns, "level": "hot"}
        for k in range(2 * units)
    ]
    moved = [each.outcome for each in checks if each.passed]
    question = "heat to training" if design == "switchback" else "training to hardware"
    made = (arm, design, 1, {}, question, units, 2 * units, 2 * units, [], checks, effects, verdict, "")
    return ExperimentResult(*made, planned_sd=0.3, plan=plan, schedule=schedule, moved=moved)


def test_where_only_idleness_moved_nothing_is_said_of_heat_and_steps_that_took_longer_are_told():
    slowed = effect("step_time_s", control=True, effect=-0.02, typical=0.4)
    found = result("effect", [check("utilization_pct", 38.0)], [effect(), slowed])
    sentence, screen = experiment_sentence(found, 2400.0), plain_experiment(found, "no_coupling")[0]
    assert sentence.startswith("EFFECT: idle gaps change the gradient norm by +0.50 sd")
    assert "clearest over about 20 s (p = 0.002 with all outcomes taken into account" in sentence
    for text in (sentence, screen):
        assert "what the blocks moved is utilisation, so nothing is said of heat" in text
        assert "The steps themselves took 5 % longer in cool blocks" in text
        assert "eat changes" not in text


def test_what_an_interval_leaves_out_and_what_the_plan_said_is_told_where_one_cannot_tell():
    plan = {"effect_sd": 0.3, "needed_minutes": {"log_grad_norm": 90.0}}
    unsure = effect(verdict="inconclusive", low=-0.1, high=0.5)
    text = experiment_sentence(
        result("inconclusive", [check("temperature_c", 8.0)], [unsure], plan=plan), 2400.0
    )
    assert "what is below −0.10 sd or above +0.50 sd is excluded" in text
    assert "By its plan 0.3 sd takes" in text
    assert "none is excluded" not in text
    unplanned = experiment_sentence(result("inconclusive", [check("temperature_c", 8.0)], [unsure]), 2400.0)
    assert "run" not in unplanned


def test_the_least_sure_is_one_that_is_left_open():
    wide, open_one = (
        effect("loss", "no_effect", -0.9, 0.9),
        effect(verdict="inconclusive", low=-0.1, high=0.5),
    )
    moved = [check("temperature_c", 8.0)]
    text = experiment_sentence(result("inconclusive", moved, [wide, open_one]), 2400.0)
    assert "Of gradient norm, the least sure" in text
    without = effect(verdict="inconclusive", interval_sd=None)
    text = experiment_sentence(result("inconclusive", moved, [wide, without]), 2400.0)
    assert "no outcome that is left open has an interval" in text
    assert "loss" not in text


def test_a_check_tells_the_p_by_which_it_passed():
    assert check_text(check("temperature_c", 8.0)).endswith(
        "(at least 2 needed; p = 0.02 with all signals taken into account)."
    )


@pytest.mark.parametrize(
    ("checks", "block_s", "said", "advice"),
    [
        ([], 60, "no sensor of temperature", "doctor"),
        ([check("temperature_c", None, False)], 3, "too few readings of its sensors", "--block 60"),
        (
            [check("temperature_c", 0.4, False)],
            5,
            "blocks of 5 s are shorter",
            "--block 60",
        ),
        (
            [check("utilization_pct", 1.0, False, 97.0, 10.0)],
            60,
            "busy in cool blocks too",
            "nothing else runs",
        ),
        ([check("temperature_c", 0.4, False)], 60, "temperature was +0.4 % apart", "smaller --duty"),
        (
            [check("temperature_c", 3.0, False)],
            60,
            "+3 % apart, which is enough, but not beyond chance in 20",
            "un it longer",
        ),
    ],
    ids=["no sensor", "few readings", "short blocks", "a busy host", "too weak", "chance"],
)
def test_why_the_device_was_not_moved_comes_with_what_helps(checks, block_s, said, advice):
    failed = result("insufficient", checks, [effect(verdict="no_effect")], block_s=block_s)
    sentence, (screen, _, _, then) = experiment_sentence(failed, 2400.0), plain_experiment(failed, "")
    assert said in sentence
    assert said in screen
    assert advice in sentence
    assert advice in then


def test_pulses_of_two_kinds_are_told_as_one_against_the_other():
    found = effect("temperature_c", device="GPU 0", contrast="noise less zeros", unit="degC")
    told = plain_experiment(result("effect", [], [found], design="pulses", arm="shadow"), "")
    assert told[0].endswith("noise pulses warm GPU 0 more than zeros do.")
    assert told[1].startswith("What kind of pulse came was drawn by chance.")


def test_a_coupling_beside_no_effect_of_pulses_leaves_other_ways_open():
    none = result("no_effect", [], [effect(verdict="no_effect")], design="pulses", arm="shadow")
    text = told_beside("COUPLED.", none, "coupled")
    assert "that the hardware moves the training" in text
    assert "something drives both, remains" in text


def test_an_experiment_that_never_began_is_known_by_its_notes():
    notes = [
        {"mark": "note", "detail": '{"experiment_refused": "it has a wall-clock schedule"}'},
        {"mark": "note", "detail": "experiment_refused {"},
        {"mark": "note", "detail": '{"experiment_ended": "three blocks failed"}'},
        {"mark": "tag", "detail": '{"experiment_ended": "no note"}'},
    ]
    assert refused_or_ended(notes) == [
        ("was refused", "it has a wall-clock schedule"),
        ("was given up", "three blocks failed"),
    ]
