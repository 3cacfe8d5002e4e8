"""``sensor.gap``: sensors that give nothing, and holes in the samples of one device or of all."""

import json
import random

import pytest
from stream_events import EPOCH, SECOND, event
from thermograd.store.telling.episodes import ENDED_MARK, fold_alerts
from thermograd.store.telling.silences import pause_mark
from thermograd.stream.pipeline.config import recorded_settings
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import AlertSettings, Settings, SilenceSettings

TICK = SECOND // 5


def samples(number, devices=("gpu0",), tick_ns=TICK, skip=lambda *_: False, values=None, jitter=0, seed=0):
    """Events of one writer; `values(tick, device)` are the columns, `skip` says which are not there."""
    rng, events = random.Random(seed), []
    for tick in range(number):
        for device in devices:
            if skip(tick, device):
                continue
            given = {"power_w": 300.0, "temperature_c": 66.0} if values is None else values(tick, device)
            at = EPOCH + tick * tick_ns + round(rng.uniform(0, jitter) * tick_ns)
            events.append(event("sample", "agent", len(events), at, device=device, **given))
    return events


def run(events, settings=None):
    monitor = Monitor(None, settings)
    alerts, marks = [], []
    for each in events:
        alerts += monitor.process(each)
        marks += monitor.take_ended()
    alerts += monitor.close()
    return alerts, marks + monitor.take_ended()


def null_between(first, last, name="power_w"):
    def values(tick, device):
        return {"temperature_c": 66.0, name: None if first <= tick < last else 300.0 + tick}

    return values


def test_a_sensor_that_gives_nothing_is_told_at_the_second_reading_and_its_end_once_it_is_back():
    alerts, marks = run(samples(200, values=null_between(50, 90)))
    (alert,) = alerts
    assert (alert["alert"], alert["severity"], alert["metric"]) == ("sensor.gap", "warning", "power_w")
    assert (alert["time_ns"] - EPOCH) // TICK == 51
    assert alert["onset_time_ns"] == EPOCH + 49 * TICK
    assert alert["value"] == 349.0
    assert alert["definition"].startswith("sensor.gap/2(periods=3.0,quiet_s=5.0)")
    assert alert["message"] == (
        "GPU 0: no value of power_w for 0.4 s, while the device is read; it comes every 0.2 s; "
        "the last power_w: 349 at 16:00:09"
    )
    (mark,) = marks
    assert json.loads(mark["detail"])["end_time_ns"] == EPOCH + 90 * TICK
    (episode,) = fold_alerts(alerts, {("sensor.gap", "gpu0", alert["onset_time_ns"]): EPOCH + 90 * TICK})
    assert episode.span_s == pytest.approx(41 * 0.2)


def test_a_single_null_and_a_sensor_that_never_had_a_value_are_not_silent():
    assert run(
        samples(200, values=lambda tick, _: {"power_w": None if tick % 50 == 49 else 1.0, "fan_pct": None})
    ) == ([], [])


def test_a_slow_sensor_goes_by_its_own_period():
    def values(tick, device):
        return {"temperature_c": 66.0, "fan_pct": 40.0 if tick % 10 == 0 and not 200 <= tick < 300 else None}

    (alert,), marks = run(samples(400, values=values))
    assert alert["metric"] == "fan_pct"
    assert 1.8 * 10 < (alert["time_ns"] - EPOCH) // TICK - 190 <= 2 * 10
    assert len(marks) == 1


def test_a_sensor_with_nulls_here_and_there_adapts():
    rng = random.Random(3)
    missing = [rng.random() < 0.05 for _ in range(20_000)]
    alerts, _ = run(samples(20_000, values=lambda tick, _: {"power_w": None if missing[tick] else 1.0}))
    assert len(fold_alerts(alerts)) <= 2
    assert len(alerts) <= 4


def test_sensors_that_fall_silent_together_are_one_alert_and_one_that_comes_and_goes_is_one():
    def values(tick, device):
        gone = 50 <= tick < 55 or 60 <= tick < 65
        return {"temperature_c": None if gone else 66.0, "power_w": None if gone else 300.0, "fan_pct": 1.0}

    (alert,), marks = run(samples(200, values=values))
    assert (
        "no value of temperature_c, power_w" in alert["message"]
        or "power_w, temperature_c" in alert["message"]
    )
    assert len(marks) == 1


def test_a_hole_in_the_samples_is_not_a_hole_in_a_sensor():
    alerts, _ = run(
        samples(
            300, devices=("gpu0", "cpu"), skip=lambda tick, device: device == "gpu0" and 100 <= tick < 150
        )
    )
    assert [(alert["device"], alert["metric"]) for alert in alerts] == [("gpu0", "time_ns")]
    assert alerts[0]["message"] == "GPU 0: no samples for 10.2 s; they come every 0.2 s"


def test_a_hole_that_all_devices_share_is_told_once_and_a_longer_one_beside_it_by_itself():
    names = [f"gpu{i}" for i in range(8)]
    alerts, _ = run(samples(400, devices=names, skip=lambda tick, _: 100 <= tick < 150))
    assert [(alert["device"], alert["message"]) for alert in alerts] == [
        (None, "all 8 devices: no samples for 10.2 s; they come every 0.2 s")
    ]
    alerts, _ = run(
        samples(400, devices=names, skip=lambda tick, of: 100 <= tick < (250 if of == "gpu3" else 150))
    )
    assert [alert["device"] for alert in alerts] == [None, "gpu3"]


