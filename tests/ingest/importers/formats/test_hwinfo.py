"""Logs of HWiNFO."""

from pathlib import Path

import pytest
from importing import imported, refused, written

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
