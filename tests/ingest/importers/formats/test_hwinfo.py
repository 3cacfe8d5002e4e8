"""Logs of HWiNFO."""

from pathlib import Path

import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.recording import Hints

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


def test_hwinfo_of_several_gpus_without_its_last_row_is_refused(tmp_path: Path) -> None:
    """The order of the columns says nothing: an integrated GPU may have some of them only."""
    text = HWINFO_HEADER + hwinfo_row(1) + hwinfo_row(2)[:30]
    message = refused(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    assert "has GPU Temperature [°C] more than once and no last row of sensor names that fits" in message


def test_hwinfo_of_one_gpu_without_its_last_row_is_imported_with_a_warning(tmp_path: Path) -> None:
    text = 'Date,Time,"GPU Temperature [°C]",\n24.11.2026,10:00:00.000,61.0,\n24.11.2026,10:00:01.0'
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    assert [row["device"] for row in found.rows("sample")] == ["gpu0"]
    assert found.result["left_out"] == {"torn row: the file ends in mid-line": 1}
    assert found.result["warnings"] == [
        "the log has no row of sensor names: its GPU columns are taken as one GPU's"
    ]


def hwinfo_log(header: str, row: str, groups: str) -> bytes:
    lines = [
        f"Date,Time,{header},",
        *(f"13.8.2026,13:58:5{second}.898,{row}," for second in range(4)),
        f",,{groups},",
    ]
    return "\n".join([*lines, ""]).encode("latin-1")


_CARD = {"temperature_c": 70.5, "power_w": 312.0, "sm_clock_mhz": 2610.0, "utilization_pct": 90.0}
_TWO = (
    '"GPU Temperature [°C]","GPU Power [W]","GPU Clock [MHz]","GPU Core Load [%]","GPU Temperature [°C]",'
    '"GPU Power [W]","GPU Clock [MHz]","GPU Utilization [%]"'
)


@pytest.mark.parametrize(
    ("groups", "card", "integrated"),
    [
        (["GPU [#1]: AMD Radeon", "GPU [#0]: NVIDIA B"], "gpu0", "gpu1"),
        (["iGPU [#1]: AMD Radeon", "dGPU [#0]: NVIDIA B"], "gpu0", "gpu1"),
        (["iGPU [#0]: AMD Radeon", "dGPU [#0]: NVIDIA B"], "gpu0", "igpu0"),
        (["CPU [#0]: Some CPU: Enhanced", "GPU [#0]: NVIDIA B"], "gpu0", "igpu"),
        (["CPU [#0]: Some CPU: Enhanced", "GPU [#1]: NVIDIA B: Extra"], "gpu1", "igpu"),
        (["GPU [#1]: AMD (TM, x) Radeon", "GPU [#0]: NVIDIA B"], "gpu0", "gpu1"),
        (["GPU [#1]: AMD, Inc. Radeon", "GPU [#0]: NVIDIA B"], "gpu0", "gpu1"),
    ],
)
def test_hwinfo_gives_a_reading_to_the_gpu_whose_group_it_stands_in(
    tmp_path: Path, groups: list[str], card: str, integrated: str
) -> None:
    text = hwinfo_log(
        f'"Total CPU Usage [%]","Drive Temperature [°C]",{_TWO}',
        "8.0,41,45.0,9.0,400.0,3.0,70.5,312.0,2610.0,90.0",
        ",".join(["CPU [#0]: Some CPU", "Drive: X [C:, D:]", *[groups[0]] * 4, *[groups[1]] * 4]),
    )
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    rows = {row["device"]: row for row in found.rows("sample")[:3]}
    assert set(rows) == {"cpu", card, integrated}
    assert {name: rows[card][name] for name in _CARD} == _CARD
    assert rows[integrated]["temperature_c"] == 45.0
    assert found.run.facts["devices"][card]["model"] == "NVIDIA B"
    assert found.result["warnings"] == []


def test_hwinfo_of_an_integrated_gpu_with_a_clock_only_does_not_take_the_cards_readings(
    tmp_path: Path,
) -> None:
    text = hwinfo_log(
        '"GPU Clock [MHz]","GPU Temperature [°C]","GPU Clock [MHz]"',
        "300.0,70.5,2610.0",
        "CPU [#0]: Some CPU: Enhanced,GPU [#0]: NVIDIA B,GPU [#0]: NVIDIA B",
    )
    rows = {
        row["device"]: row
        for row in imported(tmp_path, written(tmp_path / "a", text), timezone="UTC").rows("sample")
    }
    assert (rows["gpu0"]["temperature_c"], rows["gpu0"]["sm_clock_mhz"]) == (70.5, 2610.0)
    assert (rows["igpu"]["temperature_c"], rows["igpu"]["sm_clock_mhz"]) == (None, 300.0)


def test_a_file_of_two_logs_of_hwinfo_reads_each_by_its_own_last_row(tmp_path: Path) -> None:
    row, groups = "70.5,40.5", ["GPU [#0]: NVIDIA B", "GPU [#1]: AMD Radeon"]
    columns = '"GPU Temperature [°C]","GPU Temperature [°C]"'
    first = hwinfo_log(columns, row, ",".join(groups)).decode("latin-1").splitlines(keepends=True)
    second = hwinfo_log('"GPU Power [W]",' + columns, "9.0,40.5,70.5", ",".join([groups[1], *groups[::-1]]))
    later = second.decode("latin-1").replace("13.8.", "14.8.").splitlines(keepends=True)
    text = "".join([*first[:-1], first[0], first[-1], *later[:-1], later[0], later[-1]]).encode("latin-1")
    rows = imported(tmp_path, written(tmp_path / "a", text), timezone="UTC").rows("sample")
    assert {(row["device"], row["temperature_c"]) for row in rows} == {("gpu0", 70.5), ("gpu1", 40.5)}
    assert {row["device"] for row in rows if row["power_w"] is not None} == {"gpu1"}


def test_hwinfo_of_two_processors_keeps_them_apart(tmp_path: Path) -> None:
    text = hwinfo_log(
        '"CPU Package [°C]","CPU Package [°C]"',
        "61.0,45.0",
        "CPU [#0]: Some CPU: DTS,CPU [#1]: Some CPU: DTS",
    )
    rows = imported(tmp_path, written(tmp_path / "a", text), timezone="UTC").rows("sample")
    assert {row["device"]: row["temperature_c"] for row in rows} == {"cpu": 61.0, "cpu1": 45.0}


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
            hwinfo_row(6).replace("24.11.2026", "11/5/2026"),
            hwinfo_row(7).replace("24.11.2026", "32.11.2026"),
            hwinfo_row(8).replace("24.11.2026", "yesterday"),
            HWINFO_GROUPS,
        ]
    )
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    assert found.result["rows"]["sample"] == 9
    assert found.result["nulls"] == {"temperature_c is 4e99, outside -50 to 150 degC": 1}
    assert found.result["left_out"] == {
        "row of sensor names": 1,
        "exact duplicate of another row": 1,
        "torn row: not as many cells as the header": 1,
        "a row without a value": 1,
        "a Date that does not say which number is the month": 1,
        "torn row: Date and Time are no moment between 1970 and 2100": 1,
        "torn row: Date is not d.m.yyyy": 1,
    }


