"""Who is told: severity, cooldown in event time, and that the log is not touched by it."""

import math

import pytest
from hypothesis import given, strategies as st
from thermograd.store.events import ALERTS, Event
from thermograd.store.telling.episodes import PAUSE_S
from thermograd.store.telling.silences import SILENT
from thermograd.store.text import printable
from thermograd.stream.alerts.alert import alert_line
from thermograd.stream.alerts.policy import AlertPolicy
from thermograd.stream.alerts.rules import device_rules, step_rules
from thermograd.stream.join.coupling_alerts import CouplingRule
from thermograd.stream.join.experiments import Experiments
from thermograd.stream.join.slow_ranks import SlowRankRule
from thermograd.stream.pipeline.config import recorded_settings
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import Settings, TerminalSettings
from thermograd.stream.sinks.notifier import ADVICE, Notifier
from thermograd.stream.throttle import CONDITIONS

SECOND = 10**9


def alert(second=0.0, name="spike.grad", severity="warning", **more):
    return {"alert": name, "severity": severity, "time_ns": round(second * SECOND), "message": "m"} | more


def counts(episodes):
    return [(episode.alert, episode.count) for episode in episodes]


def test_the_first_is_told_at_once_and_the_others_as_one_when_the_cooldown_is_over():
    policy = AlertPolicy(cooldown_s=60)
    assert [policy.admit(alert(s)) for s in (0, 10, 59)] == [True, False, False]
    assert policy.due(59 * SECOND) == []
    assert counts(policy.due(60 * SECOND)) == [("spike.grad", 2)]
    assert policy.due(60 * SECOND) == []
    assert policy.held_back == 2


def test_the_time_between_summaries_doubles_up_to_the_longest():
    policy = AlertPolicy(cooldown_s=60, longest_s=200)
    assert policy.admit(alert(0))
    told = []
    for second in range(1, 1200):
        assert not policy.admit(alert(second))
        told += [second] * len(policy.due(second * SECOND))
    assert told == [60, 180, 380, 580, 780, 980, 1180]


def test_what_was_held_back_is_told_when_the_episode_is_over_and_the_next_begins_anew():
    policy = AlertPolicy(cooldown_s=6000, longest_s=6000)
    assert [policy.admit(alert(s)) for s in (0, 10)] == [True, False]
    assert policy.due((10 + PAUSE_S) * SECOND) == []
    assert counts(policy.due((11 + PAUSE_S) * SECOND)) == [("spike.grad", 1)]
    assert policy.admit(alert(12 + PAUSE_S))


def test_another_episode_is_told_at_once_also_where_nobody_asked_and_nothing_is_lost():
    policy = AlertPolicy(cooldown_s=60)
    assert [policy.admit(alert(s)) for s in (0, 10, 20 + PAUSE_S)] == [True, False, True]
    assert counts(policy.due(0, at_end=True)) == [("spike.grad", 1)]


def test_at_the_end_everything_is_told_the_gravest_first():
    policy = AlertPolicy(cooldown_s=60)
    for name, severity in (("power_limited", "info"), ("nonfinite", "critical"), ("spike.grad", "warning")):
        assert policy.admit(alert(0, name, severity))
        assert not policy.admit(alert(1, name, severity))
    due = policy.due(SECOND, at_end=True)
    assert counts(due) == [("nonfinite", 1), ("spike.grad", 1), ("power_limited", 1)]
    assert policy.due(SECOND, at_end=True) == []


def test_another_metric_or_name_is_not_alike():
    policy = AlertPolicy(cooldown_s=60)
    several = [alert(), alert(metric="loss"), alert(name="nonfinite")]
    assert all(policy.admit(each) for each in several)
    assert not any(policy.admit(each) for each in several)


def test_of_sixty_four_devices_the_first_three_are_told_apart_and_the_others_together():
    policy = AlertPolicy(cooldown_s=60)
    alerts = [alert(s, device=f"gpu {d}", severity="critical") for s in (0, 5) for d in range(64)]
    assert sum(policy.admit(each) for each in alerts) == 3
    (episode,) = policy.due(60 * SECOND)
    assert (episode.count, len(episode.devices)) == (125, 64)


def test_a_graver_alert_passes_the_cooldown_and_begins_it_anew():
    policy = AlertPolicy(cooldown_s=60)
    severities = ("warning", "critical", "critical", "warning")
    told = [policy.admit(alert(s * 20, severity=severity)) for s, severity in enumerate(severities)]
    assert told == [True, True, False, False]
    assert policy.due(79 * SECOND) == []
    assert counts(policy.due(80 * SECOND)) == [("spike.grad", 2)]


def test_what_is_below_the_minimum_or_not_named_does_not_count():
    policy = AlertPolicy("warning", 60, ("spike.grad",))
    assert not policy.admit(alert(severity="info"))
    assert not policy.admit(alert(name="nonfinite", severity="critical"))
    assert policy.admit(alert())
    assert policy.held_back == 0
    assert policy.due(0, at_end=True) == []


