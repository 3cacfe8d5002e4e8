"""Importing recorded logs: what comes in, what is left out and said, and what is refused."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from thermograd.analysis.align.matching import nearest
from thermograd.ingest.importers.importing import import_run
from thermograd.ingest.importers.zones import (
    Moment,
    Span,
    infer_zone,
    named_zone,
    read_epoch,
    read_time,
    shown_offset,
)
from thermograd.store.errors import ImportFormatError, LogError
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run
from thermograd.store.runs.catalogue import Run, list_runs

SUMMARY = "end-of-training summary (last row: repeated step, null loss and grad_norm)"
HEADER = "timestamp,device,rle_smoothed,temp_c,power_w,util_pct,collapse\n"
STEP = {"step": 1, "loss": 2.0, "grad_norm": 3.0, "learning_rate": 0.1, "epoch": 0.5}
REFERENCE = {  # published with the recordings: grad_norm ~ RLE, temperature ~ grad_norm, loss ~ RLE
    "training_run_1": (0.2374478310241954, -0.7528721278289623, 0.3010230705547898),
    "cpu_inference_run": (-0.08253483809160989, -0.6289173335491987, 0.06927788555551269),
}

Importer = Callable[..., tuple[dict[str, Any], Run]]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def do_import(runs: Path) -> Importer:
    def run_import(*paths: Path, **options: Any) -> tuple[dict[str, Any], Run]:
        given = dict.fromkeys(("training", "telemetry", "timezone", "name")) | options
        result = import_run(runs, list(paths), **given)
        return result, Run(runs / result["run_id"])

    return run_import


@pytest.fixture
def refusal(runs: Path, do_import: Importer) -> Callable[..., str]:
    """Return the sentence with which an import is refused, and check that nothing is left behind."""

    def message(*paths: Path, **options: Any) -> str:
        with pytest.raises(ImportFormatError) as caught:
            do_import(*paths, **options)
        assert not list(runs.glob("*"))
        assert not list(runs.glob(".*"))
        return str(caught.value)

    return message


def write(path: Path, content: str | bytes | list[Any]) -> Path:
    if isinstance(content, list):
        content = json.dumps(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def device_rows(*rows: str) -> str:
    return HEADER + "".join(f"{row}\n" for row in rows)


def rows_of(run: Run, kind: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_kind(run.path, kind).to_pylist()
    return rows


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
    assert set(result) == {"run_id", "rows", "files", "left_out", "first_left_out", "ignored", "timezone"}
    assert result["rows"] == {"step": 40, "sample": 140}
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
        "torn row: power_w is not a finite number": 1,
        "repeated header row": 1,
        "exact duplicate of another row": 1,
        "util_pct outside 0 to 100.5 %": 1,
        "temp_c outside -50 to 150 degC": 1,
        "power_w outside 0 to 5000 W": 1,
    }
    assert result["rows"] == {"step": 0, "sample": 6}
    rows = rows_of(run, "sample")
    assert [row["time_ns"] // 10**9 - 1740830400 for row in rows] == [1, 2, 3, 4, 5, 6]
    assert run.facts["import"]["out_of_order"] == 1
    assert rows[-1]["power_w"] is None
    assert rows[-1]["reported_collapse"] is None
    assert run.facts["import"]["step_series_sha256"] is None


# -- the real recordings ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFERENCE)
def test_a_recorded_pair_gives_the_published_correlations(
    do_import: Importer, recorded: Path, name: str
) -> None:
    result, run = do_import(recorded / name)
    assert result["rows"] == {"step": 200, "sample": 360}
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
    assert result["rows"] == {"step": 0, "sample": rows}
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


# -- choosing files --------------------------------------------------------------------------------


def test_options_choose_among_several_logs(do_import: Importer, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    for copy in ("a", "b"):
        write(folder / f"{copy}.json", (data / "pair/step_log.json").read_bytes())
        write(folder / f"{copy}.csv", (data / "pair/device_log.csv").read_bytes())
    result, run = do_import(folder, training=Path("b.json"), telemetry=folder / "a.csv")
    assert result["rows"] == {"step": 40, "sample": 140}
    assert {file["name"] for file in run.facts["import"]["files"]} == {"a.csv", "b.json"}
    assert result["ignored"] == [
        "a.json: another step log; --training names b.json",
        "b.csv: another device log; --telemetry names a.csv",
    ]


def test_an_option_that_names_the_wrong_kind_is_refused(refusal: Callable[..., str], data: Path) -> None:
    message = refusal(data / "pair", training=data / "pair/device_log.csv")
    assert "--training needs a step log, but this is an RLE device log (CSV)" in message


def test_formats_are_recognised_by_content_not_by_name(
    do_import: Importer, data: Path, tmp_path: Path
) -> None:
    csv = write(tmp_path / "steps.json", (data / "pair/device_log.csv").read_bytes())
    log = write(tmp_path / "telemetry.csv", (data / "pair/step_log.json").read_bytes())
    assert do_import(csv, log)[0]["rows"] == {"step": 40, "sample": 140}


def test_the_same_file_twice_is_one_file(do_import: Importer, data: Path) -> None:
    result, _ = do_import(data / "pair", data / "pair" / ".." / "pair" / "step_log.json")
    assert result["rows"]["step"] == 40


def test_what_else_lies_in_a_folder_is_named_with_a_reason(
    do_import: Importer, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "session"
    write(folder / "log.json", (data / "pair/step_log.json").read_bytes())
    write(folder / "weights.bin", b"\x00\xff\xfe" * 50)
    write(folder / "other.csv", "a,b\n1,2\n")
    write(folder / "bare.csv", "device,temp_c\ngpu,50\n")
    write(folder / "list.json", "[1, 2]")
    write(folder / "notes.txt", "hello")
    write(folder / "nothing", "")
    (folder / "sub").mkdir()
    result, _ = do_import(folder)
    assert result["ignored"] == [
        "bare.csv: a CSV without a time column (timestamp); it has: device, temp_c",
        "list.json: a JSON list, but not of objects with a 'step'",
        "notes.txt: text, not a step log or device log",
        "nothing: an empty file",
        "other.csv: a CSV that is no device log; it has: a, b",
        "sub: a folder; name it to import it",
        "weights.bin: a binary file, not UTF-8 text",
    ]


# -- zones -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "time_ns"),
    [
        ("UTC", 1751371200 * 10**9),
        ("Europe/Vienna", 1751364000 * 10**9),
        ("-05:00", 1751389200 * 10**9),
    ],
)
def test_a_named_zone_is_used_for_times_that_name_none(
    do_import: Importer, tmp_path: Path, zone: str, time_ns: int
) -> None:
    path = write(tmp_path / "a.csv", device_rows("2025-07-01T12:00:00,gpu,0.1,50,20,30,0"))
    result, run = do_import(path, timezone=zone)
    assert rows_of(run, "sample")[0]["time_ns"] == time_ns
    assert "as --timezone says" in result["timezone"]


def test_a_zone_that_is_not_needed_changes_nothing(do_import: Importer, data: Path) -> None:
    result, run = do_import(data / "torn_monitor.csv", timezone="Asia/Tokyo")
    assert rows_of(run, "sample")[0]["time_ns"] == 1740830401_500_000_000
    assert "--timezone was not needed" in result["timezone"]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "", "Europe", "+25:00"])
def test_an_unknown_zone_is_refused(refusal: Callable[..., str], data: Path, zone: str) -> None:
    message = refusal(data / "pair", timezone=zone)
    assert message.startswith(f"timezone {zone!r} is not known; give a name such as UTC or Europe/Vienna")


def test_a_zone_that_contradicts_the_epoch_times_is_refused(refusal: Callable[..., str], data: Path) -> None:
    message = refusal(data / "pair", timezone="America/Chicago")
    assert "do not overlap in time" in message
    assert "2025-03-01T18:00:00 to 2025-03-01T18:01:09 UTC" in message


def test_naive_telemetry_alone_is_refused(refusal: Callable[..., str], data: Path) -> None:
    message = refusal(data / "pair/device_log.csv")
    assert "device_log.csv, row 2: the times of this device log (timestamp) name no zone" in message
    assert "give --timezone" in message


def test_a_naive_step_log_is_refused_without_a_zone(refusal: Callable[..., str], tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [STEP | {"timestamp_iso": "2025-07-01T12:00:00"}])
    assert "the times of this step log (timestamp_iso) name no zone" in refusal(path)


def test_telemetry_that_fits_in_two_zones_is_refused(
    refusal: Callable[..., str], data: Path, tmp_path: Path
) -> None:
    """A device log of 8 h overlaps the steps in UTC and in the local zone: it would be a guess."""
    rows = [f"2025-03-01T{hour:02}:00:00,gpu,0.1,50,20,30,0" for hour in range(6, 15)]
    path = write(tmp_path / "long.csv", device_rows(*rows))
    assert "UTC-05:00 and UTC" in refusal(path, data / "pair/step_log.json")


def test_times_that_summer_time_shows_twice_or_never_are_refused(
    refusal: Callable[..., str], tmp_path: Path
) -> None:
    for time, happened in (("2025-10-26T02:30:00", "twice"), ("2025-03-30T02:30:00", "never")):
        path = write(tmp_path / "a.csv", device_rows(f"{time},gpu,0.1,50,20,30,0"))
        message = refusal(path, timezone="Europe/Vienna")
        assert f"row 2: local time {time} happened {happened} in Europe/Vienna; give --timezone as" in message


def test_without_local_times_every_civil_offset_is_tried() -> None:
    steps = Span(1_700_000_100 * 10**9, 1_700_000_160 * 10**9)
    local = Span((1_700_000_000 + 20_700) * 10**9, (1_700_000_300 + 20_700) * 10**9)
    zone, how = infer_zone(local, steps, (), "timestamp")
    assert zone.label == "UTC+05:45"
    assert "covers the step log's epoch times (timestamp)" in how
    long = Span(local.first, local.last + 7200 * 10**9)
    with pytest.raises(ImportFormatError, match="give --timezone"):
        infer_zone(long, steps, (), "timestamp")


def test_epoch_seconds_are_read_as_the_decimals_that_the_file_shows() -> None:
    moment = read_epoch(1761699262.4882805)
    assert moment == Moment(1761699262_488_280_500, naive=False)
    assert moment.ns / 10**9 == 1761699262.4882805
    for bad in (float("nan"), float("inf"), 0, -5.0, 1.7e12):
        assert read_epoch(bad) is None


@pytest.mark.parametrize(
    ("text", "ns", "naive"),
    [
        ("1970-01-01T00:00:01Z", 10**9, False),
        ("1970-01-01 00:00:01.5", 1_500_000_000, True),
        ("1970-01-01T02:00:00.123456789+02:00", 123_456_789, False),
        ("1970-01-01T00:00:00-0530", 19_800 * 10**9, False),
        (" 1.25 ", 1_250_000_000, False),
    ],
)
def test_times_keep_nine_digits_and_their_own_offset(text: str, ns: int, naive: bool) -> None:
    assert read_time(text) == Moment(ns, naive)


@pytest.mark.parametrize(
    "text", ["", "now", "2025-13-01T00:00:00", "2025-01-01", "2025-01-01T00:00:00+99:00", "1_0", "12:00:00"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_time(text) is None


def test_the_offset_that_two_clocks_show_is_rounded_to_a_quarter_hour() -> None:
    assert shown_offset(19_800 * 10**9 + 1000, 0) == 19_800
    assert shown_offset(400 * 10**9, 0) is None
    assert shown_offset(20 * 3600 * 10**9, 0) is None
    assert named_zone("UTC+02:00").label == "UTC+02:00"


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
        ("a,b\n1,2\n".encode("utf-16"), "a CSV that is no device log; it has: a, b"),
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
    monkeypatch.setattr("thermograd.store.log.writer._Tail.write", _no_space)
    with pytest.raises(LogError, match="events of the import could not be written"):
        do_import(data / "torn_monitor.csv")
    assert not list(runs.iterdir())


def _no_space(*_: Any) -> None:
    raise OSError(28, "no space left")


# -- step logs -------------------------------------------------------------------------------------


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
        good | {"loss": "0.5"},
        good | {"loss": 10**400},
        good | {"grad_norm": -1.0},
        good | {"timestamp": "soon"},
        good | {"step": 2},
    ]
    result, run = do_import(write(tmp_path / "a.json", entries))
    assert result["rows"] == {"step": 2, "sample": 0}
    assert result["left_out"] == {
        "exact duplicate of another row": 1,
        "evaluation or summary row (repeated step, null loss and grad_norm)": 1,
        "torn row: an entry that is not an object": 1,
        "torn row: step is not a whole number >= 0": 3,
        "torn row: loss is not a number": 2,
        "grad_norm below 0": 1,
        "torn row: none of timestamp_shared, timestamp, timestamp_iso is a time": 1,
    }
    assert run.facts["devices"] == {}


# -- device logs -----------------------------------------------------------------------------------


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
def test_a_cell_that_cannot_be_read_takes_its_whole_row_along(
    do_import: Importer, tmp_path: Path, cells: str
) -> None:
    good = "2025-07-01T00:00:02Z,gpu,0.1,50,20,30,0"
    path = write(tmp_path / "a.csv", device_rows(good, f"2025-07-01T00:00:01Z,gpu,{cells}"))
    result, _ = do_import(path)
    assert result["rows"]["sample"] == 1
    assert [reason.split(":")[0] for reason in result["left_out"]] == ["torn row"]


def test_hostile_names_end_up_as_data_only(do_import: Importer, runs: Path, tmp_path: Path) -> None:
    device = "../../<script>alert(1)</script>"
    path = write(tmp_path / "a.csv", device_rows(f"2025-07-01T00:00:02Z,{device},0.1,50,20,30,0"))
    result, run = do_import(path, name="../../../etc/<script>; rm -rf ~")
    assert rows_of(run, "sample")[0]["device"] == device
    assert list(run.facts["devices"]) == [device]
    assert run.name == "../../../etc/<script>; rm -rf ~"
    assert [path.name for path in runs.iterdir()] == [result["run_id"]]
    assert not set(result["run_id"]) & set("/<>; ~")
