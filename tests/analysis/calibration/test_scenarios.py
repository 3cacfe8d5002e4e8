"""Scenarios are drawn as they were asked for, and analysis finds in the written runs what is true of them."""

import numpy as np
import pytest
from simulated_runs import simulated
from thermograd.analysis.calibration.scenarios import draw, scenario_list, scenarios
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.analysis.coupling.cross_correlation import residual_cross_correlation
from thermograd.analysis.report.text.analysis import describe_analysis
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import question_verdict
from thermograd.analysis.run.statements import speed_sentence
from thermograd.ingest.simulate.write import Signals, simulate_run
from thermograd.store.errors import ScenarioError
from thermograd.store.log.reader import read_kind


def norm_and_temperature(run):
    """Return the most telling direction of the pair that the scenarios are about."""
    pairs = analyze_run(run, "grad_norm", "temperature_c").pairs
    return min(pairs, key=lambda pair: pair.p_adjusted)


# What is drawn


def test_without_anything_nothing_is_coupled_and_a_coupling_alone_means_coupled():
    assert draw().truth["scenario"] == "uncoupled"
    assert draw(rho=0.0).truth["scenario"] == "uncoupled"
    truth = draw(rho=0.25, seed=7).truth
    assert (truth["scenario"], truth["rho"], truth["lag_s"], truth["seed"]) == ("coupled", 0.25, 5.0, 7)


@pytest.mark.parametrize("name", scenarios())
def test_every_scenario_can_be_drawn_at_any_length_and_repeats(name):
    for minutes in (0.01, 1.0, 5.0):
        assert_can_be_drawn_and_repeats(name, minutes)


def assert_can_be_drawn_and_repeats(name, minutes):
    first, again = draw(name, minutes=minutes, seed=3), draw(name, minutes=minutes, seed=3)
    if first.recorded is None:
        assert first.pair.x.size == first.pair.y.size == max(1, round(60 * minutes))
    shown, repeated, other = (drawn.shown() for drawn in (first, again, draw(name, minutes=minutes, seed=4)))
    for series in ("x", "y"):
        assert np.isfinite(shown[series][0])
        assert shown[series].tobytes() == repeated[series].tobytes()
    if minutes > 1:
        assert shown["x"].tobytes() != other["x"].tobytes()


def test_every_process_of_the_zoo_is_a_scenario_and_says_its_truth():
    known = scenarios()
    also = {"trend": "trends", "driver": "driver"}
    assert {"coupled", "coupled-trends", "spikes", "driver", "throttling"} <= set(known)
    for name, process in ZOO.items():
        truth = draw(also.get(name, name), minutes=1).truth
        assert truth["response"] == process.response
        if name not in also:
            assert truth["rho"] == (0.0 if process.is_null else process.rho)
            assert (truth["lag_s"], truth["memory_s"]) == (process.lag_s, process.memory_s)
    assert {name for group in scenario_list().values() for name in group} == set(known)


def test_a_cycle_that_a_training_would_log_is_an_epoch_of_the_run(tmp_path):
    run = simulated(tmp_path, "cycle24", minutes=2)
    steps = read_kind(run.path, "step")
    time_s = (np.array(steps["time_ns"]) - run.facts["started_time_ns"]) / 1e9
    assert np.array(steps["epoch"]) == pytest.approx(time_s / 24.0, abs=1e-6)
    assert (
        max(read_kind(simulated(tmp_path, "cycle24-unlogged", minutes=2).path, "step")["epoch"].to_pylist())
        <= 1
    )