def test_hwinfo_in_another_language_is_refused_by_its_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'Date,Time,"Cały procesor [°C]",\n24.11.2026,10:00:00,60,\n')
    assert "row 1: this HWiNFO log has no column that is known; it has: Cały procesor" in refused(
        tmp_path, path, timezone="UTC"
    )


def dated(*dates: str, mark: str = ",") -> str:
    header = f'Date{mark}Time{mark}"GPU Temperature [°C]"{mark}\n'
    return header + "".join(f"{date}{mark}10:00:0{n}.5{mark}61{mark}\n" for n, date in enumerate(dates))


def test_the_order_of_day_and_month_is_told_by_the_file_or_by_a_person_and_never_guessed(
    tmp_path: Path,
) -> None:
    days = {"2026-11-05": 1793836800, "2026-11-24": 1795478400, "2026-05-11": 1778457600}
    for dates, day, began in (
        (("11/24/2026", "11/24/2026"), "2026-11-24", None),
        (("24/11/2026", "24/11/2026"), "2026-11-24", None),
        (("24-11-2026", "24-11-2026"), "2026-11-24", None),
        (("2026/11/24", "2026-11-24"), "2026-11-24", None),
        (("11/5/2026", "11/24/2026"), "2026-11-05", None),  # the second tells of the first
        (("11/5/2026", "11/5/2026"), "2026-11-05", "2026-11-05T20:00:00-05:00"),
        (("11/5/2026", "11/5/2026"), "2026-05-11", "2026-05-11T10:00:00"),
    ):
        path = written(tmp_path / "a.csv", dated(*dates).encode("latin-1"))
        rows = imported(tmp_path, path, timezone="UTC", hints=Hints(started_at=began)).rows("sample")
        assert len(rows) == 2
        assert rows[0]["time_ns"] == days[day] * 10**9 + 36_000_005_000_000, dates
    for dates, began, sentence in (
        (
            ("11/5/2026",),
            None,
            "11/5/2026 may be 2026-05-11 or 2026-11-05, and no date of this HWiNFO log tells",
        ),
        (("11/5/2026",), "2026-08-01T10:00:00", "is near neither 2026-05-11 nor 2026-11-05"),
        (("11/24/2026",), "2026-11-24T10:00:00", "--started-at is for a log without times"),
        (("11/24/2026", "24/11/2026"), None, "a Date whose order of day and month other rows contradict"),
    ):
        path = written(tmp_path / "a.csv", dated(*dates).encode("latin-1"))
        assert sentence in refused(tmp_path, path, timezone="UTC", hints=Hints(started_at=began))


def test_hwinfo_with_semicolons_and_decimal_commas_is_read(tmp_path: Path) -> None:
    text = (
        "Date;Time;GPU Temperature [°C];GPU Power [W];GPU Clock [MHz];\n"
        "5.11.2026;10:00:00.123;61,5;250,5;1.980,0;\n"
        "5.11.2026;10:00:02,123;62;251,25;2.010;\n"
        ";;GPU [#1]: NVIDIA A;GPU [#1]: NVIDIA A;GPU [#1]: NVIDIA A;\n"
    )
    found = imported(tmp_path, written(tmp_path / "a.csv", text.encode("latin-1")), timezone="UTC")
    assert [
        (row["device"], row["temperature_c"], row["power_w"], row["sm_clock_mhz"], row["time_ns"] // 10**6)
        for row in found.rows("sample")
    ] == [
        ("gpu1", 61.5, 250.5, 1980.0, 1793872800_123),
        ("gpu1", 62.0, 251.25, 2010.0, 1793872802_123),
    ]
    assert found.result["left_out"] == {"row of sensor names": 1}
