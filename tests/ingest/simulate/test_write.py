"""A simulated run is a whole run in the normal log, says everywhere that it is simulated, and repeats."""

import json
import math

import numpy as np
import pytest
from simulated_runs import END_NS, simulated
from thermograd.ingest.simulate.write import DEVICE, Signals, simulate_run, truth_text
from thermograd.store.errors import LogError
from thermograd.store.events import COMMON
from thermograd.store.log.reader import events_in_order, read_kind
from thermograd.store.log.seal import verify_run
from thermograd.store.runs.catalogue import Run
from thermograd.stream.alerts.alert import digest
from thermograd.stream.level_shift import LevelShift
from thermograd.stream.pipeline.live import watch_written
from thermograd.stream.pipeline.replay import replay_events

TRUTH = {"scenario": "coupled", "rho": 0.3, "lag_s": 5.0, "seed": 1, "about": "a test"}


def rows(run, kind):
    return read_kind(run.path, kind).to_pylist()


def test_a_run_has_steps_samples_marks_and_its_truth(tmp_path):
    run = simulated(tmp_path, rho=0.3, minutes=2, seed=4)
    steps, samples = rows(run, "step"), rows(run, "sample")
    assert run.state() == "simulated"
    assert run.name == "simulated: coupled, rho 0.3, lag 5 s, seed 4"
    assert run.facts["simulated"] is True
    assert run.facts["truth"]["scenario"] == "coupled"
    assert (run.facts["truth"]["rho"], run.facts["truth"]["lag_s"], run.facts["seed"]) == (0.3, 5.0, 4)
    assert run.facts["devices"][DEVICE]["simulated"] is True
    assert run.facts["host"] is None
    assert [s["step"] for s in steps] == list(range(1, len(steps) + 1))
    assert len(steps) == pytest.approx(2.4 * 120, rel=0.05)
    assert len(samples) == 121
    assert {s["device"] for s in samples} == {DEVICE}
    assert [m["mark"] for m in rows(run, "mark")] == ["run_started", "run_ended"]
    assert verify_run(run.path)["ok"]


def test_times_lie_in_the_past_and_only_the_end_depends_on_the_clock(tmp_path):
    run = simulated(tmp_path, minutes=3)
    times = [s["time_ns"] for kind in ("step", "sample", "mark") for s in rows(run, kind)]
    assert max(times) <= END_NS
    assert min(times) == run.facts["started_time_ns"] == END_NS - 180 * 10**9
    assert run.facts["ended_time_ns"] == END_NS


def test_the_same_seed_gives_the_same_values_and_another_does_not(tmp_path):
    common = {column.name for column in COMMON} | {"writer"}

    def values(seed, scenario="trends"):
        run = simulated(tmp_path, scenario, minutes=2, seed=seed)
        return [
            [{k: v for k, v in row.items() if k not in common} for row in rows(run, kind)]
            for kind in ("step", "sample")
        ]

    assert values(5) == values(5)
    assert values(5, "throttling") == values(5, "throttling")
    assert values(5)[0] != values(6)[0]


def test_values_are_those_of_a_plausible_training(tmp_path):
    for scenario in ("uncoupled", "rw", "heavy", "trends", "coll", "throttling"):
        run = simulated(tmp_path, scenario, minutes=10, seed=1)
        steps, samples = rows(run, "step"), rows(run, "sample")
        norms = [s["grad_norm"] for s in steps]
        assert all(1e-4 < norm < 1e4 for norm in norms)
        assert all(0 < s["learning_rate"] <= 1e-3 and s["step_time_s"] > 0 for s in steps)
        assert all(1.5 < s["loss"] < 5 for s in steps)
        assert all(15 < s["temperature_c"] < 100 for s in samples)
        assert all(0 <= s["utilization_pct"] <= 100 and 0 < s["power_w"] < 800 for s in samples)


def test_the_mean_log_norm_of_a_second_is_the_series_that_was_drawn(tmp_path):
    x = np.random.default_rng(1).standard_normal(60)
    run = simulate_run(tmp_path, Signals(x, np.arange(60.0)), TRUTH, end_ns=END_NS)
    steps, begin = rows(run, "step"), run.facts["started_time_ns"]
    seconds = np.array([math.ceil((s["time_ns"] - begin) / 1e9) for s in steps])
    logs = np.log([s["grad_norm"] for s in steps])
    means = np.array([logs[seconds == k].mean() for k in range(2, 61)])
    assert np.corrcoef(means, x[1:])[0, 1] == pytest.approx(1.0, abs=1e-12)


def test_throttled_steps_take_longer(tmp_path):
    run = simulated(tmp_path, "throttling", minutes=6)
    steps, samples = rows(run, "step"), rows(run, "sample")
    counted = np.array([s["throttled_thermal_ns"] for s in samples])
    assert (np.diff(counted) >= 0).all()
    ends = np.array([s["time_ns"] for s in samples])
    place = np.searchsorted(ends, [s["time_ns"] for s in steps]).clip(1)  # the second a step ended in
    throttled = np.diff(counted)[place - 1] > 0.9e9
    times = np.array([s["step_time_s"] for s in steps])
    assert 0.2 < throttled.mean() < 0.6
    assert times[throttled].mean() > 1.03 * times[~throttled].mean()


