"""What the consumer makes of messages in any order and number."""

import random

import msgspec
from fleet_messages import SECOND, alert, beat, bye
from thermograd.stream.fleet.state import FleetState
from thermograd.stream.fleet.view import fleet_lines, fleet_rows


def test_a_spike_is_one_for_the_job_whichever_rank_or_node_says_it_first():
    state = FleetState()
    told = []
    for node, writer in (("n0", None), ("n1", None), ("n1", "n1-agent-9-cd")):
        told += state.take(alert(node=node, step=12, writer=writer, score=9.0 + len(told)), 1)
    told += state.take(alert(node="n1", seq=1, step=13), 2)
    assert [each.step for each in told] == [12, 13]
    assert fleet_rows(state, 2) == []
    assert state.runs["run"].spikes == [1, 2]


def test_each_alert_is_told_once_in_any_order_with_any_repetition():
    messages = [alert(run=f"r{run}", seq=seq, step=seq) for run in range(3) for seq in range(20)]
    messages += [beat(run=f"r{run}", seq=seq, at_s=seq, alerts=20) for run in range(3) for seq in range(10)]
    for seed in range(5):
        rng = random.Random(seed)
        arriving = messages + rng.choices(messages, k=60)
        rng.shuffle(arriving)
        state, told = FleetState(), []
        for at, body in enumerate(arriving):
            told += state.take(body, at)
        assert len(told) == len({each.id for each in told}) == 60
        assert [run.missing_alerts() for run in state.runs.values()] == [0, 0, 0]
        assert state.repeated >= 60


def test_a_gap_is_seen_and_filled_later():
    state = FleetState()
    for body in (beat(alerts=4), alert(seq=0, step=1), alert(seq=2, step=3)):
        state.take(body, 0)
    assert state.runs["run"].missing_alerts() == 2
    state.take(alert(seq=1, step=2), 0)
    state.take(alert(seq=3, step=4), 0)
    assert state.runs["run"].missing_alerts() == 0


def test_a_silent_node_is_an_alert_once_and_its_return_is_said():
    state, told = FleetState(silent_s=10), []
    for second in range(40):
        if second < 5 or second >= 30:
            state.take(beat(node="n0", seq=second, at_s=second + 10_000), second * SECOND)  # a clock ahead
        told += state.take(beat(node="n1", seq=second, at_s=second - 10_000), second * SECOND)
        told += state.look(second * SECOND)
    assert [(each.alert, each.node, each.level) for each in told] == [("silent.node", "n0", "fleet")]
    back = [each for each in state.runs["run"].alerts if each.alert == "node.back"]
    assert len(back) == 1


def test_a_node_that_said_goodbye_is_not_silent_and_a_new_agent_of_it_lives():
    state = FleetState(silent_s=10)
    state.take(beat(), 0)
    state.take(bye(), SECOND)
    assert state.look(60 * SECOND) == []
    assert not state.runs["run"].is_live
    state.take(beat(writer="n0-agent-2-cd"), 61 * SECOND)
    assert state.runs["run"].is_live
    assert [each.alert for each in state.look(90 * SECOND)] == ["silent.node"]


def test_while_we_heard_nothing_nobodys_silence_was_theirs():
    state = FleetState(silent_s=10)
    state.take(beat(), 0)
    state.reconnected(100 * SECOND)
    assert state.look(105 * SECOND) == []


def test_chance_alerts_stay_the_nodes_and_facts_are_told_to_the_fleet():
    state = FleetState()
    levels = {}
    for seq, name in enumerate(("spike.loss", "shift.grad", "coupling", "nonfinite", "collapse.thermal")):
        (told,) = state.take(alert(seq=seq, name=name, device="GPU-0", onset_time_ns=seq), 0)
        levels[name] = told.level
    assert levels == {
        "spike.loss": "node",
        "shift.grad": "node",
        "coupling": "node",
        "nonfinite": "fleet",
        "collapse.thermal": "fleet",
    }


def test_a_kept_state_goes_on_as_if_it_had_never_been_away():
    def messages(rng):
        for second in range(50):
            for run in ("a", "b"):
                value = 2.0**second if run == "a" else 1.0
                evidence = [("GPU-0", second, value, float(second))]
                yield beat(run=run, seq=second, at_s=second, evidence=evidence)
                if rng.random() < 0.3:
                    yield alert(run=run, seq=second, step=second)

    states, told = [FleetState(), FleetState()], ([], [])
    for state in states:
        state.budget.lateness_s = 5
    for at, body in enumerate(messages(random.Random(1))):
        for index, state in enumerate(states):
            told[index].extend(state.take(body, at * SECOND))
            told[index].extend(state.look())
        if at % 7 == 0:
            states[1] = msgspec.msgpack.decode(msgspec.msgpack.encode(states[1]), type=FleetState)
    assert told[0] == told[1]
    assert states[0] == states[1]
    assert [each.run for each in told[0] if each.alert == "coupling"] == ["a"]


