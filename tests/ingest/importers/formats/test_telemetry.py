"""Importing device logs of other tools.

The nvidia-smi, DCGM, Prometheus and HWiNFO files here are made by hand after the tools' documentation
(and recordings in public): none of these tools runs where the tests run.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from importing import imported, refused, written
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

UUID = "GPU-2a9c1d3e-0000-1111-2222-333344445555"


# -- nvidia-smi ------------------------------------------------------------------------------------

SMI_HEADER = (
    "timestamp, index, uuid, name, temperature.gpu, temperature.memory, utilization.gpu [%], power.draw [W], "
    "enforced.power.limit [W], clocks.current.sm [MHz], memory.used [MiB], fan.speed [%], "
    "clocks_event_reasons.active, clocks_event_reasons_counters.sw_thermal_slowdown [us], "
    "clocks_event_reasons_counters.hw_thermal_slowdown [us], pstate\n"
)


def smi_row(second: str, index: int, temperature: str = "54", power: str = "250.13 W") -> str:
    return (
        f"2026/11/24 10:00:{second}, {index}, {UUID[:-1]}{index}, NVIDIA H100, {temperature}, [N/A], 98 %, "
        f"{power}, 700.00 W, 1980 MHz, 1024 MiB, [Not Supported], 0x0000000000000004, 10 us, 5 us, P0\n"
    )


def test_nvidia_smi_logs_give_samples_in_our_units(tmp_path: Path) -> None:
    text = SMI_HEADER + "".join(smi_row(f"0{s}.123", index) for s in range(3) for index in range(2))
    found = imported(tmp_path, written(tmp_path / "smi.csv", text), timezone="Europe/Vienna")
    rows = found.rows("sample")
    assert len(rows) == 6
    assert rows[0] == {
        "time_ns": 1795510800_123_000_000,
        "device": f"{UUID[:-1]}0",
        "utilization_pct": 98.0,
        "power_w": 250.13,
        "temperature_c": 54.0,
        "sm_clock_mhz": 1980.0,
        "memory_used_bytes": 1024.0 * 2**20,
        "power_limit_w": 700.0,
        "clock_event_mask": 4,
        "throttled_thermal_ns": 15_000,
    }
    assert found.run.facts["devices"][f"{UUID[:-1]}1"]["model"] == "NVIDIA H100"
    assert found.result["ignored"] == ["smi.csv: 1 column of no use: pstate"]
    assert found.result["timezone"] == "telemetry read as Europe/Vienna, as --timezone says"


def test_nvidia_smi_logs_without_a_zone_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "smi.csv", SMI_HEADER + smi_row("00.123", 0))
    assert "smi.csv, row 2: the times of this device log (timestamp) name no zone" in refused(tmp_path, path)


def test_nvidia_smi_beside_epoch_steps_is_read_in_the_one_zone_that_fits(tmp_path: Path, data: Path) -> None:
    """The steps of the small recording began at 2025-03-01 12:00:20 UTC; the log is of a clock 1 h ahead."""
    rows = [f"2025/03/01 13:00:{second}.000, 0, 50" for second in range(15, 59)]
    log = written(tmp_path / "smi.csv", "timestamp, index, temperature.gpu\n" + "\n".join(rows) + "\n")
    steps = json.loads((data / "pair/step_log.json").read_text())
    for entry in steps:
        entry.pop("timestamp_iso", None)
    found = imported(tmp_path, written(tmp_path / "steps.json", json.dumps(steps)), log)
    assert found.result["timezone"].startswith("telemetry read as UTC+01:00")
    assert {row["device"] for row in found.rows("sample")} == {"gpu0"}


def test_nounits_and_windows_line_ends_and_utf_16_are_read(tmp_path: Path) -> None:
    """PowerShell's > writes UTF-16 with a byte order mark."""
    text = "timestamp, temperature.gpu, power.draw [W]\r\n2026/11/24 10:00:00.123, 54, 250.13\r\n"
    expected = None
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = written(tmp_path / f"{encoding}.csv", text.encode(encoding))
        found = imported(tmp_path, path, timezone="UTC")
        (row,) = found.rows("sample")
        expected = expected or row
        assert row == expected
        assert (row["device"], row["power_w"]) == ("gpu", 250.13)
        assert "the log names no GPU" in found.run.facts["devices"]["gpu"]["suspect"]["device"]


