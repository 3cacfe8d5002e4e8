"""The printed figure shows every extreme, says what is missing, and changes nothing outside itself."""

import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from synthetic import START_NS, make_run
from thermograd.analysis.report.alt.run import Words
from thermograd.analysis.report.charts.paper.canvas import encode_figure as encoded
from thermograd.analysis.report.charts.paper.lags import lag_figure
from thermograd.analysis.report.charts.paper.text import figure_text
from thermograd.analysis.report.charts.print_figure import build_figure
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.curves import decimate, make_line
from thermograd.analysis.report.data.evidence import lag_pairs
from thermograd.analysis.report.data.panel import Panels
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import load_series
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run


def encode_figure(figure: Figure, file_format: str) -> bytes:
    return encoded(figure, file_format, Words("title", "text"))


def _panels(run: Run) -> Panels:
    return build_panels(load_series(run))


def _figure(run: Run, title: str = "title") -> Figure:
    return build_figure(_panels(run), title, "footer")


def _curve(ax: Axes, name: str) -> Any:
    return next(line for line in ax.lines if line.get_gid() == name)


def _legend(figure: Figure) -> list[str]:
    return [text.get_text().strip() for legend in figure.legends for text in legend.get_texts()]


# -- curves ----------------------------------------------------------------------------------------


def test_thinning_keeps_every_extreme_of_every_stretch_and_the_ends() -> None:
    rng = np.random.default_rng(1)
    time_s, values = np.sort(rng.uniform(0, 1000, 50_000)), rng.normal(size=50_000)
    values[31_415] = 1e6
    values[27_182] = -1e6
    kept = decimate(time_s, values, 100)
    assert kept.size <= 203
    assert {0, 27_182, 31_415, 49_999} <= set(kept.tolist())
    share = (time_s - time_s[0]) / (time_s[-1] - time_s[0])
    for bucket in range(100):
        inside = np.minimum(share * 100, 99).astype(int) == bucket
        chosen = inside[kept]
        assert values[kept][chosen].max() == values[inside].max()
        assert values[kept][chosen].min() == values[inside].min()


def test_thinning_keeps_gaps() -> None:
    values = np.ones(10_000)
    values[4_000:6_000] = np.nan
    kept = decimate(np.arange(10_000.0), values, 50)
    assert np.isnan(values[kept]).any()


def test_few_points_are_all_kept() -> None:
    assert decimate(np.arange(5.0), np.full(5, np.nan), 3).tolist() == [0, 1, 2, 3, 4]
    assert decimate(np.empty(0), np.empty(0), 3).tolist() == []


def test_hole_in_time_breaks_the_curve_but_a_slower_pace_does_not() -> None:
    time_s = np.concatenate([np.arange(20.0), 60 + np.arange(20.0)])
    hole = make_line("a", None, time_s, np.ones(40), 800)
    assert np.flatnonzero(np.isnan(hole.values)).tolist() == [20]
    assert (hole.shown, hole.total) == (40, 40)
    slower = np.concatenate([np.arange(0, 2, 0.1), 2 + np.arange(0, 60, 3.0)])
    assert not np.isnan(make_line("b", None, slower, np.ones(slower.size), 800).values).any()


def test_value_between_two_gaps_is_known_to_stand_alone() -> None:
    line = make_line("a", None, np.arange(5.0), np.array([np.nan, 1.0, np.inf, 2.0, 3.0]), 800)
    assert line.isolated.tolist() == [False, True, False, False, False]


# -- panels ----------------------------------------------------------------------------------------


def test_long_run_says_how_much_is_shown_and_loses_no_spike(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=5000, seconds=500.0, spikes=[2500], with_samples=False)
    norm = _panels(run).panels[1]
    assert norm.lines[0].total == 5000
    assert norm.lines[0].shown < 1700
    assert np.nanmax(norm.lines[0].values) > 20
    assert any("of 5,000 points, every extreme kept" in note for note in norm.notes)


def test_loss_logged_every_tenth_step_is_one_curve(tmp_path: Path) -> None:
    run = create_run(tmp_path, "sparse")
    writer = EventWriter(run.path, run.run_id, "writer")
    for step in range(1, 101):
        writer.append("step", START_NS + step * 10**9, step=step, loss=1.0 if step % 10 == 0 else None)
    writer.close()
    loss, norm = _panels(run).panels[:2]
    assert loss.lines[0].total == 10
    assert np.isfinite(loss.lines[0].values).all()
    assert norm.reason == "gradient norm was not recorded in this run"


def test_imported_run_shows_what_its_source_had_derived(tmp_path: Path) -> None:
    run = create_run(tmp_path, "import", {"source": "imported", "devices": {"gpu": {"sensors": ["power_w"]}}})
    writer = EventWriter(run.path, run.run_id, "writer")
    for i in range(20):
        values: dict[str, Any] = {
            "power_w": 100.0,
            "utilization_pct": 90.0,
            "reported_rle": 0.5,
            "reported_collapse": i in (5, 6, 9),
        }
        writer.append("sample", START_NS + i * 10**9, device="gpu", **values)
    writer.close()
    panels = _panels(run)
    rle, power = panels.printed[2:]
    temperature = next(panel for panel in panels.panels if panel.key == "temperature_c")
    assert [line.label for line in rle.lines] == ["gpu, as reported"]
    assert [mark.time_s for mark in rle.marks] == [5.0, 9.0]
    assert power.key == "power_w"
    assert temperature.reason == "gpu: no temperature, not in the imported log."


# -- figure ----------------------------------------------------------------------------------------