@pytest.mark.parametrize(("minutes", "seed"), [(20, 0), (20, 1), (10, 2), (5, 3)])
def test_throttling_begins_again_and_again(tmp_path, minutes, seed):
    """The test of what precedes an onset asks for 40, and a control that fires once controls nothing."""
    run = simulated(tmp_path, "throttling", minutes=minutes, seed=seed)
    counted = np.array([s["throttled_thermal_ns"] for s in rows(run, "sample")])
    onsets = int((np.diff((np.diff(counted) > 0).astype(int)) > 0).sum())
    assert 2 * minutes < onsets < 5 * minutes


@pytest.mark.parametrize("scenario", ["uncoupled", "ar.5", "ar.98", "coupled", "driver", "throttling"])
def test_a_norm_that_does_not_shift_is_not_said_to(tmp_path, scenario):
    """At most one false alarm in 10,000 steps; a norm of one scenario that swung more had forty."""
    alarms = steps = 0
    for seed in range(4):
        detector = LevelShift()
        for row in rows(simulated(tmp_path, scenario, minutes=20, seed=seed), "step"):
            detector.update(row["grad_norm"])
            alarms += detector.episode_started
            steps += 1
    assert steps > 9_000
    assert alarms <= 1


def test_what_a_stream_layer_finds_is_in_the_log_and_in_its_replay(tmp_path):
    first, again = (
        simulated(tmp_path, "throttling", minutes=3, stream_layer=watch_written) for _ in range(2)
    )
    alerts = rows(first, "alert")
    assert {"throttle.warn", "collapse.thermal"} <= {alert["alert"] for alert in alerts}
    assert [alert["seq"] for alert in alerts] == list(range(len(alerts)))
    assert all("-watch-" in alert["writer"] for alert in alerts)
    assert digest(alerts) == digest(rows(again, "alert"))
    replay = replay_events(events_in_order(first.path), first.facts["devices"])
    assert replay.watched
    assert replay.check()["identical"] is True
    assert replay.unseen == 0
    assert verify_run(first.path)["ok"]
    begin, end = first.facts["started_time_ns"], first.facts["ended_time_ns"]
    assert all(begin <= event["time_ns"] <= end for kind in ("alert", "mark") for event in rows(first, kind))


@pytest.mark.parametrize("minutes", [0.001, 0.1])
@pytest.mark.parametrize("hz", [0.1, 3.0, 10.0])
@pytest.mark.parametrize("scenario", ["uncoupled", "throttling"])
def test_the_shortest_runs_are_whole_too(tmp_path, minutes, hz, scenario):
    run = simulated(tmp_path, scenario, minutes=minutes, hz=hz)
    assert rows(run, "step")
    assert rows(run, "sample")
    assert verify_run(run.path)["ok"]


def test_signals_of_different_length_and_impossible_rates_are_refused(tmp_path):
    with pytest.raises(ValueError, match="x has 3 values and y 2"):
        simulate_run(tmp_path, Signals(np.zeros(3), np.zeros(2)), TRUTH)
    with pytest.raises(ValueError, match="x has 0 values"):
        simulate_run(tmp_path, Signals(np.zeros(0), np.zeros(0)), TRUTH)
    with pytest.raises(ValueError, match="hz is 50"):
        simulate_run(tmp_path, Signals(np.zeros(3), np.zeros(3)), TRUTH, hz=50)
    assert not list(tmp_path.iterdir())


def test_constant_series_are_written_as_constants(tmp_path):
    run = simulate_run(tmp_path, Signals(np.ones(5), np.ones(5)), TRUTH, end_ns=END_NS)
    assert len({s["temperature_c"] for s in rows(run, "sample")}) == 1


def test_events_that_cannot_be_written_leave_no_run(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.store.log.writer.EventWriter.append", lambda *_, **__: None)
    with pytest.raises(LogError, match="could not be written"):
        simulated(tmp_path, minutes=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("truth", "text"),
    [
        ({"scenario": "uncoupled", "lag_s": None, "seed": 0}, "simulated: uncoupled, seed 0"),
        ({"scenario": "trends", "lag_s": None, "seed": 2}, "simulated: trends, not coupled, seed 2"),
        ({"scenario": "spikes", "lag_s": 4.0, "rho": None, "seed": 0}, "simulated: spikes, lag 4 s, seed 0"),
        ({"scenario": "coupled", "lag_s": None, "rho": 0.0, "seed": 0}, "simulated: coupled, rho 0, seed 0"),
    ],
)
def test_the_truth_in_words_names_what_is_coupled(truth, text):
    assert truth_text(truth) == text


def test_a_hostile_truth_reaches_no_path(tmp_path):
    truth = TRUTH | {"scenario": "../../<script>alert(1)</script>"}
    run = simulate_run(tmp_path, Signals(np.zeros(5), np.zeros(5)), truth, end_ns=END_NS)
    assert run.path.parent == tmp_path
    assert "/" not in run.run_id
    assert "<" not in run.run_id
    assert json.loads((Run(run.path).path / "run.json").read_text())["truth"]["scenario"].startswith("../")
