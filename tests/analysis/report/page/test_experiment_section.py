"""The page of a run with an experiment: its section, its picture, and what strangers wrote."""

import json
from dataclasses import replace

import altair as alt
import numpy as np
import pyarrow.compute as pc
import pytest
from report_page import page_of
from simulated_runs import END_NS
from thermograd.analysis import run_charts
from thermograd.analysis.report.charts.experiment import blocks_chart, found_chart
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.experiment import shown_experiment
from thermograd.analysis.report.text.markdown import report_markdown
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.experiment.experiments import run_experiments
from thermograd.analysis.run.series import load_series
from thermograd.ingest.simulate.experiment import simulate_experiment

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    run = simulate_experiment(
        tmp_path_factory.mktemp("runs"), "experiment-heat-to-training", 20, seed=1, end_ns=END_NS
    )
    series = load_series(run)
    marks = [dict(mark) for mark in series.marks]
    for mark in marks:
        detail = json.loads(mark["detail"] or "{}")
        if detail.get("applied", {}).get("index") == 2:
            detail["applied"]["failed"] = HOSTILE
            mark["detail"] = json.dumps(detail)
    return replace(series, marks=marks)


@pytest.fixture(scope="module")
def analysis(data):
    return analyze_run(data.run, "loss", "power_w", series=data)


def test_the_section_leads_with_the_verdict_and_holds_checks_effects_and_what_was_not_applied(data, analysis):
    page = page_of(data.run, analysis, data)
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {"experiment", "chart-blocks", "chart-found", "data-blocks", "data-found"} <= ids
    assert "Does heat change the training?" in page.text
    assert "What watching alone would say" in page.text
    assert "Was the device moved?" in page.text
    assert "Not applied, analysed as assigned (2)" in page.text
    assert f"rank 0: {HOSTILE}" in page.text
    assert HOSTILE not in page.source


def test_the_picture_holds_every_block_and_where_the_run_stands_among_redrawn_schedules(data, analysis):
    (result,) = analysis.experiments
    panels = build_panels(data)
    shown = shown_experiment(data, result, panels.origin_ns)
    assert [each.kind for each in shown.stretches] == [each["level"] for each in result.schedule]
    assert [course.key for course in shown.courses] == ["temperature_c", "grad_norm"]
    norm = shown.tested[0]
    assert norm.bars.count.sum() == norm.effect.redrawn.size
    assert norm.bars.observed == norm.effect.statistic
    blocks, found = blocks_chart(shown, panels), found_chart(shown)
    alt.VConcatChart.from_dict(blocks)
    alt.ConcatChart.from_dict(found)
    rows = blocks["datasets"]
    assert len(rows["assigned-hot"]) + len(rows["assigned-cool"]) == len(result.schedule)
    drawn = found["datasets"]
    assert {row["k"] for row in drawn["observed"]} == set(range(len(shown.tested)))
    assert len([row for row in drawn["response"] if row["k"] == 0]) == norm.effect.response.lags_s.size


def test_a_notebook_has_the_charts_of_the_experiment_and_a_menu_of_its_outcomes(data, analysis):
    charts = run_charts(data.run, analysis, data)
    assert {"blocks", "found"} < set(charts)
    blocks, found = charts["blocks"].to_dict(), charts["found"].to_dict()
    assert blocks["title"]["subtitle"].startswith("SIMULATED hardware")
    (outcome,) = found["params"]
    (result,) = analysis.experiments
    shown = shown_experiment(data, result, build_panels(data).origin_ns)
    assert outcome["bind"]["labels"] == [each.label for each in shown.tested]


@pytest.fixture(scope="module")
def pulsed(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    series = load_series(
        simulate_experiment(runs, "experiment-training-to-hardware", 8, seed=1, end_ns=END_NS)
    )
    (result,) = run_experiments(series)
    return series, result


def panel_titles(chart):
    """Return the titles of the curves' axes."""
    return [
        next(layer for layer in view["layer"] if layer["data"]["name"].startswith("course-"))["encoding"][
            "y"
        ]["axis"]["title"]
        for view in chart["vconcat"]
    ]


def test_pulses_are_drawn_when_they_came(pulsed):
    series, result = pulsed
    panels = build_panels(series)
    shown = shown_experiment(series, result, panels.origin_ns)
    assert shown.kinds == ["noise", "zeros"]
    rows = blocks_chart(shown, panels)["datasets"]
    assert len(rows["pulses-0"]) + len(rows["pulses-1"]) == len(result.schedule)
    begun = [
        each["first_time_ns"] <= each["pulse_time_ns"] <= each["last_time_ns"] for each in result.schedule
    ]
    assert all(begun)
    assert panel_titles(blocks_chart(shown, panels)) == ["Power (W)", "Utilisation (%)", "Temperature (°C)"]


def test_pulses_on_two_devices_have_a_curve_each_and_the_device_beside_it(pulsed):
    series, result = pulsed
    (one,) = series.devices.values()
    power = one.table.column_names.index("power_w")
    hotter = one.table.set_column(power, "power_w", pc.add(one.table.column("power_w"), 50.0))
    both = {
        one.name: one,
        "simulated:other": replace(one, name="simulated:other", table=hotter, called="GPU 1"),
    }
    (found,) = [effect for effect in result.effects if effect.outcome == "power_w" and not effect.is_control]
    effects = [replace(found, device=name) for name in both]
    two = replace(series, devices=both)
    panels = build_panels(two)
    chart = blocks_chart(shown_experiment(two, replace(result, effects=effects), panels.origin_ns), panels)
    first, second = (rows for name, rows in chart["datasets"].items() if name.startswith("course-"))
    means = [np.mean([row["v"] for row in rows if row["v"] is not None]) for rows in (first, second)]
    assert means[1] - means[0] == pytest.approx(50.0, abs=2.0)
    assert panel_titles(chart) == [["Power (W)", one.label], ["Power (W)", "GPU 1"]]
    assert len({view["name"] for view in chart["vconcat"]}) == 2


def test_markdown_and_notebook_tell_the_experiment(data, analysis):
    text = report_markdown(data, analysis)
    assert "Heat changes the training" in text
    assert HOSTILE not in text
    assert "EFFECT" in analysis._repr_html_()
