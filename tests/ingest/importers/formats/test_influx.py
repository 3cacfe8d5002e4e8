"""InfluxDB's line protocol, as its own client writes it, of Telegraf's measurements."""

import re
from pathlib import Path
from typing import Any

import pytest
from importing import exposition, imported, refused, written
from thermograd.ingest.importers.formats.monitors.line_protocol import point_of
from thermograd.ingest.importers.hints.named import hints_of

FIXTURES = Path(__file__).parents[3] / "fixtures/imports/influx"
TELEGRAF, SECONDS = FIXTURES / "telegraf.influx", FIXTURES / "seconds.influx"
GPU = "GPU-2a9c1d3e-0001"


def told(begin: str, field: str) -> list[float]:
    """Return a field of all lines that begin so, found by a pattern of our own."""
    lines = [line for line in TELEGRAF.read_text().splitlines() if line.startswith(begin)]
    return [float(m[1]) for line in lines if (m := re.search(rf"[ ,]{field}=([-\d.]+)i?[, ]", line))]


def of(rows: list[dict[str, Any]], device: str, column: str) -> list[Any]:
    return [row[column] for row in rows if row["device"] == device and row[column] is not None]


def test_what_telegraf_writes_gives_gpus_processor_and_sensors(tmp_path: Path) -> None:
    found = imported(tmp_path, TELEGRAF)
    rows = found.rows("sample")
    begin = r"nvidia_smi,host=node\ 1,index=1"
    assert of(rows, GPU, "power_w") == told(begin, "power_draw")
    assert of(rows, GPU, "utilization_pct") == told(begin, "utilization_gpu")
    assert of(rows, GPU, "temperature_c") == told(begin, "temperature_gpu")
    assert of(rows, GPU, "memory_used_bytes") == [2**20 * mib for mib in told(begin, "memory_used")]
    assert of(rows, GPU, "sm_clock_mhz") == told(begin, "clocks_current_sm")
    assert of(rows, GPU, "fan_pct") == told(begin, "fan_speed") == [31.0, 33.0, 35.0]
    assert of(rows, "node 1:cpu", "utilization_pct") == [
        100 - idle for idle in told("cpu,cpu=cpu-total", "usage_idle")
    ]
    assert of(rows, "node 1:cpu", "memory_used_bytes") == told("mem,", "used")
    assert of(rows, "node 1:coretemp_package_id_0", "temperature_c") == told("temp,", "temp")
    assert of(rows, "node 1:cpu0", "power_w") == told("powerstat", "current_power_consumption_watts")
    assert of(rows, "node 1:ram0", "power_w") == told("powerstat", "current_dram_power_consumption_watts")
    assert rows[0]["time_ns"] == 1_795_514_400_250_000_000
    facts = found.run.facts["devices"][GPU]
    assert (facts["model"], facts["index"], facts["host"]) == ("NVIDIA H100, 80GB=x", 1, "node 1")
    assert found.result["left_out"] == {"a line without a field of use": 6}  # of single processors
    assert found.result["account"] == {"read": 42, "kept": 36, "merged": 0, "left_out": 6}


def test_timestamps_in_another_unit_are_said_never_guessed(tmp_path: Path) -> None:
    assert "no time in ns between 1973 and 2100 (or --unit time=s, ms, us)" in refused(tmp_path, SECONDS)
    found = imported(tmp_path, SECONDS, hints=hints_of(units=["time=s"]))
    rows = found.rows("sample")
    assert of(rows, "0x4f902", "power_w") == [302.5, 303.5, 304.5, 305.5]
    assert of(rows, "0x4f901", "memory_used_bytes") == [2.0**33 + i for i in range(4)]
    assert {row["time_ns"] % (10 * 10**9) for row in rows} == {0}
    ms = written(tmp_path / "ms", "temp,sensor=a temp=40 1700000000123\n")
    (row,) = imported(tmp_path, ms, hints=hints_of(units=["time=ms"])).rows("sample")
    assert row["time_ns"] == 1_700_000_000_123_000_000
    assert "--unit time=h: allowed for timestamps of the line protocol" in refused(
        tmp_path, SECONDS, hints=hints_of(units=["time=h"])
    )


