import json
import threading

from thermograd.store.events import SETTINGS_MARK
from thermograd.store.log.following.follower import Follower
from thermograd.store.log.reader import events_in_order
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run
from thermograd.store.telling.episodes import ended_mark, ends_of, fold_alerts
from thermograd.store.telling.silences import Silence, silence_alert
from thermograd.stream.alerts.alert import alert_line
from thermograd.stream.pipeline import live
from thermograd.stream.pipeline.live import watch_log, watch_written
from thermograd.stream.pipeline.replay import replay_events
from thermograd.stream.settings import Settings, SinkSettings

SECOND = 10**9


def write_steps(writer, count, spikes=(), first=0):
    for i in range(first, first + count):
        norm = 20.0 if i + 1 in spikes else 1.0 + (i * 7 % 11) / 100
        writer.append(
            "step", i * SECOND // 10, i * SECOND // 10, step=i + 1, rank=0, loss=2.0, grad_norm=norm
        )


def write_samples(writer, count, first=0):
    for i in range(first, first + count):
        writer.append("sample", i * SECOND // 5, i * SECOND // 5, device="gpu", temperature_c=50.0 + i % 3)


def watched(run, lines, write):
    """Write while the live layer follows; return when it has ended.

    `write` yields where the layer may look: in real time a look takes less than the steps and samples of two
    seconds, here, where both are written as fast as it goes, it may take longer.
    """
    stop, writing = threading.Event(), threading.Lock()
    agent = EventWriter(run.path, run.run_id, "agent", ("sample",))
    follower = Follower(run.path, ("step", "sample"))

    def poll():
        with writing:
            return follower.poll()

    thread = threading.Thread(target=watch_log, args=(poll, agent.append, {}, stop, lines.append))
    thread.start()
    written = write(agent)
    while True:
        with writing:
            if next(written, None) is None:
                break
    stop.set()
    thread.join(60)
    agent.close()
    assert not thread.is_alive()


def test_live_alerts_and_their_replay_are_the_same_to_the_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "_POLL_S", 0.002)
    run = create_run(tmp_path, "x")
    training = EventWriter(run.path, run.run_id, "training")
    lines = []

    def write(agent):
        for i in range(0, 300, 10):
            write_steps(training, 10, spikes=(150, 220), first=i)
            write_samples(agent, 5, first=i // 2)
            yield i + 1
        training.close()

    watched(run, lines, write)
    result = replay_events(events_in_order(run.path), {})
    assert [(a["alert"], a["step"]) for a in result.alerts] == [("spike.grad", 150), ("spike.grad", 220)]
    check = result.check()
    assert check["identical"] is True
    assert check["recorded"] == check["replayed"]
    assert result.monitor.pairs.join.joined == 300
    assert "identical to the 2 recorded live" in result.sentence(True)
    assert len(lines) == 2
    assert lines[0].startswith("critical  spike.grad")


def test_a_replay_that_differs_says_so(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w")
    writer.append("mark", mark="note", text=SETTINGS_MARK)
    write_steps(writer, 200, spikes=(150,))
    writer.close()
    result = replay_events(events_in_order(run.path), {})
    assert result.check()["identical"] is False
    assert "DIFFERENT from the 0 recorded live" in result.sentence(True)
    assert "DIFFERENT" not in result.sentence(False)


def test_of_a_run_that_nothing_watched_there_is_nothing_to_compare(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w")
    write_steps(writer, 200, spikes=(150,))
    writer.close()
    result = replay_events(events_in_order(run.path), {})
    assert [alert["step"] for alert in result.alerts] == [150]
    assert (result.watched, result.check()["identical"], result.check()["recorded"]) == (False, None, None)
    assert "nothing watched this run" in result.sentence(True)
    assert "DIFFERENT" not in result.sentence(True)


def test_what_was_never_live_is_watched_alike_and_nobody_is_told(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w")
    write_steps(writer, 300, spikes=(150, 220))
    write_samples(writer, 150)
    writer.close()
    told = tmp_path / "told.jsonl"
    settings = Settings(sinks={"file": SinkSettings(type="jsonl", path=str(told))})
    findings = EventWriter(run.path, run.run_id, "findings", ())
    watch_written(events_in_order(run.path), findings.append, run.facts, settings)
    findings.close()
    result = replay_events(events_in_order(run.path), {})
    assert [alert["step"] for alert in result.recorded] == [150, 220]
    assert result.check()["identical"] is True
    assert result.watched
    assert not told.exists()


def test_an_alert_is_one_line_of_text():
    line = alert_line({"severity": "warning", "alert": "spike.grad", "message": "step 3: high"})
    assert line.split() == ["warning", "spike.grad", "step", "3:", "high"]


def write_hot_samples(writer):
    """Write five minutes of a device that is throttled for heat for the last quarter of each."""
    for i in range(300):
        hot = i >= 60 and i % 60 >= 45
        reading = (
            {"temperature_c": 88.0, "sm_clock_mhz": 1500.0}
            if hot
            else {"temperature_c": 70.0, "sm_clock_mhz": 1980.0}
        )
        reading |= {"clock_event_mask": 0x20 if hot else 0, "utilization_pct": 100.0}
        writer.append("sample", i * SECOND, i * SECOND, device="gpu", **reading)


def test_the_log_says_when_throttling_ended_and_an_agent_that_is_started_again_does_not_say_so_twice(
    tmp_path,
):
    run = create_run(tmp_path, "x", {"devices": {"gpu": {"temperature_limit_c": 90.0}}})
    writer = EventWriter(run.path, run.run_id, "w")
    write_hot_samples(writer)
    stop = threading.Event()
    stop.set()
    lines = []
    for agent in ("first", "second"):
        log = EventWriter(run.path, run.run_id, agent, ())
        devices = run.facts["devices"]
        watch_log(Follower(run.path).poll, log.append, devices, stop, lines.append, run=run.facts)
        log.close()
    writer.close()
    marks = [event.values for event in events_in_order(run.path, ("mark",))]
    ended = [json.loads(mark["detail"]) for mark in marks if mark["mark"] == "alert_ended"]
    heat = [each for each in ended if each["alert"] == "collapse.thermal"]
    assert len(heat) == 4
    assert all(10 <= (each["end_time_ns"] - each["onset_time_ns"]) / SECOND <= 15 for each in heat)
    result = replay_events(events_in_order(run.path), run.facts["devices"])
    assert result.check()["identical"] is True
    (episode,) = [each for each in result.episodes if each.alert == "collapse.thermal"]
    assert (episode.count, 0.2 < episode.share < 0.35) == (4, True)
    (recorded,) = [e for e in fold_alerts(result.recorded, ends_of(marks)) if e.alert == "collapse.thermal"]
    assert recorded.to_json() | {"worst": None} == episode.to_json() | {"worst": None}
    told = [line for line in lines if "collapse.thermal" in line]
    assert len(told) == 2
    assert "3 more in" in told[1]
    assert "% of it on gpu; worst: gpu: throttled by heat" in told[1]


def test_a_stream_layer_that_is_started_again_tells_nothing_twice(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w")
    write_steps(writer, 300, spikes=(150,))
    stop = threading.Event()
    stop.set()
    lines = []
    for agent in ("first", "second"):
        log = EventWriter(run.path, run.run_id, agent, ())
        watch_log(Follower(run.path).poll, log.append, {}, stop, lines.append)
        log.close()
    writer.close()
    assert len(lines) == 1
    result = replay_events(events_in_order(run.path), {})
    assert len(result.recorded) == 1
    assert result.check()["identical"] is True


def test_a_silence_is_raised_from_its_mark_and_what_a_training_wrote_of_its_agent_is_told(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(live, "_POLL_S", 0.002)
    run, lines, stop = create_run(tmp_path, "x"), [], threading.Event()
    training = EventWriter(run.path, run.run_id, "node-r0-7-0a1b2c", ("alert", "mark"))
    agent = EventWriter(run.path, run.run_id, "node-agent-8-0a1b2c", ("sample",))
    for onset, over in ((1, True), (2, False)):
        silence = Silence("silent.agent", "critical", onset, "silent.agent/1()")
        mark = silence.mark(f"agent {onset}") | {"time_ns": 10 * SECOND, "monotonic_ns": 5}
        training.append("alert", **silence_alert(mark, silence))
        training.append("mark", **mark)
        if over:
            training.append("mark", **ended_mark(mark, "silent.agent", None, onset, 3))
    device = Silence("silent.device", "warning", 4, "silent.device/1()", devices=("gpu",), device="gpu")
    agent.append("mark", **device.mark("gpu: no reading"))
    follower = Follower(run.path)
    stop.set()
    watch_log(follower.poll, agent.append, {}, stop, lines.append)
    agent.close()
    training.close()
    assert [line.split()[1:] for line in lines] == [
        ["silent.agent", "agent", "2"],
        ["silent.device", "gpu:", "no", "reading"],
    ]
    result = replay_events(events_in_order(run.path), {})
    assert (len(result.recorded), result.check()["identical"]) == (3, True)
