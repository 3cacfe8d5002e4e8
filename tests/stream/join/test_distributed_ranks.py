import random

import pytest
from thermograd.stream.alerts.alert import alert_from
from thermograd.stream.join.distributed_ranks import RankGroups
from thermograd.stream.join.lateness import LateEvents

SECOND = 10**9


def values(step, rank, time_s=None):
    time_ns = round((step if time_s is None else time_s) * SECOND) + rank
    return {"time_ns": time_ns, "monotonic_ns": time_ns, "seq": step, "step": step, "rank": rank}


def finding(of, score=10.0, name="spike.grad", metric="grad_norm"):
    return alert_from(of, name, "warning", f"step {of['step']}: high", metric=metric, score=score)


def training(found, ranks=4, steps=40):
    """Steps of every rank, one a second; `found` maps (step, rank) to scores of findings."""
    events = []
    for step in range(1, steps + 1):
        for rank in range(ranks):
            of = values(step, rank)
            scores = found.get((step, rank), [])
            events.append((of, f"r{rank}", [finding(of, score) for score in scores]))
    return events


def run(groups, events):
    told = [alert for of, writer, alerts in events for alert in groups.update(of, writer, alerts)]
    return told + groups.close()


def brief(alerts):
    return [(alert["step"], alert["message"].partition("(")[2]) for alert in alerts]


def test_a_spike_that_all_ranks_see_is_one_alert_and_names_them():
    events = training({(20, rank): [8.0 + rank] for rank in range(4)})
    (alert,) = run(RankGroups(4), events)
    assert alert["message"] == "step 20: high (rank 0-3)"
    assert alert["score"] == 11.0  # that of the rank that saw it most clearly


def test_a_spike_on_any_rank_is_told_and_its_neighbours_in_steps_are_the_same_episode():
    events = training({(20, 2): [8.0], (22, 1): [9.0], (25, 0): [8.0], (36, 3): [7.0]})
    assert brief(run(RankGroups(4), events)) == [(20, "rank 2)"), (36, "rank 3)")]


def test_one_that_is_twice_as_strong_is_not_hidden_by_a_weak_one_before():
    events = training({(20, 0): [7.0], (23, 1): [7.5, 30.0]})
    assert [(a["step"], a["score"]) for a in run(RankGroups(4), events)] == [(20, 7.0), (23, 30.0)]


def test_it_goes_out_once_every_rank_has_reached_its_step():
    groups, told_at = RankGroups(4), []
    for of, writer, alerts in training({(20, 0): [8.0]}):
        told_at += [(of["step"], of["rank"]) for _ in groups.update(of, writer, alerts)]
    assert told_at == [(20, 3)]


def test_a_rank_that_is_never_heard_of_delays_it_by_twice_the_lateness_only():
    groups, told_at = RankGroups(8, lateness_s=2.0), []
    for of, writer, alerts in training({(20, 0): [8.0]}, ranks=4):
        told_at += [of["step"] for _ in groups.update(of, writer, alerts)]
    assert told_at == [24]


def test_a_single_rank_is_told_at_once_and_as_it_is():
    of = values(5, 0)
    alert = finding(of)
    for world_size in (None, 0, 1):
        assert RankGroups(world_size).update(of, "w", [alert]) == [alert]


def test_different_alerts_and_metrics_are_different_episodes():
    of = values(20, 0)
    found = [finding(of), finding(of, name="nonfinite"), finding(of, name="nonfinite", metric="loss")]
    assert len(run(RankGroups(2), [(of, "r0", found)])) == 3


def shuffled(rng, events, delay_s):
    """Events in order of arrival, each writer's own kept, none later than `delay_s` after its time."""
    arrival = {}
    keyed = []
    for event in events:
        of, writer, _ = event
        at = max(of["time_ns"] + rng.random() * delay_s * SECOND, arrival.get(writer, 0.0))
        arrival[writer] = at
        keyed.append((at, len(keyed), event))
    return [event for _, _, event in sorted(keyed, key=lambda entry: entry[:2])]


@pytest.mark.parametrize("seed", range(40))
def test_the_alerts_do_not_depend_on_the_order_in_which_ranks_deliver(seed):
    rng = random.Random(seed)
    found = {(rng.randint(1, 40), rng.randrange(4)): [rng.uniform(6, 40)] for _ in range(12)}
    events = training(found)
    expected = run(RankGroups(4), events)
    groups = RankGroups(4)
    told = run(groups, shuffled(rng, events, 1.9))
    assert sorted(map(str, told)) == sorted(map(str, expected))


@pytest.mark.parametrize("seed", range(40))
def test_what_comes_too_late_goes_out_by_itself_and_a_replay_does_the_same(seed):
    rng = random.Random(seed)
    found = {(rng.randint(1, 40), rng.randrange(4)): [rng.uniform(6, 40)] for _ in range(14)}
    events = training(found)
    live = LateEvents()
    told = run(RankGroups(4, lateness_s=0.5, left_out=live), shuffled(rng, events, 6.0))
    mark = live.mark()
    replayed = run(RankGroups(4, 0.5, left_out=LateEvents.from_marks([mark] if mark else [])), events)
    assert sorted(map(str, replayed)) == sorted(map(str, told))
    if seed == 0:
        assert mark is not None  # the case does arise
