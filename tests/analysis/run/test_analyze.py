import json
import math

import numpy as np
import pytest
from synthetic import make_run
from thermograd.analysis.coupling.verdict import holm
from thermograd.analysis.report.text.analysis import describe_analysis
from thermograd.analysis.run import pairs
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import question_verdict, verdict_sentence
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run
from thermograd.store.runs.describe import describe_run, run_facts_shown

SECOND = 10**9
START = 1_800_000_000 * SECOND


def record(tmp_path, norms, temperatures, devices=None, name="r", step_offset_s=0.5, **columns):
    """Write a run with one step and one sample a second."""
    run = create_run(tmp_path, name, {"devices": devices or {"gpu": {}}})
    writer = EventWriter(run.path, run.run_id, "w")
    for i, norm in enumerate(norms):
        values = {key: value[i] for key, value in columns.items()}
        time_ns = START + round((i + step_offset_s) * SECOND)
        writer.append("step", time_ns, 0, step=i + 1, rank=0, grad_norm=norm, **values)
    for i, temperature in enumerate(temperatures):
        for device in devices or {"gpu": {}}:
            writer.append("sample", START + (i + 1) * SECOND, 0, device=device, temperature_c=temperature)
    writer.close()
    return run


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def pairs_by_family(analysis, x="grad_norm", y="temperature_c"):
    return {pair.family: pair for pair in analysis.pairs if (pair.x, pair.y) == (x, y)}


def test_a_true_coupling_is_found_at_its_lag_with_its_sign(tmp_path, rng):
    shocks = rng.standard_normal(900)
    heat = 60 + 2 * np.roll(shocks, 5) * 0.7 + 2 * rng.standard_normal(900)
    analysis = analyze_run(record(tmp_path, np.exp(0.2 * shocks), heat))
    pair = pairs_by_family(analysis)["forward"]
    assert pair.verdict == "coupled"
    assert pair.lag_s == pytest.approx(5)
    assert pair.r > 0.3
    assert pair.strength == "moderate"
    assert pairs_by_family(analysis)["reverse"].verdict != "coupled"
    sentence = verdict_sentence(analysis)
    assert sentence.startswith("COUPLED (moderate): gradient norm and temperature of gpu")
    assert "the hardware follows by 5 s" in sentence
    assert "n = 9" in sentence


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_what_is_not_resampled_changes_no_verdict_and_no_adjusted_p(tmp_path, rng, monkeypatch, rho):
    shocks = rng.standard_normal(400)
    heat = 60 + rho * np.roll(shocks, 5) + rng.standard_normal(400)
    run = record(tmp_path, np.exp(0.2 * shocks), heat, loss=rng.standard_normal(400))
    found = analyze_run(run).pairs
    monkeypatch.setattr(pairs, "holm", lambda p_values: 0.0 * np.asarray(p_values))  # all stay open
    resampled = analyze_run(run).pairs
    told = [(pair.verdict, pair.p_adjusted, pair.r, pair.bound) for pair in resampled]
    assert [(pair.verdict, pair.p_adjusted, pair.r, pair.bound) for pair in found] == told
    assert all(mine.p <= other.p for mine, other in zip(found, resampled, strict=True))
    assert any(pair.verdict == "coupled" for pair in found) == (rho > 0)


def test_least_p_values_that_holm_corrects_to_1_decide_as_the_larger_ones_would(rng):
    for _ in range(200):
        least = rng.uniform(size=12) ** 3
        true = least + (1 - least) * rng.uniform(size=12) * rng.integers(0, 2, 12)
        assert holm(np.where(holm(least) < 1, true, least)).tolist() == holm(true).tolist()


def test_hardware_that_leads_is_found_in_reverse(tmp_path, rng):
    shocks = rng.standard_normal(900)
    norms = np.exp(0.2 * (0.7 * np.roll(shocks, 4) + rng.standard_normal(900)))
    pair = pairs_by_family(analyze_run(record(tmp_path, norms, 60 + shocks)))["reverse"]
    assert pair.verdict == "coupled"
    assert pair.lag_s == pytest.approx(-4)