def test_instant_power_is_the_power_where_nvidia_smi_has_it(tmp_path: Path) -> None:
    text = "timestamp, index, power.draw [W], power.draw.instant [W]\n2026/11/24 10:00:00, 0, 10 W, 20 W\n"
    (row,) = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC").rows("sample")
    assert (row["power_w"], row["power_w_average"]) == (20.0, 10.0)


def test_rows_of_nvidia_smi_that_cannot_be_trusted_are_left_out(tmp_path: Path) -> None:
    rows = [
        smi_row("00.000", 0),
        smi_row("00.000", 0),
        SMI_HEADER,
        "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.\n",
        smi_row("01.000", 0, power="[GPU is lost]"),
        smi_row("02.000", 0, power="1e300 W"),
        smi_row("03.000", 0, power="250 hp"),
        smi_row("04.000", 0, temperature="inf"),
        smi_row("05.000", 0, temperature="999"),
        smi_row("99.000", 0),
        smi_row("06.000", 0).replace("0x0000000000000004", "0xzz"),
        smi_row("06.000", 0).replace("10 us", "-10 us"),
        smi_row("07.000", 0, temperature="[Unknown Error]"),
        smi_row("08.000", 0).rstrip("\n")[:-1],
    ]
    found = imported(tmp_path, written(tmp_path / "a.csv", SMI_HEADER + "".join(rows)), timezone="UTC")
    assert [row["temperature_c"] for row in found.rows("sample")] == [54.0, None]
    assert found.result["left_out"] == {
        "exact duplicate of another row": 1,
        "repeated header row": 1,
        "torn row: not as many cells as the header": 1,
        "the GPU was lost or needed a reset": 1,
        "power_w outside 0 to 5000 W": 1,
        "torn row: power_w is not a number with a known unit": 1,
        "torn row: temperature_c is not a finite number": 1,
        "temperature_c outside -50 to 150 degC": 1,
        "torn row: timestamp is no date and time": 1,
        "torn row: the clock event reasons are no hexadecimal mask": 1,
        "throttled_thermal_ns is no counter": 1,
        "torn row: the file ends in mid-line": 1,
    }


def test_an_nvidia_smi_log_without_a_timestamp_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "index, temperature.gpu\n0, 54\n")
    assert "row 1: this nvidia-smi log has no timestamp; query timestamp as well" in refused(tmp_path, path)


def test_an_nvidia_smi_log_of_a_header_only_is_refused(tmp_path: Path) -> None:
    assert "no usable row" in refused(tmp_path, written(tmp_path / "a.csv", SMI_HEADER), timezone="UTC")


# -- DCGM and Prometheus ---------------------------------------------------------------------------


def exposition(*scrapes: int, device: str = UUID) -> str:
    lines = []
    for number, time_ms in enumerate(scrapes):
        labels = f'{{gpu="0",UUID="{device}",device="nvidia0",modelName="NVIDIA H100",Hostname="node\\"1"}}'
        for name, kind, value in (
            ("GPU_TEMP", "gauge", 54 + number),
            ("POWER_USAGE", "gauge", "250.125"),
            ("TOTAL_ENERGY_CONSUMPTION", "counter", 1_000_000 + 250_125 * number),
            ("FB_USED", "gauge", 1024),
            ("POWER_VIOLATION", "counter", 5000),
            ("MEMORY_TEMP", "gauge", "NaN"),
            ("FAN_SPEED", "gauge", 9223372036854775792),
            ("XID_ERRORS", "gauge", 0),
        ):
            full = f"DCGM_FI_DEV_{name}"
            lines += [f"# HELP {full} Some help (in units).", f"# TYPE {full} {kind}"]
            lines.append(f"{full}{labels} {value} {time_ms}")
    return "\n".join(lines) + "\n"


