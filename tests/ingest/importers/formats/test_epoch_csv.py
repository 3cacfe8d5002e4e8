"""Logs of epochs: Ultralytics' results.csv and Keras' CSVLogger, whose rows are no steps."""

from pathlib import Path

import pandas as pd
import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.recording import Hints
from thermograd.ingest.importers.registry import recognise

_FIXTURES = Path(__file__).parents[3] / "fixtures/imports"
RESULTS = _FIXTURES / "ultralytics/results.csv"
YOLOV5 = _FIXTURES / "ultralytics/yolov5.csv"
KERAS = _FIXTURES / "keras/training.csv"
SEMICOLONS = _FIXTURES / "keras/semicolons.csv"
START = Hints("2026-11-24T10:00:00Z")
HUNDRED = START._replace(steps_per_epoch=100)
_START_NS = 1795514400 * 10**9


def _metrics(rows: list[dict[str, object]], name: str) -> list[object]:
    return [row["value"] for row in rows if row["name"] == name]


def test_without_the_steps_of_an_epoch_all_values_are_metrics_and_there_is_no_step(tmp_path: Path) -> None:
    found = imported(tmp_path, RESULTS, hints=START)
    table = pd.read_csv(RESULTS)
    rows = found.rows("metric")
    assert found.rows("step") == []
    for name in table.columns.drop("time"):
        assert _metrics(rows, name) == pytest.approx(table[name].tolist(), rel=1e-15, nan_ok=True)
    assert all("step" not in row for row in rows)
    times = sorted({(row["time_ns"] - _START_NS) / 1e9 for row in rows})
    assert times == pytest.approx(table["time"].tolist(), abs=1e-9)
    (warning,) = found.result["warnings"]
    assert "Ultralytics' results.csv has epochs, not steps, so all its values are metrics" in warning


def test_with_them_a_row_is_the_last_step_of_its_epoch(tmp_path: Path) -> None:
    found = imported(tmp_path, RESULTS, hints=HUNDRED._replace(columns=(("loss", "train/box_loss"),)))
    table = pd.read_csv(RESULTS)
    rows = found.rows("step")
    assert [row["step"] for row in rows] == [100, 200, 300, 400, 500]
    for name, theirs in (("loss", "train/box_loss"), ("learning_rate", "lr/pg0"), ("epoch", "epoch")):
        assert [row[name] for row in rows] == table[theirs].tolist()
    assert [(row["time_ns"] - _START_NS) / 1e9 for row in rows] == pytest.approx(table["time"].tolist())
    others = found.rows("metric")
    assert [row["step"] for row in others if row["name"] == "metrics/mAP50(B)"] == [100, 200, 300, 400, 500]


@pytest.mark.parametrize(
    ("path", "separator", "epochs"), [(YOLOV5, ",", 4), (KERAS, ",", 6), (SEMICOLONS, ";", 4)]
)
def test_epochs_count_from_0_where_the_first_is_0(
    path: Path, separator: str, epochs: int, tmp_path: Path
) -> None:
    found = imported(tmp_path, path, hints=HUNDRED._replace(step_time_s=0.5))
    table = pd.read_csv(path, sep=separator, skipinitialspace=True)
    rows = found.rows("step")
    assert [row["step"] for row in rows] == [100 * n for n in range(1, epochs + 1)]
    assert [(row["time_ns"] - _START_NS) / 1e9 for row in rows] == [50.0 * n for n in range(1, epochs + 1)]
    names = (
        {"learning_rate": "learning_rate", "loss": "loss"} if path != YOLOV5 else {"learning_rate": "x/lr0"}
    )
    for name, theirs in names.items():
        assert [row[name] for row in rows] == table[theirs].tolist()


@pytest.mark.parametrize(
    ("path", "hints", "ending"),
    [
        (RESULTS, Hints(), "results.csv --started-at 2026-11-24T10:00:00Z"),
        (KERAS, Hints(), "--started-at 2026-11-24T10:00:00Z --step-time 0.5 --steps-per-epoch 1000"),
        (KERAS, HUNDRED, "--started-at 2026-11-24T10:00:00Z --step-time 0.5 --steps-per-epoch 100"),
        (KERAS, START._replace(step_time_s=1.0), "--step-time 1 --steps-per-epoch 1000"),
    ],
)
def test_what_it_needs_is_said_as_a_command(path: Path, hints: Hints, ending: str, tmp_path: Path) -> None:
    assert refused(tmp_path, path, hints=hints).endswith(ending)


def test_a_name_for_a_column_of_steps_needs_the_steps_of_an_epoch(tmp_path: Path) -> None:
    hints = START._replace(columns=(("loss", "train/box_loss"),))
    message = refused(tmp_path, RESULTS, hints=hints)
    assert "--column names the values of steps, but Ultralytics' results.csv has epochs" in message


def test_a_training_that_began_again_in_the_same_file_goes_back(tmp_path: Path) -> None:
    text = "epoch,loss\n0,3.0\n1,2.0\n0,2.5\n1,1.5\n"
    hints = HUNDRED._replace(step_time_s=0.5)
    found = imported(tmp_path, written(tmp_path / "a.csv", text), hints=hints)
    assert sorted((row["step"], row["loss"]) for row in found.rows("step")) == [
        (100, 2.5),
        (100, 3.0),
        (200, 1.5),
        (200, 2.0),
    ]


def test_torn_rows_and_odd_cells_cost_no_more_than_themselves(tmp_path: Path) -> None:
    text = "epoch,loss\nx,1.0\n0,ERR\n1\nepoch,loss\n2,1.0\n3,1."
    hints = HUNDRED._replace(step_time_s=0.5)
    found = imported(tmp_path, written(tmp_path / "a.csv", text), hints=hints)
    assert [(row["step"], row["loss"]) for row in found.rows("step")] == [(300, 1.0)]
    assert found.result["nulls"] == {"loss is ERR": 1}
    assert found.result["left_out"]["repeated header row"] == 1
    assert found.result["account"]["read"] == 6


@pytest.mark.parametrize(
    ("header", "is_theirs"),
    [
        ("epoch,accuracy,loss,val_accuracy,val_loss", True),
        ("epoch\taccuracy\tloss", True),
        ("epoch,loss,accuracy", False),
        ("epoch,loss,step", False),
        ("epoch,accuracy", False),
        ("epoch", False),
        ("epoch,time,train/loss,metrics/accuracy_top1,val/loss,lr/pg0", True),
        ("epoch,time,train/loss", False),
    ],
)
def test_a_log_of_epochs_is_told_by_its_columns(header: str, is_theirs: bool, tmp_path: Path) -> None:
    cells = "1".join(["", *[c for c in header if c in ",\t"], ""]) + "\n"
    found = recognise(written(tmp_path / "a.csv", f"{header}\n{cells}"))[1]
    assert (found in ("an Ultralytics results.csv", "a log of Keras' CSVLogger")) is is_theirs


def test_a_suggested_command_keeps_what_was_given(tmp_path: Path) -> None:
    hints = START._replace(step_time_s=1.0, columns=(("loss", "train/box_loss"),), steps_per_epoch=None)
    text = refused(tmp_path, YOLOV5, hints=hints._replace(columns=()))
    assert text.endswith("--started-at 2026-11-24T10:00:00Z --step-time 1 --steps-per-epoch 1000")
    text = refused(tmp_path, YOLOV5, hints=hints._replace(step_time_s=None, steps_per_epoch=7))
    assert text.endswith(
        "--started-at 2026-11-24T10:00:00Z --step-time 0.5 --steps-per-epoch 7 --column loss=train/box_loss"
    )
