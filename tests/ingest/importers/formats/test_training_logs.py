"""Importing what trainers write: files written here by TensorBoard's writer, wandb and the Trainer."""

import itertools
import json
import math
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importing import imported, refused, written
from thermograd.analysis.report.run_report import write_report
from thermograd.analysis.run.analyze import analyze_run
from thermograd.ingest.importers.recording import Hints
from thermograd.store.errors import MissingExtraError
from thermograd.store.runs.describe import describe_run, run_facts_shown

START = Hints(started_at="2026-11-24T10:00:00Z")


# -- TensorBoard -----------------------------------------------------------------------------------


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
    assert found.result["left_out"] == {}
    (ignored,) = found.result["ignored"]
    assert ignored.endswith("3 names of no use: args/text_summary, eval/loss, weights")
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
    assert found.result["ignored"][0].endswith("1 name of no use: loss")


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


def test_event_files_without_a_training_signal_are_refused(writer: Any, tmp_path: Path) -> None:
    writer.add_scalar("eval/accuracy", 1.0, 1)
    writer.flush()
    assert "no usable row in this step log (1 name of no use: eval/accuracy)" in refused(
        tmp_path, tmp_path / "events"
    )


def test_a_missing_package_is_named_with_what_installs_it(
    writer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.add_scalar("loss", 1.0, 1)
    writer.flush()
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_file_loader", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'thermograd\[import\]'"):
        imported(tmp_path, tmp_path / "events")


# -- the Hugging Face Trainer ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Trainer's own trainer_state.json and TensorBoard events of one training."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("tensorboard")
    folder = tmp_path_factory.mktemp("trained")

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            return {"loss": ((self.layer(x).squeeze(-1) - labels) ** 2).mean()}

    data = [{"x": torch.full((4,), float(i)), "labels": torch.tensor(float(i))} for i in range(8)]
    previous = os.environ.get("TENSORBOARD_LOGGING_DIR")
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder)
    try:
        trainer = transformers.Trainer(
            model=Model(),
            args=transformers.TrainingArguments(
                output_dir=str(folder),
                max_steps=4,
                logging_steps=1,
                per_device_train_batch_size=2,
                use_cpu=True,
                report_to=["tensorboard"],
                disable_tqdm=True,
                save_strategy="no",
                dataloader_pin_memory=False,
            ),
            train_dataset=data,
        )
        trainer.train()
        trainer.save_state()
    finally:
        os.environ.pop("TENSORBOARD_LOGGING_DIR")
        if previous is not None:
            os.environ["TENSORBOARD_LOGGING_DIR"] = previous
    return folder


def history(folder: Path) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return log


def test_the_trainers_folder_gives_steps_with_tensorboards_times(trained: Path, tmp_path: Path) -> None:
    found = imported(tmp_path, trained)
    assert any(
        text.startswith("trainer_state.json: steps without times; they are taken from events.out")
        for text in found.result["ignored"]
    )
    steps, logged = found.rows("step"), [entry for entry in history(trained) if "loss" in entry]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    for name in ("loss", "grad_norm", "learning_rate", "epoch"):
        assert [row[name] for row in steps] == pytest.approx([entry[name] for entry in logged], rel=1e-6)
    assert found.run.facts["import"]["step_times_estimated"] is None


def test_a_trainer_state_alone_is_refused_as_it_has_no_clock(trained: Path, tmp_path: Path) -> None:
    message = refused(tmp_path, trained / "trainer_state.json")
    assert "has steps but no times, so it is no time series; give --started-at TIME" in message
    assert "TensorBoard" in message


def test_a_trainer_state_with_a_start_has_estimated_times_and_says_so(trained: Path, tmp_path: Path) -> None:
    found = imported(tmp_path, trained / "trainer_state.json", hints=START)
    summary = history(trained)[-1]
    steps = found.rows("step")
    logged = [entry for entry in history(trained) if "loss" in entry]
    assert [row["loss"] for row in steps] == [entry["loss"] for entry in logged]
    ended = steps[-1]["time_ns"] - 1795514400 * 10**9
    assert ended == pytest.approx(summary["train_runtime"] * 1e9, abs=10)
    assert "step log estimated: --started-at 2026-11-24T10:00:00Z plus" in found.result["timezone"]
    assert f"train_runtime, {summary['train_runtime']:g} s, over 4 steps" in found.result["timezone"]
    assert found.run.facts["clock"].startswith("imported, wall time only, step times estimated: --started-at")
    assert found.result["left_out"] == {"evaluation or summary row (no loss and no grad_norm)": 1}
    assert "train_runtime" in found.result["ignored"][0]


