"""The agent's side: nothing of the broker's reaches the run, and nothing is lost by it."""

import itertools
import threading
import time

from fleet_messages import Broker
from stream_events import event
from thermograd.stream.fleet import publisher as publisher_module
from thermograd.stream.fleet.brokers.messages import AlertNote, Beat, Bye, packed, unpacked
from thermograd.stream.fleet.publisher import _MOST_ALERTS, _MOST_BEATS, About, Publisher
from thermograd.stream.fleet.summary import NodeSummary

ABOUT = About("run", "host", "host-agent-1-ab", "name", labels={"rack": "r1"})
ALERT = {"alert": "spike.grad", "severity": "warning", "message": "there", "time_ns": 1, "monotonic_ns": 2}


def publisher(broker, recall=lambda writer, first: (), troubles=None, **options):
    said = [] if troubles is None else troubles
    return Publisher(broker, ABOUT, recall, said.append, **options)


def until(condition, within_s=60.0):
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def bodies(broker, kind):
    return [body for body in map(unpacked, (m.data for m in broker.messages)) if isinstance(body, kind)]


def test_a_broker_that_fails_gets_every_alert_and_beats_have_no_gap():
    troubles = []
    broker = Broker(["before", None, "after", "before", "after"])
    agent = publisher(broker, troubles=troubles, beat_s=0.05)
    for seq in range(5):
        agent.alert(seq, ALERT)
    until(lambda: {note.seq for note in bodies(broker, AlertNote)} == set(range(5)) and not agent.waiting)
    assert agent.finish(60.0)
    beats = {body.seq for body in bodies(broker, Beat)}
    assert sorted(beats) == list(range(len(beats)))
    assert [body.alerts for body in bodies(broker, Bye)] == [5]
    assert troubles[0].startswith("the fleet cannot be told")
    assert "again" in troubles[1]
    assert "monotonic_ns" not in bodies(broker, AlertNote)[0].columns


def test_alerts_beyond_memory_are_read_from_the_log_again():
    log, away = [], threading.Event()

    class Away(Broker):
        def send(self, messages, wait_s):
            away.wait(60)
            super().send(messages, wait_s)

    def recall(writer, first):
        return [(seq, values) for seq, values in list(log) if seq >= first]

    broker = Away()
    agent = publisher(broker, recall)
    for seq in range(2 * _MOST_ALERTS):
        log.append((seq, ALERT))
        agent.alert(seq, ALERT)
    away.set()
    until(lambda: not agent.waiting)
    seqs = [note.seq for note in bodies(broker, AlertNote)]
    assert sorted(set(seqs)) == list(range(2 * _MOST_ALERTS))
    assert agent.finish(60.0)


def test_what_is_made_ready_to_be_sent_is_waiting_still(monkeypatch):
    waiting, is_made = [], threading.Event()

    def seen(body):
        assert is_made.wait(60)
        waiting.append(agent.waiting)
        return packed(body)

    monkeypatch.setattr(publisher_module, "packed", seen)
    broker = Broker()
    agent = publisher(broker, beat_s=1000.0)
    agent.alert(0, ALERT)
    is_made.set()
    until(lambda: bodies(broker, AlertNote))
    assert agent.finish(60.0)
    *waiting, _ = waiting  # the goodbye is made when all else has gone
    assert len(waiting) >= 2
    assert min(waiting) > 0


def test_beats_are_thinned_and_counted_while_the_broker_is_away_their_evidence_is_not():
    broker = Broker(["before"] * 1000)
    agent = publisher(broker, beat_s=1000.0)
    until(lambda: agent._numbered)  # the first has its number and is tried for ever
    for second in range(3 * _MOST_BEATS):
        agent.take([], [("GPU-0", second, 1.0, float(second))])
        agent._make_beat()
    kept = list(agent._beats)
    assert len(kept) <= _MOST_BEATS
    assert agent.thinned == 3 * _MOST_BEATS - len(kept)
    assert [each.tick for beat in kept for each in beat.evidence] == list(range(3 * _MOST_BEATS))
    assert not agent.finish(0.05)
    broker._fails = itertools.repeat(None)
    agent.finish(60.0)  # its thread ends with the test


def test_what_an_earlier_agent_of_the_node_could_not_send_is_sent():
    broker = Broker()
    agent = publisher(broker)
    for seq, writer in enumerate(("host-agent-0-aa", "host-agent-1-ab", "other-agent-1-ab")):
        agent.take([event("alert", writer, seq, 5, alert="spike.grad")])
    until(lambda: bodies(broker, AlertNote))
    assert agent.finish(60.0)
    assert [(note.writer, note.seq) for note in bodies(broker, AlertNote)] == [("host-agent-0-aa", 0)]


def test_a_summary_has_the_latest_of_ranks_and_devices_and_null_for_what_is_not_known():
    summary = NodeSummary()
    summary.learn(
        [event("step", f"r{rank}", step, step, rank=rank, step=step, loss=step / 2, step_time_s=0.1)
         for step in (1, 2, 3) for rank in (1, 0)]
        + [event("sample", "agent", 0, 5, device="GPU-0", power_w=300.0, clock_event_mask=0x20)]
        + [event("sample", "agent", 1, 6, device="GPU-0", power_w=None, clock_event_mask=0x0)]
        + [event("sample", "agent", 2, 7, device="cpu", utilization_pct=5.0)]
    )  # fmt: skip
    ranks, devices = summary.take()
    assert [(now.rank, now.step, now.loss, now.grad_norm, now.steps) for now in ranks] == [
        (0, 3, 1.5, None, 3),
        (1, 3, 1.5, None, 3),
    ]
    assert ranks[0].step_times_s == [0.1] * 3
    assert [(now.device, now.power_w, now.throttled) for now in devices] == [
        ("GPU-0", 300.0, "thermal"),
        ("cpu", None, None),
    ]
    (last, _), devices = summary.take()  # the last beat of a node is all that a view begins with
    assert (last.rank, last.step, last.loss, last.steps, last.step_times_s, devices) == (0, 3, 1.5, 0, [], [])
    summary.learn([event("metric", "r0", 9, 9, rank=0, name="work_time_s", value=0.1)])
    summary.take()
    assert summary.take()[0][0].step == 3
