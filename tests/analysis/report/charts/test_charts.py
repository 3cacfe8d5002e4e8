"""Charts show what the run holds, zoom as one, and look alike on light and dark ground."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import make_run
from thermograd.analysis.report.charts.pairs import lag_chart
from thermograd.analysis.report.charts.theme import theme
from thermograd.analysis.report.charts.timeline import panels_chart
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.evidence import lag_pairs
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import load_series
from thermograd.store.runs.catalogue import Run


def _rows(spec: dict[str, Any], panel: str, column: str) -> list[dict[str, Any]]:
    """Return the rows behind a panel's layers that have a column."""
    view = next(view for view in spec["vconcat"] if _named(view, panel))
    names = {layer["data"]["name"] for layer in view["layer"] if "name" in layer.get("data", {})}
    names |= {view["data"]["name"]} if "data" in view else set()
    return [row for name in sorted(names) for row in spec["datasets"][name] if column in row]


def _named(view: dict[str, Any], panel: str) -> bool:
    return view.get("name") == panel or view.get("description") == panel


def test_chart_shows_spikes_faults_and_collapses(full: Run) -> None:
    spec = panels_chart(build_panels(load_series(full)))
    assert spec is not None
    told = _rows(spec, "Gradient norm", "what")
    assert {row["what"] for row in told} == {
        "spike alert",
        "fault injected on purpose",
        "onset of a collapse",
    }
    spike = next(row for row in told if row["what"] == "spike alert")
    assert spike["t"] == pytest.approx(50.0)
    assert spike["v"] > 20
    assert next(row["t"] for row in told if row["what"] == "onset of a collapse") == pytest.approx(120.0)
    assert {row["what"] for row in _rows(spec, "RLE", "what")} == {"onset of a collapse"}


def test_zoom_is_one_for_all_panels(full: Run) -> None:
    spec = panels_chart(build_panels(load_series(full)))
    assert spec is not None
    zoom = [parameter for parameter in spec["params"] if parameter["name"] == "zoom"]
    assert len(zoom) == 1
    assert zoom[0]["views"] == [view["layer"][0]["name"] for view in spec["vconcat"]]
    assert [name.partition("-")[0] for name in zoom[0]["views"]] == [
        *("loss", "grad_norm", "rle", "temperature_c", "power_w", "alerts")
    ]
    assert zoom[0]["bind"] == "scales"


def test_chart_of_a_run_with_nan_norms_marks_them_at_the_edge(tmp_path: Path) -> None:
    spec = panels_chart(build_panels(load_series(make_run(tmp_path, steps=60, nan=[30, 31]))))
    assert spec is not None
    told = _rows(spec, "Gradient norm", "what")
    assert [(row["what"], row["v"], row["text"]) for row in told] == [
        ("not finite (NaN or inf)", None, "step 30: nan"),
        ("not finite (NaN or inf)", None, "step 31: nan"),
    ]
    values = [row["v"] for row in spec["datasets"]["grad_norm"]]
    assert values.count(None) == 2


def test_lag_profiles_begin_with_the_closest_pair_of_the_question(analysis: Analysis) -> None:
    pairs = lag_pairs(analysis)
    asked = [pair for pair in analysis.pairs if not pair.is_speed and math.isfinite(pair.p_adjusted)]
    lowest = min(pair.p_adjusted for pair in asked)
    assert lowest in [pair.p_adjusted for pair in pairs[0][1]]
    assert {pair.family for pair in pairs[0][1]} == {"forward", "simultaneous", "reverse"}
    assert "simulated)" in pairs[0][0]


def test_lag_chart_has_a_band_for_each_family_and_flags_what_leaves_it(analysis: Analysis) -> None:
    pairs = lag_pairs(analysis)
    spec = lag_chart(pairs)
    assert spec is not None
    bands = _of_first(spec, "bands-lags")
    assert sorted(row["high"] for row in bands) == pytest.approx(
        sorted(pair.half_width for pair in pairs[0][1]), rel=1e-4
    )
    points = _of_first(spec, "points-lags")
    assert sorted(row["at"] for row in points) == pytest.approx(pairs[0][1][0].lags_s, rel=1e-4)
    assert all(row["outside"] == (abs(row["r"]) > row["bound"]) for row in points)
    assert lag_chart([]) is None


def _of_first(spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for row in spec["datasets"][name] if row["k"] == 0]


def test_slow_answers_stand_beside_the_lags_with_bounds_of_their_own(slow_analysis: Analysis) -> None:
    pairs = lag_pairs(slow_analysis)
    spec = lag_chart(pairs)
    assert spec is not None
    forward = next(pair for pair in pairs[0][1] if pair.family == "forward")
    answers = [row for row in _of_first(spec, "points-slow") if row["at"] > 0]
    assert [row["told"] for row in answers] == [f"fading over {m:g} s" for m in forward.memories_s]
    assert [row["r"] for row in answers] == pytest.approx(forward.slow_profile, rel=1e-3)
    band = next(row for row in _of_first(spec, "bands-slow") if row["from"] > 0)
    assert band["high"] == pytest.approx(forward.slow_half_width, rel=1e-3)
    assert any(row["outside"] for row in answers)
    titles = [row["name"] for name in ("title-lags", "title-slow") for row in spec["datasets"][name]]
    assert titles == ["answers after one delay", "answers that fade"]
    assert len(spec["concat"]) == 2
    assert sum(spec["usermeta"]["shares"]) == pytest.approx(1)


def test_lag_chart_is_one_panel_where_no_slow_answer_was_searched(slow_analysis: Analysis) -> None:
    label, families = lag_pairs(slow_analysis)[0]
    without = [replace(pair, memories_s=[], slow_profile=[], slow_half_width=math.nan) for pair in families]
    spec = lag_chart([(label, without)])
    assert spec is not None
    assert "concat" not in spec
    assert "points-slow" not in spec["datasets"]


def test_light_and_dark_style_the_same_things() -> None:
    light, dark = theme("light"), theme("dark")
    assert light.keys() == dark.keys()
    assert light["style"].keys() == dark["style"].keys()
    assert light != dark


def test_empty_ground_of_a_panel_can_be_dragged() -> None:
    """Vega finds only what has a fill or a stroke: without one, zoom works on the lines alone."""
    assert theme("light")["view"]["fill"] == theme("dark")["view"]["fill"] == "transparent"
