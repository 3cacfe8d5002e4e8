"""The alert of a slow rank, live and in a replay: once, of the right rank, whoever delivers first."""

import itertools
import random

import pytest
from thermograd.store.events import Event
from thermograd.stream.alerts.alert import digest
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import AlertSettings, Settings

SECOND = 10**9


def steps(ranks=4, seconds=120, slow=2, begin=30, ratio=1.1):
    rng = random.Random(0)
    for second, rank in itertools.product(range(seconds), range(ranks)):
        work_s = 0.9 * (1 + 0.005 * rng.random()) * (ratio if rank == slow and second >= begin else 1)
        stamp = {"seq": second, "time_ns": (second + 1) * SECOND, "monotonic_ns": (second + 1) * SECOND}
        values = stamp | {"step": second + 1, "rank": rank, "step_time_s": work_s}
        yield Event("step", f"n{rank}", values)


def alerts(events, ranks=4, settings=None):
    monitor = Monitor(world_size=ranks, settings=settings)
    told = [alert for event in events for alert in monitor.process(event)] + monitor.close()
    assert monitor.failures == []
    return told


def test_a_slow_rank_is_one_alert_within_a_minute():
    (alert,) = alerts(steps())
    assert (alert["alert"], alert["severity"], alert["metric"]) == ("slow.rank", "warning", "step_time_s")
    assert alert["time_ns"] / SECOND - 30 <= 60
    assert alert["value"] == pytest.approx(1.1, abs=0.01)
    assert alert["score"] >= alert["threshold"]
    assert alert["message"].startswith("rank 2 takes 10 % longer")
    assert abs(alert["onset_time_ns"] / SECOND - 30) <= 6


def test_the_alert_is_the_same_bit_for_bit_whoever_delivers_first():
    events, rng = list(steps()), random.Random(1)
    shuffled = []
    for second in range(120):
        part = events[4 * second : 4 * second + 4]
        rng.shuffle(part)
        shuffled += part
    assert digest(alerts(events)) == digest(alerts(shuffled))
    assert alerts(shuffled)


@pytest.mark.parametrize("ranks", [1, 2])
def test_of_one_or_two_ranks_none_is_called_slow(ranks):
    assert alerts(steps(ranks, slow=0, ratio=2.0), ranks) == []


def test_ranks_that_are_alike_and_an_alert_that_is_off_tell_nothing():
    assert alerts(steps(slow=None)) == []
    assert alerts(steps(), settings=Settings(alerts=AlertSettings(off=("slow.rank",)))) == []


def test_steps_without_a_time_or_a_rank_are_passed_over():
    events = [Event(e.kind, e.writer, e.values | {"step_time_s": None}) for e in steps()]
    events += [Event(e.kind, e.writer, e.values | {"rank": None}) for e in steps()]
    assert alerts(events) == []