def test_dcgm_text_with_timestamps_gives_one_sample_a_device_and_time(tmp_path: Path) -> None:
    path = written(tmp_path / "metrics.prom", exposition(1_700_000_000_250, 1_700_000_001_250))
    found = imported(tmp_path, path)
    first, second = found.rows("sample")
    assert first == {
        "time_ns": 1_700_000_000_250_000_000,
        "device": UUID,
        "power_w": 250.125,
        "energy_j": 1000.0,
        "temperature_c": 54.0,
        "memory_used_bytes": 1024.0 * 2**20,
        "throttled_power_ns": 5000,
    }
    assert second["energy_j"] - first["energy_j"] == pytest.approx(250.125)
    assert found.run.facts["devices"][UUID]["model"] == "NVIDIA H100"
    assert found.result["ignored"] == ["metrics.prom: 1 metric of no use: DCGM_FI_DEV_XID_ERRORS"]


def test_what_prometheus_own_client_writes_is_read(tmp_path: Path) -> None:
    """Its text, with its escapes and its numbers, not ours."""
    gauges = {
        "DCGM_FI_DEV_GPU_TEMP": [61.0, 62.0],
        "DCGM_FI_DEV_POWER_USAGE": [250.125, 1e-05],
        "DCGM_FI_DEV_SM_CLOCK": [1980.0, math.nan],
    }

    class Exporter:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            for name, values in gauges.items():
                family = GaugeMetricFamily(name, f"Help of {name} (in\nunits).", labels=["UUID", "modelName"])
                for place, value in enumerate(values):
                    family.add_metric(
                        [UUID, 'NVIDIA "H100" \\ 80GB'], value, timestamp=1_700_000_000.5 + place
                    )
                yield family

    registry = CollectorRegistry()
    registry.register(Exporter())
    found = imported(tmp_path, written(tmp_path / "metrics", generate_latest(registry)))
    rows = found.rows("sample")
    assert [row["temperature_c"] for row in rows] == [61.0, 62.0]
    assert [row["power_w"] for row in rows] == [250.125, 1e-05]
    assert [row["sm_clock_mhz"] for row in rows] == [1980.0, None]
    assert [row["time_ns"] for row in rows] == [1_700_000_000_500_000_000, 1_700_000_001_500_000_000]
    assert found.run.facts["devices"][UUID]["model"] == 'NVIDIA "H100" \\ 80GB'


def test_one_scrape_without_timestamps_is_refused(tmp_path: Path) -> None:
    text = exposition(0).replace(" 0\n", "\n")
    message = refused(tmp_path, written(tmp_path / "metrics", text))
    assert "no sample has a timestamp, so this is one scrape and no time series" in message


def test_lines_that_are_no_metrics_are_left_out(tmp_path: Path) -> None:
    text = exposition(1_700_000_000_250) + "\n".join(
        [
            "<html>502 Bad Gateway</html>",
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 99 1700000000250',
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 54',
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 54 99999999999999999',
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 1e400 1700000002250',
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 500 1700000003250',
            "DCGM_FI_DEV_GPU_TEMP 54 1700000004250",
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 54 17000000',
        ]
    )
    found = imported(tmp_path, written(tmp_path / "metrics", text))
    assert found.result["left_out"] == {
        "torn row: not in Prometheus' text format": 1,
        "a second value of the same metric, device and time": 1,
        "a sample without a timestamp": 1,
        "a timestamp that is no time between 1970 and 2100": 1,
        "temperature_c outside -50 to 150 degC": 1,
        "a metric without a UUID or gpu label": 1,
        "torn row: the file ends in mid-line": 1,
    }
    assert found.rows("sample")[0]["temperature_c"] == 54.0


def range_query(*series: dict[str, Any], **more: Any) -> str:
    answer = {"status": "success", "data": {"resultType": "matrix", "result": list(series)}}
    return json.dumps(answer | more)


def series(name: str, labels: dict[str, str], *values: tuple[float, str]) -> dict[str, Any]:
    return {"metric": {"__name__": f"DCGM_FI_DEV_{name}"} | labels, "values": [list(v) for v in values]}


