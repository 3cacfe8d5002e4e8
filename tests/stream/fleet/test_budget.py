"""One budget for all: promised false alarms, power that is left, and the same alarms from the log again."""

import random
from itertools import groupby

import numpy as np
import pytest
from fleet_messages import beat
from stream_events import EPOCH, SECOND, recording
from thermograd.stream.fleet.brokers.messages import packed, unpacked
from thermograd.stream.fleet.budget import FleetBudget, Recorded, replay_fleet
from thermograd.stream.fleet.state import FleetState
from thermograd.stream.pipeline.monitor import Monitor

BETS = np.array((0.1, -0.1, 0.4, -0.4, 0.9, -0.9))


def bettors(rng, runs, seconds, rho=0.0):
    """Yield, second by second, what mixed bets on noise are worth for each run, and how many were begun."""
    stand = np.zeros((runs, len(BETS)))
    for second in range(seconds):
        x = rng.standard_normal(runs)
        y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(runs)
        stand = (stand + 1.0) * (1.0 + BETS * np.clip(x * y, -1, 1)[:, None])
        yield second, stand.mean(axis=1).tolist(), second + 1.0


def test_uncoupled_runs_that_come_and_go_give_no_more_false_alarms_than_allowed():
    """In the mean one in 400 s, over all 40 runs: a Poisson count of 20 that is above 35 has p < .001."""
    rng, budget, alarms = np.random.default_rng(5), FleetBudget(per_day=86_400 / 400, lateness_s=0), 0
    live = set(range(20))
    for second, values, begun in bettors(rng, 40, 8_000):
        if second % 500 == 0:
            live = set(rng.choice(40, rng.integers(5, 40), replace=False).tolist())
        for run in live:
            budget.take(f"r{run}", "gpu", second, values[run], begun)
        alarms += len(budget.advance())
    assert 0 < budget.alarms == alarms <= 35


@pytest.mark.parametrize("size", [1, 500])
def test_a_coupling_among_many_is_found_later_but_found(size):
    rng, budget = np.random.default_rng(7), FleetBudget(lateness_s=0)
    for second, (value,), begun in bettors(rng, 1, 3000, rho=0.5):
        budget.take("coupled", "gpu", second, value, begun)
        for other in range(size - 1):
            budget.pending[second][f"r{other}\0gpu"] = (0.0, 0.0)
        if alarms := budget.advance():
            break
    assert [alarm.run for alarm in alarms] == ["coupled"]
    assert alarms[0].tick < (400 if size == 1 else 800)


def test_late_evidence_begins_no_bets_and_order_of_arrival_does_not_matter():
    def alarms_of(order, late=()):
        budget = FleetBudget(per_day=1000.0, lateness_s=30)
        for each in (*order, *late):
            budget.take(*each)
        return budget, budget.advance(budget.newest)

    rng = random.Random(3)
    evidence = [
        (run, "gpu", tick, 1.2**tick * (1 + at), tick + 1.0)
        for tick in range(60)
        for at, run in enumerate("ab")
    ]
    before, alarms = alarms_of(evidence)
    for _ in range(3):
        rng.shuffle(evidence)
        again, same = alarms_of(evidence)
        assert same == alarms != []
        assert again == before
    late, none = alarms_of(evidence, [("c", "gpu", 10, 1e30, 1.0)])
    late.take("c", "gpu", 11, 1e40, 2.0)
    late.take("c", "gpu", 12, 1e50, 3.0)
    assert late.late == 2
    assert late.stakes["c"]["gpu"].fleet == pytest.approx(0.0)
    assert [alarm.run for alarm in none] == [alarm.run for alarm in alarms]
    late.take("c", "gpu", 70, float("nan"), 4.0)
    assert 70 not in late.pending


def delivered_in_turn(rng, bodies):
    """Each run's beats in their order, but one run up to four seconds behind another."""
    times = {}
    for body in bodies:
        at = max(times.get((body.run, body.seq - 1), 0), body.time_ns + rng.random() * 4 * SECOND)
        times[body.run, body.seq] = at
    return sorted(bodies, key=lambda body: (times[body.run, body.seq], body.seq))


def test_the_log_gives_the_same_fleet_alerts_as_the_live_fleet_bit_for_bit():
    logs = {f"run-{seed}": recording(260, rho=rho, seed=seed) for seed, rho in ((1, 0.95), (2, 0.0))}
    bodies = []
    for run, events in logs.items():
        monitor = Monitor()
        monitor.pairs.standings = []
        for seq, (_, second) in enumerate(groupby(events, lambda e: (e.values["time_ns"] - EPOCH) // SECOND)):
            for event in second:
                monitor.process(event)
            evidence, monitor.pairs.standings = monitor.pairs.standings, []
            bodies.append(beat(run=run, seq=seq, at_s=seq, evidence=evidence))
        monitor.close()
        bodies.append(beat(run=run, seq=seq + 1, at_s=seq + 1, evidence=monitor.pairs.standings))
    rng = random.Random(1)
    arrivals = delivered_in_turn(rng, bodies)
    state, told = FleetState(budget=FleetBudget(per_day=500.0, lateness_s=60)), []
    for body in arrivals:
        state.take(unpacked(packed(body).data), body.time_ns)
        told += state.look(body.time_ns)
    assert state.budget.late == 0
    told += [each for alarm in state.budget.advance(state.budget.newest) for each in state._alarm(alarm)]
    again = replay_fleet([Recorded(run, events, {}) for run, events in reversed(logs.items())], 500.0)
    found = [(each.run, each.device, each.time_ns, each.score) for each in told if each.alert == "coupling"]
    assert found == [(alarm.run, alarm.device, (alarm.tick + 1) * SECOND, alarm.value) for alarm in again]
    assert {run for run, *_ in found} == {"run-1"}