def test_show_and_the_report_warn_of_estimated_times(tmp_path: Path) -> None:
    log = [{"step": step, "loss": 1.0 / step, "grad_norm": 1.0} for step in range(1, 101)]
    state = written(tmp_path / "a/trainer_state.json", json.dumps({"log_history": log}))
    rows = [f"2026-11-24T10:{s // 60:02}:{s % 60:02}Z,gpu,{40 + s % 7},{s % 50}" for s in range(100)]
    written(tmp_path / "a/log.csv", "timestamp,device,temp_c,util_pct\n" + "\n".join(rows) + "\n")
    run = imported(tmp_path, state.parent, hints=START._replace(step_time_s=1.0)).run
    (warning,) = [text for text in analyze_run(run).to_json()["warnings"] if "estimated" in text]
    assert warning.startswith(
        "The times of the steps are estimated: --started-at 2026-11-24T10:00:00Z plus 1 s"
    )
    assert "step times estimated" in describe_run(run_facts_shown(run))
    write_report(run, analyze_run(run), tmp_path / "report")
    page = (tmp_path / "report/report.html").read_text()
    assert "estimated: --started-at 2026-11-24T10:00:00Z plus 1 s a step" in page


def test_a_step_time_can_be_given_for_a_checkpoints_state(tmp_path: Path) -> None:
    state = {"global_step": 2, "log_history": [{"step": 10, "loss": 1.0}, {"step": 20, "loss": math.nan}]}
    path = written(tmp_path / "trainer_state.json", json.dumps(state))
    assert "there is no train_runtime in it" in refused(tmp_path, path, hints=START)
    found = imported(tmp_path, path, hints=START._replace(step_time_s=0.5))
    first, second = found.rows("step")
    assert first["time_ns"] == (1795514400 + 5) * 10**9
    assert second["time_ns"] - first["time_ns"] == 5 * 10**9
    assert math.isnan(second["loss"])


def test_a_start_without_a_zone_needs_one(tmp_path: Path) -> None:
    path = written(tmp_path / "s.json", '{"log_history": [{"step": 1, "loss": 2.0}]}')
    naive = Hints("2026-11-24T10:00:00", 1.0)
    assert "(--started-at) name no zone" in refused(tmp_path, path, hints=naive)
    found = imported(tmp_path, path, hints=naive, timezone="+01:00")
    assert found.rows("step")[0]["time_ns"] == (1795514400 - 3600 + 1) * 10**9


@pytest.mark.parametrize(
    ("content", "hints", "sentence"),
    [
        ('{"log_history": [{"step": 1}]}', START._replace(step_time_s=1), "no usable row in this step log"),
        ('{"log_history": [3, {"step": -1}]}', START._replace(step_time_s=1), "1 x torn row: an entry that"),
        ('{"log_history": [', START, "broken JSON"),
        ('{"log_history": []}', Hints("noon", 1.0), "--started-at 'noon' is no time"),
    ],
)
def test_a_trainer_state_of_no_use_is_refused(
    tmp_path: Path, content: str, hints: Hints, sentence: str
) -> None:
    assert sentence in refused(tmp_path, written(tmp_path / "s.json", content), hints=hints)


def test_a_start_for_a_log_with_times_is_refused(tmp_path: Path, data: Path) -> None:
    assert "--started-at is for a step log without times, but step_log.json has times of its own" in refused(
        tmp_path, data / "pair", hints=START
    )
    device_log = data / "torn_monitor.csv"
    assert "but there is no step log" in refused(tmp_path, device_log, hints=START)


# -- W&B -------------------------------------------------------------------------------------------

