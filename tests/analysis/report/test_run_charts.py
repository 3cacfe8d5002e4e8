"""A run's charts as Altair charts: the page's own, which need no page to be shown, restyled or saved."""

import re
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from synthetic import make_run
from thermograd.analysis import run_charts
from thermograd.analysis.report.data.contents import prepare
from thermograd.analysis.report.data.evidence import lag_pairs
from thermograd.analysis.report.page import document
from thermograd.analysis.report.run_charts import chart_specifications
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import load_series
from thermograd.store.errors import MissingExtraError
from thermograd.store.runs.catalogue import Run

Charts = dict[str, Any]


@pytest.fixture(scope="module")
def charts(full: Run, analysis: Analysis) -> Charts:
    return run_charts(full, analysis)


def test_every_chart_is_valid_stands_alone_and_says_that_its_hardware_is_simulated(charts: Charts) -> None:
    assert list(charts) == ["timeline", "more", "lag", "cross", "memory"]
    for chart in charts.values():
        spec = chart.to_dict()  # Altair holds it against its schema
        assert spec["title"]["subtitle"] == "SIMULATED hardware: GPU 0 (Test GPU, simulated)"
        drawn = vl_convert.vegalite_to_svg(spec)
        assert "SIMULATED hardware: GPU 0" in drawn
        assert "synthetic: " in drawn
        assert drawn.count("<path") > 20


def test_charts_draw_the_page_s_own_rows_and_bring_the_key_that_the_page_has(
    charts: Charts, full: Run, analysis: Analysis
) -> None:
    specs = chart_specifications(prepare(load_series(full), analysis))
    for name, chart in charts.items():
        own = specs[name]
        assert own is not None
        assert {key: chart.datasets[key] for key in own["datasets"]} == own["datasets"]
    temperature = charts["timeline"].to_dict()["vconcat"][3]["layer"][0]["encoding"]["color"]
    assert temperature["legend"]["values"] == ["GPU 0 (Test GPU, simulated)"]


def test_a_chart_of_one_of_many_pairs_offers_them_all_and_names_the_one_it_shows(
    charts: Charts, analysis: Analysis
) -> None:
    (pair,) = charts["lag"].to_dict()["params"]
    labels = pair["bind"]["labels"]
    assert labels == [label for label, _ in lag_pairs(analysis)]
    assert len(labels) > 1
    assert pair["bind"]["options"] == list(range(len(labels)))
    drawn = vl_convert.vegalite_to_svg(charts["lag"].to_dict())
    shown = {text for text in re.findall(r"<text[^>]*>([^<]+)</text>", drawn) if " ~ " in text}
    assert shown == {labels[0]}


def test_a_restyled_chart_is_valid(charts: Charts) -> None:
    chart = charts["lag"].properties(title="My run", width=300).configure_axis(labelFontSize=14)
    assert chart.to_dict()["title"] == "My run"


def test_a_stranger_s_name_with_what_no_picture_can_hold_is_drawn_without_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=20, seconds=10.0, name="a\x01</svg>", device="b\x02")
    charts = run_charts(run, analyze_run(run), look="dark")
    spec = charts["timeline"].to_dict()
    assert "subtitle" not in spec["title"]
    assert spec["background"] == "#15181c"
    drawn = vl_convert.vegalite_to_svg(spec)
    assert "&lt;/svg&gt;" in drawn
    assert not set(drawn) & {"\x01", "\x02"}


def test_what_is_missing_or_unknown_is_said(
    full: Run, analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="look is 'blue'; expected one of: light, dark"):
        run_charts(full, analysis, look="blue")  # type: ignore[arg-type]
    monkeypatch.setattr(document, "find_spec", lambda name: None if name == "altair" else object())
    with pytest.raises(MissingExtraError, match=r"a run's charts need altair: install thermograd\[report\]"):
        run_charts(full, analysis)