def test_a_range_query_gives_samples_of_every_device(tmp_path: Path) -> None:
    gpu = {"gpu": "1", "Hostname": "node2"}
    text = range_query(
        series("GPU_TEMP", {"UUID": UUID}, (1_700_000_000.5, "54"), (1_700_000_001.5, "55")),
        series("POWER_USAGE", {"UUID": UUID}, (1_700_000_000.5, "250")),
        series("POWER_USAGE_INSTANT", {"UUID": UUID}, (1_700_000_000.5, "260")),
        series("GPU_TEMP", gpu, (1_700_000_000.5, "60")),
        series("GPU_TEMP", gpu | {"GPU_I_ID": "3"}, (1_700_000_000.5, "61")),
        {"metric": {}, "values": [[1_700_000_000.5, "1"]]},
    )
    found = imported(tmp_path, written(tmp_path / "query.json", text))
    rows = found.rows("sample")
    assert [(row["device"], row["temperature_c"]) for row in rows] == [
        (UUID, 54.0),
        ("node2:gpu1", 60.0),
        ("node2:gpu1/3", 61.0),
        (UUID, 55.0),
    ]
    assert (rows[0]["power_w"], rows[0]["power_w_average"]) == (260.0, 250.0)
    assert "series 6 (it has no name: an expression)" in found.result["ignored"][0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (range_query(status="error"), "Prometheus' answer has status 'error'"),
        ('{"status": "success", "data": {"resultType": "vector", "result": []}}', "the answer is a 'vector'"),
        (range_query({"metric": {}}), "series 1: allowed is an object with metric and values"),
        (range_query(series("GPU_TEMP", {"gpu": "0"}, (1.7e9, "x"), (1.7e9,))), "2 x torn point"),  # type: ignore[arg-type]
        (range_query(), "no usable row in this device log (it has none)"),
    ],
)
def test_an_answer_of_no_use_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    assert sentence in refused(tmp_path, written(tmp_path / "query.json", content))


# -- HWiNFO ----------------------------------------------------------------------------------------

HWINFO_HEADER = (
    'Date,Time,"Virtual Memory Committed [MB]","Total CPU Usage [%]","CPU Package [°C]",'
    '"CPU Package Power [W]","GPU Temperature [°C]","GPU Power [W]","GPU Clock [MHz]","GPU Core Load [%]",'
    '"GPU Temperature [°C]","GPU Power [W]","GPU Fan1 [%]",\n'
)
HWINFO_GROUPS = ",,System: X," + "".join(
    f'"{name}",'
    for name in (
        *["CPU [#0]: AMD Ryzen 9", "CPU [#0]: AMD Ryzen 9: Enhanced", "CPU [#0]: AMD Ryzen 9: Enhanced"],
        *["GPU [#1]: AMD Radeon"] * 4,
        *["GPU [#0]: NVIDIA GeForce RTX 4080: x"] * 3,
    )
)
HWINFO_GROUPS += "\n"


def hwinfo_row(second: float, cells: str = "9.5,61.0,80.25,40.0,12.5,600.0,3.0,54.0,250.5,30") -> str:
    return f"24.11.2026,10:0:{second},20000,{cells},\n"


def test_hwinfo_gives_a_sample_of_each_device_of_a_row(tmp_path: Path) -> None:
    text = HWINFO_HEADER + hwinfo_row(1.752) + hwinfo_row(3.752) + HWINFO_HEADER + HWINFO_GROUPS
    path = written(tmp_path / "log.CSV", text.replace("\n", "\r\n").encode("latin-1"))
    found = imported(tmp_path, path, timezone="Europe/Vienna")
    assert found.result["rows"]["sample"] == 6
    assert found.result["left_out"] == {"repeated header row": 1, "row of sensor names": 1}
    rows = {row["device"]: row for row in found.rows("sample")[:3]}
    assert rows["cpu"]["time_ns"] == 1795510801_752_000_000
    assert (rows["cpu"]["utilization_pct"], rows["cpu"]["temperature_c"], rows["cpu"]["power_w"]) == (
        *(9.5, 61.0),
        80.25,
    )
    assert (rows["gpu1"]["temperature_c"], rows["gpu1"]["sm_clock_mhz"]) == (40.0, 600.0)
    assert (rows["gpu0"]["temperature_c"], rows["gpu0"]["fan_pct"]) == (54.0, 30.0)
    assert rows["gpu0"]["sm_clock_mhz"] is None
    devices = found.run.facts["devices"]
    assert devices["gpu0"]["model"] == "NVIDIA GeForce RTX 4080"
    assert devices["cpu"]["model"] == "AMD Ryzen 9"
    assert found.result["ignored"] == ["log.CSV: 1 column of no use: Virtual Memory Committed [MB]"]


