"""The points beside the figures are the points of the figures."""

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from synthetic import make_run
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.tables import figure_tables, table_bytes
from thermograd.analysis.report.run_report import write_report
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import load_series


def test_csv_and_parquet_hold_every_point_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", spikes=[100], nan=[50], collapse_s=60.0)
    data = load_series(run)
    analysis = analyze_run(run, series=data)
    paths = write_report(run, analysis, tmp_path / "csv", "csv", data)
    panels = build_panels(data)
    panel = next(panel for panel in panels.panels if panel.key == "grad_norm")
    with paths["data_grad_norm"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert paths["data_grad_norm"].name == "figure_grad_norm.csv"
    assert len(rows) == panel.lines[0].values.size + len(panel.marks)
    assert {row["what"] for row in rows} == {"curve", "spike", "nonfinite", "collapse"}
    curve = [float(row["value"]) for row in rows if row["what"] == "curve" and row["value"]]
    assert max(curve) == pytest.approx(panel.lines[0].highest, rel=1e-12)
    parquet = table_bytes(figure_tables(panels, analysis)["figure_grad_norm"], "parquet")
    table = pq.read_table(io.BytesIO(parquet))
    assert table.num_rows == len(rows)
    assert table.column("value").null_count == sum(not row["value"] for row in rows)


def test_lag_profiles_have_each_lag_once_with_its_own_bound(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    analysis = analyze_run(run)
    rows = figure_tables(build_panels(load_series(run)), analysis)["lag_profile"].to_pylist()
    pair = [row for row in rows if (row["x"], row["y"]) == (rows[0]["x"], rows[0]["y"])]
    first = [row for row in pair if row["lag_s"] is not None]
    slow = [row for row in pair if row["lag_s"] is None and row["direction"] == analysis.pairs[0].family]
    assert [row["memory_s"] for row in slow] == analysis.pairs[0].memories_s
    assert all(row["memory_s"] is None for row in first)
    assert sorted(row["lag_s"] for row in first) == sorted(analysis.pairs[0].lags_s)
    zero = next(row for row in first if row["lag_s"] == 0)
    assert zero["direction"] == "simultaneous"
    assert zero["bound"] < next(row["bound"] for row in first if row["lag_s"] > 0)


def test_no_points_are_written_unasked_and_an_unknown_format_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=5)
    analysis = analyze_run(run)
    assert not [name for name in write_report(run, analysis, tmp_path / "out") if name.startswith("data_")]
    with pytest.raises(ValueError, match="expected one of: csv, parquet"):
        write_report(run, analysis, tmp_path / "out", "xlsx")
