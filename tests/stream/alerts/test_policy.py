"""Who is told: severity, cooldown in event time, and that the log is not touched by it."""

import math
import random
from itertools import pairwise

import pytest
from thermograd.store.events import ALERTS, Event
from thermograd.store.text import printable
from thermograd.stream.alerts.alert import alert_line
from thermograd.stream.alerts.policy import AlertPolicy
from thermograd.stream.alerts.rules import device_rules, step_rules
from thermograd.stream.join.coupling_alerts import CouplingRule
from thermograd.stream.pipeline.config import recorded_settings
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import Settings, TerminalSettings
from thermograd.stream.sinks.notifier import ADVICE, Notifier
from thermograd.stream.throttle import CONDITIONS

SECOND = 10**9


def alert(second=0.0, name="spike.grad", severity="warning", **more):
    return {"alert": name, "severity": severity, "time_ns": round(second * SECOND), "message": "m"} | more


def test_within_the_cooldown_like_alerts_are_held_back_and_counted():
    policy = AlertPolicy(cooldown_s=60)
    assert [policy.admit(alert(s)) for s in (0, 59.9, 60, 61, 200)] == [0, None, 1, None, 1]
    assert policy.held_back == 2


def test_another_device_metric_or_name_is_not_alike():
    policy = AlertPolicy(cooldown_s=60)
    several = [alert(), alert(device="a"), alert(device="b"), alert(metric="loss"), alert(name="nonfinite")]
    assert all(policy.admit(each) == 0 for each in several)
    assert all(policy.admit(each) is None for each in several)


def test_a_graver_alert_passes_the_cooldown_and_begins_it_anew():
    policy = AlertPolicy(cooldown_s=60)
    assert policy.admit(alert(0)) is not None
    assert policy.admit(alert(1, severity="critical")) is not None
    assert policy.admit(alert(2, severity="critical")) is None
    assert policy.admit(alert(3)) is None


def test_what_is_below_the_minimum_or_not_named_does_not_count():
    policy = AlertPolicy("warning", 60, ("spike.grad",))
    assert policy.admit(alert(severity="info")) is None
    assert policy.admit(alert(name="nonfinite", severity="critical")) is None
    assert policy.admit(alert()) is not None
    assert policy.held_back == 0


def test_an_older_alert_counts_as_within_the_cooldown_but_never_without_one():
    policy = AlertPolicy(cooldown_s=60)
    assert policy.admit(alert(100)) is not None
    assert policy.admit(alert(50)) is None
    free = AlertPolicy()
    assert free.admit(alert(100)) is not None
    assert free.admit(alert(50)) is not None


def test_it_goes_by_event_time_alone():
    rng = random.Random(0)
    seconds = sorted(rng.uniform(0, 5000) for _ in range(300))
    policy = AlertPolicy(cooldown_s=100)
    told = [second for second in seconds if policy.admit(alert(second)) is not None]
    assert told[0] == seconds[0]
    assert all(later - before >= 100 for before, later in pairwise(told))
    assert 40 <= len(told) <= 50


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


def test_the_terminal_says_how_many_it_was_spared():
    lines = []
    notifier = Notifier(Settings(terminal=TerminalSettings(cooldown_s=60)), lines.append, print)
    for second in (0, 1, 2, 100):
        notifier.tell(alert(second))
    assert len(lines) == 2
    assert lines[1].endswith("m (2 like it held back since the last)")


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
    assert {*steps, *CONDITIONS, *others} == set(ALERTS)
