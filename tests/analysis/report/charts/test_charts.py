"""Charts show what the run holds, zoom as one, and look alike on light and dark ground."""

import math
from pathlib import Path
from typing import Any

import pytest
from synthetic import make_run
from thermograd.analysis.report.charts.pairs import lag_chart
from thermograd.analysis.report.charts.style import theme
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
    assert "(simulated)" in pairs[0][0]


def test_lag_chart_has_a_band_for_each_family_and_flags_what_leaves_it(analysis: Analysis) -> None:
    pairs = lag_pairs(analysis)
    spec = lag_chart(pairs)
    assert spec is not None
    rows = [row for rows in spec["datasets"].values() for row in rows]
    bands = [row for row in rows if "low" in row and row["k"] == 0]
    assert sorted(row["high"] for row in bands) == pytest.approx(
        sorted(pair.half_width for pair in pairs[0][1]), rel=1e-4
    )
    points = [row for row in rows if "outside" in row and row["k"] == 0]
    assert [row["lag"] for row in points] == pytest.approx(pairs[0][1][0].lags_s, rel=1e-4)
    assert all(row["outside"] == (abs(row["r"]) > row["bound"]) for row in points)
    assert lag_chart([]) is None


def test_light_and_dark_style_the_same_things() -> None:
    light, dark = theme("light"), theme("dark")
    assert light.keys() == dark.keys()
    assert light["style"].keys() == dark["style"].keys()
    assert light != dark


def test_empty_ground_of_a_panel_can_be_dragged() -> None:
    """Vega finds only what has a fill or a stroke: without one, zoom works on the lines alone."""
    assert theme("light")["view"]["fill"] == theme("dark")["view"]["fill"] == "transparent"
