"""Figures of 1, 8 and 64 devices, of a minute, a day and a week, and of a machine with a CPU only.

What they must hold is their structure: as many colours as curves, a legend that tells what is drawn and
nothing else, few marks, texts within the picture, all extremes.
"""

import json
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest
from matplotlib.figure import Figure
from scale_runs import HOT, SLOW, device_names, scale_run
from thermograd.analysis.report.charts.print_figure import build_figure, legend_entries
from thermograd.analysis.report.charts.timeline import folded_chart, panels_chart
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.panel import Panel, Panels, legend_of
from thermograd.analysis.report.data.strips import MOST_MARKS
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import verdict_sentence
from thermograd.analysis.run.series import load_series
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

_MINUTE, _DAY, _WEEK = 60.0, 86_400.0, 604_800.0
_SIZES: dict[str, dict[str, Any]] = {
    f"{devices} devices, {name}": {"devices": devices, "seconds": seconds, "alerts": alerts}
    for devices in (0, 1, 8, 64)
    for name, seconds, alerts in (("a minute", _MINUTE, 0), ("a day", _DAY, 700), ("a week", _WEEK, 5000))
    if name == "a day" or devices in (1, 64)
}


def _panels(run: Run, coupled: tuple[str, ...] = ()) -> Panels:
    return build_panels(load_series(run), coupled=coupled)


def _panel(panels: Panels, key: str) -> Panel:
    return next(panel for panel in panels.panels if panel.key == key)


@pytest.fixture(scope="module", params=list(_SIZES.values()), ids=list(_SIZES))
def sized(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Panels, dict[str, Any]]:
    run = scale_run(tmp_path_factory.mktemp("runs"), samples=300, steps=900, **request.param)
    return _panels(run), request.param


def test_every_size_has_a_colour_a_curve_and_few_marks(sized: tuple[Panels, dict[str, Any]]) -> None:
    panels, size = sized
    assert len(panels.devices) <= 5
    assert len(set(panels.devices.values())) == len(panels.devices)
    for panel in panels.panels:
        assert len(panel.marks) <= 2 * MOST_MARKS
        assert all(strip.count.size <= 120 for strip in panel.strips)
        assert bool(panel.band) == (size["devices"] > 5 and not panel.reason and _is_gpu(panel))
    if size["devices"] > HOT:
        assert sum(tick.events for tick in panels.alerts) == size["alerts"]
        collapses = {strip.kind: strip.count.sum() for strip in _panel(panels, "rle").strips}
        assert collapses == ({"collapse": size["alerts"]} if size["alerts"] > MOST_MARKS else {})


def _is_gpu(panel: Panel) -> bool:
    return panel.key not in ("loss", "grad_norm", "learning_rate", "step_time_s", "tokens_per_s")


def test_every_size_is_drawn_as_its_legend_says(sized: tuple[Panels, dict[str, Any]]) -> None:
    panels, _ = sized
    figure = build_figure(panels, "title " * 30, "footer " * 40)
    drawn = {_colour(line) for ax in figure.axes for line in ax.lines if _is_curve(panels, line.get_gid())}
    entries = legend_entries(panels)
    told = [entry for entry in entries if _shown(entry.label, panels)]
    assert {_colour(entry.handle) for entry in told} == drawn
    assert len(drawn) == len(told)
    bands = {entry.label for entry in entries if entry.label.startswith("all ")}
    assert bands == {panel.band.label for panel in panels.printed if panel.band}
    assert len({entry.label for entry in entries}) == len(entries)
    assert _outside(figure) == []


def _shown(label: str, panels: Panels) -> bool:
    return label in panels.devices.values()


def _is_curve(panels: Panels, name: str | None) -> bool:
    return name in {line.label for panel in panels.panels for line in panel.lines if line.device is not None}


def _colour(artist: Any) -> str:
    return str(artist.get_color())


def _outside(figure: Figure) -> list[str]:
    """Return texts that leave the picture."""
    figure.canvas.draw()
    edge = figure.bbox
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    texts += [text for ax in figure.axes for text in (*ax.texts, ax.yaxis.label, ax.xaxis.label)]
    boxes = {text.get_text(): text.get_window_extent() for text in texts if text.get_text()}
    return [
        text
        for text, box in boxes.items()
        if box.x0 < edge.x0 - 1 or box.x1 > edge.x1 + 1 or box.y0 < edge.y0 - 1 or box.y1 > edge.y1 + 1
    ]


def test_crowded_timeline_is_valid_vega_lite(tmp_path: Path) -> None:
    panels = _panels(scale_run(tmp_path, 8, _DAY, 300, 900, alerts=700))
    for chart in (panels_chart(panels), folded_chart(panels)):
        assert chart is not None
        alt.VConcatChart.from_dict(chart)


