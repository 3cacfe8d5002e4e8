"""Real brokers: nothing is lost and nothing told twice, whatever is killed."""

import itertools
import sys
import time

import pytest
from fleet_messages import alert, beat, bye
from thermograd.store.errors import ConfigError, MissingExtraError
from thermograd.stream.fleet.brokers.messages import packed
from thermograd.stream.fleet.brokers.opening import open_receiver, open_sender
from thermograd.stream.fleet.brokers.transport import Received, TransportError, parse_address
from thermograd.stream.fleet.consumer import FleetConsumer, Journal
from thermograd.stream.fleet.publisher import About, Publisher
from thermograd.stream.fleet.state import FleetState
from thermograd.stream.settings import PublishSettings

pytest_plugins = ["servers"]
PATIENT_S = 3600.0  # that nodes may be quiet: who is late here is not called silent
ALERT = {"alert": "nonfinite", "severity": "critical", "message": "there", "time_ns": 1}


@pytest.fixture
def patient(monkeypatch, nats_server):
    """Give a server on a busy machine longer to answer than an agent does, which tries again."""
    for name in ("_CONNECT_S", "_ANSWER_S"):
        monkeypatch.setattr(f"thermograd.stream.fleet.brokers.jetstream.{name}", 15)


def address(url):
    return parse_address(PublishSettings(url=url))


def until_told(consumer, count, within_s=120.0):
    told, end_s = [], time.monotonic() + within_s
    while len(told) < count:
        told += consumer.turn(0.1)
        assert time.monotonic() < end_s, f"{len(told)} of {count}"
    return told


@pytest.mark.usefixtures("patient")
def test_nats_killed_and_consumer_killed_in_mid_work_nothing_is_lost_nothing_twice(nats_server, tmp_path):
    at = address(nats_server.url)
    abouts = [About(f"run.{run}", "h", f"h-agent-{run}-ab") for run in range(3)]
    agents = [Publisher(open_sender(at), about, lambda w, s: (), lambda t: 0, 0.2) for about in abouts]
    seqs = itertools.count()

    def publish(count):
        for seq in itertools.islice(seqs, count):
            for agent in agents:
                agent.alert(seq, ALERT | {"step": seq})

    def consumer():
        return FleetConsumer(open_receiver(at, "watcher"), FleetState(PATIENT_S), Journal(tmp_path / "fleet"))

    first = consumer()
    publish(20)
    told = until_told(first, 30)
    first._receiver.close()  # as a kill does: nothing is kept, nothing settled
    first._journal.close()
    nats_server.kill()
    publish(20)
    nats_server.start()
    second = consumer()
    told += until_told(second, 3 * 40 - len(told))
    second.close()
    third = consumer()
    assert third.drain() == []
    assert third.state.runs["run.0"].missing_alerts() == 0
    third.close()
    assert all(agent.finish(60.0) for agent in agents)
    identities = [each.id for each in told]
    assert len(identities) == len(set(identities)) == 120
    view = FleetConsumer(open_receiver(at), FleetState(PATIENT_S))
    assert {each.id for each in view.drain()} == set(identities)  # from the stream alone
    assert not any(run.is_live for run in view.state.runs.values())
    view.close()


@pytest.mark.usefixtures("patient")
def test_nats_keeps_one_of_what_is_sent_again(nats_server):
    sender = open_sender(address(nats_server.url))
    for _ in range(3):
        sender.send([packed(alert(seq=seq, step=seq)) for seq in range(4)], 60.0)
    sender.close()
    view = FleetConsumer(open_receiver(address(nats_server.url)), FleetState())
    view.drain()
    view.close()
    assert view.state.messages == 4


def test_kafka_delivers_at_least_once_and_a_group_goes_on_where_it_was(kafka_cluster):
    at = address(f"kafka://{kafka_cluster.bootstrap_servers}/fleet-{time.time_ns()}")
    sender = open_sender(at)
    sender.send(
        [packed(alert(run=f"r{run}", seq=seq, step=seq)) for run in range(3) for seq in range(5)], 60.0
    )
    first = FleetConsumer(open_receiver(at, "watcher"), FleetState())
    assert len(until_told(first, 15)) == 15
    first._receiver.settle()
    first.close()
    sender.send([packed(alert(seq=9, step=9))], 60.0)
    second = FleetConsumer(open_receiver(at, "watcher"), FleetState())
    assert [each.step for each in until_told(second, 1)] == [9]
    second._receiver.close()  # not settled: it comes again
    again = FleetConsumer(open_receiver(at, "watcher"), FleetState())
    assert [each.step for each in until_told(again, 1)] == [9]
    again.close()
    view = FleetConsumer(open_receiver(at), FleetState())
    assert len(view.drain()) == 16
    view.close()
    sender.close()


