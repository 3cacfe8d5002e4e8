"""The printed comparison: every run with its name and numbers, names as text, one valid chart."""

import altair as alt
import pytest
from synthetic import make_run
from thermograd.analysis.comparison.compare import compare_runs
from thermograd.analysis.comparison.result import Comparison
from thermograd.analysis.display.palette import RUN_COLOURS
from thermograd.analysis.report.charts.comparison import comparison_charts
from thermograd.analysis.report.charts.paper.comparison import comparison_figure
from thermograd.analysis.report.charts.style import image
from thermograd.analysis.report.comparison_report import write_comparison
from thermograd.analysis.report.data.comparison import drawn_runs, overlays_by_step
from thermograd.store.log.writer import EventWriter


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    runs_dir = tmp_path_factory.mktemp("runs")
    return compare_runs(
        [make_run(runs_dir, name=f"<script>{seed}", spikes=[100], seed=seed) for seed in (1, 2)]
    )


def test_the_forest_names_each_run_and_tells_its_numbers(comparison: Comparison) -> None:
    forest = comparison_charts(comparison)[1]["forest"]
    assert forest is not None
    alt.LayerChart.from_dict(forest)
    drawn = image(forest).decode()
    assert "&lt;script&gt;1" in drawn
    assert "<script" not in drawn
    rows = forest["datasets"]["forest-runs"]
    assert len(rows) == 2
    assert all(row["told"] in drawn for row in rows)


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


def test_without_hardware_there_is_no_forest_and_the_curves_alone_are_the_figure(tmp_path) -> None:
    found = compare_runs([make_run(tmp_path, with_samples=False, seed=seed) for seed in (1, 2)])
    shown, printed = comparison_charts(found)
    assert shown["forest"] is printed["forest"] is None
    figure = comparison_figure(found)
    assert figure is not None
    by_step = ["gradient norm", "loss", "learning rate", "step time, s"]
    assert [ax.get_ylabel() for ax in figure.axes] == [*by_step, "gradient norm", "loss", "step time, s"]


@pytest.mark.parametrize("count", [8, 11])
def test_any_number_of_runs_has_a_colour_a_curve_and_a_key_that_says_so(tmp_path, count: int) -> None:
    runs = [make_run(tmp_path, 120, 60.0, with_samples=False, seed=seed) for seed in range(count)]
    found = compare_runs(runs)
    drawn, (shown, printed) = drawn_runs(found), comparison_charts(found)
    assert len(drawn) == (count if count <= 8 else len(set(drawn)))
    assert len(drawn) <= len(set(RUN_COLOURS)) == 8
    for name in ("overlays", "steps"):
        chart = shown[name]
        assert chart is not None
        colours = [layer["encoding"]["color"] for view in chart["vconcat"] for layer in view["layer"][-1:]]
        assert all(colour["scale"]["domain"] == list(drawn) for colour in colours)
        curves = {row["d"] for name, rows in chart["datasets"].items() if "band" not in name for row in rows}
        assert curves == set(drawn)
        assert any("band" in name for name in chart["datasets"]) == (count > 8)
        legends = [
            layer["encoding"]["color"]["legend"]
            for layer in (printed[name] or {})["vconcat"][0]["layer"][-1:]
        ]
        assert legends[0]["orient"] == "top"
    figure = comparison_figure(found)
    assert figure is not None
    assert len(figure.legends[0].get_texts()) == len(drawn) + 2 * (count > 8)
    page = write_comparison(found, tmp_path / "out")["report"].read_text()
    assert page.count('var(--run-0)"') == 2
    assert (f"all {count} runs, lowest to highest" in page) == (count > 8)


def test_many_runs_are_a_band_over_which_the_first_and_the_extreme_ones_stand(tmp_path) -> None:
    found = compare_runs([make_run(tmp_path, 60, 30.0, with_samples=False, seed=seed) for seed in range(10)])
    loss = found.reproducibility.final_loss
    ordered = [loss[run.run_id] for run in found.runs]
    drawn = drawn_runs(found)
    assert drawn["run 1"].startswith("the first")
    lowest, highest = (f"run {1 + ordered.index(extreme(ordered))}" for extreme in (min, max))
    assert "lowest final loss" in drawn[lowest]
    assert "highest final loss" in drawn[highest]
    (by_loss,) = [overlay for overlay in overlays_by_step(found) if overlay.key == "loss"]
    every = [data.training("loss") for data in found.series]
    assert by_loss.band is not None
    assert (by_loss.band.lowest, by_loss.band.highest) == (min(map(min, every)), max(map(max, every)))