def test_a_clock_that_is_set_makes_no_hole_and_hides_none():
    for step_s in (3600, -3600):
        events = samples(
            400, devices=("gpu0", "cpu"), skip=lambda tick, of: of == "gpu0" and 200 <= tick < 250
        )
        for each in events[300:]:
            each.values["time_ns"] += step_s * SECOND
        alerts, _ = run(events)
        assert [(alert["device"], alert["value"]) for alert in alerts] == [("gpu0", pytest.approx(10.2))]


def silent(seq, at_ns, writer="agent", **detail):
    detail = {
        "alert": "silent.device",
        "severity": "warning",
        "onset_time_ns": EPOCH,
        "definition": "d/1()",
    } | detail
    return event("mark", writer, seq, at_ns, mark="gap", text="GPU 0: no reading", detail=json.dumps(detail))


def test_what_a_mark_told_is_not_told_again_when_the_samples_come_back():
    events = samples(300, devices=("gpu0", "cpu"), skip=lambda tick, of: of == "gpu0" and 100 <= tick < 150)
    mark = silent(0, EPOCH + 102 * TICK, devices=["gpu0"], device="gpu0", metric="power_w", value=300.0)
    alerts, _ = run(sorted([*events, mark], key=lambda each: each.values["time_ns"]))
    (alert,) = alerts
    assert {
        name: alert[name] for name in ("alert", "device", "value", "message", "definition", "offset")
    } == {
        "alert": "silent.device",
        "device": "gpu0",
        "value": 300.0,
        "message": "GPU 0: no reading",
        "definition": "d/1()",
        "offset": None,
    }
    agent = silent(0, EPOCH + 102 * TICK, "node-r0-1-0a1b2c", alert="silent.agent", writers=["agent"])
    events = samples(300, devices=("gpu0", "cpu"), skip=lambda tick, _: 100 <= tick < 150)
    alerts, _ = run(sorted([*events, agent], key=lambda each: each.values["time_ns"]))
    assert [alert["alert"] for alert in alerts] == ["silent.agent"]


def test_the_end_of_a_silence_that_the_log_tells_is_passed_on_and_what_is_off_is_off():
    told = {"alert": "silent.device", "device": "gpu0", "onset_time_ns": EPOCH, "end_time_ns": EPOCH + SECOND}
    end = event(
        "mark", "agent", 1, EPOCH + 9 * SECOND, mark=ENDED_MARK, text="silent.device", detail=json.dumps(told)
    )
    alerts, marks = run([silent(0, EPOCH + SECOND), end])
    assert (len(alerts), [mark["detail"] for mark in marks]) == (1, [json.dumps(told)])
    assert run([silent(0, EPOCH + SECOND), end], Settings(alerts=AlertSettings(off=("silent.device",)))) == (
        [],
        [],
    )


WRONG = '{"alert": "silent.device", "severity": "warning", "onset_time_ns": "x", "definition": "d"}'
UNKNOWN = '{"alert": "silent.what", "severity": "info", "onset_time_ns": 1, "definition": "d"}'


@pytest.mark.parametrize("detail", [None, "[", '{"alert": "silent.device"}', WRONG, UNKNOWN])
def test_a_gap_of_a_stranger_is_no_silence(detail):
    assert run([event("mark", "w", 0, EPOCH, mark="gap", text="x", detail=detail)]) == ([], [])


def test_runs_from_before_there_was_silence_are_replayed_without_it():
    events = samples(
        300, devices=("a", "b"), skip=lambda tick, _: 100 <= tick < 150, values=null_between(50, 90)
    )
    before = recorded_settings({"sensor_gap": {"least_s": 5.0}})
    alerts, marks = run(events, before)
    assert [(alert["device"], alert["metric"]) for alert in alerts] == [("a", "time_ns"), ("b", "time_ns")]
    assert marks == []
    assert recorded_settings({"silence": {"periods": 4.0}}).silence == SilenceSettings(periods=4.0)
    assert recorded_settings(None).silence.is_on


def test_ticks_that_come_late_raise_nothing():
    assert run(samples(5000, devices=("gpu0", "cpu"), jitter=0.9)) == ([], [])


def paused(first_tick, last_tick, at_tick):
    """The agent's mark that it did not run between two ticks."""
    mark = pause_mark(first_tick * TICK, last_tick * TICK)
    return event("mark", "agent", 0, EPOCH + at_tick * TICK - 1, **mark)


def in_order(events):
    return sorted(events, key=lambda each: each.values["time_ns"])


def test_time_in_which_the_agent_did_not_run_is_no_gap_and_hides_none():
    """A paused container: training and agent stand, and nobody is silent."""
    names = ("gpu0", "gpu1", "cpu")
    holes = samples(400, devices=names, skip=lambda tick, _: 100 <= tick < 141)
    assert [alert["device"] for alert in run(holes)[0]] == [None]
    assert run(in_order([*holes, paused(100, 141, 141)]))[0] == []
    long = samples(400, devices=names, skip=lambda tick, of: 100 <= tick < (180 if of == "gpu1" else 141))
    (alert,) = run(in_order([*long, paused(100, 141, 141)]))[0]
    assert (alert["device"], alert["value"]) == ("gpu1", pytest.approx(8.0))
    (alert,) = run(in_order([*holes, paused(100, 103, 141)]))[0]
    assert (alert["device"], alert["value"]) == (None, pytest.approx(7.8))
