"""Printed comparisons: every run told apart, copies said, no text over another, each plot alone."""

import shutil
from pathlib import Path

import pytest
from printed_text import overlaps, texts
from synthetic import make_run
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.report.charts.paper.comparison import comparison_figure, parts_of
from thermograd.analysis.report.charts.paper.style import print_style
from thermograd.analysis.report.comparison_report import shown_in_words, write_comparison
from thermograd.store.runs.catalogue import Run


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("runs")
    name = "a-long-name-of-a-sweep-over-learning-rates-and-seeds-seed="
    runs = [make_run(folder, 120, 60.0, name=f"{name}{seed}", seed=seed) for seed in (1, 2)]
    copy = folder / "copy" / runs[0].path.name
    shutil.copytree(runs[0].path, copy)
    return compare_runs([*runs, Run(copy)])


def test_a_copy_is_told_from_the_run_whose_it_is(comparison: Comparison) -> None:
    first, second, copy = comparison.labels()
    assert len({first, second, copy}) == 3
    assert copy.endswith("(copy of run 1)")
    assert first == "…seed=1"
    assert second == "…seed=2"
    figure = comparison_figure(comparison)
    assert figure is not None
    legend = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert [entry.partition(":")[0] for entry in legend] == ["run 1", "run 2", "run 3"]
    assert legend[2].endswith("(copy of run 1)")


@pytest.mark.parametrize("size", ["paper-1col", "font_size_pt=9,width_mm=84", "font_size_pt=5,width_mm=50"])
def test_no_text_is_over_another(comparison: Comparison, size: str) -> None:
    figure = comparison_figure(comparison, print_style(size))
    assert figure is not None
    assert overlaps(figure) == []
    assert {text.get_size() for text in texts(figure)} == {print_style(size).font_size_pt}


def test_each_plot_stands_alone_and_is_told_in_words(comparison: Comparison) -> None:
    told = shown_in_words(comparison)
    assert "run 3: " in told["steps"].text
    for part in parts_of(comparison, alone=True):
        figure = comparison_figure(comparison, None, [part])
        assert figure is not None
        assert [ax.get_label() for ax in figure.axes] == [part.key]
        assert figure.axes[0].get_xlabel()
        assert told[part.key].text.count("r = " if part.key == "forest" else "ends at") >= 2


def test_files_are_named_by_their_plot(comparison: Comparison, tmp_path: Path) -> None:
    paths = write_comparison(comparison, tmp_path, print_style("paper-2col"), alone=True)
    assert {"report", "json", "png", "forest_pdf", "step_loss_svg", "time_hardware-power_w_png"} <= set(paths)
    assert paths["forest_pdf"].name == "compare_forest.pdf"
    page = paths["report"].read_text()
    assert "(copy of run 1)</span>" in page
    assert 'alt="Residual correlation of' in page