def test_nobody_there_is_said_in_a_sentence_without_secrets():
    for url in ("nats://me:hunter2@127.0.0.1:9", "nats://tok3n@127.0.0.1:9", "kafka://127.0.0.1:9/topic"):
        at = address(url)
        sender = open_sender(at)
        with pytest.raises(TransportError) as raised:
            sender.send([packed(beat())], 0.2)
        sender.close()
        for text in (str(raised.value), repr(at), str(at)):
            assert "hunter2" not in text
            assert "tok3n" not in text
            assert "127.0.0.1:9" in text
        assert "nobody answers there" in str(raised.value)


def test_nobody_there_is_said_also_where_the_processor_is_taken_away_meanwhile(monkeypatch):
    sender = open_sender(address("kafka://127.0.0.1:9/topic"))
    opened = sender._opened

    class HeldUp:
        def __init__(self, producer):
            self.produce, self.purge, self.flush_now = producer.produce, producer.purge, producer.flush

        def flush(self, wait_s):
            time.sleep(1.5)  # longer than librdkafka waits between two looks for what is too late
            return self.flush_now(wait_s)

    def held_up(wait_s):
        sender._producer = HeldUp(opened(wait_s))
        return sender._producer

    monkeypatch.setattr(sender, "_opened", held_up)
    with pytest.raises(TransportError, match="nobody answers there"):
        sender.send([packed(beat())], 0.2)


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "nats://",
        "nats://user:hunter2@",
        "nats://h:99999999",
        "nats://h/a b",
        "kafka://h/x?y=hunter2",
        "nats",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_secret(url):
    with pytest.raises(ConfigError) as raised:
        address(url)
    assert "hunter2" not in str(raised.value)


class Slow:
    """A broker whose streams come one after the other: beats first, goodbyes last."""

    def __init__(self, *batches):
        self.batches = list(batches)

    def receive(self, most, wait_s):
        return [Received(packed(body).data, arrived_ns) for body, arrived_ns in self.batches.pop(0)]

    @property
    def is_drained(self):
        return not self.batches

    def now_ns(self):
        return 3600 * 10**9

    def settle(self):
        pass

    def close(self):
        pass


def test_an_old_goodbye_that_comes_last_is_heard_before_anybody_is_called_silent():
    view = FleetConsumer(
        Slow([(beat(), 1)], [], [(alert(step=1), 2)], [], [(bye(), 3 * 10**9)]), FleetState()
    )
    view.state.take(beat(run="killed"), 3000 * 10**9)
    assert [(each.run, each.alert) for each in view.drain()] == [
        ("run", "spike.grad"),
        ("killed", "silent.node"),
    ]
    assert [run.run for run in view.state.runs.values() if run.is_live] == ["killed"]


@pytest.mark.usefixtures("patient")
def test_nats_has_given_all_when_it_is_called_drained(nats_server):
    at = address(nats_server.url)
    sender = open_sender(at)
    bodies = [body for run in range(30) for body in (beat(run=f"r{run}"), bye(run=f"r{run}"))]
    bodies += [alert(run=f"r{run}", seq=seq, step=seq) for run in range(30) for seq in range(90)]
    for begin in range(0, len(bodies), 500):
        sender.send([packed(body) for body in bodies[begin : begin + 500]], 60.0)
    sender.close()
    for _ in range(5):
        view = FleetConsumer(open_receiver(at), FleetState(silent_s=0.0))
        assert {each.alert for each in view.drain()} == {"spike.grad"}
        view.close()
        assert view.state.messages == len(bodies)
        assert not any(run.is_live for run in view.state.runs.values())


@pytest.mark.parametrize("port", ["99999", "0", "hunter2"])
def test_a_port_that_cannot_be_is_called_so(port):
    with pytest.raises(ConfigError, match="a port that cannot be; allowed: 1 to 65535"):
        address(f"nats://host:{port}")


def test_two_consumers_of_one_name_at_once_are_refused(tmp_path):
    first = Journal(tmp_path / "oncall")
    with pytest.raises(ConfigError, match="'oncall' is at work already"):
        Journal(tmp_path / "oncall")
    first.close()
    Journal(tmp_path / "oncall").close()


@pytest.mark.parametrize("url", ["nats://host", "kafka://host/topic"])
def test_a_client_that_cannot_be_imported_is_one_sentence_with_the_reason(url, tmp_path, monkeypatch):
    for name in ("nats", "confluent_kafka"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('librdkafka.so.1:\\n no such file')")
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
    for module in ("jetstream", "kafka"):
        monkeypatch.delitem(sys.modules, f"thermograd.stream.fleet.brokers.{module}", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    for opened in (open_sender, open_receiver):
        with pytest.raises(MissingExtraError, match=r"\(librdkafka.so.1: no such file\): pip install"):
            opened(address(url))
