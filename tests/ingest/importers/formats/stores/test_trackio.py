"""Trackio's database, and the Parquet files that it is exported to."""

import json
import shutil
import sqlite3
from datetime import datetime
from pathlib import Path

import pandas as pd
from importing import imported, refused
from thermograd.ingest.importers.recording import Hints
from thermograd.store.runs.own_values.configuration import run_config

STORE = Path(__file__).parents[4] / "fixtures" / "imports" / "trackio" / "tiny.db"


def test_every_value_of_a_run_is_there(tmp_path: Path) -> None:
    with sqlite3.connect(STORE) as connection:
        logged = connection.execute("SELECT timestamp, metrics FROM metrics ORDER BY id").fetchall()
        system = connection.execute("SELECT timestamp, metrics FROM system_metrics ORDER BY id").fetchall()
    found = imported(tmp_path, STORE)
    assert found.result["rows"] == {"step": 8, "sample": 24, "metric": 4}
    assert found.result["account"] == {"read": 16, "kept": 16, "merged": 0, "left_out": 0}
    for row, (stamp, text) in zip(found.rows("step"), logged, strict=True):
        truth = json.loads(text)
        assert row["step"] == truth["train/global_step"]
        assert repr(row["loss"]) == repr(float(truth["train/loss"]))  # NaN is written as a text
        assert row["grad_norm"] == float(truth["train/grad_norm"])
        assert row["epoch"] == truth["epoch"]
        assert abs(row["time_ns"] / 1e9 - datetime.fromisoformat(stamp).timestamp()) < 1e-6
    metrics = [(row["name"], row["step"], row.get("value"), row.get("text")) for row in found.rows("metric")]
    assert metrics == [
        ("eval/acc", 15, 0.52, None),
        ("note", 15, None, "fine"),
        ("eval/acc", 30, 0.55, None),
        ("note", 30, None, "fine"),
    ]
    gpu = [row for row in found.rows("sample") if row["device"] == "gpu0"]
    for row, (_, text) in zip(gpu, system, strict=True):
        truth = json.loads(text)
        assert (row["power_w"], row["utilization_pct"]) == (truth["gpu/0/power"], truth["gpu/0/utilization"])
        assert row["memory_used_bytes"] == 2 * 2**30
    assert run_config(found.run) == {"lr": 0.001, "model": {"layers": 2}}
    assert found.run.facts["name"] == "lively-lynx"


def test_of_several_runs_one_is_named(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(STORE, tmp_path / "tiny.db"))
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO metrics SELECT id + 100, 'other', timestamp, 'calm-cow', step, metrics, NULL, NULL "
            "FROM metrics WHERE id <= 3"
        )
    assert "2 runs are in it: " in refused(tmp_path, path)
    assert len(imported(tmp_path, path, hints=Hints(run="calm-cow")).rows("step")) == 3


def test_rows_that_are_torn_are_left_out_with_a_reason(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(STORE, tmp_path / "tiny.db"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE metrics SET timestamp = 'soon' WHERE id = 1")
        connection.execute("UPDATE metrics SET metrics = '[1]' WHERE id = 2")
        connection.execute("UPDATE metrics SET metrics = '{' WHERE id = 3")
    found = imported(tmp_path, path)
    assert len(found.rows("step")) == 5
    assert found.result["left_out"] == {
        "torn row: timestamp is no ISO 8601 time": 1,
        "torn row: its values are no JSON object": 1,
        "torn row: its values are no JSON": 1,
    }


def test_the_exported_files_are_one_run_with_its_configuration(tmp_path: Path) -> None:
    folder = STORE.parent / "exported"
    logged, system = (pd.read_parquet(folder / name) for name in ("tiny.parquet", "tiny_system.parquet"))
    found = imported(tmp_path, folder)
    assert found.result["rows"] == {"step": 8, "sample": 24, "metric": 4}
    assert found.result["account"] == {"read": 16, "kept": 16, "merged": 0, "left_out": 0}
    steps = found.rows("step")
    assert [row["step"] for row in steps] == logged["train/global_step"].tolist()
    assert [str(row["loss"]) for row in steps] == list(map(str, logged["train/loss"]))
    times = pd.to_datetime(logged["timestamp"]).dt.as_unit("ns").astype("int64")
    assert [row["time_ns"] for row in steps] == times.tolist()
    gpu = [row["power_w"] for row in found.rows("sample") if row["device"] == "gpu0"]
    assert gpu == system["gpu/0/power"].tolist()
    assert run_config(found.run) == {"lr": 0.001, "model": {"layers": 2}}
    assert found.run.facts["name"] == "lively-lynx"


def test_of_several_runs_in_an_export_one_is_named(tmp_path: Path) -> None:
    table = pd.read_parquet(STORE.parent / "exported" / "tiny.parquet")
    other = table.head(3).assign(run_id="other", run_name="calm-cow")
    path = tmp_path / "tiny.parquet"
    pd.concat([table, other]).to_parquet(path)
    assert "2 runs are in it: " in refused(tmp_path, path)
    assert len(imported(tmp_path, path, hints=Hints(run="calm-cow")).rows("step")) == 3
