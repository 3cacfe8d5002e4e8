"""TensorBoard's event files."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.steps.metric_names import NO_SIGNAL
from thermograd.store.errors import MissingExtraError


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    pytest.importorskip("tensorboard")
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(tmp_path / "events")) as writer:
        yield writer


def test_tensorboard_scalars_become_steps(writer: Any, tmp_path: Path) -> None:
    for step in range(1, 6):
        time_s = 1_700_000_000.25 + step
        norm = math.nan if step == 3 else math.inf if step == 4 else step / 4
        writer.add_scalar("train/loss", 3.0 / step, step, walltime=time_s)
        writer.add_scalar("train/grad_norm", norm, step, walltime=time_s + 0.001)
        writer.add_scalar("train/learning_rate", 0.5, step, walltime=time_s + 0.002)
        writer.add_scalar("eval/loss", 1.0, step, walltime=time_s + 0.003)
    writer.add_text("args", "{}")
    writer.add_histogram("weights", np.array([1.0, 2.0]), 1)
    writer.flush()
    found = imported(tmp_path, tmp_path / "events")
    steps = found.rows("step")
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5]
    assert steps[0]["time_ns"] == 1_700_000_001_250_000_000
    assert [row["loss"] for row in steps] == pytest.approx([3.0, 1.5, 1.0, 0.75, 0.6])
    assert steps[1]["grad_norm"] == 0.5
    assert math.isnan(steps[2]["grad_norm"])
    assert steps[3]["grad_norm"] == math.inf
    assert {row["learning_rate"] for row in steps} == {0.5}
    assert found.result["left_out"] == {NO_SIGNAL: 2}  # a text, a histogram
    assert found.result["account"] == {"read": 22, "kept": 10, "merged": 10, "left_out": 2}
    assert found.result["rows"] == {"step": 5, "sample": 0, "metric": 5}
    metrics = found.rows("metric")
    assert [(row["name"], row["step"], row["value"]) for row in metrics] == [
        ("eval/loss", step, 1.0) for step in range(1, 6)
    ]
    assert metrics[0]["time_ns"] == 1_700_000_001_253_000_000
    (ignored,) = found.result["ignored"]
    assert ignored.endswith("2 names of no use: args/text_summary, weights")
    assert found.result["timezone"].startswith("step log: as given, wall_time has")


def test_event_files_of_one_folder_are_one_log_and_a_repeated_step_is_kept(tmp_path: Path) -> None:
    """A training that went on from a checkpoint writes another file and some steps again."""
    pytest.importorskip("tensorboard")
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    for part, steps in enumerate(([1, 2, 3], [3, 4])):
        with tensorboard.SummaryWriter(str(tmp_path / "events"), filename_suffix=f".{part}") as writer:
            for step in steps:
                writer.add_scalar("loss", 1.0, step, walltime=1_700_000_000 + 100 * part + step)
    found = imported(tmp_path, tmp_path / "events")
    assert [row["step"] for row in found.rows("step")] == [1, 2, 3, 3, 4]
    assert len(found.run.facts["import"]["files"]) == 2
    (first, second) = sorted((tmp_path / "events").iterdir())
    assert len(imported(tmp_path, first, second).rows("step")) == 5


def test_the_preferred_tag_is_taken_where_several_are_the_loss(writer: Any, tmp_path: Path) -> None:
    writer.add_scalar("loss", 7.0, 1, walltime=1_700_000_000)
    writer.add_scalar("train/loss", 2.0, 1, walltime=1_700_000_000)
    writer.add_scalar("lr-AdamW", 0.25, 1, walltime=1_700_000_000)
    writer.flush()
    found = imported(tmp_path, tmp_path / "events")
    assert found.rows("step")[0]["loss"] == 2.0
    assert found.rows("step")[0]["learning_rate"] == 0.25
    (other,) = found.rows("metric")
    assert (other["name"], other["value"]) == ("loss", 7.0)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_event_file_gives_the_events_before_the_damage(
    writer: Any, tmp_path: Path, damage: str
) -> None:
    for step in range(1, 9):
        writer.add_scalar("loss", 1.0, step, walltime=1_700_000_000 + step)
    writer.flush()
    (path,) = (tmp_path / "events").iterdir()
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-5:]
    else:
        data[-60] ^= 0xFF
    found = imported(tmp_path, written(tmp_path / "cut" / "events", bytes(data)))
    assert len(found.rows("step")) in (6, 7)
    ((reason, count),) = found.result["left_out"].items()
    assert reason.startswith("damaged end of events: the ")
    assert count == 1


def test_event_files_without_a_training_signal_give_metrics_and_say_so(writer: Any, tmp_path: Path) -> None:
    writer.add_scalar("eval/accuracy", 1.0, 1)
    writer.flush()
    found = imported(tmp_path, tmp_path / "events")
    assert found.result["rows"] == {"step": 0, "sample": 0, "metric": 1}
    assert found.result["metrics"] == {"eval/accuracy": 1}
    assert "there are metrics and no steps; --column loss=NAME" in found.result["warnings"][0]


def test_event_files_without_a_number_are_refused(writer: Any, tmp_path: Path) -> None:
    writer.add_histogram("weights", np.array([1.0, 2.0]), 1)
    writer.flush()
    message = refused(tmp_path, tmp_path / "events")
    assert f"no usable row in this step log (1 x {NO_SIGNAL}, in event 2; 1 name of no use: weig" in message


def test_a_missing_package_is_named_with_what_installs_it(
    writer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.add_scalar("loss", 1.0, 1)
    writer.flush()
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_file_loader", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'thermograd\[import\]'"):
        imported(tmp_path, tmp_path / "events")