def test_two_trends_are_no_coupling_though_the_naive_figure_is_large(tmp_path, rng):
    t = np.arange(1100)
    norms = np.exp(1 - t / 300 + 0.2 * rng.standard_normal(t.size))
    heat = np.round(40 + 35 * (1 - np.exp(-t / 250)) + rng.standard_normal(t.size))
    analysis = analyze_run(record(tmp_path, norms, heat))
    assert abs(pairs_by_family(analysis)["forward"].pearson_r) > 0.7
    assert question_verdict(analysis) == "no_coupling"
    assert "NO COUPLING above 0." in verdict_sentence(analysis)
    assert any("follows time alone" in warning for warning in analysis.warnings)
    assert abs(analysis.controls["gpu"]["temperature_c"]["time"]) > 0.8


def test_a_short_run_says_how_long_it_would_have_to_be(tmp_path, rng):
    analysis = analyze_run(record(tmp_path, np.exp(rng.standard_normal(40)), 50 + rng.standard_normal(40)))
    assert question_verdict(analysis) == "insufficient"
    sentence = verdict_sentence(analysis)
    assert "at least 60 are needed" in sentence
    assert " long, to rule one out" in sentence
    analysis = analyze_run(record(tmp_path, np.exp(rng.standard_normal(150)), 50 + rng.standard_normal(150)))
    assert question_verdict(analysis) == "inconclusive"
    assert " long, to rule one out" in verdict_sentence(analysis)
    assert 0.3 < analysis.smallest_detectable_r < 0.5


def test_constant_hardware_is_insufficient_and_says_so(tmp_path, rng):
    analysis = analyze_run(record(tmp_path, np.exp(rng.standard_normal(200)), np.full(200, 50.0)))
    assert question_verdict(analysis) == "insufficient"
    assert "constant at 50" in verdict_sentence(analysis)


def test_speed_coupling_is_reported_apart_from_the_question(tmp_path, rng):
    shocks = rng.standard_normal(600)
    run = record(
        tmp_path,
        np.exp(0.2 * rng.standard_normal(600)),
        60 + shocks,
        step_time_s=1 + 0.05 * (np.roll(shocks, 2) + rng.standard_normal(600)),
    )
    analysis = analyze_run(run)
    assert pairs_by_family(analysis, x="step_time_s")["reverse"].verdict == "coupled"
    assert question_verdict(analysis) == "inconclusive"
    assert "Speed coupling (control)" in describe_analysis(analysis)


def test_question_and_control_of_all_devices_are_corrected_together(tmp_path, rng):
    devices = {"gpu-0": {}, "gpu-1": {}}
    times = 1 + 0.05 * rng.standard_normal(200)
    norms, heat = np.exp(0.2 * rng.standard_normal(200)), 60 + rng.standard_normal(200)
    analysis = analyze_run(record(tmp_path, norms, heat, devices, step_time_s=times))
    assert {(pair.is_speed, pair.device) for pair in analysis.pairs} == {
        (speed, device) for speed in (False, True) for device in devices
    }
    adjusted = [pair.p_adjusted for pair in analysis.pairs]
    assert adjusted == pytest.approx(holm([pair.p for pair in analysis.pairs]))
    assert analysis.sensitivity["tests"] == len(adjusted) == 12


def test_the_naive_method_is_plain_pearson_of_matched_rows_and_supports_nothing(tmp_path, rng):
    norms, heat = np.exp(rng.standard_normal(80)), 50 + rng.standard_normal(80)
    run = record(tmp_path, norms, heat)
    analysis = analyze_run(run, method="pearson", tolerance_s=0.6)
    (pair,) = analysis.pairs
    # half a second from two samples: the earlier one, which the first step does not have
    expected = np.corrcoef(norms, np.append(heat[0], heat[:-1]))[0, 1]
    assert pair.pearson_r == pytest.approx(expected, abs=1e-12)
    assert pair.verdict == "inconclusive"
    assert pair.strength == "null"
    assert "support no verdict" in verdict_sentence(analysis)


