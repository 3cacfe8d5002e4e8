"""The values behind a verdict: residuals at the peak lag, autocorrelations, what raw ones are worth."""

from pathlib import Path

import numpy as np
import pytest
from simulated_runs import slow_answer
from synthetic import make_run
from thermograd.analysis.align.grid import CausalGrid
from thermograd.analysis.report.charts.pairs import cross_chart, memory_chart
from thermograd.analysis.report.data.evidence import _fading, autocorrelation, lag_pairs, pair_evidence
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.readings.compared import ComparedSignals
from thermograd.analysis.run.result import Analysis
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

_START_NS = 1_750_000_000 * 10**9


def _coupled(tmp_path: Path, lag_s: int, seconds: int = 400, missing: float = 0.0) -> Run:
    """Write a run whose temperature follows the log of the norm after so many seconds; samples may miss."""
    rng = np.random.default_rng(5)
    shocks = rng.normal(size=seconds + 40)
    run = create_run(tmp_path, "coupled", {"devices": {"gpu": {}}})
    writer = EventWriter(run.path, run.run_id, "writer", batch_rows=4096)
    for k in range(seconds):
        time_ns = _START_NS + k * 10**9
        heat = 60 + 2 * shocks[20 + k - lag_s] + float(rng.normal())
        writer.append("step", time_ns, step=k + 1, grad_norm=float(np.exp(0.3 * shocks[20 + k])))
        if rng.random() >= missing:
            writer.append("sample", time_ns, device="gpu", temperature_c=heat)
    writer.close()
    return run


def _first(run: Run) -> tuple[list[ComparedSignals], list]:
    analysis = analyze_run(run)
    return analysis.compared, lag_pairs(analysis)


@pytest.mark.parametrize("lag_s", [5, 0, -3])
def test_residuals_stand_against_each_other_at_the_lag_of_the_peak(tmp_path: Path, lag_s: int) -> None:
    compared, pairs = _first(_coupled(tmp_path, lag_s))
    evidence = pair_evidence(compared, 0, pairs[0][1])
    assert evidence is not None
    assert evidence.lag_s == pytest.approx(lag_s)
    shown = np.corrcoef(evidence.residual_x, evidence.residual_y)[0, 1]
    assert shown == pytest.approx(evidence.r, abs=0.01)
    assert shown > 0.6
    assert evidence.residual_time_s.size == evidence.residual_x.size >= 380


def test_missing_samples_shift_nothing(tmp_path: Path) -> None:
    """Rows that are left are no neighbours: counted in rows, a lag of 5 s would blur over 4 and 6."""
    compared, pairs = _first(_coupled(tmp_path, 5, seconds=900, missing=0.15))
    evidence = pair_evidence(compared, 0, pairs[0][1])
    assert evidence is not None
    assert evidence.lag_s == pytest.approx(5)
    assert np.corrcoef(evidence.residual_x, evidence.residual_y)[0, 1] > 0.6
    assert evidence.residual_time_s.size < 0.8 * 900  # both ends of the lag must be there


def test_residuals_of_a_slow_answer_stand_against_what_the_leader_left_behind(
    slow_analysis: Analysis,
) -> None:
    pair = slow_answer(slow_analysis)
    evidence = pair_evidence(slow_analysis.compared, 0, [pair])
    assert evidence is not None
    assert (evidence.memory_s, evidence.slow) == (pair.memory_s, "x")
    shown = np.corrcoef(evidence.residual_x, evidence.residual_y)[0, 1]
    assert shown == pytest.approx(pair.r, abs=0.03)
    assert evidence.residual_x.size == pair.n
    spec = cross_chart([evidence])
    assert spec is not None
    (words,) = spec["datasets"]["titles"]
    assert words["left"].startswith(f"residuals, memory {pair.memory_s:g} s: n = ")
    assert "fading sum" in words["left_x"]
    assert "fading sum" not in words["left_y"]