def test_any_field_by_name_and_a_device_by_its_tag_or_by_name(tmp_path: Path) -> None:
    lines = "rack,pdu=7 load=52300i,phase=2 1700000000000000000\nrack,pdu=7 load=52400i 1700000001000000000\n"
    path = written(tmp_path / "a", lines)
    assert "2 x a line without a field of use" in refused(tmp_path, path)
    for name in ("load", "rack.load"):
        hints = hints_of(columns=[f"power_w={name}"], units=["power_w=mW"], device="rack7")
        found = imported(tmp_path, path, hints=hints)
        assert [(r["device"], r["power_w"]) for r in found.rows("sample")] == [
            ("rack7", 52.3),
            ("rack7", 52.4),
        ]
        assert found.result["columns"] == {"power_w": "rack.load"}
    assert "this device log has no watts; allowed is one of: rack.load" in refused(
        tmp_path, path, hints=hints_of(columns=["power_w=watts"], device="rack7")
    )


def test_metrics_of_exporters_that_telegraf_scraped_are_known(tmp_path: Path) -> None:
    lines = (
        "DCGM_FI_DEV_GPU_TEMP,UUID=GPU-1,gpu=0 gauge=54 1700000000000000000\n"
        "prometheus,UUID=GPU-1 DCGM_FI_DEV_POWER_USAGE=250.5,DCGM_FI_DEV_XID_ERRORS=0 1700000000000000000\n"
    )
    rows = imported(tmp_path, written(tmp_path / "a", lines)).rows("sample")
    assert [row.get("temperature_c") for row in rows] == [54.0, None]
    assert rows[1]["power_w_average"] == 250.5


def test_what_we_export_comes_back(tmp_path: Path) -> None:
    """The same values at the same times: of the run's samples, and of its export."""
    from thermograd.store.runs.export.influx import write

    run = imported(tmp_path, written(tmp_path / "m", exposition(1_700_000_000_250, 1_700_000_001_250))).run
    path = tmp_path / "run.influx"
    with path.open("wb") as file:
        write(run, file)
    again = imported(tmp_path / "again", path)
    assert again.rows("sample") == imported(tmp_path / "first", tmp_path / "m").rows("sample")


@pytest.mark.parametrize(
    ("line", "measurement", "tags", "numbers", "time"),
    [
        (r"a\,b\ c,t\=1=x\,y v=1 5", "a,b c", {"t=1": "x,y"}, {"v": 1.0}, 5),
        (r'm s="a b,c=\"d\\",n=-1.5e3,u=7u,b=t', "m", {}, {"n": -1500.0, "u": 7.0}, None),
        ("m,t=ü v=1i   9", "m", {"t": "ü"}, {"v": 1.0}, 9),
        ("m=1 v=2 3", "m=1", {}, {"v": 2.0}, 3),
    ],
)
def test_escapes_quotes_and_types(
    line: str, measurement: str, tags: dict[str, str], numbers: dict[str, float], time: int | None
) -> None:
    point = point_of(line)
    assert point is not None
    assert (point.measurement, point.tags, point.numbers, point.time) == (measurement, tags, numbers, time)


@pytest.mark.parametrize(
    "line",
    [
        "m",
        "m v",
        "m v=",
        "m v=1 2 3",
        'm v="a 1',
        "m,t v=1",
        "m v=1,,w=2",
        "step 1 loss=2.5",
        "m v=1 99999999999999999999999",
    ],
)
def test_what_is_no_line_of_the_protocol(line: str) -> None:
    assert point_of(line) is None


def test_lines_without_timestamps_are_no_time_series(tmp_path: Path) -> None:
    lines = "temp,sensor=a temp=40\ntemp,sensor=a temp=41\n"
    assert "no line has a timestamp (InfluxDB gives it one" in refused(
        tmp_path, written(tmp_path / "a", lines)
    )
    found = imported(
        tmp_path, written(tmp_path / "b", lines + "temp,sensor=a temp=42 1700000000000000000\nx\ntemp,s")
    )
    assert found.result["left_out"] == {
        "a line without a timestamp": 2,
        "torn row: not in InfluxDB's line protocol": 2,
    }
