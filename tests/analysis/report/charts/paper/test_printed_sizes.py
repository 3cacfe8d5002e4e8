"""Printed figures of any size: no text over another or outside, letters of one size, words in every file."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from printed_text import overlaps, texts
from scale_runs import scale_run
from synthetic import START_NS, make_run
from thermograd.analysis.report.alt.run import Words, simulated_words, timeline_words
from thermograd.analysis.report.charts.paper.canvas import encode_figure
from thermograd.analysis.report.charts.paper.lags import lag_figure
from thermograd.analysis.report.charts.paper.style import PrintStyle, print_style
from thermograd.analysis.report.charts.print_figure import build_figure
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.evidence import lag_pairs
from thermograd.analysis.report.data.panel import Panels
from thermograd.analysis.run.series import load_series
from thermograd.store.errors import ConfigError
from thermograd.store.log.writer import EventWriter

_SIZES = ("paper-1col", "font_size_pt=9,width_mm=84", "slide", "font_size_pt=5,width_mm=50")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("runs")
    one = make_run(
        folder, nan=[50], zeros=[60], spikes=[100], injections=[200], collapse_s=120.0, simulated=True
    )
    writer = EventWriter(one.path, one.run_id, "held")
    masks = [0x4] * 40 + [0x84] * 40 + [0x24] * 40 + [0] * 40  # power cap, brake and heat, together with it
    for place, mask in enumerate(masks):
        writer.append("sample", START_NS + place * 10**9 // 2 + 10**8, device="GPU-0", clock_event_mask=mask)
    for mark in ("evaluation", "checkpoint"):
        writer.append("mark", START_NS + 60 * 10**9, mark=mark, step=120, text=f"{mark} done")
    writer.close()
    return {
        "one": load_series(one),
        "eight": load_series(scale_run(folder, 8, 600.0, 300, 300, alerts=50)),
        "sixty-four": load_series(scale_run(folder, 64, 600.0, 60, 300, alerts=5)),
        "no device": load_series(make_run(folder, 60, 30.0, with_samples=False)),
        "one step": load_series(make_run(folder, 1, 1.0)),
    }


@pytest.fixture(scope="module")
def panels(runs: dict[str, Any]) -> dict[str, Panels]:
    return {name: build_panels(data) for name, data in runs.items()}


@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize("name", ["one", "eight", "sixty-four", "no device", "one step"])
def test_no_text_is_over_another_or_outside_at_any_size(
    panels: dict[str, Panels], name: str, size: str
) -> None:
    style = print_style(size)
    figure = build_figure(panels[name], "A run " * 20, "Simulated hardware. " * 4, style)
    assert overlaps(figure) == []
    edge = figure.bbox.padded(1.0)
    outside = [t.get_text() for t in texts(figure) if not edge.contains(*t.get_window_extent().max)]
    assert outside == []
    assert {text.get_size() for text in texts(figure)} == {style.font_size_pt}
    assert figure.get_figwidth() == pytest.approx(style.width_mm / 25.4)
    assert style.height_mm is None or figure.get_figheight() == pytest.approx(style.height_mm / 25.4)


@pytest.mark.parametrize("size", _SIZES)
def test_no_text_of_a_lag_profile_is_over_another(slow_analysis: Any, size: str) -> None:
    figure = lag_figure(*lag_pairs(slow_analysis)[0], "Simulated hardware.", print_style(size))
    assert overlaps(figure) == []
    assert {text.get_size() for text in texts(figure)} == {print_style(size).font_size_pt}


def test_who_was_throttled_when_and_why_is_drawn_and_told(panels: dict[str, Panels]) -> None:
    found = panels["one"].throttling
    (lane,) = found.lanes
    spans = {cause: [(s.start_s, s.end_s) for s in stretches] for cause, stretches in lane.stretches.items()}
    assert spans["brake"][0][0] == pytest.approx(20.0, abs=1.5)
    assert spans["brake"][-1][1] == pytest.approx(40.0, abs=1.5)
    assert spans["thermal"][-1][1] == pytest.approx(60.0, abs=1.5)
    assert spans["power"][0][0] == 0.0
    figure = build_figure(panels["one"])
    assert figure.axes[-1].get_label() == "throttling"
    drawn = {artist.get_gid() for artist in figure.axes[-1].collections}
    assert drawn == {"throttled thermal", "throttled brake", "throttled power"}
    legend = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert {"throttled by heat", "slowed by the power brake", "held at the power cap"} <= set(legend)
    assert {"evaluation", "checkpoint"} <= set(legend)


def test_of_many_devices_those_that_were_throttled_have_a_lane(panels: dict[str, Panels]) -> None:
    found = panels["sixty-four"].throttling
    assert [lane.label.partition(" (")[0] for lane in found.lanes] == ["GPU 3"]
    assert found.told == 64
    assert "1 of 64 devices" in found.sentence()
    assert len(panels["eight"].throttling.lanes) == 8
    assert panels["no device"].throttling.sentence() == ""
    assert [ax.get_label() for ax in build_figure(panels["one step"]).axes][-1] != "throttling"


def test_each_panel_stands_alone(panels: dict[str, Panels]) -> None:
    for panel in panels["eight"].shown:
        figure = build_figure(panels["eight"], shown=[panel], throttling=False)
        assert [ax.get_label() for ax in figure.axes] == [panel.key]
        assert figure.axes[0].get_xlabel()
    (lanes,) = build_figure(panels["eight"], shown=[]).axes
    assert lanes.get_label() == "throttling"


def test_a_height_without_room_is_refused_with_the_least_that_has() -> None:
    wanted = Panels(build_panels_of_nothing(), 0.0, 1.0)
    with pytest.raises(ConfigError, match=r"30 mm has no room for 4 panels .* at least (\d+) mm") as error:
        build_figure(wanted, style=PrintStyle(height_mm=30.0))
    least = float(re.findall(r"at least (\d+) mm", str(error.value))[0])
    assert build_figure(wanted, style=PrintStyle(height_mm=least)).get_figheight() == pytest.approx(
        least / 25.4
    )


def build_panels_of_nothing() -> Any:
    from thermograd.analysis.report.data.panel import Panel

    return tuple(Panel(key, reason="nothing") for key in ("loss", "grad_norm", "rle", "temperature_c"))


def test_every_file_says_what_it_shows(runs: dict[str, Any], panels: dict[str, Panels]) -> None:
    found = panels["one"]
    told = timeline_words(found, found.printed, "a <name>", simulated_words(runs["one"]))
    assert told.text.startswith("SIMULATED hardware: GPU 0 (Test GPU, simulated). Run a <name>, 2 min 30 s")
    assert "spike alert: 1 time, at 50 s" in told.text
    assert "Slowed by the power brake" in told.text
    figure = build_figure(found)
    png = Image.open(io.BytesIO(encode_figure(figure, "png", told)))
    assert (png.info["Title"], png.info["Description"]) == told
    svg = encode_figure(figure, "svg", told).decode()
    assert "<desc>SIMULATED hardware" in svg
    assert svg.count("<title>") == 1
    assert "<title>a &lt;name&gt;: training" in svg
    pdf = encode_figure(figure, "pdf", Words("what", "it shows"))
    assert b"/Title (what)" in pdf
    assert b"/Subject (it shows)" in pdf


def test_hostile_names_are_inert_in_words() -> None:
    panels = Panels((), 0.0, 1.0)
    told = timeline_words(panels, (), "\x1b[31m]]><script>\u202e" + "x" * 5000, "")
    assert "\x1b" not in told.text + told.title
    assert "\u202e" not in told.text + told.title
    assert len(told.title) <= 130
    image = encode_figure(build_figure(replace(panels), shown=[]), "svg", told)
    assert b"<script" not in image