def test_the_view_has_trouble_first_at_every_width_and_number_of_runs():
    state = FleetState()
    for number in range(500):
        state.take(beat(run=f"run-{number:03}-of-a-long-name", step=number, r0=2.5), 0)
    state.take(beat(run="calm", step=1_234_567, r0=float("nan")), 0)
    state.take(alert(run="calm", step=5, name="nonfinite", severity="critical"), 0)
    for width in (30, 80, 200):
        lines = [line.plain for line in fleet_lines(state, SECOND, width, 24)]
        assert len(lines) == 24
        assert max(map(len, lines)) <= width
        assert lines[3].startswith("calm")
        assert "more: " in "".join(lines)
    assert fleet_rows(state, SECOND)[0]["loss"] is None


def test_a_killed_agents_successor_ends_its_node_in_any_order_of_messages():
    killed = [beat(seq=seq, at_s=seq) for seq in range(3)]
    successor = [beat(writer="n0-agent-2-cd", seq=seq, at_s=60 + seq) for seq in range(3)]
    goodbye = bye(writer="n0-agent-2-cd", at_s=63)
    for seed in range(20):
        arriving = [*killed, *successor, goodbye, bye(at_s=0)]
        random.Random(seed).shuffle(arriving)
        state = FleetState(silent_s=10)
        for body in arriving:
            state.take(body, 63 * SECOND)
        assert state.look(3600 * SECOND) == []
        assert not state.runs or not state.runs["run"].is_live


def test_a_run_that_said_goodbye_has_ended_on_the_node_that_could_not():
    state = FleetState(silent_s=10)
    state.take(beat(node="n1"), 0)
    state.take(beat(node="n2"), 0)
    for second in range(1, 20):
        state.take(beat(node="n0", seq=second), second * SECOND)
        state.take(beat(node="n1", seq=second), second * SECOND)
    assert [each.node for each in state.look(20 * SECOND)] == ["n2"]
    state.take(bye(node="n0"), 20 * SECOND)
    assert state.look(60 * SECOND) == []
    assert not state.runs["run"].is_live


def test_nobody_who_has_not_caught_up_calls_a_node_silent():
    state = FleetState(silent_s=10)
    state.take(beat(), 0)
    assert state.look(60 * SECOND, is_caught_up=False) == []
    assert [each.alert for each in state.look(60 * SECOND)] == ["silent.node"]


def test_at_80_columns_the_name_is_cut_and_no_number_state_or_heading_and_alerts_are_whole():
    state = FleetState(silent_s=10)
    for name in ("a-name-that-is-longer-than-any-room-for-it", "b"):
        state.take(beat(run=name, step=1_234_567, r0=2.123), 0)
        state.take(beat(run=name, node="n1", step=1_234_567, r1=2.123), 0)
    state.runs["b"].name = "the name of b"
    state.look(3600 * SECOND)
    for width in (30, 50, 80, 100, 120):
        lines = [line.plain for line in fleet_lines(state, 3600 * SECOND, width)]
        assert max(map(len, lines)) <= width
        assert "…" not in lines[2]
        assert [line.count("…") for line in lines[3:5]] in ([1, 1], [1, 0])
        assert all(" silent " in line and "1234567" in line for line in lines[3:5])
    lines = [line.plain for line in fleet_lines(state, 3600 * SECOND, 80)]
    assert "2 live runs · 2 nodes" in lines[0]  # the runs share them
    assert "at most 2 false alarms a day" in lines[0]
    assert " ".join(lines[2].split()) == "run state ranks hosts step loss spikes slowed silent alerts"
    told = " ".join(" ".join(lines[6:]).split())
    assert "the name of b on n1: node n1 has been silent for 3600 s: its agent is gone, or the" in told
    state.budget.per_day = 0.5
    state.take(beat(run="b", seq=1, at_s=1, alerts=60), 0)
    assert fleet_lines(state, 0, 80)[1].plain.endswith("false alarm a day")
    state.runs.clear()
    assert "at most 1 false alarm a day" in fleet_lines(state, 0, 80)[0].plain