def test_missing_seconds_have_no_steps_and_no_samples(tmp_path):
    drawn = draw("gaps-each", minutes=3, seed=1)
    run = simulated(tmp_path, "gaps-each", minutes=3, seed=1)
    begin_ns = run.facts["started_time_ns"]
    for kind, series in (("step", drawn.pair.x), ("sample", drawn.pair.y)):
        ends = -((begin_ns - np.array(read_kind(run.path, kind)["time_ns"])) // 10**9)
        there = np.isin(np.arange(1, series.size + 1), ends)
        assert there.tolist() == np.isfinite(series).tolist()


def test_irregular_steps_are_written_at_their_own_times(tmp_path):
    drawn = draw("irregular-sampled", minutes=3, seed=1).recorded
    run = simulated(tmp_path, "irregular-sampled", minutes=3, seed=1)
    begin_ns, steps = run.facts["started_time_ns"], read_kind(run.path, "step")
    assert np.array(steps["time_ns"]) - begin_ns == pytest.approx(drawn.step_time_ns, abs=2)
    assert np.array(steps["step_time_s"]) == pytest.approx(drawn.step_time_s, abs=1e-6)
    samples = np.array(read_kind(run.path, "sample")["time_ns"]) - begin_ns
    assert samples == pytest.approx(drawn.sample_time_ns, abs=2)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("trend", "trends"),
        ("Coupled Trends", "coupled-trends"),
        ("common_driver", "driver"),
        ("AR.9", "ar.9"),
    ],
)
def test_a_scenario_is_known_by_the_names_people_use(given, name):
    assert draw(given, minutes=1).truth["scenario"] == name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "../../etc"}, "there is no scenario '../../etc'; there are: uncoupled, coupled, trends"),
        ({"name": ""}, "there is no scenario ''"),
        ({"rho": 1.5}, "the coupling is 1.5; allowed is a correlation from -1 to 1"),
        ({"rho": float("nan")}, "the coupling is nan"),
        ({"name": "rw", "rho": 0.3}, "'rw' takes no coupling; these do: coupled, coupled-trends, driver"),
        ({"name": "rw", "lag_s": 3}, "'rw' couples nothing, so it takes no lag"),
        ({"rho": 0.3, "lag_s": 2.5}, "the lag is 2.5 s; allowed are whole seconds from -60 to 60"),
        ({"rho": 0.3, "lag_s": 90}, "the lag is 90 s"),
        ({"name": "spikes", "lag_s": -1}, "whole seconds from 0 to 60"),
        ({"minutes": 0}, "the length is 0 minutes"),
        ({"minutes": float("nan")}, "the length is nan minutes"),
        ({"minutes": float("inf")}, "the length is inf minutes"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_can(arguments, message):
    with pytest.raises(ScenarioError) as refused:
        draw(**arguments)
    assert message in str(refused.value)


@pytest.mark.parametrize("lag", [-7, 0, 5])
def test_the_innovations_have_the_stated_correlation_at_the_stated_lag(lag):
    drawn = draw(rho=-0.4, lag_s=lag, minutes=60, seed=1)
    family = "reverse" if lag < 0 else None
    result = residual_cross_correlation(drawn.pair.x, drawn.pair.y, family=family, permutations=0)
    assert result.lag == lag
    assert result.r == pytest.approx(-0.4, abs=0.04)


# What analysis finds in the written runs


@pytest.mark.parametrize("scenario", ["uncoupled", "trends"])
def test_a_run_without_coupling_ends_as_no_coupling(tmp_path, scenario):
    analysis = analyze_run(simulated(tmp_path, scenario, minutes=18, seed=2))
    assert question_verdict(analysis) == "no_coupling"


@pytest.mark.parametrize("scenario", ["driver", "burst", "rw", "kink", "hetero", "ar.98"])
def test_norm_and_temperature_of_every_null_end_as_no_coupling(tmp_path, scenario):
    assert norm_and_temperature(simulated(tmp_path, scenario, minutes=18, seed=2)).verdict == "no_coupling"


def test_huge_spikes_are_no_coupling_though_a_bound_cannot_always_be_given(tmp_path):
    assert norm_and_temperature(simulated(tmp_path, "heavy", minutes=18, seed=2)).verdict != "coupled"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_shared_event_is_no_coupling(tmp_path, seed):
    pair = norm_and_temperature(simulated(tmp_path, "shared-kink", minutes=18, seed=seed))
    assert pair.verdict != "coupled"


def test_a_true_coupling_makes_the_run_coupled(tmp_path):
    assert question_verdict(analyze_run(simulated(tmp_path, "coupled", minutes=18, seed=1))) == "coupled"


@pytest.mark.parametrize(
    ("scenario", "rho", "lag_s"),
    [("coupled", 0.3, 5), ("coupled", 0.5, 9), ("coupled", -0.3, -4), ("coupled-trends", 0.3, 5)],
)
def test_a_true_coupling_is_found_at_its_lag(tmp_path, scenario, rho, lag_s):
    pair = norm_and_temperature(simulated(tmp_path, scenario, rho, lag_s, seed=1))
    assert pair.verdict == "coupled"
    assert abs(pair.lag_s - lag_s) <= 1
    assert pair.r == pytest.approx(rho, abs=0.1)
    assert pair.n >= 1185


def test_spikes_that_heat_are_found(tmp_path):
    pair = norm_and_temperature(simulated(tmp_path, "spikes", seed=1))
    assert (pair.verdict, pair.lag_s) == ("coupled", 4.0)
    assert pair.r > 0


def test_trends_fool_the_naive_method_and_not_ours(tmp_path):
    for seed in (0, 1):
        pair = norm_and_temperature(simulated(tmp_path, "trends", seed=seed))
        assert abs(pair.pearson_r) > 0.6
        assert pair.verdict == "no_coupling"


def test_a_common_driver_fools_the_naive_method_and_not_ours(tmp_path):
    pair = norm_and_temperature(simulated(tmp_path, "driver", seed=0))
    assert pair.pearson_r > 0.25
    assert pair.verdict == "no_coupling"
    both = norm_and_temperature(simulated(tmp_path, "driver", 0.4, seed=0))
    assert (both.verdict, both.lag_s) == ("coupled", 3.0)


def test_throttling_is_speed_coupling_and_no_other(tmp_path):
    every = analyze_run(
        simulated(tmp_path, "throttling", minutes=8, seed=1)
    )  # of 20 minutes: a quarter of one
    speed = {p.y for p in every.pairs if p.is_speed and p.verdict == "coupled"}
    assert speed >= {"temperature_c", "sm_clock_mhz", "throttled_ratio"}
    assert question_verdict(every) != "coupled"
    analysis = analyze_run(simulated(tmp_path, "throttling", seed=1), "grad_norm", "temperature_c")
    assert question_verdict(analysis) == "no_coupling"
    (onsets,) = [test for test in analysis.onset_tests if test.event == "throttling"]
    assert (onsets.test.n_onsets >= 40, onsets.verdict) == (True, "inconclusive")
    assert speed_sentence(every) == speed_sentence(analysis) == ""


def test_a_control_that_could_hardly_fire_is_no_evidence(tmp_path):
    analysis = analyze_run(simulated(tmp_path, "throttling", minutes=1.5, seed=1))
    assert not [p for p in analysis.pairs if p.is_speed and p.verdict == "coupled"]
    (onsets,) = [each.test.n_onsets for each in analysis.onset_tests]
    assert f"simulated:gpu began to throttle {onsets} times." in speed_sentence(analysis)
    assert speed_sentence(analysis) in describe_analysis(analysis)


def test_a_device_that_never_throttled_could_not_slow_the_steps(tmp_path):
    x = np.random.default_rng(0).standard_normal(300)
    signals = Signals(x, np.zeros(300), "throttle flag")
    truth = {"scenario": "none", "seed": 0, "lag_s": None}
    analysis = analyze_run(simulate_run(tmp_path, signals, truth))
    assert speed_sentence(analysis).endswith("the throttling of simulated:gpu did not vary.")


def test_faster_sampling_changes_neither_bins_nor_truth(tmp_path):
    slow = norm_and_temperature(simulated(tmp_path, rho=0.4, minutes=10))
    fast = norm_and_temperature(simulated(tmp_path, rho=0.4, minutes=10, hz=5.0))
    assert fast.period_s == slow.period_s == 1.0
    assert abs(fast.n - slow.n) <= 5  # longer own past
    assert fast.r == pytest.approx(slow.r, abs=0.02)
    assert fast.lag_s == slow.lag_s


def test_a_slow_sampler_sees_less(tmp_path):
    pair = norm_and_temperature(simulated(tmp_path, rho=0.3, minutes=20, hz=0.2))
    assert pair.period_s == pytest.approx(5.0)
    assert pair.n == pytest.approx(240, abs=2)
