"""What a notebook shows of a result: the verdict and its numbers, as HTML in which nothing runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated_runs import slow_answer
from synthetic import make_run
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.coupling.cross_correlation import residual_cross_correlation
from thermograd.analysis.coupling.session_swaps import session_swap
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import Analysis, verdict_sentence
from thermograd.analysis.run.wording.plain_words import first_screen


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return analyze_run(make_run(tmp_path_factory.mktemp("runs"), simulated=True))


def test_analysis_shows_its_verdict_and_tests(analysis: Analysis) -> None:
    html = analysis._repr_html_()
    lead, _, rest = verdict_sentence(analysis).partition(": ")
    screen = first_screen(analysis)
    plain = [f"<strong>{screen.sentence}</strong>", screen.next_step, f"<strong>{lead}: </strong>"]
    assert [html.index(text) for text in plain] == sorted(map(html.index, plain))
    assert rest[:20] in html
    assert "Speed coupling: a control" in html
    assert "<script" not in html


def test_pair_shows_its_profile_with_its_bound(analysis: Analysis) -> None:
    pair = replace(analysis.pairs[0], family="forward", half_width=0.05, memories_s=[], slow_profile=[])
    html = replace(pair, memory_s=None)._repr_html_()
    assert html.count("<path") == len(pair.lags_s) + 3
    outside = sum(abs(r) > 0.05 for lag, r in zip(pair.lags_s, pair.profile, strict=True) if lag > 0)
    assert outside
    assert html.count("#D55E00") == outside
    assert "±0.05" in html


def test_slow_answer_is_shown_as_a_memory_and_drawn_with_its_bound(slow_analysis: Analysis) -> None:
    pair = slow_answer(slow_analysis)
    html = pair._repr_html_()
    assert f"memory {pair.memory_s:g} s" in html
    assert f"±{pair.slow_half_width:.2f}" in html
    assert html.count("<path") == len(pair.lags_s) + 3 + len(pair.memories_s) + 3
    assert "answers that fade over 3, 6, 12, 24, 48 s" in html
    assert f"memory {pair.memory_s:g} s" in slow_analysis._repr_html_()


def test_pair_without_a_profile_is_shown_without_one(tmp_path: Path) -> None:
    analysis = analyze_run(make_run(tmp_path, steps=20, seconds=10.0))
    assert "<svg" not in analysis.pairs[0]._repr_html_()
    naive = analyze_run(make_run(tmp_path / "b", steps=20, seconds=10.0), method="pearson")
    assert "Naive Pearson" in naive._repr_html_()
    assert "<svg" not in naive.pairs[0]._repr_html_()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=200, device="<script>alert(1)</script>")
    analysis = analyze_run(run)
    assert "<script" not in analysis._repr_html_()
    assert "<script" not in analysis.pairs[0]._repr_html_()


def test_correlation_of_arrays_shows_its_peak_and_bound() -> None:
    x, noise = np.random.default_rng(0).standard_normal((2, 400))
    found = residual_cross_correlation(x, np.roll(x, 3) + noise)
    html = found._repr_html_()
    assert f"{found.n:,}</td>" in html
    assert "+3</td>" in html
    assert html.count("<path") == found.lags.size + 3 + found.memories.size + 3
    assert "No correlation" in residual_cross_correlation(x[:20], noise[:20])._repr_html_()


def test_session_swap_and_comparison_show_every_run_and_the_pooled_effect(tmp_path: Path) -> None:
    xs, ys = np.random.default_rng(0).standard_normal((2, 3, 300))
    html = session_swap(list(xs), list(ys))._repr_html_()
    assert "Session swap of 3 runs: no p" in html
    assert html.count("<tr>") == 5
    runs = [make_run(tmp_path, name=f"<script>{seed}", seed=seed) for seed in (1, 2)]
    html = compare_runs(runs)._repr_html_()
    assert "CANNOT TELL from 2 different trainings" in html
    assert "&lt;script&gt;2" in html
    assert "<script" not in html
