"""The printed comparison: every run with its name and numbers, names as text, one valid chart."""

import altair as alt
import pytest
from synthetic import make_run
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.report.charts.comparison import comparison_charts, comparison_figure
from thermograd.analysis.report.charts.style import image, images


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    runs_dir = tmp_path_factory.mktemp("runs")
    return compare_runs(
        [make_run(runs_dir, name=f"<script>{seed}", spikes=[100], seed=seed) for seed in (1, 2)]
    )


def test_the_figure_names_each_run_and_tells_its_numbers(comparison: Comparison) -> None:
    figure = comparison_figure(comparison, comparison_charts(comparison)[1])
    assert figure is not None
    alt.VConcatChart.from_dict(figure)
    drawn = image(figure).decode()
    assert "&lt;script&gt;1" in drawn
    assert "<script" not in drawn
    rows = figure["datasets"]["forest-runs"]
    assert len(rows) == 2
    assert all(row["told"] in drawn for row in rows)
    curves = [data for name, data in figure["datasets"].items() if name.startswith("overlay-")]
    assert len(drawn) > 10 * sum(map(len, curves))  # each point is in some path


def test_one_drawing_is_all_three_files(comparison: Comparison) -> None:
    files = images(comparison_charts(comparison)[1]["forest"] or {})
    assert files["png"].startswith(b"\x89PNG")
    assert files["pdf"].startswith(b"%PDF")
    assert files["svg"].startswith(b"<svg")


def test_without_hardware_there_is_no_forest_and_the_curves_alone_are_the_figure(tmp_path) -> None:
    found = compare_runs([make_run(tmp_path, with_samples=False, seed=seed) for seed in (1, 2)])
    shown, printed = comparison_charts(found)
    assert shown["forest"] is printed["forest"] is None
    figure = comparison_figure(found, printed)
    assert figure is not None
    shown = [view["description"] for view in figure["vconcat"]]
    by_step = ["gradient norm", "loss", "learning rate", "step time, s"]
    assert shown == ["gradient norm", "loss", "step time, s", *by_step]