def test_four_panels_share_one_time_axis(tmp_path: Path) -> None:
    figure = _figure(make_run(tmp_path, spikes=[100], injections=[200], collapse_s=120.0))
    assert [ax.get_ylabel() for ax in figure.axes] == ["Loss", "Gradient norm", "RLE", "Temperature (°C)"]
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert figure.axes[-1].get_xlabel() == "seconds since the run's first event"
    loss = _curve(figure.axes[0], "loss")
    assert loss.get_xdata().size == 300
    assert loss.get_xdata()[0] == pytest.approx(0.5)
    assert _curve(figure.axes[1], "spike").get_xdata() == pytest.approx([50.0])
    assert _curve(figure.axes[1], "injection at edge").get_xdata() == pytest.approx([100.0])
    assert _curve(figure.axes[2], "collapse at edge").get_xdata() == pytest.approx([120.0])
    events = ["spike alert", "fault injected on purpose", "onset of a collapse"]
    assert _legend(figure) == ["GPU 0 (Test GPU)", *events]


def test_norms_over_more_than_a_decade_have_a_logarithmic_axis(tmp_path: Path) -> None:
    assert _figure(make_run(tmp_path / "a", spikes=[100])).axes[1].get_yscale() == "log"
    assert _figure(make_run(tmp_path / "b")).axes[1].get_yscale() == "linear"


def test_norms_that_are_not_finite_or_zero_are_marks_not_holes_alone(tmp_path: Path) -> None:
    figure = _figure(make_run(tmp_path, spikes=[100], nan=[50], zeros=[60]))
    ax = figure.axes[1]
    assert _curve(ax, "nonfinite at edge").get_xdata() == pytest.approx([25.0])
    assert _curve(ax, "nonfinite at edge").get_ydata()[0] > 0.9
    assert _curve(ax, "zero at edge").get_xdata() == pytest.approx([30.0])
    assert _curve(ax, "zero at edge").get_ydata()[0] < 0.1


def test_run_of_nan_norms_only_is_drawn(tmp_path: Path) -> None:
    figure = _figure(make_run(tmp_path, steps=10, seconds=5.0, nan=range(1, 11)))
    assert _curve(figure.axes[1], "nonfinite at edge").get_xdata().size == 10
    encode_figure(figure, "png")


def test_panel_without_data_says_why(tmp_path: Path) -> None:
    figure = _figure(create_run(tmp_path, "empty"))
    said = [" ".join(text.get_text() for text in ax.texts) for ax in figure.axes]
    assert said[0] == "no training step was recorded in this run"
    assert said[3] == "no device was sampled in this run"
    encode_figure(figure, "svg")


def test_simulated_device_says_so_in_the_figure(tmp_path: Path) -> None:
    assert _legend(_figure(make_run(tmp_path, steps=20, simulated=True)))[0] == "GPU 0 (Test GPU, simulated)"


def test_points_outside_their_familys_band_are_circled(tmp_path: Path) -> None:
    pairs = lag_pairs(analyze_run(make_run(tmp_path)))[0][1]
    narrow = [replace(pair, half_width=0.05 if pair.family == "forward" else 1.0) for pair in pairs]
    circled = _curve(lag_figure("pair", narrow).axes[0], "outside")
    expected = [
        lag for lag, r in zip(pairs[0].lags_s, pairs[0].profile, strict=True) if lag > 0 and abs(r) > 0.05
    ]
    assert expected
    assert list(circled.get_xdata()) == expected


def test_slow_answers_are_drawn_beside_the_lags(slow_analysis: Analysis) -> None:
    label, pairs = lag_pairs(slow_analysis)[0]
    lags, slow = lag_figure(label, pairs).axes
    assert [ax.get_title(loc="left") for ax in (lags, slow)] == [
        "answers after one delay",
        "answers that fade",
    ]
    forward = next(pair for pair in pairs if pair.family == "forward")
    circled = [(at, r) for at, r in zip(*_curve(slow, "outside").get_data(), strict=True) if at > 0]
    expected = [
        (float(place), r)
        for place, r in enumerate(forward.slow_profile, 1)
        if abs(r) > forward.slow_half_width
    ]
    assert expected
    assert circled == expected
    assert [text.get_text() for text in slow.get_xticklabels()][-5:] == ["3", "", "12", "", "48"]
    without = [replace(pair, memories_s=[], slow_profile=[]) for pair in pairs]
    assert len(lag_figure(label, without).axes) == 1


@pytest.mark.parametrize("file_format", ["png", "pdf", "svg"])
def test_same_run_gives_the_same_bytes(tmp_path: Path, file_format: str) -> None:
    run = make_run(tmp_path, steps=50, seconds=25.0)
    assert encode_figure(_figure(run), file_format) == encode_figure(_figure(run), file_format)


def test_fonts_are_embedded_and_text_of_svg_is_drawn(tmp_path: Path) -> None:
    figure = _figure(make_run(tmp_path, steps=20, seconds=10.0))
    pdf, svg = encode_figure(figure, "pdf"), encode_figure(figure, "svg")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    assert b"<text" not in svg


@pytest.mark.parametrize(
    "name", ["$\\frac{1}$", "a_b^c $", "漢字 🔥", "_hidden", "line\nbreak\x00", "<b>&", "x" * 500]
)
def test_any_name_can_be_drawn(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path, steps=5, seconds=5.0, name=name, device=f"{name}-device")
    figure = _figure(run, name)
    assert len(_legend(figure)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode_figure(figure, "svg")


def test_text_is_cut_in_the_middle_and_unknown_signs_are_replaced() -> None:
    assert figure_text("abcdefghij", 5) == "ab…ij"
    assert figure_text("a🔥b\n", 9) == "a\ufffdb\ufffd"


def test_settings_of_the_process_stay_as_they_were(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    had_pyplot = "matplotlib.pyplot" in sys.modules
    encode_figure(_figure(make_run(tmp_path, steps=5, seconds=5.0)), "pdf")
    assert dict(mpl.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot
