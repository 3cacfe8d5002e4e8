"""The card as a picture: its size, texts that stay in their boxes, and what it says of odd runs."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pictures import size_of
from series_in_memory import START, series_of
from thermograd.analysis.report.charts.picture import Box, Picture, can_be_read, drawable
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.run_card import card_png, panels_shown, write_card
from thermograd.analysis.report.throttled_time import heat_spans
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import Device
from thermograd.cli import main
from thermograd.store.errors import LogError

ODD_NAMES = ["x" * 400, "訓練の実験 42", "🔥🔥🔥 run", "a\n\x1b[31mb", "$\\frac{1}{2}$ <b>&", "مرحبا", ""]


def short_run(n=30, devices=1):
    at = np.arange(float(n))
    steps = {"grad_norm": 1 + at % 3, "loss": 2 - at / 100, "max_grad_norm": np.full(n, np.nan)}
    data = series_of(at, steps, at, {"temperature_c": 50 + at % 7})
    table = data.devices["gpu0"].table
    return replace(data, devices={f"gpu{k}": Device(f"gpu{k}", {}, table) for k in range(devices)})


@pytest.mark.parametrize("data", [short_run(), short_run(1), short_run(devices=64), short_run(devices=0)])
def test_every_card_is_1200_by_630(data):
    png = card_png(data, analyze_run(data.run, series=data))
    assert size_of(png) == (1200, 630, 8, 6)
    assert len(png) < 200_000


def test_a_run_without_a_step_or_a_device_says_so_in_its_panels():
    data = series_of(np.empty(0), {"max_grad_norm": np.empty(0)}, np.empty(0), {})
    data = replace(data, devices={})
    shown = panels_shown(data, build_panels(data))
    assert [bool(each.panel.reason) for each in shown] == [True, True]
    assert [each.beside for each in shown] == ["", ""]
    assert size_of(card_png(data, analyze_run(data.run, series=data)))[:2] == (1200, 630)


@pytest.mark.parametrize("text", [*ODD_NAMES, "word " * 100])
@pytest.mark.parametrize("box", [Box(0, 0, 500, 40), Box(0, 0, 1100, 190), Box(0, 0, 90, 30)])
def test_a_text_stays_in_its_box(text, box):
    picture = Picture()
    fitted = picture.fitted(box, text, (50, 30, 20), bold=True)
    assert fitted.height <= box.height + 1
    assert all(picture._width(line, fitted.size, True) <= box.width for line in fitted.lines)
    picture.text(box, text, (50, 30, 20))
    assert size_of(picture.png())[:2] == (1200, 630)


def test_signs_without_a_letter_are_marked_and_a_name_of_them_is_not_readable():
    assert drawable("a\U000f0000b\tc") == "a\ufffdb c"
    assert not can_be_read("\U000f0000" * 8)
    assert can_be_read("baseline \U000f0000")


def test_the_time_throttled_by_heat_is_marked_and_the_power_cap_is_not():
    mask = pa.array([0, 0, 0x20, 0x20, 0x20, 0, 0, 0x4, 0x4, 0], pa.uint64())
    time_ns = pa.array(START + np.arange(10) * 10**9)
    device = Device("gpu0", {}, pa.table({"time_ns": time_ns, "clock_event_mask": mask}))
    ((begin_s, end_s),) = heat_spans([device], START, 9.0)
    assert (begin_s, end_s) == (pytest.approx(1.0, abs=0.05), pytest.approx(5.0, abs=0.05))
    assert heat_spans([], START, 1.0) == []


def test_the_command_writes_the_card_alone(tmp_path):
    data = short_run()
    write_card(data, analyze_run(data.run, series=data), tmp_path / "new" / "card.PNG")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["card.PNG"]
    with pytest.raises(LogError, match=r"allowed: a file that ends in \.png"):
        write_card(data, analyze_run(data.run, series=data), tmp_path / "card.jpg")


def test_the_card_and_the_report_are_not_asked_for_at_once(tmp_path):
    (tmp_path / "run-1" / "writers").mkdir(parents=True)
    command = ["--runs", str(tmp_path), "report", "run-1", "--card", "card.png", "-o", str(tmp_path / "out")]
    answer = CliRunner().invoke(main, command)
    assert answer.exit_code == 2
    assert "--card writes the card alone" in answer.output