def test_hwinfo_without_its_last_row_tells_gpus_apart_by_repeated_columns(tmp_path: Path) -> None:
    text = HWINFO_HEADER + hwinfo_row(1) + hwinfo_row(2)[:30]
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    rows = {row["device"]: row["temperature_c"] for row in found.rows("sample")}
    assert rows == {"cpu": 61.0, "gpu0": 40.0, "gpu1": 54.0}
    assert found.result["left_out"] == {"torn row: the file ends in mid-line": 1}


def test_hwinfo_in_fahrenheit_is_converted(tmp_path: Path) -> None:
    text = 'Date,Time,"GPU Temperature [°F]",\n24.11.2026,10:00:00.000,212.0,\n'
    found = imported(tmp_path, written(tmp_path / "a.csv", text.encode("latin-1")), timezone="UTC")
    assert found.rows("sample")[0]["temperature_c"] == pytest.approx(100.0)


def test_rows_of_hwinfo_that_cannot_be_trusted_are_left_out(tmp_path: Path) -> None:
    text = HWINFO_HEADER + "".join(
        [
            hwinfo_row(1),
            hwinfo_row(1),
            hwinfo_row(2, "9.5,61.0,80.25,40.0,12.5,600.0,3.0,54.0,250.5"),
            hwinfo_row(3, "9.5,nan,80.25,40.0,12.5,600.0,3.0,54.0,250.5,30"),
            hwinfo_row(4, "9.5,61.0,80.25,4e99,12.5,600.0,3.0,54.0,250.5,30"),
            hwinfo_row(5, ",,,,,,,,,"),
            hwinfo_row(6).replace("24.11.2026", "11/24/2026"),
            hwinfo_row(7).replace("24.11.2026", "32.11.2026"),
            hwinfo_row(8).replace("24.11.2026", "yesterday"),
        ]
    )
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    assert found.result["rows"]["sample"] == 3
    assert found.result["left_out"] == {
        "exact duplicate of another row": 1,
        "torn row: not as many cells as the header": 1,
        "torn row: temperature_c is not a finite number": 1,
        "temperature_c outside -50 to 150 degC": 1,
        "a row without a value that is known": 1,
        "a Date with '/', which does not say which number is the month": 1,
        "torn row: Date and Time are no moment between 1970 and 2100": 1,
        "torn row: Date is not d.m.yyyy, or Time not h:m:s": 1,
    }


def test_hwinfo_in_another_language_is_refused_by_its_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'Date,Time,"Cały procesor [°C]",\n24.11.2026,10:00:00,60,\n')
    assert "row 1: this HWiNFO log has no column that is known; it has: Cały procesor" in refused(
        tmp_path, path, timezone="UTC"
    )


# -- any of them -----------------------------------------------------------------------------------


def test_two_device_logs_of_different_formats_in_a_folder_need_a_choice(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    written(folder / "smi.csv", SMI_HEADER + smi_row("00.000", 0))
    written(folder / "metrics", exposition(1_700_000_000_250))
    assert "2 device logs (metrics, smi.csv)" in refused(tmp_path, folder)
    found = imported(tmp_path, folder, telemetry=Path("metrics"))
    assert found.result["rows"] == {"step": 0, "sample": 1}
    assert "smi.csv: another device log; --telemetry names metrics" in found.result["ignored"]


def test_times_that_run_backwards_are_sorted_and_counted(tmp_path: Path) -> None:
    rows = [smi_row(f"{second}.000", index) for second in ("05", "03", "04", "06") for index in (0, 1)]
    found = imported(tmp_path, written(tmp_path / "a.csv", SMI_HEADER + "".join(rows)), timezone="UTC")
    times = [row["time_ns"] for row in found.rows("sample")]
    assert times == sorted(times)
    assert found.run.facts["import"]["out_of_order"] == 4


def test_hostile_names_stay_data_in_every_format(tmp_path: Path) -> None:
    name = "../../<script>alert(1)</script>"
    smi = f"timestamp, uuid, temperature.gpu\n2026/11/24 10:00:00, {name}, 54\n"
    for text in (smi, exposition(1_700_000_000_250, device=name)):
        found = imported(tmp_path, written(tmp_path / "a", text), timezone="UTC", name=name)
        assert found.rows("sample")[0]["device"] == name
        assert found.run.path.parent == tmp_path / "runs"
        assert not set(found.run.path.name) & set("/<>")
