"""Several runs together: copies count once, trends prove nothing, a true coupling is found, gaps are "
"named."""

import json
import math
import re

import numpy as np
import pytest
from simulated_runs import simulated
from synthetic import make_run
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.comparison.reproducibility import FINAL_LOSS, repeated_trainings
from thermograd.analysis.comparison.result import (
    Comparison,
    best_of,
    comparison_sentence,
    comparison_verdict,
    reproducibility_lines,
)
from thermograd.analysis.coupling.random_effects import pool
from thermograd.analysis.report.comparison_report import write_comparison
from thermograd.analysis.report.text.comparison import describe_comparison
from thermograd.analysis.run.pairs import regular_pair
from thermograd.analysis.run.series import load_series
from thermograd.store.errors import LogError, NotEnoughDataError
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>../../\x1b[31m"


@pytest.fixture(scope="module")
def coupled(tmp_path_factory):
    """Six different trainings with a true coupling of 0.3, and a copy of the first."""
    runs_dir = tmp_path_factory.mktemp("runs")
    seeds = (0, 1, 2, 3, 4, 5, 0)
    return [simulated(runs_dir, "coupled", 0.3, minutes=3, seed=seed) for seed in seeds]


@pytest.fixture(scope="module")
def together(coupled) -> Comparison:
    return compare_runs(coupled)


@pytest.fixture(scope="module")
def trends(tmp_path_factory) -> Comparison:
    runs_dir = tmp_path_factory.mktemp("runs")
    return compare_runs([simulated(runs_dir, "trends", minutes=4, seed=seed) for seed in range(7)])


# What runs say together


def test_short_coupled_runs_show_together_what_hardly_one_shows_alone(together):
    best = best_of(together)
    assert (best.x, best.y, best.role, best.family) == ("grad_norm", "temperature_c", "gpu 0", "forward")
    assert comparison_verdict(together) == "coupled"
    assert best.p_adjusted <= 0.05
    assert best.lag_s == 5.0
    assert 0.05 < best.swap.r_low < 0.3 < best.swap.r_high + 0.02
    alone = [run.pair.verdict == "coupled" for run in together.counted]
    assert sum(alone) < len(alone)
    assert comparison_sentence(together).startswith("COUPLED over 6 trainings: gradient norm and temperature")


def test_trends_that_all_runs_share_prove_nothing_and_the_control_shows_why(trends):
    best = best_of(trends)
    assert comparison_verdict(trends) in ("no_coupling", "inconclusive")
    assert best.naive_own < -0.7
    assert best.naive_others < -0.7
    text = describe_comparison(trends)
    assert "with the hardware of the other runs, which cannot be coupled to it" in text
    assert (
        "after one delay. Slow answers are told by each run alone." in text
    )  # the swap compares single lags


def test_the_question_is_one_pair_and_all_others_are_corrected_together(together):
    assert [pair.family for pair in together.chosen] == ["forward", "reverse"]
    assert {(pair.x, pair.y) for pair in together.chosen} == {("grad_norm", "temperature_c")}
    assert len(together.others) > 10
    for pair in together.others:
        assert pair.p_adjusted >= pair.swap.p


def test_another_question_can_be_asked(coupled):
    asked = compare_runs(coupled[:5], x="loss", y="power_w")
    assert {(pair.x, pair.y) for pair in asked.chosen} == {("loss", "power_w")}
    assert asked.others == []
    assert comparison_verdict(asked) != "coupled"


# Copies


def test_copies_of_one_training_count_once_and_it_is_said(together, coupled):
    assert together.runs[6].repeats == (coupled[0].run_id, "to the last bit")
    assert len(together.counted) == 6
    assert coupled[6].run_id not in best_of(together).run_ids
    text = describe_comparison(together)
    assert "the training of run 1 again, to the last bit: they count once" in text
    assert "is no replication; 6 count" in text


def test_two_copies_alone_are_refused_as_replication(coupled):
    both = compare_runs([coupled[0], coupled[6]])
    assert comparison_verdict(both) == "insufficient"
    assert comparison_sentence(both).startswith("ONE TRAINING, no replication: 1 of 2 runs repeats another's")
    assert both.reproducibility.loss_sd == 0.0


def test_a_training_that_differs_in_rounding_only_is_still_the_same(tmp_path):
    def run(factor, seed=0):
        made = create_run(tmp_path, "again")
        writer = EventWriter(made.path, made.run_id, "w")
        noise = np.random.default_rng(seed).normal(size=300)
        for i, value in enumerate(noise):
            wobble = 1 + factor * math.sin(i)
            writer.append(
                "step", i * 10**9, i, step=i + 1, loss=2.0 + value / 10, grad_norm=math.exp(value) * wobble
            )
        writer.close()
        return load_series(made)

    first, alike, other = run(0.0), run(1e-6), run(0.0, seed=1)
    found = repeated_trainings([first, alike, other])
    assert list(found) == [1]
    assert found[1][0] == 0
    assert "step for step" in found[1][1]


# What is missing


def test_fewer_than_five_trainings_are_described_and_the_missing_ones_counted(coupled):
    few = compare_runs(coupled[:3])
    best = best_of(few)
    assert math.isnan(best.swap.p)
    assert math.isfinite(best.swap.r)
    sentence = comparison_sentence(few)
    assert sentence.startswith("CANNOT TELL from 3 different trainings: the session swap needs 5, 2 more.")
    assert "Described only" in sentence


@pytest.mark.parametrize("copies", [1, 2])
def test_fewer_than_two_different_runs_are_refused(coupled, copies):
    with pytest.raises(NotEnoughDataError, match="at least two different runs; given: "):
        compare_runs(coupled[:1] * copies)


def test_runs_without_steps_are_refused_and_one_among_others_left_out(coupled, tmp_path):
    empty = make_run(tmp_path, steps=0, name="empty")
    with pytest.raises(NotEnoughDataError, match=f"without any: {empty.run_id}"):
        compare_runs([coupled[0], empty])
    rest = compare_runs([coupled[0], empty, coupled[1]])
    assert len(rest.runs) == 2
    assert f"{empty.run_id} has no training step and was left out." in rest.warnings


def test_runs_without_samples_are_compared_by_their_trainings_only(tmp_path):
    runs = [make_run(tmp_path, with_samples=False, seed=seed) for seed in (1, 2)]
    found = compare_runs(runs)
    assert found.chosen == []
    assert comparison_sentence(found).startswith("CANNOT TELL: no two of these runs share")
    assert "only its training is compared" in " ".join(found.warnings)
    assert found.reproducibility.final_sd > 0
    assert "How alike the trainings are" in describe_comparison(found)


def test_a_signal_that_no_two_runs_have_is_refused_with_those_they_have(coupled):
    with pytest.raises(
        NotEnoughDataError, match="no two runs have any ~ fan_pct .*: grad_norm ~ temperature_c, "
    ):
        compare_runs(coupled[:2], y="fan_pct")
    with pytest.raises(NotEnoughDataError, match="no two runs have nonsense ~ any"):
        compare_runs(coupled[:2], x="nonsense")


def test_runs_of_different_sampling_rates_are_put_on_the_slower_clock(tmp_path):
    fast = simulated(tmp_path, rho=0.5, minutes=6, seed=0, hz=5.0)
    slow = simulated(tmp_path, rho=0.5, minutes=6, seed=1, hz=0.5)
    found = compare_runs([fast, slow])
    assert best_of(found).period_s == pytest.approx(2.0)
    assert "different clocks" in " ".join(found.warnings)
    assert all(pair.swap.n_runs == 2 for pair in found.chosen)


def test_one_step_and_not_a_number_are_no_trouble(coupled, tmp_path):
    one = make_run(tmp_path, steps=1, seconds=5.0, name="one step")
    nothing = make_run(tmp_path, steps=100, nan=range(1, 101), name="only NaN")
    found = compare_runs([coupled[0], one, nothing])
    assert len(found.runs) == 3
    json.dumps(found.to_json(), allow_nan=False)
    assert describe_comparison(found)


# Devices


def test_devices_are_matched_by_role_not_by_name(tmp_path):
    runs = [
        make_run(tmp_path, device=f"GPU-{name}", seconds=200.0, steps=480, seed=place)
        for place, name in enumerate(("aaaa", "bbbb", "cccc"))
    ]
    found = compare_runs(runs)
    assert {run.devices["gpu 0"] for run in found.runs} == {"GPU-aaaa", "GPU-bbbb", "GPU-cccc"}
    assert found.chosen[0].swap.n_runs == 3
    assert list(load_series(runs[0]).roles) == ["gpu 0", "cpu"]


def test_different_models_are_named(tmp_path):
    other = {"GPU-0": {"model": "Other GPU"}, "cpu": {"model": "Test CPU"}}
    runs = [make_run(tmp_path, seed=0), make_run(tmp_path, seed=1, facts={"devices": other})]
    assert "gpu 0 is not the same model in all runs: Test GPU; Other GPU." in compare_runs(runs).warnings


def test_bins_are_numbered_from_the_beginning_and_holes_keep_their_length(tmp_path):
    made = create_run(tmp_path, "gap")
    writer = EventWriter(made.path, made.run_id, "w")
    rng = np.random.default_rng(0)
    for second in (*range(100), *range(160, 260)):
        value = float(rng.normal())
        writer.append("step", second * 10**9, 0, step=second + 1, grad_norm=math.exp(value))
        writer.append("sample", second * 10**9, 0, device="GPU-0", temperature_c=50.0 + value)
    writer.close()
    data = load_series(made)
    pair = regular_pair(data, data.devices["GPU-0"], "grad_norm", "temperature_c")
    assert pair.x.size == 260
    assert np.isnan(pair.x[100:160]).all()
    assert np.isfinite(pair.x).sum() == pair.n == 200


# Pooling


def test_pooling_takes_each_run_at_the_lag_that_the_others_chose():
    rng = np.random.default_rng(0)
    lags = np.arange(13)
    noise = rng.normal(0, 0.05, (8, 13))
    coupled_r = noise.copy()
    coupled_r[:, 4] += 0.3
    found = pool(coupled_r, np.full(8, 400.0), lags)
    assert found.lag == 4
    assert (found.run_lag == 4).all()
    assert found.r_low < 0.3 < found.r_high
    own_peaks = np.abs(noise).max(axis=1).mean()
    assert abs(pool(noise, np.full(8, 400.0), lags).r) < own_peaks / 2


def test_pooled_effects_agree_with_statsmodels():
    meta = pytest.importorskip("statsmodels.stats.meta_analysis")
    rng = np.random.default_rng(1)
    r, df = rng.uniform(-0.1, 0.6, (7, 1)), rng.integers(60, 900, 7).astype(float)
    found = pool(r, df, np.array([0]))
    theirs = meta.combine_effects(np.arctanh(r[:, 0]), 1 / (df - 1), method_re="iterated", use_t=True)
    assert found.r == pytest.approx(np.tanh(theirs.mean_effect_re), abs=1e-6)
    assert found.i_squared == pytest.approx(theirs.i2, abs=1e-9)
    low, high = theirs.conf_int(alpha=0.05)[3]
    assert (found.r_low, found.r_high) == pytest.approx(np.tanh([low, high]), abs=1e-5)


# As files and as JSON


def test_the_json_document_is_finite_and_complete(together):
    document = json.loads(json.dumps(together.to_json(), allow_nan=False))
    assert set(document) == {
        "runs",
        "counted",
        "question",
        "others",
        "reproducibility",
        "differences",
        "warnings",
    }
    assert document["counted"] == 6
    assert document["runs"][6]["repeats"] == document["runs"][0]["run_id"]
    assert document["runs"][0]["truth"]["rho"] == 0.3
    forward = document["question"][0]
    assert len(forward["runs"]) == forward["n_runs"] == 6
    assert forward["r_low"] < forward["r"] < forward["r_high"]


def test_the_page_and_the_figure_are_written_whole(together, tmp_path):
    pytest.importorskip("vl_convert")
    paths = write_comparison(together, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in paths.values()}
    assert set(paths) == {"report", "json", "png", "pdf", "svg"}
    page = paths["report"].read_text()
    assert "COUPLED over 6 trainings" in page
    assert "SIMULATED: 7 of 7" in page
    assert 'id="chart-forest"' in page
    assert 'id="chart-overlays"' in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert paths["png"].read_bytes().startswith(b"\x89PNG")


def test_hostile_names_stay_text(tmp_path):
    pytest.importorskip("vl_convert")
    runs = [make_run(tmp_path, name=f"{HOSTILE}{seed}", seed=seed) for seed in (1, 2)]
    found = compare_runs(runs)
    page = write_comparison(found, tmp_path / "out")["report"].read_text()
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in describe_comparison(found)


def test_a_comparison_of_trainings_only_has_a_page_that_says_so(tmp_path):
    pytest.importorskip("vl_convert")
    runs = [make_run(tmp_path, with_samples=False, seed=seed) for seed in (1, 2)]
    paths = write_comparison(compare_runs(runs), tmp_path / "out")
    page = paths["report"].read_text()
    assert "Nothing to pool" in page
    assert "Settings that differ" not in page  # no table without a row
    assert FINAL_LOSS in page


def test_a_directory_that_cannot_be_written_is_one_sentence(together, tmp_path):
    pytest.importorskip("vl_convert")
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="cannot write the comparison to"):
        write_comparison(together, tmp_path / "file" / "out")


