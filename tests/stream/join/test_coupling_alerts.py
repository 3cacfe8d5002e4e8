import random

import pytest
from stream_events import EPOCH, SECOND, busy, delivered, event, recording
from thermograd.store.efficiency.estimator import Efficiency
from thermograd.store.events import SETTINGS_MARK, Event
from thermograd.stream.alerts.alert import digest
from thermograd.stream.join.coupling_alerts import CouplingRule
from thermograd.stream.join.lateness import LateEvents
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.pipeline.replay import replay_events
from thermograd.stream.settings import AlertSettings, CouplingSettings, EfficiencySettings, Settings

SOON = Settings(coupling=CouplingSettings(alarm_s=100.0))


def run(events, monitor):
    alerts = [alert for each in events for alert in monitor.process(each)] + monitor.close()
    assert monitor.failures == []
    return alerts


def test_a_coupling_is_an_alert_that_says_all_there_is_to_know():
    monitor = Monitor({"gpu": {"sensors": ["temperature_c"]}}, SOON)
    alerts = [alert for alert in run(recording(), monitor) if alert["alert"] == "coupling"]
    (alert,) = alerts
    assert (alert["device"], alert["metric"], alert["severity"]) == ("gpu", "grad_norm", "warning")
    assert alert["threshold"] == 100.0
    assert alert["score"] >= 100.0
    assert 0.3 < alert["value"] < 0.9
    assert alert["time_ns"] % SECOND == 800_000_000  # that of the last sample in the second
    assert alert["definition"].startswith("coupling/2(alarm_s=100.0,max_lag_s=12,")
    for words in ("log(grad_norm) and temperature", "temperature follows 4 s later", "e-value",
                  "at most once in 0.0278 h", "thermograd analyze RUN --y temperature_c"):  # fmt: skip
        assert words in alert["message"]


def test_what_is_known_of_each_pair_can_be_asked_for_at_any_time():
    monitor = Monitor(settings=SOON)
    run(recording(), monitor)
    found = monitor.pairs.coupling()
    assert set(found) == {("grad_norm", "gpu", "temperature_c")}
    known = found["grad_norm", "gpu", "temperature_c"]
    assert known.lag_s == 4
    assert known.strength > 0.3
    assert known.run_e_value > 1e6


def test_correlations_are_the_same_whether_somebody_asks_often_or_at_the_end_only():
    often, once = Monitor({}, SOON, 4), Monitor({}, SOON, 4)
    for at, each in enumerate(delivered(random.Random(1), busy(), 1.9)[:2400]):
        assert often.process(each) == once.process(each)
        if at % 40 == 0:
            often.pairs.correlations()
            assert often.pairs.join.waiting == 0
    assert often.close() == once.close()
    assert often.pairs.correlations() == once.pairs.correlations() != {}
    joins = often.pairs.join, once.pairs.join
    assert len({(join.joined, join.unmatched, join.late, join.forced) for join in joins}) == 1


def test_one_alert_an_episode_however_long_it_lasts():
    brief = Settings(coupling=CouplingSettings(alarm_s=100.0, quiet_s=1))
    events = recording(1200)
    many = [a for a in run(events, Monitor(settings=brief)) if a["alert"] == "coupling"]
    one = [a for a in run(events, Monitor(settings=SOON)) if a["alert"] == "coupling"]
    assert len(one) == 1 < len(many)


def test_uncoupled_series_and_other_devices_raise_none():
    events = recording(rho=0.0)
    assert [a for a in run(events, Monitor()) if a["alert"] == "coupling"] == []
    monitor = Monitor({"gpu": {}, "other": {}}, Settings(coupling=CouplingSettings(alarm_s=1000.0)))
    alerts = [a for a in run(recording(devices=("gpu", "other")), monitor) if a["alert"] == "coupling"]
    assert [(a["device"], a["threshold"]) for a in alerts] == [("gpu", 2000.0)]


