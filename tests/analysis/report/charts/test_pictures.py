"""Charts as they look on paper: the same whoever draws them, and drawn where no process is to be had."""

import subprocess
import sys

import pytest
from thermograd.analysis.report.charts import style
from thermograd.analysis.report.charts.style import image, images_beside, named, specification

pytest.importorskip("vl_convert")


def _chart(told: str) -> style.Spec:
    def draw(rows: style.Rows) -> style.Part:
        points = named(
            rows, "points", [{"t": 0.1, "v": 1e-7, "name": told}, {"t": 3, "v": 2.5, "name": "ø\x07"}]
        )
        marks = points.mark("text").encode(
            x={"field": "t", "type": "quantitative"},
            y={"field": "v", "type": "quantitative"},
            text={"field": "name", "type": "nominal"},
        )
        return {"width": 90, "height": 60} | dict(marks)

    return specification(draw)


def test_another_process_draws_the_same_to_the_byte():
    charts = {name: _chart(name) for name in ("one", "ü <&>")}
    done, drawn = images_beside(charts, lambda: 7)
    assert done == 7
    assert drawn == {name: image(chart) for name, chart in charts.items()}
    assert "one" in drawn["one"].decode()


@pytest.mark.parametrize("python", ["none", "unknown", "fails", "hangs"])
def test_where_no_process_draws_it_is_done_here(tmp_path, monkeypatch: pytest.MonkeyPatch, python):
    if python == "none":
        monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    elif python == "unknown":  # as where Python is part of another program
        monkeypatch.setattr(sys, "executable", None)
    elif python == "fails":
        monkeypatch.setattr(style, "_DRAW", "import sys; print(1); sys.exit(3)")
    else:
        monkeypatch.setattr(style, "_DRAW", "import time; time.sleep(600)")
        monkeypatch.setattr(style, "_LONGEST_S", 0.01)
    charts = {"one": _chart("one")}
    assert images_beside(charts, lambda: None)[1] == {"one": image(charts["one"])}


def test_no_chart_is_drawn_any_more_where_the_other_work_is_cut_short(monkeypatch: pytest.MonkeyPatch):
    def cut_short():
        raise KeyboardInterrupt

    begun = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: begun.append(popen(*a, **k)) or begun[0])
    monkeypatch.setattr(style, "_DRAW", "import time; time.sleep(600)")
    monkeypatch.setattr(style, "image", None)
    with pytest.raises(KeyboardInterrupt):
        images_beside({"one": _chart("one")}, cut_short)
    assert begun[0].returncode is not None


def test_without_charts_the_other_work_is_all_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(style, "_drawn_elsewhere", None)
    assert images_beside({}, lambda: 1) == (1, {})