def test_an_older_alert_is_of_the_same_episode_but_never_held_back_without_a_cooldown():
    policy = AlertPolicy(cooldown_s=60)
    assert policy.admit(alert(100))
    assert not policy.admit(alert(50))
    free = AlertPolicy()
    assert free.admit(alert(100))
    assert free.admit(alert(50))


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from(["a", "b", None])), max_size=60),
    st.integers(1, 5000),
)
def test_every_alert_is_told_at_once_or_in_one_summary(moments, cooldown_s):
    policy, at_once, summed = AlertPolicy(cooldown_s=cooldown_s), 0, 0
    for second, device in sorted(moments, key=lambda moment: moment[0]):
        at_once += policy.admit(alert(second, device=device))
        summed += sum(episode.count for episode in policy.due(second * SECOND))
    summed += sum(episode.count for episode in policy.due(20_000 * SECOND, at_end=True))
    assert at_once + summed == len(moments)


def test_a_summary_says_in_what_share_of_the_time_where_the_ends_are_known():
    policy = AlertPolicy(cooldown_s=60)
    heat = {"name": "collapse.thermal", "severity": "critical", "device": "gpu"}
    for second in (0, 10, 30):
        policy.admit(alert(second, **heat))
    ends = {("collapse.thermal", "gpu", s * SECOND): (s + 10) * SECOND for s in (0, 10, 30)}
    assert [episode.share for episode in policy.due(60 * SECOND, ends)] == [2 / 3]


def test_a_flood_is_summed_up_early_so_that_memory_is_bounded():
    policy = AlertPolicy(cooldown_s=10_000)
    most = 0
    for i in range(12_000):
        policy.admit(alert(i / 100))
        policy.due(i * SECOND // 100)
        if i % 10 == 0:
            most = max(most, len(policy.held_onsets()))
    assert 4000 < most <= 5000


def test_a_policy_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="minimum='all'.*info, warning, critical"):
        AlertPolicy("all")
    with pytest.raises(ValueError, match="seconds >= 0"):
        AlertPolicy(cooldown_s=-1)


def spiky(settings):
    monitor = Monitor({}, settings)
    alerts = []
    for i in range(300):
        norm = {100: 9.0, 150: 1.42, 200: math.nan}.get(i, 1.0 + (i * 7 % 11) / 100)
        values = {"seq": i, "time_ns": i * SECOND, "monotonic_ns": i * SECOND, "step": i, "grad_norm": norm}
        alerts += monitor.process(Event("step", "w", values))
    return [a["alert"] for a in alerts + monitor.close()]


def test_alerts_that_are_off_or_below_the_minimum_are_not_raised_at_all():
    assert spiky(Settings()) == ["spike.grad", "spike.grad", "nonfinite"]
    assert spiky(recorded_settings({"alerts": {"off": ["nonfinite"]}})) == ["spike.grad", "spike.grad"]
    assert spiky(recorded_settings({"alerts": {"minimum": "critical"}})) == ["spike.grad", "nonfinite"]
    assert spiky(recorded_settings({"spike": {"k": 2000.0}})) == ["nonfinite"]


def test_the_terminal_is_told_what_it_was_spared():
    lines = []
    devices = {"GPU-3f2a77": {"index": 3, "model": "NVIDIA H100 80GB HBM3"}}
    notifier = Notifier(Settings(), lines.append, print, {"devices": devices})
    for second in range(63):
        notifier.tell(alert(second * 10, "collapse.thermal", "critical", device="GPU-3f2a77"))
    notifier.advance(630 * SECOND)
    assert len(lines) == 2
    assert lines[0].endswith("m")
    assert lines[1].endswith("62 more in 10 min 10 s on GPU 3 (H100, 3f2a); worst: m")


def test_a_single_alert_that_was_held_back_is_told_as_it_is():
    lines = []
    notifier = Notifier(Settings(), lines.append, print)
    for second in (0, 10):
        notifier.tell(alert(second))
    notifier.close()
    assert lines[0] == lines[1]


def test_without_a_cooldown_the_terminal_has_every_alert():
    lines = []
    notifier = Notifier(Settings(terminal=TerminalSettings(cooldown_s=0)), lines.append, print)
    for second in range(10):
        notifier.tell(alert(second))
    notifier.close()
    assert len(lines) == 10


def test_names_from_outside_break_no_line_and_no_terminal():
    nasty = "gpu\r\n\x1b[2J\x1b]0;title\x07\u202egpj\x00\x9b31m" + "x" * 5000
    line = alert_line(alert(message=f"{nasty}: hot", device=nasty))
    assert line.isprintable()
    assert len(line) < 600
    assert printable("äöü 温度 ok") == "äöü 温度 ok"


def test_every_alert_says_what_to_look_at():
    assert set(ADVICE) == set(ALERTS)


def test_the_alerts_that_have_a_name_are_those_that_the_rules_raise():
    steps = [rule.name.partition(" ")[0] for rule in step_rules(Settings())]
    _, gap = device_rules("gpu", {}, Settings())
    others = [
        rule.name.partition(" of gpu")[0] for rule in (gap, CouplingRule("gpu", 1, Settings().coupling))
    ]
    assert {*steps, *CONDITIONS, *others, SlowRankRule.name, Experiments.name, *SILENT} == set(ALERTS)