def test_a_device_without_any_of_the_sensors_costs_no_monitor():
    events = [
        event("sample", "agent", i, EPOCH + i * SECOND, device="cpu", utilization_pct=50.0)
        for i in range(300)
    ]
    monitor = Monitor()
    run(events, monitor)
    assert monitor.pairs.coupling() == {}


def test_a_device_that_begins_later_or_falls_silent_holds_up_no_alert():
    late, gone = EPOCH + 100 * SECOND, EPOCH + 200 * SECOND
    events = [
        each
        for each in recording(devices=("gpu", "other"))
        if each.values.get("device") != "other" or late < each.values["time_ns"] < gone
    ]
    monitor, told = Monitor(settings=SOON), []
    for each in events:
        told += [(each.values["time_ns"], alert) for alert in monitor.process(each)]
    ((now_ns, alert),) = [(at, alert) for at, alert in told if alert["alert"] == "coupling"]
    assert alert["time_ns"] > late
    assert now_ns - alert["time_ns"] < 4 * SECOND  # lateness, and the second itself


def test_a_monitor_that_fails_leaves_the_join_and_the_other_devices_alone(monkeypatch):
    told = CouplingRule.told

    def fails(self, tick):
        if tick.device == "gpu":
            raise ZeroDivisionError("broken")
        return told(self, tick)

    monkeypatch.setattr(CouplingRule, "told", fails)
    monitor = Monitor(settings=SOON)
    for each in recording(300, devices=("gpu", "other")):
        monitor.process(each)
    monitor.close()
    assert monitor.failures == ["coupling of gpu was disabled: ZeroDivisionError: broken"]
    assert monitor.pairs.join.joined == 1200
    assert ("grad_norm", "other", "temperature_c") in monitor.pairs.coupling()


def test_a_spike_on_any_rank_is_one_alert():
    alerts = run(busy(), Monitor(settings=SOON, world_size=4))
    told = [
        (a["alert"], a["step"], a["message"].rpartition("(")[2]) for a in alerts if a["alert"] != "coupling"
    ]
    assert told == [
        ("spike.loss", 300, "rank 1)"),
        ("spike.grad", 450, "rank 0-3)"),
        ("nonfinite", 600, "rank 2)"),
        ("spike.loss", 700, "rank 3)"),
    ]
    assert len(run(busy(), Monitor(settings=SOON))) > len(alerts)  # else every writer tells for itself


@pytest.mark.parametrize("seed", range(2))
def test_delivery_shuffled_within_the_bound_gives_the_same_digest(seed):
    events = busy()
    expected = run(events, Monitor(settings=SOON, world_size=4))
    monitor = Monitor(settings=SOON, world_size=4)
    told = run(delivered(random.Random(seed), events, 1.9), monitor)
    assert monitor.pairs.join.late == 0
    assert {"coupling", "spike.grad", "spike.loss", "nonfinite"} == {alert["alert"] for alert in told}
    assert digest(told) == digest(expected)


@pytest.mark.parametrize("seed", range(2))
def test_events_beyond_the_bound_are_in_the_log_and_the_replay_is_identical(seed):
    """Live: alerts as the order of arrival had it, and marks that say what was too late."""
    events = busy()
    monitor = Monitor(settings=SOON, world_size=4)
    live, marks = [], []
    for count, each in enumerate(delivered(random.Random(seed), events, 9.0)):
        live += monitor.process(each)
        if count % 50 == 0 and (mark := monitor.late_mark()):
            marks.append(mark)
    live += monitor.close()
    marks.append(monitor.late_mark(at_end=True))
    assert monitor.pairs.join.late > 100
    log = list(events)
    log += [Event("alert", "agent", {**alert, "seq": i}) for i, alert in enumerate(live)]
    log += [event("mark", "agent", i, EPOCH + i, **mark) for i, mark in enumerate(marks)]
    replayed = replay_events(log, {}, SOON, 4)
    assert replayed.check()["identical"]
    assert replayed.monitor.pairs.join.late == monitor.pairs.join.late
    assert replayed.monitor.pairs.correlations() == monitor.pairs.correlations()
    assert replayed.monitor.pairs.coupling() == monitor.pairs.coupling()
    repaired = replay_events(log, {}, SOON, 4, as_recorded=False)
    whole = Monitor(settings=SOON, world_size=4)
    assert digest(repaired.alerts) == digest(run(events, whole))
    assert (repaired.monitor.pairs.join.late, repaired.monitor.pairs.correlations()) == (
        0,
        whole.pairs.correlations(),
    )
    assert repaired.monitor.pairs.correlations() != replayed.monitor.pairs.correlations()