def test_every_size_has_a_timeline_of_few_bytes_and_of_the_same_colours(
    sized: tuple[Panels, dict[str, Any]],
) -> None:
    panels, _ = sized
    charts = [chart for chart in (panels_chart(panels), folded_chart(panels)) if chart]
    for chart in charts:
        for view in chart["vconcat"]:
            colours = [layer["encoding"]["color"] for layer in view["layer"] if "color" in layer["encoding"]]
            assert all(colour["scale"]["domain"] == list(panels.devices.values()) for colour in colours)
    assert sum(len(json.dumps(chart)) for chart in charts) < 2_000_000
    named = {name for chart in charts for layers in _layers(chart) for name in layers}
    assert named <= {name for chart in charts for name in chart["datasets"]}


def _layers(chart: dict[str, Any]) -> list[list[str]]:
    return [
        [layer["data"]["name"] for layer in view["layer"] if "data" in layer] for view in chart["vconcat"]
    ]


# -- who is named ----------------------------------------------------------------------------------


def test_coupled_hottest_and_slowest_devices_stand_out_of_many(tmp_path: Path) -> None:
    names = device_names(8)
    panels = _panels(scale_run(tmp_path, 8, _DAY, 600, 900, alerts=700), (names[6],))
    assert list(panels.devices) == [names[6], names[HOT], "cpu"]
    assert panels.devices[names[6]].endswith(": coupled")
    assert panels.devices[names[HOT]].endswith(": hottest on average, most throttled, slowest clock")
    assert panels.devices[names[HOT]].startswith(f"GPU {HOT} (H100, ")
    calm = _panels(scale_run(tmp_path / "calm", 8, _DAY, 600, 900))
    assert calm.devices[names[SLOW]].endswith(": slowest clock")


def test_band_holds_every_extreme_of_all_devices_and_their_median(tmp_path: Path) -> None:
    run = scale_run(tmp_path, 8, 600.0, 600, 50, alerts=60)
    data = load_series(run)
    panels = build_panels(data)
    for key in ("sm_clock_mhz", "temperature_c", "power_w"):
        band = _panel(panels, key).band
        values = np.concatenate(
            [device.signal(key) for name, device in data.devices.items() if name != "cpu"]
        )
        assert band is not None
        assert (band.lowest, band.highest) == (values.min(), values.max())
        assert (band.low <= band.middle).all()
        assert (band.middle <= band.high).all()
        assert (band.time_s[0], band.time_s[-1]) == (0.0, panels.end_s)
        assert (band.devices, band.total) == (8, 4800)


def test_band_is_open_where_no_device_was_read(tmp_path: Path) -> None:
    run = create_run(tmp_path, "gap", {"devices": {f"GPU-{k}": {} for k in range(6)}})
    writer = EventWriter(run.path, run.run_id, "writer", batch_rows=8192)
    for second in (*range(100), *range(300, 400)):
        for k in range(6):
            time_ns = 10**18 + second * 10**9
            writer.append("sample", time_ns, device=f"GPU-{k}", temperature_c=50.0 + k)
    writer.close()
    band = _panel(_panels(run), "temperature_c").band
    assert band is not None
    inside = (band.time_s > 110) & (band.time_s < 290)
    assert np.isnan(band.middle[inside]).all()
    assert np.isfinite(band.middle[band.time_s < 90]).all()
    assert set(band.middle[np.isfinite(band.middle)].tolist()) == {52.5}


def test_five_devices_have_a_curve_each_and_six_are_a_band(tmp_path: Path) -> None:
    few = _panels(scale_run(tmp_path / "few", 4, _MINUTE, 60, 60))
    many = _panels(scale_run(tmp_path / "many", 5, _MINUTE, 60, 60))
    assert len(few.devices) == 5
    assert _panel(few, "temperature_c").band is None
    assert _panel(many, "temperature_c").band is not None


# -- marks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("alerts", [MOST_MARKS, MOST_MARKS + 1])
def test_marks_become_a_strip_only_above_what_can_be_told_apart(tmp_path: Path, alerts: int) -> None:
    panels = _panels(scale_run(tmp_path, 4, _DAY, 600, 600, alerts=alerts))
    told, panel = legend_of(panels, panels.shown), _panel(panels, "sm_clock_mhz")
    if alerts == MOST_MARKS:
        assert (len(panel.marks), panel.strips, told.kinds, told.strips) == (alerts, (), ["collapse"], {})
    else:
        assert (panel.marks, told.kinds) == ((), [])
        assert told.strips["collapse"].label == f"onset of a collapse: {alerts}, darker where longer"
        spec = panels_chart(panels)
        assert spec is not None
        rows = spec["datasets"]["sm_clock_mhz-strip-collapse"]
        assert all(0.25 <= row["o"] <= 1 for row in rows)
        assert sum(int(row["text"].split()[0]) for row in rows) == alerts


