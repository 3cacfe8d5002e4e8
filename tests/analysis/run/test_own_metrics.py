"""Metrics of a script's own as training signals: series with times of their own and gaps."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import load_series
from thermograd.cli import main
from thermograd.store.errors import NotEnoughDataError
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

SECOND = 10**9
START = 1_800_000_000 * SECOND


def record(tmp_path, metric, heat, every=1, name="accuracy", **step):
    """Write a run with a step and a sample a second, and a metric every so many steps."""
    run = create_run(tmp_path, "own", {"devices": {"gpu": {}}})
    writer = EventWriter(run.path, run.run_id, "w", batch_rows=4096)
    for i, temperature in enumerate(heat):
        time_ns = START + i * SECOND
        writer.append("step", time_ns, 0, step=i + 1, rank=0, grad_norm=1 + float(temperature) % 1, **step)
        if i % every == 0:
            value = float(metric[i // every])
            writer.append("metric", time_ns + 1000, 0, step=i + 1, rank=0, name=name, value=value)
        writer.append("sample", time_ns + SECOND // 2, 0, device="gpu", temperature_c=float(temperature))
    writer.close()
    return run


@pytest.fixture
def coupled(tmp_path):
    rng = np.random.default_rng(7)
    metric = rng.standard_normal(600)
    heat = 60 + 2 * np.roll(metric, 4) + rng.standard_normal(600)
    return record(tmp_path, metric, heat)


def test_a_metric_is_tested_as_any_training_signal(coupled):
    pairs = {pair.family: pair for pair in analyze_run(coupled, x="accuracy").pairs}
    assert {pair.x for pair in pairs.values()} == {"accuracy"}
    assert pairs["forward"].verdict == "coupled"
    assert pairs["forward"].lag_s == pytest.approx(4, abs=1)
    assert pairs["forward"].n > 550


def test_a_metric_of_every_fifth_step_is_compared_on_its_own_clock(tmp_path):
    rng = np.random.default_rng(3)
    metric = rng.standard_normal(400)
    heat = 60 + np.repeat(np.roll(metric, 1), 5) * 2 + rng.standard_normal(2000)
    run = record(tmp_path, metric, heat, every=5, name="eval/loss")
    pair = next(p for p in analyze_run(run, x="eval/loss", max_lag_s=30).pairs if p.family == "forward")
    assert pair.period_s == pytest.approx(5)
    assert 350 < pair.n <= 400
    assert pair.verdict == "coupled"


def test_the_naive_figure_is_of_the_metrics_own_moments(coupled):
    pairs = analyze_run(coupled, x="accuracy", method="pearson").pairs
    assert pairs[0].n == 600


def test_an_unknown_signal_names_the_columns_and_the_metrics(coupled, tmp_path):
    with pytest.raises(
        NotEnoughDataError, match=r"no column 'nope'; allowed: step, .*own metrics are accuracy"
    ):
        analyze_run(coupled, x="nope")
    run = create_run(tmp_path, "none", {"devices": {"gpu": {}}})
    with pytest.raises(NotEnoughDataError, match=r"it has no metrics of its own \(run.log\)"):
        analyze_run(run, x="nope")


def test_a_metric_stands_for_the_column_of_its_name_only_where_that_is_empty(tmp_path):
    metric, heat = np.arange(50.0), np.full(50, 60.0)
    series = load_series(record(tmp_path, metric, heat, name="loss"))
    assert series.training_series("loss")[1].tolist() == metric.tolist()
    series = load_series(record(tmp_path, metric, heat, name="loss", loss=2.0))
    assert set(series.training_series("loss")[1]) == {2.0}


def test_few_values_and_a_constant_are_not_enough_and_say_so(tmp_path):
    heat = 60 + np.random.default_rng(0).standard_normal(300)
    few = analyze_run(record(tmp_path, np.arange(5.0), heat, every=60), x="accuracy")
    flat = analyze_run(record(tmp_path, np.ones(300), heat), x="accuracy")
    odd = analyze_run(record(tmp_path, np.full(300, np.nan), heat), x="accuracy")
    assert {pair.verdict for result in (few, flat) for pair in result.pairs} == {"insufficient"}
    assert odd.pairs == []


def test_the_command_takes_a_metric(coupled):
    runs = str(coupled.path.parent)
    result = CliRunner().invoke(main, ["--runs", runs, "analyze", "latest", "--x", "accuracy", "--json"])
    assert result.exit_code == 0, result.output
    assert {pair["x"] for pair in json.loads(result.stdout)["pairs"]} == {"accuracy"}
    result = CliRunner().invoke(main, ["--runs", runs, "analyze", "latest", "--x", "nope"])
    assert result.exit_code == 1
    assert "accuracy" in result.output


def test_runs_are_compared_by_a_metric(tmp_path):
    rng = np.random.default_rng(1)
    runs = [record(tmp_path, rng.standard_normal(300), 60 + rng.standard_normal(300)) for _ in range(3)]
    result = compare_runs(runs, x="accuracy")
    assert {pair.x for pair in result.chosen} == {"accuracy"}
    assert {run.pair.x for run in result.runs} == {"accuracy"}


def test_signals_of_the_timeline_are_worked_out_of_the_steps(tmp_path):
    heat = np.full(4, 60.0)
    series = load_series(record(tmp_path, np.zeros(4), heat, tokens=100, step_time_s=0.5, max_grad_norm=0.5))
    assert series.training("tokens_per_s").tolist() == [200.0] * 4
    assert series.training("clipped").tolist() == [1.0] * 4
    series = load_series(record(tmp_path, np.zeros(4), heat, tokens=100, step_time_s=0.0))
    assert np.isnan(series.training("tokens_per_s")).all()
    assert np.isnan(series.training("clipped")).all()