def test_how_alike_trainings_are_is_said_in_numbers(together):
    lines = " ".join(reproducibility_lines(together))
    assert re.search(r"Final loss \(mean of the last 5 % of the steps\) 2\.\d+, sd 0\.\d+", lines)
    assert re.search(r"factor of \d\.\d\d in gradient norm", lines)


def series_run(tmp_path, **columns):
    made = create_run(tmp_path, "series")
    writer = EventWriter(made.path, made.run_id, "w")
    for i in range(len(columns["loss"])):
        writer.append("step", i * 10**9, i, step=i + 1, **{k: float(v[i]) for k, v in columns.items()})
    writer.close()
    return made


@pytest.mark.parametrize("norm", [{}, {"grad_norm": np.ones(200)}])
@pytest.mark.parametrize("rounded", [False, True])
def test_smooth_curves_that_fall_alike_are_not_one_training(tmp_path, norm, rounded):
    steps = np.arange(200)
    pair = (
        [1 / (steps + 1), 1 / (steps + 2)] if not rounded else [np.round(1 / (steps + k), 2) for k in (1, 2)]
    )
    runs = [load_series(series_run(tmp_path, loss=loss, **norm)) for loss in pair]
    assert repeated_trainings(runs) == {}


def test_the_signal_that_showed_a_repeat_is_named_and_a_smooth_norm_leaves_it_to_the_loss(tmp_path):
    noise = np.random.default_rng(3).normal(size=200)
    norm = {"grad_norm": np.exp(-(np.linspace(0, 2, 200) ** 2))}
    runs = [load_series(series_run(tmp_path, loss=2 + f * noise, **norm)) for f in (0.1, 0.1000001)]
    assert repeated_trainings(runs)[1][1].startswith("step for step (changes of the loss correlate at 1.000")


def test_of_runs_without_norms_what_their_losses_tell_is_said(tmp_path):
    rng = np.random.default_rng(4)
    found = compare_runs([series_run(tmp_path, loss=2 + rng.normal(size=50)) for _ in range(2)])
    lines = " ".join(reproducibility_lines(found))
    assert re.search(r"Over 50 common steps runs differ by [\d.]+ in loss \(median sd\)\.", lines)
    assert "No gradient norms at steps of all runs." in lines
    assert "no steps with known values" not in lines
