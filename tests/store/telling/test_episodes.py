"""Episodes of alerts: alike ones folded, the same in any order, growing with the run, honest about time."""

import json
import random

from hypothesis import example, given, settings, strategies as st
from thermograd.store.telling.episodes import ENDED_MARK, PAUSE_S, ends_of, fold_alerts, told_episodes

SECOND = 10**9
PAUSE_NS = round(PAUSE_S * SECOND)


def alert(second, name="collapse.thermal", device="gpu", severity="critical", **more):
    known = {"onset_time_ns": None, "metric": None, "score": None, "value": None, "step": None}
    time_ns = round(second * SECOND)
    return {"alert": name, "device": device, "severity": severity, "time_ns": time_ns} | known | more


def ended(begin, end, name="collapse.thermal", device="gpu"):
    return {(name, device, round(begin * SECOND)): round(end * SECOND)}


_ALERTS = st.lists(
    st.builds(
        alert,
        st.integers(0, 40_000),
        name=st.sampled_from(["collapse.thermal", "spike.grad", "nonfinite"]),
        device=st.sampled_from([None, "gpu 0", "gpu 1"]),
        severity=st.sampled_from(["info", "warning", "critical", "unheard of"]),
        metric=st.sampled_from([None, "loss"]),
        score=st.sampled_from([None, 1.0, float("nan"), float("inf"), -2.0]),
        step=st.sampled_from([None, 3]),
    ),
    max_size=40,
)


def grouped(alerts):
    """Return which alerts (by place) each episode holds, from the slow and obvious rule: one at a time."""
    return [(e.alert, e.metric, e.devices, e.first_ns, e.last_ns, e.count) for e in fold_alerts(alerts)]


def naively(alerts):
    """Count episodes by joining any two alike alerts that are near, again and again."""
    parts = [{i} for i in range(len(alerts))]

    def near(i, j):
        a, b = alerts[i], alerts[j]
        alike = all(a[k] == b[k] for k in ("alert", "device", "metric"))
        return alike and abs(a["time_ns"] - b["time_ns"]) <= PAUSE_NS

    for i in range(len(alerts)):
        for j in range(i):
            if near(i, j):
                one, other = (next(p for p in parts if k in p) for k in (i, j))
                if one is not other:
                    parts.remove(other)
                    one |= other
    found = []
    for part in parts:
        times = [alerts[i]["time_ns"] for i in part]
        one = alerts[min(part)]
        devices = () if one["device"] is None else (one["device"],)
        found.append((one["alert"], one["metric"], devices, min(times), max(times), len(part)))
    return found


@given(_ALERTS)
def test_episodes_are_those_of_the_obvious_rule(alerts):
    key = repr
    assert sorted(grouped(alerts), key=key) == sorted(naively(alerts), key=key)


@given(_ALERTS, st.integers(0, 2**31), st.sampled_from([10**6, 1, 3]))
@example([alert(0, step=None), alert(0, step=3)], 0, 1)
@example([alert(0, severity="info", step=3), alert(0, severity="unheard of", step=3)], 0, 1)
def test_the_order_of_alerts_changes_nothing(alerts, seed, most):
    mixed = random.Random(seed).sample(alerts, len(alerts))
    one, other = (told_episodes(fold_alerts(a), most)[0] for a in (alerts, mixed))
    assert [e.to_json() for e in one] == [e.to_json() for e in other]


@given(_ALERTS)
def test_every_alert_is_in_one_episode_of_its_kind(alerts):
    for episodes in (fold_alerts(alerts), told_episodes(fold_alerts(alerts), 10)[0]):
        assert sum(e.count for e in episodes) == len(alerts)
        for name in {a["alert"] for a in alerts}:
            assert sum(e.count for e in episodes if e.alert == name) == sum(
                a["alert"] == name for a in alerts
            )


@given(_ALERTS, st.integers(0, 40))
@settings(max_examples=200)
def test_episodes_of_a_growing_run_only_grow(alerts, cut):
    """What was one episode stays inside one, whose count and ends only move outwards."""
    alerts = sorted(alerts, key=lambda a: a["time_ns"])
    for before in fold_alerts(alerts[:cut]):
        inside = [
            after
            for after in fold_alerts(alerts)
            if (after.alert, after.metric, after.devices) == (before.alert, before.metric, before.devices)
            and after.first_ns <= before.first_ns
            and after.last_ns >= before.last_ns
        ]
        assert len(inside) == 1
        assert inside[0].count >= before.count


@given(_ALERTS, st.dictionaries(st.integers(0, 40_000), st.integers(0, 20_000), max_size=20))
def test_an_end_that_becomes_known_never_divides_an_episode(alerts, lasting):
    ends = {
        (a["alert"], a["device"], a["time_ns"]): a["time_ns"] + d * SECOND
        for a in alerts
        for d in lasting.values()
    }
    assert len(fold_alerts(alerts, ends)) <= len(fold_alerts(alerts))
    for episode in told_episodes(fold_alerts(alerts, ends), most=2)[0]:
        assert episode.share is None or 0 <= episode.share <= 1
        assert episode.end_ns >= episode.last_ns >= episode.first_ns