def test_the_json_has_the_fixed_keys_and_no_nan(tmp_path, rng):
    analysis = analyze_run(record(tmp_path, [1.0, math.nan, math.inf, 0.0, 2.0], [50.0] * 5))
    document = analysis.to_json()
    json.dumps(document, allow_nan=False)
    fixed = {"run_id", "alignment", "pairs", "controls", "coincidence", "warnings"}
    assert fixed <= document.keys()
    assert document["alignment"]["steps"] == 5
    assert document["alignment"]["dropped"] == {"grad_norm not finite": 2, "grad_norm is zero": 1}
    keys = {"x", "y", "device", "family", "n", "r", "lag_s", "p", "p_adjusted", "half_width", "pearson_r"}
    assert keys | {"verdict", "strength", "reasons"} <= document["pairs"][0].keys()
    assert {p["family"] for p in document["pairs"]} == {"forward", "simultaneous", "reverse"}


@pytest.mark.parametrize(
    ("steps", "samples"), [(0, 0), (0, 100), (100, 0), (1, 100), (100, 1)], ids=lambda n: str(n)
)
def test_runs_that_lack_a_side_are_insufficient_and_never_fail(tmp_path, rng, steps, samples):
    run = record(tmp_path, np.exp(rng.standard_normal(steps)), 50 + rng.standard_normal(samples))
    analysis = analyze_run(run)
    assert question_verdict(analysis) == "insufficient"
    assert verdict_sentence(analysis).startswith("CANNOT TELL (insufficient data)")
    json.dumps(analysis.to_json(), allow_nan=False)
    assert describe_analysis(analysis)
    assert describe_run(run_facts_shown(run))


def test_norms_that_are_never_finite_are_insufficient(tmp_path):
    analysis = analyze_run(record(tmp_path, [math.nan] * 100, np.arange(100.0)))
    assert question_verdict(analysis) == "insufficient"


def test_an_unknown_signal_or_device_names_what_there_is(tmp_path, rng):
    run = record(tmp_path, np.exp(rng.standard_normal(10)), 50 + rng.standard_normal(10))
    with pytest.raises(NotEnoughDataError, match="no device 'tpu'; it has: gpu"):
        analyze_run(run, device="tpu")
    with pytest.raises(NotEnoughDataError, match="no column 'nonsense'; allowed: .*grad_norm"):
        analyze_run(run, x="nonsense")
    with pytest.raises(NotEnoughDataError, match="no device .* 'power_w'; allowed: temperature_c"):
        analyze_run(run, y="power_w")


def test_a_placeholder_sensor_supports_nothing(tmp_path, rng):
    devices = {"gpu": {"suspect": {"temperature_c": "constant 50.0: looks like a placeholder"}}}
    run = record(tmp_path, np.exp(rng.standard_normal(300)), 50 + rng.standard_normal(300), devices)
    analysis = analyze_run(run)
    assert question_verdict(analysis) == "insufficient"
    assert "stands for a missing sensor" in verdict_sentence(analysis)
    assert any("placeholder" in warning for warning in analysis.warnings)


def test_simulated_hardware_is_called_so(tmp_path, rng):
    devices = {"simulated:dc": {"simulated": True}}
    run = record(tmp_path, np.exp(rng.standard_normal(100)), 50 + rng.standard_normal(100), devices)
    analysis = analyze_run(run)
    assert analysis.simulated == ["simulated:dc"]
    assert "SIMULATED (simulated:dc)" in verdict_sentence(analysis)
    assert any("simulated" in warning for warning in analysis.warnings)


def test_what_the_grid_had_to_do_is_said(tmp_path, rng):
    held = np.repeat(60 + rng.standard_normal(60), 5)
    analysis = analyze_run(record(tmp_path, np.exp(0.1 * rng.standard_normal(300)), held))
    said = [line for line in analysis.recognised if "repeats are left out" in line]
    about = "grad_norm ~ temperature_c, gpu"
    assert said == [f"{about}: The sensor shows a new value every 5 s only: its repeats are left out."]
    free = analyze_run(
        record(tmp_path, np.exp(0.1 * rng.standard_normal(300)), rng.standard_normal(300), name="s")
    )
    assert free.recognised == []


@pytest.mark.parametrize("given", ["GPU-0", "GPU 0", "GPU 0 (Test GPU)"])
def test_a_device_is_chosen_by_its_name_in_the_log_or_what_it_is_called(tmp_path, given):
    analysis = analyze_run(make_run(tmp_path), device=given)
    assert {pair.device for pair in analysis.pairs} == {"GPU-0"}
    assert {pair.called for pair in analysis.pairs} == {"GPU 0 (Test GPU)"}
