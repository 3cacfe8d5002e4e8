"""Runs and exported histories of Weights & Biases."""

import itertools
import json
import math
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from importing import imported, refused, written

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
    ours = {
        name: text for name, text in os.environ.items() if not name.startswith("WANDB_")
    }  # another test's
    subprocess.run(
        [sys.executable, "-c", _WANDB_SCRIPT, str(folder)],
        env=ours | private | {"WANDB_MODE": "offline"},
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
    assert "texts cut after 4,096 characters: " in ignored
    metrics = found.rows("metric")
    assert {row["name"] for row in metrics} >= {"deep.loss", "eval/loss", "note"}
    assert [row["step"] for row in metrics if row["name"] == "deep.loss"] == [1, 2, 3, 4, 5, 6]
    assert [(row["step"], row["value"]) for row in metrics if row["name"] == "eval/loss"] == [(6, 1.0)]
    assert {len(row["text"]) for row in metrics if row["name"] == "note"} == {4096}
    assert "memory_percent" in ignored
    assert found.result["left_out"].keys() <= {"nothing in it is imported"}  # of the machine's metrics


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


def test_a_value_of_wandb_that_is_nested_too_deeply_costs_no_more_than_its_row(tmp_path: Path) -> None:
    pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    record = pb.Record()
    item = record.stats.item.add()
    item.key, item.value_json = "gpu.0.temp", "[" * 50_000
    message = refused(tmp_path, written(tmp_path / "a.wandb", framed(record.SerializeToString())))
    assert "torn row: a value that is no JSON" in message


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
    (metric,) = found.rows("metric")
    assert (metric["name"], metric["value"], metric["step"]) == ("eval/loss", 0.5, 2)
    assert found.result["left_out"] == {
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
        ("gpu0", None),
    ]
    assert found.result["rows"] == {"step": 0, "sample": 3, "metric": 0}
    assert found.result["left_out"].keys() <= {"nothing in it is imported"}  # of the machine's metrics
    assert found.result["nulls"] == {"temperature_c is 900.0, outside -50 to 150 degC": 1}
    assert found.result["account"] == {"read": 3, "kept": 3, "merged": 0, "left_out": 0}


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
