"""RLE device logs and step logs: what is kept, and what is left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importing import STEP, Importer, device_rows, rows_of, write
from thermograd.store.runs.catalogue import list_runs


def test_non_finite_losses_and_norms_are_kept(do_import: Importer, tmp_path: Path) -> None:
    entries = [
        STEP | {"timestamp": 1761699262.5, "loss": float("nan"), "grad_norm": float("inf")},
        STEP | {"timestamp": 1761699263, "step": 2.0, "learning_rate": None, "loss": 3},
    ]
    result, run = do_import(write(tmp_path / "a.json", entries))
    first, second = rows_of(run, "step")
    assert np.isnan(first["loss"])
    assert first["grad_norm"] == float("inf")
    assert (second["step"], second["loss"], second["learning_rate"]) == (2, 3.0, None)
    assert result["timezone"] == (
        "step log: as given, timestamp has Z, an offset or epoch seconds in every row"
    )
    assert list_runs(run.path.parent)[0].summary()["steps"] == 2


def test_entries_of_a_step_log_that_cannot_be_trusted_are_left_out(
    do_import: Importer, tmp_path: Path
) -> None:
    good = STEP | {"timestamp": 1761699262.5}
    entries: list[Any] = [
        good,
        good,
        {"step": 1, "eval_loss": 2.0, "timestamp": 1761699263.0},
        "torn",
        good | {"step": None},
        good | {"step": True},
        good | {"step": 2**70},
        good | {"step": 3, "loss": "0.5"},
        good | {"step": 4, "loss": 10**400},
        good | {"step": 5, "loss": "half", "grad_norm": [1.0]},
        good | {"step": 6, "grad_norm": -1.0},
        good | {"timestamp": "soon"},
        good | {"step": 2},
    ]
    result, run = do_import(write(tmp_path / "a.json", entries))
    steps = {row["step"]: (row["loss"], row["grad_norm"]) for row in rows_of(run, "step")}
    assert steps == {
        1: (2.0, 3.0),
        2: (2.0, 3.0),
        3: (0.5, 3.0),
        4: (None, 3.0),
        5: (None, None),
        6: (2.0, None),
    }
    assert {name.split(" ")[0]: count for name, count in result["nulls"].items()} == {
        "loss": 1,
        "grad_norm": 1,
    }
    assert result["account"] == {"read": 13, "kept": 7, "merged": 0, "left_out": 6}
    assert result["left_out"] == {
        "exact duplicate of another row": 1,
        "torn row: an entry that is not an object": 1,
        "torn row: step is not a whole number >= 0": 3,
        "torn row: none of timestamp_shared, timestamp, timestamp_iso is a time": 1,
    }
    assert run.facts["devices"] == {}
    (metric,) = rows_of(run, "metric")
    assert (metric["step"], metric["name"], metric["value"]) == (1, "eval_loss", 2.0)
    assert metric["time_ns"] == 1_761_699_263_000_000_000


def test_a_header_in_mid_file_may_bring_other_columns(do_import: Importer, tmp_path: Path) -> None:
    content = "2025-07-01T00:00:00Z,gpu,9\n" + device_rows("2025-07-01T00:00:01Z,gpu,0.1,50,20,30,0")
    content += "timestamp,device,power_w\r\n\n2025-07-01T00:00:02Z,gpu,21\r\n"
    result, run = do_import(write(tmp_path / "a.csv", b"\xef\xbb\xbf" + content.encode()))
    assert [row["power_w"] for row in rows_of(run, "sample")] == [20.0, 21.0]
    assert result["left_out"] == {"torn row: before the first header": 1, "repeated header row": 1}


def test_a_torn_quote_does_not_swallow_the_rows_after_it(do_import: Importer, tmp_path: Path) -> None:
    rows = [f"2025-07-01T00:00:0{second}Z,gpu,0.1,50,20,30,0" for second in range(1, 5)]
    rows[1] = '2025-07-01T00:00:02Z,"gpu,0.1'
    rows[2] = "2025-07-01T00:00:03Z,gpu," + "9" * 200_000
    result, _ = do_import(write(tmp_path / "a.csv", device_rows(*rows)))
    assert result["rows"]["sample"] == 2
    assert sum(result["left_out"].values()) == 2


@pytest.mark.parametrize("cells", ["1_0,50,20,30,0", "0.1,5O,20,30,0", "0.1,inf,20,30,0", "0.1,50,20,30,2"])
def test_a_cell_that_cannot_be_read_is_null_and_its_row_is_kept(
    do_import: Importer, tmp_path: Path, cells: str
) -> None:
    good = "2025-07-01T00:00:02Z,gpu,0.1,50,20,30,0"
    path = write(tmp_path / "a.csv", device_rows(good, f"2025-07-01T00:00:01Z,gpu,{cells}"))
    result, run = do_import(path)
    assert result["rows"]["sample"] == 2
    assert result["left_out"] == {}
    assert list(result["nulls"].values()) == [1]
    assert list(result["first_null"].values()) == ["line 3"]
    odd, whole = rows_of(run, "sample")
    (lost,) = [name for name in whole if odd[name] is None and whole[name] is not None]
    assert next(iter(result["nulls"])).startswith(f"{lost} is ")


def test_hostile_names_end_up_as_data_only(do_import: Importer, runs: Path, tmp_path: Path) -> None:
    device = "../../<script>alert(1)</script>"
    path = write(tmp_path / "a.csv", device_rows(f"2025-07-01T00:00:02Z,{device},0.1,50,20,30,0"))
    result, run = do_import(path, name="../../../etc/<script>; rm -rf ~")
    assert rows_of(run, "sample")[0]["device"] == device
    assert list(run.facts["devices"]) == [device]
    assert run.name == "../../../etc/<script>; rm -rf ~"
    assert [path.name for path in runs.iterdir()] == [result["run_id"]]
    assert not set(result["run_id"]) & set("/<>; ~")
