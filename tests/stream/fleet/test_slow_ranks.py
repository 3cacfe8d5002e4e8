"""A slow rank among the ranks of many nodes, as their beats tell it."""

import random

from fleet_messages import SECOND, Broker, beat
from thermograd.stream.fleet.brokers.messages import RankNow, packed
from thermograd.stream.fleet.brokers.transport import Received
from thermograd.stream.fleet.consumer import FleetConsumer
from thermograd.stream.fleet.state import FleetState
from thermograd.stream.fleet.view import fleet_rows


class Played(Broker):
    """A receiver that gives a second's beats at each call."""

    def __init__(self, seconds):
        super().__init__()
        self._seconds = iter(seconds)

    def receive(self, most, wait_s):
        self.at_ns, bodies = next(self._seconds)
        return [Received(packed(body).data, self.at_ns) for body in bodies]

    is_drained = True

    def now_ns(self):
        return self.at_ns


def job(slow=None, work=False, seconds=90, seed=1):
    """Eight nodes with eight ranks: one slower by 10 %, in its own work or in what its steps take."""
    rng = random.Random(seed)
    for second in range(seconds):
        bodies = []
        for node in range(8):
            ranks = []
            for rank in range(node * 8, node * 8 + 8):
                time_s = [(1.1 if rank == slow else 1.0) * rng.gauss(1.0, 0.02)]
                ranks.append(
                    RankNow(
                        rank,
                        second,
                        steps=1,
                        step_times_s=[1.1] if work else time_s,
                        work_times_s=time_s * work,
                    )
                )
            body = beat(node=f"n{node}", seq=second, at_s=second)
            body.ranks, body.time_ns = ranks, body.time_ns + (node - 4) * SECOND // 20  # clocks 0.2 s apart
            bodies.append(body)
        yield second * SECOND, bodies


def alerts_of(**options):
    consumer = FleetConsumer(Played(job(**options)), FleetState())
    return [alert for _ in range(90) for alert in consumer.turn(0.0) if alert.alert == "slow.rank"]


def test_a_rank_that_is_ten_percent_slower_is_a_fleet_alert_within_a_minute_and_once():
    for work in (False, True):
        (alert,) = alerts_of(slow=37, work=work)
        assert "rank 37 takes 1.1 times" in alert.message
        assert alert.level == "fleet"
        assert alert.time_ns <= 60 * SECOND


def test_the_view_of_a_job_on_eight_hosts_has_every_rank_once():
    state = FleetState()
    for at_ns, bodies in job(seconds=20):
        for body in bodies:
            body.ranks[0].loss = float(body.ranks[0].rank)
            state.take(body, at_ns)
        assert state.look(at_ns) == []
    (row,) = fleet_rows(state, 19 * SECOND)
    assert [row[name] for name in ("ranks", "hosts", "step", "loss", "state")] == [64, 8, 19, 0.0, "live"]
    assert row["silent_nodes"] == []


def test_without_a_slow_rank_there_is_no_alert():
    assert alerts_of() == alerts_of(work=True, seed=2) == []