_WANDB_SCRIPT = """
import sys, time, wandb
from pathlib import Path
settings = wandb.Settings(x_stats_sampling_interval=0.2, silent=True, x_disable_meta=True)
with wandb.init(mode="offline", project="p", dir=sys.argv[1], settings=settings) as run:
    for i in range(1, 7):
        norm = float("inf") if i == 3 else i / 2
        run.log({"train/loss": float("nan") if i == 2 else 3.0 / i, "train/grad_norm": norm,
                 "train/learning_rate": 1e-3, "train/global_step": i, "deep": {"loss": 1.0},
                 "note": "x" * 40000})
        time.sleep(0.1)
    end = time.monotonic() + 60  # until it has sampled the machine, which is at times of its own
    while sum(p.read_bytes().count(b"proc.cpu.threads") for p in Path(sys.argv[1]).rglob("*.wandb")) < 2:
        assert time.monotonic() < end
        run.log({"filler": "x" * 40000})
        time.sleep(0.1)
    run.log({"eval/loss": 1.0})
    run.log({"train/loss": {"what": "no number"}})
"""


@pytest.fixture(scope="module")
def wandb_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an offline run, written by wandb itself in another process."""
    pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("wandb")
    private = {
        name: str(folder) for name in ("HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
    }
    subprocess.run(
        [sys.executable, "-c", _WANDB_SCRIPT, str(folder)],
        env=os.environ | private | {"WANDB_MODE": "offline"},
        check=True,
        timeout=300,
        capture_output=True,
    )
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    return path


def test_an_offline_run_of_wandb_gives_steps_and_samples(wandb_file: Path, tmp_path: Path) -> None:
    found = imported(tmp_path, wandb_file)
    steps = found.rows("step")
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert math.isnan(steps[1]["loss"])
    assert steps[2]["grad_norm"] == math.inf
    assert steps[5]["loss"] == 0.5
    assert {row["learning_rate"] for row in steps} == {1e-3}
    assert all(0.05 < (b["time_ns"] - a["time_ns"]) / 1e9 < 60 for a, b in itertools.pairwise(steps))
    samples = found.rows("sample")
    assert {row["device"] for row in samples} == {"cpu"}
    assert all(0 <= row["utilization_pct"] <= 100 for row in samples)
    assert "the training process's own share" in found.run.facts["devices"]["cpu"]["suspect"]["device"]
    ignored = "; ".join(found.result["ignored"])
    assert "deep.loss" in ignored
    assert "eval/loss" in ignored
    assert "memory_percent" in ignored
    reasons = "evaluation or summary row (no loss, grad_norm or learning_rate)"
    assert found.result["left_out"][reasons] >= 1


def test_a_run_of_wandb_cut_at_any_place_gives_a_prefix_of_its_steps(
    wandb_file: Path, tmp_path: Path
) -> None:
    """The run is killed, or still being written; its records span blocks of 32 KiB."""
    data = wandb_file.read_bytes()
    assert len(data) > 5 * 32_768
    whole = [row["time_ns"] for row in imported(tmp_path, wandb_file).rows("step")]
    lengths = []
    for part in (0.3, 0.6, 0.9):
        cut = written(tmp_path / f"{part}.wandb", data[: int(len(data) * part)])
        found = imported(tmp_path, cut)
        times = [row["time_ns"] for row in found.rows("step")]
        assert times == whole[: len(times)]
        assert any(reason.startswith("damaged end of the file") for reason in found.result["left_out"])
        lengths.append(len(times))
    assert lengths[0] < lengths[1] < lengths[2] < len(whole) + 1


def test_a_flipped_bit_in_a_run_of_wandb_ends_it_there(wandb_file: Path, tmp_path: Path) -> None:
    data = bytearray(wandb_file.read_bytes())
    data[len(data) // 2] ^= 1
    found = imported(tmp_path, written(tmp_path / "a.wandb", bytes(data)))
    assert 0 < len(found.rows("step")) < 6
    assert any("damaged end" in reason for reason in found.result["left_out"])


@pytest.mark.parametrize("content", [b":W&B", b":W&B\xe1\xbe\x00", b":W&B\xe1\xbe\x00" + b"\xff" * 90])
def test_an_empty_or_broken_file_of_wandb_is_refused(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("wandb")
    message = refused(tmp_path, written(tmp_path / "a.wandb", content))
    assert "no usable row in this step log" in message


def test_gpu_metrics_of_wandb_keep_their_devices(tmp_path: Path) -> None:
    """As wandb-core names them on a node with GPUs (hand-made: there is none here)."""
    pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    record = pb.Record()
    record.stats.timestamp.seconds, record.stats.timestamp.nanos = 1_700_000_000, 5_000_000
    metrics = {"gpu.0.temp": 54, "gpu.0.powerWatts": 250.5, "gpu.1.gpu": 90.0, "gpu.1.smClock": 1980}
    metrics |= {"cpu.0.cpu_percent": 10, "cpu.1.cpu_percent": 30, "cpu": 5, "gpu.1.correctedMemoryErrors": 2}
    metrics |= {"gpu.process.0.temp": 54}
    for key, value in metrics.items():
        item = record.stats.item.add()
        item.key, item.value_json = key, json.dumps(value)
    found = imported(tmp_path, written(tmp_path / "a.wandb", framed(record.SerializeToString())))
    rows = {row["device"]: row for row in found.rows("sample")}
    assert set(rows) == {"gpu0", "gpu1", "cpu"}
    assert (rows["gpu0"]["temperature_c"], rows["gpu0"]["power_w"]) == (54.0, 250.5)
    assert (rows["gpu1"]["utilization_pct"], rows["gpu1"]["sm_clock_mhz"]) == (90.0, 1980.0)
    assert rows["gpu1"]["ecc_corrected"] == 2
    assert rows["gpu1"]["temperature_c"] is None
    assert rows["cpu"]["utilization_pct"] == 20.0
    assert rows["gpu0"]["time_ns"] == 1_700_000_000_005_000_000
    assert found.run.facts["devices"]["cpu"]["suspect"] == {}


def framed(data: bytes) -> bytes:
    return (
        b":W&B\xe1\xbe\x00" + struct.pack("<IHB", zlib.crc32(data, zlib.crc32(b"\x01")), len(data), 1) + data
    )


_HISTORY = (
    "_step,_runtime,_timestamp,train/loss,train/grad_norm,eval/loss\r\n"
    "0,1.5,1700000001.5,2.5,1.25,\r\n"
    "1,2.5,1700000002.5,NaN,inf,\r\n"
    "2,3.5,1700000003.5,,,0.5\r\n"
    "2,3.5,soon,1,1,\r\n"
    "x,3.5,1700000003.5,1,1,\r\n"
    "3,4.5,1700000004.5,1\r\n"
    "4,5.5,1700000005.5,1.0,2.0,\r\n"
    "5,6.5,170000000"
)


def test_an_exported_history_of_wandb_gives_steps(tmp_path: Path) -> None:
    found = imported(tmp_path, written(tmp_path / "history.csv", _HISTORY))
    steps = found.rows("step")
    assert [row["step"] for row in steps] == [0, 1, 4]
    assert steps[0]["time_ns"] == 1_700_000_001_500_000_000
    assert math.isnan(steps[1]["loss"])
    assert steps[1]["grad_norm"] == math.inf
    assert found.result["left_out"] == {
        "evaluation or summary row (no loss, grad_norm or learning_rate)": 1,
        "torn row: _timestamp is no time between 1970 and 2100": 1,
        "torn row: _step is not a whole number >= 0": 1,
        "torn row: not as many cells as the header": 1,
        "torn row: the file ends in mid-line": 1,
    }


def test_exported_system_metrics_of_wandb_give_samples(tmp_path: Path) -> None:
    text = "_runtime,_timestamp,system.gpu.0.temp,system.gpu.0.powerWatts,system.disk.in\n"
    text += "1,1700000001,54,250.5,1\n2,1700000002,,251,1\n3,1700000003,900,251,1\n"
    found = imported(tmp_path, written(tmp_path / "system.csv", text))
    assert [(row["device"], row["temperature_c"]) for row in found.rows("sample")] == [
        ("gpu0", 54.0),
        ("gpu0", None),
    ]
    assert found.result["rows"] == {"step": 0, "sample": 2}
    assert found.result["left_out"] == {"temperature_c outside -50 to 150 degC": 1}


def test_a_history_of_wandb_without_timestamps_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "history.csv", "_step,train/loss\n1,2\n")
    assert "row 1: this history of W&B has no _timestamp" in refused(tmp_path, path)


def test_a_run_of_wandb_beside_a_device_log_needs_a_choice(
    wandb_file: Path, tmp_path: Path, data: Path
) -> None:
    log = data / "torn_monitor.csv"
    message = refused(tmp_path, wandb_file, log)
    assert "2 device logs" in message
    assert "--telemetry" in message
    assert "do not overlap" in refused(tmp_path, wandb_file, log, telemetry=log)
