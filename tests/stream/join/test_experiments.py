"""The alert of a randomised experiment, live and in a replay: once, whoever delivers first."""

import json
import math
import random

import pytest
from thermograd.store.events import Event
from thermograd.store.experiment.e_process import EProcess, pair_contrasts
from thermograd.store.experiment.marks import assigned_detail, assigned_text
from thermograd.store.experiment.schedules import Pulses, Schedule, Switchback
from thermograd.stream.alerts.alert import digest
from thermograd.stream.join.lateness import LateEvents
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.terminal.frame import frame_lines
from thermograd.stream.terminal.state import RunFacts, WatchState

SCHEDULE = Schedule("duty", Switchback(10), seed=5, start_step=11)
SECOND = 10**9


def event(kind, writer, seq, time_ns, **values):
    return Event(kind, writer, {"seq": seq, "time_ns": time_ns, "monotonic_ns": time_ns, **values})


def run(effect=0.5, pairs=14, schedule=SCHEDULE, writer="rank0", shift="loss", seed=1):
    """Return the events of a training with an experiment; `shift` is what heat moves by `effect`."""
    rng, events, blocks = random.Random(seed), [], 0
    for step in range(1, schedule.start_step + 20 * pairs):
        time_ns, at = step * SECOND // 2, schedule.at(step)
        if at is not None and at.index == blocks:
            blocks += 1
            detail, text = json.dumps(assigned_detail(schedule, at)), assigned_text(schedule, at)
            mark = {"mark": "intervention", "step": step, "text": text, "detail": detail}
            events.append(event("mark", writer, blocks, time_ns - 1, **mark))
        values = {
            "loss": 2.0 + rng.gauss(0, 0.3),
            "grad_norm": rng.lognormvariate(0, 0.3),
            "step_time_s": 0.5,
        }
        if at is not None and at.level == "hot":
            values[shift] = (
                values[shift] * math.exp(effect) if shift == "grad_norm" else values[shift] + effect
            )
        events.append(event("step", writer, step, time_ns, step=step, rank=0, **values))
    return events


def follow(events, devices=None, left_out=None):
    monitor = Monitor(devices, left_out=left_out)
    told = [alert for each in events for alert in monitor.process(each)] + monitor.close()
    assert monitor.failures == []
    return monitor, [alert for alert in told if alert["alert"] == "effect"]


@pytest.fixture(scope="module")
def hot():
    return run()


def test_an_effect_is_one_alert_in_words(hot):
    _, (alert,) = follow(hot)
    assert (alert["severity"], alert["metric"], alert["threshold"]) == ("info", "loss", 20.0)
    assert alert["score"] >= 20.0
    assert alert["value"] == pytest.approx(0.5, abs=0.15)
    assert "experiment (duty cycle, blocks drawn by chance) shows an effect: loss is 0." in alert["message"]
    assert "higher in hot blocks" in alert["message"]
    assert alert["step"] < hot[-1].values["step"]
    assert "SIMULATED" not in alert["message"]


def test_simulated_devices_are_named_as_such(hot):
    _, (alert,) = follow(hot, {"simulated:gpu": {}})
    assert "SIMULATED devices" in alert["message"]


def test_the_norm_is_told_in_percent():
    _, (alert,) = follow(run(-0.5, shift="grad_norm"))
    assert alert["metric"] == "log_grad_norm"
    assert "lower, the norm 3" in alert["message"]


def test_heat_that_only_slows_the_steps_raises_nothing_and_can_be_seen():
    monitor, alerts = follow(run(0.2, shift="step_time_s"))
    assert alerts == []
    ((schedule, evidence),) = monitor.experiments.evidence()
    assert schedule == SCHEDULE
    assert evidence["step_time_s"].e_value > 20.0
    assert evidence["step_time_s"].is_control
    assert evidence["loss"].e_value < 20.0
    assert evidence["loss"].pairs == 14


def test_the_view_in_the_terminal_shows_the_evidence_so_far_unless_it_began_later(hot):
    view, late = WatchState(), WatchState()
    view.learn(hot)
    late.learn(hot[40:])
    ((arm, e_value, pairs),) = view.experiments()
    assert (arm, pairs) == ("duty", 13)  # what the watermark has passed
    told = [line.plain for line in frame_lines(view, RunFacts("run", "run", "live"), 0, 80)]
    assert f"experiment duty · 13 pairs · e-value {e_value:.3g}, 20 shows an effect" in told
    assert late.experiments() == []


def test_e_value_is_that_of_the_same_contrasts_after_the_run_to_the_bit(hot):
    monitor, _ = follow(hot)
    steps = [each.values for each in hot if each.kind == "step"]
    after = EProcess()
    for contrast in pair_contrasts(SCHEDULE, [s["step"] for s in steps], [s["loss"] for s in steps]):
        after.update(contrast.d)
    ((_, evidence),) = monitor.experiments.evidence()
    assert evidence["loss"].e_value == after.e_value


def test_the_alert_is_the_same_bit_for_bit_whoever_delivers_first(hot):
    again = run(writer="rank0-b", seed=2)[250:]  # a job that was started again: its steps are repeated
    both = sorted(hot + again, key=lambda each: each.values["time_ns"])
    rng, expected = random.Random(1), digest(follow(both)[1])
    moved = sorted(both, key=lambda each: each.values["time_ns"] + rng.uniform(0, 1.9) * SECOND)
    marks_last = sorted(hot, key=lambda each: each.kind == "mark")
    assert digest(follow(moved)[1]) == expected
    assert digest(follow(marks_last)[1]) == digest(follow(hot)[1])
    assert moved != both
    assert follow(both)[1]


def test_what_was_too_late_live_is_left_out_again_in_a_replay(hot):
    late = hot[:100] + hot[130:180] + hot[100:130] + hot[180:]
    monitor, alerts = follow(late)
    left_out = LateEvents.from_marks([monitor.late_mark()])
    again, replayed = follow(hot, left_out=left_out)
    assert digest(replayed) == digest(alerts)
    assert again.experiments.evidence() == monitor.experiments.evidence()
    assert again.experiments.evidence() != follow(hot)[0].experiments.evidence()


def test_no_experiment_pulses_and_marks_of_others_raise_nothing(hot):
    pulses = Schedule("shadow", Pulses(1), 1, 11)
    own = event("mark", "rank0", 999, SECOND, mark="intervention", detail='{"mine": 1}')
    assert follow([each for each in hot if each.kind == "step"])[1] == []
    assert follow([*run(schedule=pulses, pairs=5), own])[1] == []
