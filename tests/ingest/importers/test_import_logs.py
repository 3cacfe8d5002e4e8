"""Importing recorded logs: what comes in, what is left out and said, and what is refused."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from importing import HEADER, SUMMARY, Importer, rows_of, write
from thermograd.store.align.matching import nearest
from thermograd.store.errors import LogError
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run

REFERENCE = {  # published with the recordings: grad_norm ~ RLE, temperature ~ grad_norm, loss ~ RLE
    "training_run_1": (0.2374478310241954, -0.7528721278289623, 0.3010230705547898),
    "cpu_inference_run": (-0.08253483809160989, -0.6289173335491987, 0.06927788555551269),
}


# -- our own small recordings ----------------------------------------------------------------------


def test_the_small_recordings_are_what_the_script_beside_them_writes(data: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_recordings", data / "make_recordings.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (data / "pair/device_log.csv").read_text() == script.device_log()
    assert json.loads((data / "pair/step_log.json").read_text()) == script.step_log()
    assert (data / "torn_monitor.csv").read_text() == script.monitor_log()


def test_a_folder_with_one_log_of_each_kind_is_one_run(do_import: Importer, data: Path) -> None:
    result, run = do_import(data / "pair")
    assert set(result) == {
        *("run_id", "rows", "account", "files", "left_out", "first_left_out", "nulls", "first_null"),
        *("columns", "metrics", "warnings", "ignored", "timezone"),
    }
    assert result["account"] == {"read": 181, "kept": 180, "merged": 0, "left_out": 1}
    assert result["rows"] == {"step": 40, "sample": 140, "metric": 0}
    assert result["left_out"] == {SUMMARY: 1}
    first = result["first_left_out"][SUMMARY]
    assert (first["file"], first["where"]) == ("step_log.json", "entry 41")
    assert first["value"].startswith('{"step": 40')
    assert result["ignored"] == ["analysis_1.json: a JSON object, not a step log (a list) or device log"]
    assert run.name == "pair"
    assert run.state() == "imported"
    assert verify_run(run.path)["ok"]


def test_naive_telemetry_is_read_in_the_one_zone_that_overlaps_the_epoch_times(
    do_import: Importer, data: Path
) -> None:
    result, run = do_import(data / "pair")
    assert result["timezone"].startswith(
        "telemetry read as UTC: its span then covers the step log's epoch times (timestamp_shared); "
        "UTC-05:00 would be 5 h off"
    )
    assert rows_of(run, "sample")[0]["time_ns"] == 1740830400_250_000_000
    assert rows_of(run, "step")[0]["time_ns"] == 1740830420_500_000_000


def test_facts_say_where_the_data_came_from_and_what_is_suspect(do_import: Importer, data: Path) -> None:
    result, run = do_import(data / "pair", name="baseline <b>")
    facts = run.facts
    assert (facts["source"], facts["name"], facts["host"]) == ("imported", "baseline <b>", None)
    assert facts["clock"] == "imported, wall time only"
    assert facts["started_time_ns"] == 1740830400_250_000_000
    assert facts["ended_time_ns"] == 1740830469_250_000_000
    cpu, gpu = facts["devices"]["cpu"], facts["devices"]["gpu"]
    assert cpu["suspect"] == {
        "temperature_c": "constant 50.0 in all 70 rows: looks like a placeholder",
        "power_w": "constant 125.0 in all 70 rows: looks like a placeholder",
        "sm_clock_mhz": "constant 2496.0 in all 70 rows: looks like a nominal or locked clock",
        "a_load": "constant 0.8 in all 70 rows: looks like a placeholder (not imported)",
    }
    assert set(gpu["suspect"]) == {"sm_clock_mhz", "a_load"}
    assert "memory_used_bytes" in gpu["sensors"]
    assert "memory_used_bytes" not in cpu["sensors"]
    assert facts["import"]["left_out"] == result["left_out"]
    assert facts["import"]["timezone"] == result["timezone"]
    files = {file["name"]: file for file in facts["import"]["files"]}
    assert set(files) == {"device_log.csv", "step_log.json"}
    assert files["device_log.csv"]["definition"] == "rle.hardware_monitor_v2"
    assert len(files["device_log.csv"]["sha256"]) == 64


def test_columns_are_renamed_converted_and_otherwise_null(do_import: Importer, data: Path) -> None:
    _, run = do_import(data / "pair")
    cpu, gpu = rows_of(run, "sample")[2:4]
    assert (cpu["device"], gpu["device"]) == ("cpu", "gpu")
    assert (cpu["sm_clock_mhz"], gpu["sm_clock_mhz"]) == (2496.0, 615.0)
    assert (cpu["memory_used_bytes"], gpu["memory_used_bytes"]) == (None, 2.5 * 2**30)
    assert (cpu["fan_pct"], gpu["fan_pct"]) == (None, 0.0)
    assert (cpu["reported_collapse"], gpu["reported_collapse"]) == (True, True)
    assert gpu["reported_rle"] == pytest.approx(cpu["reported_rle"] / 2)
    assert gpu["energy_j"] is None
    step = rows_of(run, "step")[1]
    assert (step["step"], step["loss"], step["epoch"]) == (2, 3.0, 0.2)
    assert step["monotonic_ns"] == step["time_ns"]
    assert step["step_time_s"] is None
    assert step["rank"] is None


def test_torn_repeated_and_absurd_rows_are_left_out_and_counted(do_import: Importer, data: Path) -> None:
    result, run = do_import(data / "torn_monitor.csv")
    assert result["left_out"] == {
        "torn row: not as many cells as the header": 3,
        "repeated header row": 1,
        "exact duplicate of another row": 1,
    }
    assert result["nulls"] == {
        "utilization_pct is 250.0, outside 0 to 100.5 %": 1,
        "temperature_c is 900, outside -50 to 150 degC": 1,
        "power_w is -3, outside 0 to 5000 W": 1,
    }
    assert result["first_null"]["temperature_c is 900, outside -50 to 150 degC"] == "line 15"
    assert result["account"] == {"read": 15, "kept": 10, "merged": 0, "left_out": 5}
    assert result["rows"] == {"step": 0, "sample": 10, "metric": 0}
    rows = rows_of(run, "sample")
    assert [row["time_ns"] // 10**9 - 1740830400 for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    assert run.facts["import"]["out_of_order"] == 1
    assert rows[5]["power_w"] is rows[5]["reported_collapse"] is None
    assert [row["power_w"] for row in rows[6:]] == [None, 22.5, 22.5, None]
    assert run.facts["import"]["step_series_sha256"] is None


# -- the real recordings ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFERENCE)
def test_a_recorded_pair_gives_the_published_correlations(
    do_import: Importer, recorded: Path, name: str
) -> None:
    result, run = do_import(recorded / name)
    assert result["rows"] == {"step": 200, "sample": 360, "metric": 0}
    assert result["left_out"] == {SUMMARY: 1}
    assert len(result["ignored"]) == 1
    assert result["timezone"].startswith("telemetry read as UTC")
    assert "UTC-05:00 would be 5 h off" in result["timezone"]
    steps = read_kind(run.path, "step")
    samples = read_kind(run.path, "sample")
    samples = samples.filter(pc.equal(samples["device"], "gpu"))
    matched = nearest(steps["time_ns"].to_numpy(), samples["time_ns"].to_numpy(), 2 * 10**9)
    assert (matched >= 0).all()
    rle, heat = (samples[column].to_numpy()[matched] for column in ("reported_rle", "temperature_c"))
    norm, loss = steps["grad_norm"].to_numpy(), steps["loss"].to_numpy()
    found = [np.corrcoef(a, b)[0, 1] for a, b in ((norm, rle), (heat, norm), (loss, rle))]
    assert found == pytest.approx(REFERENCE[name], rel=0, abs=1e-9)


def test_the_recorded_pairs_are_recognised_as_one_trajectory(do_import: Importer, recorded: Path) -> None:
    digests = {do_import(recorded / name)[1].facts["import"]["step_series_sha256"] for name in REFERENCE}
    assert len(digests) == 1
    assert None not in digests


def test_the_cpu_of_the_recorded_pairs_is_flagged_as_placeholders(
    do_import: Importer, recorded: Path
) -> None:
    _, run = do_import(recorded / "training_run_1")
    assert run.facts["devices"]["cpu"]["suspect"]["temperature_c"] == (
        "constant 50.0 in all 180 rows: looks like a placeholder"
    )
    assert set(run.facts["devices"]["gpu"]["suspect"]) == {"a_load"}


@pytest.mark.parametrize(
    ("name", "rows", "left_out"),
    [
        (
            "desktop_gpu_rle_20251027_09.csv",
            10_876,
            {"torn row: not as many cells as the header": 26, "exact duplicate of another row": 685},
        ),
        ("laptop_cpu_rle_20251030_20.csv", 1118, {}),
        ("example_baseline_session.csv", 50, {}),
    ],
)
def test_a_recorded_monitor_file_is_a_run_of_its_own(
    do_import: Importer, recorded: Path, name: str, rows: int, left_out: dict[str, int]
) -> None:
    result, run = do_import(recorded / "monitor_only" / name)
    assert result["rows"] == {"step": 0, "sample": rows, "metric": 0}
    assert result["left_out"] == left_out
    assert result["timezone"].startswith("telemetry: as given")
    times = read_kind(run.path, "sample")["time_ns"].to_numpy()
    assert (np.diff(times) >= 0).all()
    if name.startswith("laptop"):
        assert set(read_kind(run.path, "sample")["sm_clock_mhz"].to_pylist()) == {1804.0}


def test_a_folder_of_several_device_logs_is_refused_by_name(
    refusal: Callable[..., str], recorded: Path
) -> None:
    message = refusal(recorded / "monitor_only")
    assert "3 device logs" in message
    assert "laptop_cpu_rle_20251030_20.csv" in message
    assert "--telemetry" in message


def test_telemetry_of_another_recording_is_refused(refusal: Callable[..., str], recorded: Path) -> None:
    """The local zone is tried as well as UTC; a pair that does not belong together fits in neither."""
    training = next((recorded / "training_run_1").glob("training_log*"))
    telemetry = next((recorded / "cpu_inference_run").glob("rle_data*"))
    assert "and no zone (tried: UTC-05:00 and UTC) makes them overlap" in refusal(training, telemetry)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "an empty file"),
        ("  \n", "an empty file"),
        ("hello", "text, not a step log or device log"),
        ("device,temp_c\ngpu,50\n", "without a time column (timestamp); it has: device, temp_c"),
        ("timestamp,temp_c\n1,50\n", "without a device column; it has: timestamp, temp_c"),
        ('{"step": 1}', "a JSON object, not a step log (a list)"),
        ("[]", "a JSON list, but not of objects with a 'step'"),
        ('[{"step": 1,\n "loss": }]', "a.log, line 2, column 10: broken JSON"),
        ('[{"step": 1, "loss": ' + "9" * 5000 + "}]", "JSON that cannot be read"),
        ('[{"step": 1, "a": ' + "[" * 100_000, "JSON that cannot be read"),
        (HEADER, "no usable row in this device log (it has none)"),
        (HEADER + "noon,gpu,0.1,50,20,30,0\n", "1 x torn row: timestamp is not an ISO 8601 time"),
        ('[{"step": 1}]', "1 x torn row: none of timestamp_shared, timestamp, timestamp_iso is a time"),
        (HEADER.encode() + b"2025\n\xff,gpu", "row 3: byte 0xff is not UTF-8 text"),
        (b"\x7fELF\x02\x01\x00\x00" * 9, "a binary file, not UTF-8 text"),
        (b"\x1f\x8b\x08\x00" + bytes(40), "a gzip archive; unpack it first"),
        (b"PK\x03\x04" + bytes(40), "a zip archive; unpack it first"),
        ("a,b\n1,2\n".encode("utf-16"), "a CSV; no name of its columns is known (a, b); say which are which"),
    ],
)
def test_a_file_of_no_use_is_refused_in_a_sentence_that_says_what_is_allowed(
    refusal: Callable[..., str], tmp_path: Path, content: str | bytes, sentence: str
) -> None:
    message = refusal(write(tmp_path / "a.log", content))
    assert message.startswith(str(tmp_path / "a.log"))
    assert sentence in message
    assert "allowed is" in message


def test_a_path_that_does_not_exist_is_refused(refusal: Callable[..., str], tmp_path: Path) -> None:
    assert "nowhere: does not exist" in refusal(tmp_path / "nowhere")


def test_a_folder_with_nothing_usable_is_refused_with_what_it_holds(
    refusal: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "nothing to import (it is empty)" in refusal(folder)
    write(folder / "notes.txt", "hello")
    assert "notes.txt: text, not a step log or device log" in refusal(folder)


def test_a_run_that_cannot_be_written_leaves_nothing_behind(
    runs: Path, do_import: Importer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost event must not become a shorter run."""
    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", _no_space)
    with pytest.raises(LogError, match=r"cannot write events to .*: no space left"):
        do_import(data / "torn_monitor.csv")
    assert not list(runs.glob("*"))


def _no_space(*_: Any, **__: Any) -> None:
    raise OSError(28, "no space left")