def test_nothing_fades_over_into_another_segment() -> None:
    x = np.ones(80)
    gap = np.where(np.arange(80) < 40, np.arange(80), np.arange(80) + 7)
    segment = (np.arange(80) >= 40).astype(np.int64)
    grid = CausalGrid(x, x, gap * 10**9, gap, segment, 1.0, "samples", {})
    fading = _fading(grid, x, 6.0)
    assert fading[0] == 0
    assert fading[40] == pytest.approx(0, abs=1e-3)
    assert fading[41] == pytest.approx(fading[1], abs=1e-3)


def test_naive_correlation_is_of_the_values_shown(tmp_path: Path) -> None:
    compared, pairs = _first(make_run(tmp_path))
    evidence = pair_evidence(compared, 3, pairs[0][1])
    assert evidence is not None
    assert evidence.place == 3
    assert evidence.naive_r == pytest.approx(np.corrcoef(evidence.x, evidence.y)[0, 1])


def test_a_signal_that_drifts_is_worth_few_independent_values(tmp_path: Path) -> None:
    compared, pairs = _first(make_run(tmp_path))
    by_name = {label: pair_evidence(compared, k, families) for k, (label, families) in enumerate(pairs)}
    evidence = by_name["loss ~ temperature_c, GPU 0 (Test GPU)"]
    assert evidence is not None
    heat = evidence.memory[1]
    assert heat.name == "temperature_c"
    assert heat.raw[1] > 0.9
    assert np.abs(heat.residual[1:]).max() < 0.4
    first, second = (float(signal.raw[1]) for signal in evidence.memory)
    expected = evidence.x.size * (1 - first * second) / (1 + first * second)
    assert evidence.effective_n == pytest.approx(np.clip(expected, 2, evidence.x.size))


def test_autocorrelation_is_what_statsmodels_computes() -> None:
    stattools = pytest.importorskip("statsmodels.tsa.stattools")
    values = np.cumsum(np.random.default_rng(2).normal(size=200))
    expected = stattools.acf(values, nlags=30, fft=False)
    assert autocorrelation(values) == pytest.approx(expected, abs=1e-12)


def test_autocorrelation_leaves_holes_out() -> None:
    values = np.tile([1.0, -1.0], 50)
    values[[10, 11, 50]] = np.nan
    found = autocorrelation(values, 2)
    assert found[0] == 1.0
    assert found[1] == pytest.approx(-1.0, abs=0.08)
    assert found[2] == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize(
    "values", [[], [1.0, 2.0], [3.0] * 20, [np.nan] * 20], ids=["none", "two", "constant", "NaN"]
)
def test_no_autocorrelation_where_nothing_varies(values: list[float]) -> None:
    assert autocorrelation(np.array(values)).size == 0


def test_pair_without_its_device_has_no_evidence(tmp_path: Path) -> None:
    compared, pairs = _first(make_run(tmp_path / "a"))
    other = analyze_run(make_run(tmp_path / "b", with_samples=False))
    assert pair_evidence(compared, 0, pairs[0][1]) is not None
    assert pair_evidence(other.compared, 0, pairs[0][1]) is None


def test_clouds_are_thinned_and_titled_with_n_and_r(tmp_path: Path) -> None:
    compared, pairs = _first(_coupled(tmp_path, 5, seconds=900))
    evidence = pair_evidence(compared, 0, pairs[0][1])
    assert evidence is not None
    cross, memory = cross_chart([evidence]), memory_chart([evidence])
    assert cross is not None
    assert memory is not None
    assert len(cross["datasets"]["cloud-raw"]) == 400
    (title,) = cross["datasets"]["titles"]
    assert f"n = {evidence.x.size:,}" in title["raw"]
    assert f"r = {evidence.r:+.2f}" in title["left"]
    assert "at lag +5.0 s" in title["left"]
    assert {row["what"] for row in memory["datasets"]["memory-0"]} == {"raw", "residual"}
    assert cross_chart([]) is memory_chart([]) is None