def test_seven_hundred_collapses_of_a_day_are_one_episode():
    (episode,) = fold_alerts([alert(s) for s in range(0, 86_400, 120)])
    assert (episode.count, episode.span_s) == (720, 86_280.0)


def test_a_pause_longer_than_half_an_hour_begins_another():
    assert len(fold_alerts([alert(0), alert(PAUSE_S)])) == 1
    assert len(fold_alerts([alert(0), alert(PAUSE_S + 1)])) == 2


def test_a_collapse_that_lasts_bridges_the_pause():
    apart = [alert(0), alert(2 * PAUSE_S)]
    assert len(fold_alerts(apart)) == 2
    assert len(fold_alerts(apart, ended(0, 1.9 * PAUSE_S))) == 1


def test_the_share_of_time_is_told_where_every_end_is_known_but_the_last():
    alerts = [alert(0), alert(60), alert(100)]
    assert fold_alerts(alerts)[0].share is None
    assert fold_alerts(alerts, ended(0, 30))[0].share is None
    open_end = fold_alerts(alerts, ended(0, 30) | ended(60, 80))[0]
    assert (open_end.active_s, open_end.share) == (50.0, 0.5)
    closed = fold_alerts(alerts, ended(0, 30) | ended(60, 80) | ended(100, 150))[0]
    assert closed.share == 100 / 150


def test_times_that_overlap_count_once_on_a_device_and_twice_on_two():
    same = fold_alerts([alert(0), alert(10), alert(50)], ended(0, 40) | ended(10, 30) | ended(50, 100))[0]
    assert same.active_s == 90.0
    two = [alert(0, device="a"), alert(0, device="b"), alert(50, device="a"), alert(50, device="b")]
    ends = ended(0, 50, device="a") | ended(50, 100, device="a") | ended(0, 25, device="b")
    both = told_episodes(fold_alerts(two, ends | ended(50, 75, device="b")), most=1)[0][0]
    assert (both.devices, both.active_s, both.share) == (("a", "b"), 150.0, 0.75)


def test_a_single_alert_has_a_length_and_no_share():
    (episode,) = fold_alerts([alert(0)], ended(0, 42))
    assert (episode.active_s, episode.share) == (42.0, None)


def test_the_worst_is_the_gravest_then_the_one_with_the_largest_score():
    alerts = [
        alert(0, severity="warning", score=99.0),
        alert(1, score=0.1),
        alert(2, score=0.3),
        alert(3, score=0.3),
        alert(4, score=float("nan")),
    ]
    (episode,) = fold_alerts(alerts)
    assert episode.worst is alerts[2]
    assert episode.severity == "critical"


def test_of_the_first_instruments_efficiency_the_lowest_is_the_worst():
    alerts = [alert(s, metric="rle", score=score) for s, score in enumerate((0.6, 0.2, 0.5))]
    assert fold_alerts(alerts)[0].worst["score"] == 0.2


def test_many_devices_fold_into_one_line_where_rows_are_limited():
    alerts = [alert(s, device=f"gpu {d}") for d in range(64) for s in (0, 600, 9000)]
    episodes = fold_alerts(alerts)
    assert len(episodes) == 128
    assert [e.count for e in told_episodes(episodes, most=64)[0]] == [3] * 64
    (episode,), more = told_episodes(episodes)
    assert (episode.count, len(episode.devices), more) == (192, 64, 0)


def test_kinds_that_are_too_many_are_cut_the_least_grave_first():
    alerts = [alert(s, name=f"kind {s}", severity="warning") for s in range(30)]
    told, more = told_episodes(fold_alerts([*alerts, alert(99)]), most=5)
    assert (len(told), more) == (5, 26)
    assert told[-1].severity == "critical"


def test_a_gap_of_a_sensor_tells_its_own_end():
    gap = alert(100, name="sensor.gap", onset_time_ns=40 * SECOND)
    assert fold_alerts([gap])[0].active_s == 60.0


def test_ends_are_read_from_marks_and_what_cannot_be_read_is_left_out():
    told = {"alert": "collapse.thermal", "device": "gpu", "onset_time_ns": 1, "end_time_ns": 5}
    marks = [{"mark": ENDED_MARK, "detail": json.dumps(told)}]
    marks += [
        {"mark": ENDED_MARK, "detail": detail}
        for detail in (None, "", "{", "[]", "{}", json.dumps(told | {"end_time_ns": "x"}))
    ]
    marks += [{"mark": "note", "detail": json.dumps(told)}]
    assert ends_of(marks) == {("collapse.thermal", "gpu", 1): 5}
