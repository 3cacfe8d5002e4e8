"""Which of a log's names is taken for a column: by coverage, by preference, or as a person says."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from importing import imported, refused, written
from thermograd.cli import main
from thermograd.ingest.importers.hints.named import named_columns
from thermograd.ingest.importers.recording import Hints
from thermograd.ingest.importers.steps.metric_names import ColumnNames, choose_step
from thermograd.store.errors import ImportFormatError


def _chosen(rows: dict[str, int], *named: tuple[str, str]) -> dict[str, str]:
    return ColumnNames(named).chosen(Counter(rows))


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ({"train/loss": 3, "loss": 300}, {"loss": "loss"}),
        ({"train/loss": 300, "loss": 300}, {"loss": "train/loss"}),
        ({"train/loss": 299, "loss": 300}, {"loss": "train/loss"}),
        ({"train_loss_step": 500, "train_loss_epoch": 5}, {"loss": "train_loss_step"}),
        (
            {"grad_2.0_norm_total": 9, "lr-AdamW/pg1": 9, "lr-AdamW/pg2": 9, "lr-AdamW/pg1-momentum": 9},
            {"grad_norm": "grad_2.0_norm_total", "learning_rate": "lr-AdamW/pg1"},
        ),
        (
            {"grad_2.0_norm/total": 9, "lr-SGD-1": 9},
            {"grad_norm": "grad_2.0_norm/total", "learning_rate": "lr-SGD-1"},
        ),
        (
            {"grad-norm": 9, "lm loss": 9, "learning-rate": 9},
            {"grad_norm": "grad-norm", "loss": "lm loss", "learning_rate": "learning-rate"},
        ),
        ({"optim/total_grad_norm": 9}, {"grad_norm": "optim/total_grad_norm"}),
        ({"eval/loss": 9, "val_loss": 9, "loss/G": 9}, {}),
    ],
)
def test_the_tag_with_the_rows_is_taken_and_of_equals_the_preferred(
    rows: dict[str, int], chosen: dict[str, str]
) -> None:
    assert _chosen(rows) == chosen


def test_a_tag_that_a_person_names_is_taken_whatever_else_there_is() -> None:
    rows = {"train/loss": 300, "val_loss": 3, "my norm": 3, "grad_norm": 300}
    assert _chosen(rows, ("loss", "val_loss"), ("grad_norm", "my norm")) == {
        "loss": "val_loss",
        "grad_norm": "my norm",
    }


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([{"iter": 250 * n, "_step": n} for n in range(40)], "iter"),
        ([{"train/global_step": 10 * n, "iter": n, "_step": n} for n in range(40)], "train/global_step"),
        ([{"step": n % 10, "_step": n} for n in range(40)], "_step"),  # of the epoch
        ([{"iter": 7, "_step": n} for n in range(40)], "_step"),
        ([{"_step": n} | ({"iter": n} if n < 20 else {}) for n in range(40)], "_step"),
        ([{"iter": n, "_step": n} for n in [*range(30), *range(20, 40)]], "iter"),  # began again at 20
        ([{"_step": 1}], "_step"),
    ],
)
def test_the_step_is_a_counter_that_nearly_all_rows_have_and_that_goes_up(
    rows: list[dict[str, int]], chosen: str
) -> None:
    numbers = {tag: np.array([row[tag] for row in rows if tag in row]) for row in rows for tag in row}
    assert choose_step(ColumnNames(()).step_tags("_step"), numbers, len(rows)) == chosen


def _history(names: str, *rows: str) -> str:
    return "\n".join([names, *rows, ""])


def test_wandbs_own_counter_gives_way_to_the_scripts_iter(tmp_path: Path) -> None:
    text = _history(
        "_step,_timestamp,iter,train/loss", *(f"{n},170000000{n},{250 * n},{3 - n / 10}" for n in range(5))
    )
    found = imported(tmp_path, written(tmp_path / "a.csv", text))
    assert [row["step"] for row in found.rows("step")] == [0, 250, 500, 750, 1000]
    named = imported(tmp_path, tmp_path / "a.csv", hints=Hints(columns=(("step", "_step"),)))
    assert [row["step"] for row in named.rows("step")] == [0, 1, 2, 3, 4]


def test_a_named_column_is_read_in_every_format_of_steps(tmp_path: Path) -> None:
    hints = Hints(columns=(("grad_norm", "optim/norm"),))
    history = _history("_step,_timestamp,loss,grad_norm,optim/norm", "1,1700000001,2,3,4")
    entry: dict[str, Any] = {
        "step": 1,
        "loss": 2.0,
        "grad_norm": 3.0,
        "optim/norm": 4.0,
        "timestamp": 1_700_000_001,
    }
    logs = {"a.csv": history, "a.json": json.dumps([entry]), "s.json": json.dumps({"log_history": [entry]})}
    for name, text in logs.items():
        more = {"started_at": "2026-01-01T00:00:00Z", "step_time_s": 1.0} if name == "s.json" else {}
        (row,) = imported(tmp_path, written(tmp_path / name, text), hints=hints._replace(**more)).rows("step")
        assert (row["loss"], row["grad_norm"]) == (2.0, 4.0)
        message = refused(
            tmp_path, tmp_path / name, hints=hints._replace(columns=(("loss", "nothing"),), **more)
        )
        assert "--column loss=nothing, but this step log has no nothing; allowed is one of: " in message
        assert "optim/norm" in message


def test_a_tag_of_tensorboard_that_only_began_to_be_logged_is_not_taken(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(tmp_path / "tb")) as writer:
        for step in range(300):
            writer.add_scalar("loss", 3 - step / 100, step, walltime=1767225600 + step)
            writer.add_scalar("my/norm", 1 + step % 7, step, walltime=1767225600 + step)
            if step % 100 == 99:
                writer.add_scalar("train/loss", 2.0, step // 100, walltime=1767225600.5 + step)
    found = imported(tmp_path, tmp_path / "tb", hints=Hints(columns=(("grad_norm", "my/norm"),)))
    rows = found.rows("step")
    assert [row["loss"] for row in rows] == pytest.approx([3 - step / 100 for step in range(300)], rel=1e-6)
    assert [row["grad_norm"] for row in rows] == [1 + step % 7 for step in range(300)]
    assert found.result["account"] == {"read": 603, "kept": 303, "merged": 300, "left_out": 0}
    assert found.result["columns"] == {"loss": "loss", "grad_norm": "my/norm"}


@pytest.mark.parametrize("text", ["grad_norm", "=x", "loss=", "norm=x", "read_us=gpu"])
def test_a_column_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(
        ImportFormatError, match=r"is no NAME=TAG; allowed is each of step, epoch, loss, grad_norm"
    ):
        named_columns([text])
    with pytest.raises(ImportFormatError, match="once"):
        named_columns(["loss=a", "loss=b"])


def test_the_command_takes_columns(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv", _history("_step,_timestamp,my loss", "1,1700000001,2", "2,1700000002,2")
    )
    command = ["--runs", str(tmp_path / "runs"), "import", str(path)]
    without = CliRunner().invoke(main, command).output
    assert "2 metric events: my loss\n" in without
    assert "there are metrics and no steps; --column loss=NAME says which one is" in without
    result = CliRunner().invoke(main, [*command, "--column", "loss=my loss"])
    assert "2 step events" in result.output
    assert "  columns: loss is my loss\n" in result.output
    assert "rows: 2 read = 2 kept + 0 merged + 0 left out" in result.output
    message = CliRunner().invoke(main, [*command, "--column", "loss=other"]).output
    assert "this step log has no other; allowed is one of: " in message


def test_a_column_for_a_device_log_is_refused(tmp_path: Path, data: Path) -> None:
    message = refused(tmp_path, data / "torn_monitor.csv", hints=Hints(columns=(("loss", "x"),)))
    assert "--column loss=x is for a step log, but there is none" in message
