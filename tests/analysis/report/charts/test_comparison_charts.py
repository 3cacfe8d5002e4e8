"""The printed comparison: every run with its name and numbers, names as text, one valid chart."""

import altair as alt
import pytest
from synthetic import make_run
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.report.charts.comparison import comparison_charts, comparison_figure
from thermograd.analysis.report.charts.style import image, images
from thermograd.analysis.report.comparison_report import write_comparison
from thermograd.store.log.writer import EventWriter


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


def test_what_scripts_logged_of_their_own_is_drawn_by_step(tmp_path) -> None:
    runs = []
    for seed in (1, 2):
        runs.append(run := make_run(tmp_path, with_samples=False, seed=seed))
        writer = EventWriter(run.path, run.run_id, "mine")
        for step in (50, 100, 150):
            writer.append("metric", step, 0, step=step, rank=0, name="eval/'</script>", value=1 / step)
        writer.append("metric", 0, 0, step=1, rank=0, name=f"only {seed}", value=1.0)
        writer.close()
    found = compare_runs(runs)
    shown = comparison_charts(found)[0]["steps"]
    assert shown is not None
    alt.VConcatChart.from_dict(shown)
    assert shown["vconcat"][-1]["description"] == "eval/'</script>"
    rows = shown["datasets"]["step-metric-0"]
    assert [(row["t"], row["d"]) for row in rows] == [
        (step, f"run {place}") for place in (1, 2) for step in (50, 100, 150)
    ]
    assert not any("only" in view["description"] for view in shown["vconcat"])
    page = write_comparison(found, tmp_path / "out")["report"].read_text()
    assert "'</script>" not in page


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