def test_what_was_written_after_the_live_layer_had_ended_is_left_out_of_the_replay_too():
    events = [each for each in busy() if each.writer in ("r0", "agent")]
    monitor = Monitor(settings=SOON)
    live = run(events[:1200], monitor)
    end = event("mark", "agent", 0, EPOCH, **monitor.late_mark(at_end=True))
    begin = event("mark", "agent", 0, EPOCH, text=SETTINGS_MARK)
    log = [*events, begin, end, *(Event("alert", "agent", {**a, "seq": i}) for i, a in enumerate(live))]
    replayed = replay_events(log, {}, SOON)
    assert replayed.check()["identical"]
    assert replayed.unseen == len(events) - 1200
    assert "written after the stream layer had ended" in replayed.sentence(False)
    assert len(replay_events(log, {}, SOON, as_recorded=False).alerts) > len(live)


def test_a_mark_of_a_training_writer_is_a_heartbeat():
    monitor = Monitor()
    monitor.process(event("sample", "agent", 0, EPOCH, device="gpu", temperature_c=50.0))
    monitor.process(event("step", "r0", 0, EPOCH, step=1, rank=0, grad_norm=1.0))
    monitor.process(event("mark", "agent", 1, EPOCH + 9 * SECOND, mark="note"))
    assert monitor.pairs.join.joined == 0
    monitor.process(event("mark", "r0", 0, EPOCH + 9 * SECOND, mark="checkpoint"))
    assert monitor.pairs.join.joined == 1


def test_collapse_of_the_efficiency_is_off_unless_configured():
    """A device under load that heats while its power doubles: RLE falls, nothing is throttled."""
    facts = {"gpu": {"rated_power_w": 300.0, "temperature_limit_c": 83.0}}
    events, heat = [], 40.0
    for i in range(120):
        bad = i >= 60
        heat += 0.5 if bad else 0.02
        events.append(
            event("sample", "agent", i, EPOCH + i * SECOND, device="gpu",
                  utilization_pct=70.0 + 25.0 * (i % 2) * bad, power_w=290.0 if bad else 100.0,
                  temperature_c=min(heat, 82.0))
        )  # fmt: skip
    assert [a for a in run(events, Monitor(facts)) if a["alert"] == "collapse.thermal"] == []
    for name in ("rle_clean", "seed_1hz"):
        settings = Settings(efficiency=EfficiencySettings(collapse=name))
        (alert,) = [a for a in run(events, Monitor(facts, settings)) if a["alert"] == "collapse.thermal"]
        assert alert["definition"].startswith(Efficiency(300.0, 83.0, name).definition_id)
        assert alert["metric"] == "rle"
        assert alert["value"] < alert["threshold"]
        assert "does not see throttling" in alert["message"]


def test_an_alert_that_is_turned_off_is_not_raised():
    settings = Settings(coupling=SOON.coupling, alerts=AlertSettings(off=("coupling",)))
    monitor = Monitor(settings=settings)
    assert [a for a in run(recording(), monitor) if a["alert"] == "coupling"] == []
    assert monitor.pairs.coupling() != {}


def test_a_left_out_record_belongs_to_a_replay_only():
    assert Monitor(left_out=LateEvents.from_marks([])).late_mark(at_end=True) is None