@pytest.mark.parametrize("ended", [True, False])
def test_strip_is_the_share_of_time_where_ends_are_known_else_how_many(tmp_path: Path, ended: bool) -> None:
    panels = _panels(scale_run(tmp_path, 4, _DAY, 600, 600, alerts=600, ended=ended))
    (strip,) = _panel(panels, "sm_clock_mhz").strips
    ticks = [tick for tick in panels.alerts if tick.width_s]
    assert strip.count.sum() == sum(tick.events for tick in ticks) == 600
    if not ended:
        assert (strip.share, ticks[0].share) == (None, None)
        assert strip.shades.max() == 1.0
        return
    assert strip.share is not None
    lasted_s = float(strip.share.sum()) * strip.width_s
    assert 0.25 * _DAY < lasted_s < 0.4 * _DAY  # 600 times 0.4 of the mean gap; some lie over each other
    assert strip.shades.tolist() == pytest.approx((0.25 + 0.75 * strip.share).tolist())
    assert strip.texts()[0].endswith("% of it")


# -- a machine with a CPU only ---------------------------------------------------------------------


def test_of_a_cpu_alone_utilisation_and_memory_are_drawn_and_the_rest_is_named(tmp_path: Path) -> None:
    run = scale_run(tmp_path, 0, _MINUTE)
    panels, analysis = _panels(run), analyze_run(run)
    keys = ["loss", "grad_norm", "utilization_pct", "memory_used_bytes"]
    assert [panel.key for panel in panels.printed] == keys
    assert [panel.key for panel in panels.shown] == keys
    assert _panel(panels, "memory_used_bytes").axis_title == "Memory in use (GiB)"
    sentence = verdict_sentence(analysis)
    assert "temperature: no temperature sensor in /sys/class/hwmon" in sentence
    assert "norm" not in sentence
    assert analysis.unmeasured["cpu"]["power_w"].startswith("no power sensor")


def test_steps_without_norm_and_loss_are_blamed_only_where_they_lack_them(tmp_path: Path) -> None:
    run = create_run(tmp_path, "bare", {"devices": {"GPU-1": {}}})
    writer = EventWriter(run.path, run.run_id, "writer")
    for k in range(30):
        writer.append("step", 10**18 + k * 10**9, step=k + 1)
        writer.append("sample", 10**18 + k * 10**9, device="GPU-1", temperature_c=50.0 + k)
    writer.close()
    assert verdict_sentence(analyze_run(run)).endswith("No step has a gradient norm or a loss.")


# -- training --------------------------------------------------------------------------------------


def test_learning_rate_pace_and_tokens_are_folded_and_the_clip_bound_stands_on_the_norm(
    tmp_path: Path,
) -> None:
    panels = _panels(scale_run(tmp_path, 1, _MINUTE))
    assert [panel.key for panel in panels.folded][:3] == ["learning_rate", "step_time_s", "tokens_per_s"]
    norm = _panel(panels, "grad_norm")
    assert [(line.label, line.dashed) for line in norm.lines] == [
        ("gradient norm", False),
        ("clip bound", True),
    ]
    assert any("clipped were" in note for note in norm.notes)
    assert legend_of(panels, panels.shown).dashed == [("clip bound", None)]
    rate = _panel(panels, "tokens_per_s").lines[0]
    assert rate.highest == pytest.approx(4_194_304 / 0.5, rel=1e-2)


@pytest.mark.parametrize("bound", [1e9, 1e-9])
def test_clip_bound_far_from_the_norms_is_told_and_not_drawn(tmp_path: Path, bound: float) -> None:
    run = create_run(tmp_path, "clip")
    writer = EventWriter(run.path, run.run_id, "writer")
    for k in range(30):
        writer.append("step", 10**18 + k * 10**9, step=k + 1, grad_norm=1.0 + k % 3, max_grad_norm=bound)
    writer.close()
    norm = _panel(_panels(run), "grad_norm")
    assert len(norm.lines) == 1
    assert any(f"{bound:.4g}, is far from the norms" in note for note in norm.notes)


def test_numbers_of_the_script_have_panels_that_open_on_demand_evaluations_first(tmp_path: Path) -> None:
    run = create_run(tmp_path, "own")
    writer = EventWriter(run.path, run.run_id, "writer")
    for k in range(1, 31):
        writer.append("step", 10**18 + k * 10**9, step=k, loss=1.0 / k)
        for name, value in (
            ("accuracy", k / 40),
            ("eval/loss\u202e</script>" + "x" * 90, 2.0 / k),
            ("flag", None),
        ):
            writer.append("metric", 10**18 + k * 10**9, step=k, rank=0, name=name, value=value)
    for place in range(15):
        writer.append("metric", 10**18 + 10**9, step=1, rank=0, name=f"more {place:02}", value=1.0)
    writer.close()
    panels = _panels(run)
    names = [panel.name for panel in panels.folded if panel.name]
    assert names[0].startswith("eval/loss")
    assert names[1] == "accuracy"
    assert len(names) == 12
    assert any("5 more metrics are in the log" in note for panel in panels.folded for note in panel.notes)
    chart = folded_chart(panels)
    assert chart is not None
    titles = [
        layer["encoding"]["y"]["axis"]["title"] for view in chart["vconcat"] for layer in view["layer"][:1]
    ]
    assert max(len(title) for title in titles) <= 17
    assert [row["v"] for row in chart["datasets"]["metric_1"]] == [k / 40 for k in range(1, 31)]
