"""Logs of nvidia-smi."""

import json
from pathlib import Path

import pytest
from importing import SMI_HEADER, UUID, imported, refused, smi_row, written
from thermograd.benchmarks.fuzz_imports import cpu_limit
from thermograd.ingest.importers.recording import Hints


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
    rows = found.rows("sample")
    assert [row["temperature_c"] for row in rows] == [54.0, 54.0, 54.0, 54.0, None, None, 54.0, 54.0, None]
    assert [row["power_w"] for row in rows[:4]] == [250.13, None, None, None]
    assert rows[6]["clock_event_mask"] is rows[7]["throttled_thermal_ns"] is None
    assert found.result["nulls"] == {
        "power_w is [GPU is lost]": 1,
        "power_w is 1e300, outside 0 to 5000 W": 1,
        "power_w is 250 hp": 1,
        "temperature_c is inf": 1,
        "temperature_c is 999, outside -50 to 150 degC": 1,
        "temperature_c is [Unknown Error]": 1,
        "clock_event_mask is 0xzz": 1,
        "throttled_thermal_ns is -10, which is no counter": 1,
    }
    assert found.result["left_out"] == {
        "exact duplicate of another row": 1,
        "repeated header row": 1,
        "torn row: not as many cells as the header": 1,
        "torn row: timestamp is no date and time": 1,
        "torn row: the file ends in mid-line": 1,
    }
    assert found.result["account"] == {"read": 14, "kept": 9, "merged": 0, "left_out": 5}


_ODD = (
    "ERR!",
    "[Requires Reset]",
    "[Unknown Error]",
    "[GPU requires reset]",
    "[GPU is lost]",
    "garbage",
    "1e9 W",
)
_ABSENT = ("[N/A]", "N/A", "[Not Supported]", "", "nan", "-")


@pytest.mark.parametrize("text", [*_ODD, *_ABSENT])
def test_an_odd_cell_of_nvidia_smi_is_null_counted_and_costs_no_row(tmp_path: Path, text: str) -> None:
    header = "timestamp, index, power.draw [W], temperature.gpu\n"
    rows = f"2026/11/24 10:00:00, 0, {text}, 54\n2026/11/24 10:00:01, 0, 100.00 W, 55\n"
    found = imported(tmp_path, written(tmp_path / "a.csv", header + rows), timezone="UTC")
    assert [(row["power_w"], row["temperature_c"]) for row in found.rows("sample")] == [
        (None, 54.0),
        (100.0, 55.0),
    ]
    assert found.result["left_out"] == {}
    assert sum(found.result["nulls"].values()) == (text in _ODD)


def test_a_row_of_nvidia_smi_that_does_not_name_its_gpu_begins_no_other_device(tmp_path: Path) -> None:
    """A lost GPU answers with words instead of its UUID: its index still says which one it is."""
    header = "timestamp, index, uuid, temperature.gpu\n"
    rows = [f"0, {UUID}, 54", "1, GPU-b, 44", "0, [Unknown Error], 55", "[Unknown Error], [GPU is lost], 56"]
    text = header + "".join(f"2026/11/24 10:00:0{second}, {row}\n" for second, row in enumerate(rows))
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    assert [row["device"] for row in found.rows("sample")] == [UUID, "GPU-b", UUID]
    assert found.result["left_out"] == {"the row does not say which GPU it is of": 1}


def test_an_nvidia_smi_log_without_a_timestamp_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "index, temperature.gpu\n0, 54\n")
    assert "row 1: this nvidia-smi log has no timestamp; query timestamp as well" in refused(tmp_path, path)


def test_an_nvidia_smi_log_of_a_header_only_is_refused(tmp_path: Path) -> None:
    assert "no usable row" in refused(tmp_path, written(tmp_path / "a.csv", SMI_HEADER), timezone="UTC")


# -- what people have: without a header, of any locale ---------------------------------------------

_HEADERLESS = (
    "2026/01/01 12:00:00.123, 0, 98 %, 312.34 W, 61\n2026/01/01 12:00:01.123, 0, 97 %, 311.02 W, 62\n"
)
_QUERIED = ("timestamp", "index", "utilization.gpu", "power.draw", "temperature.gpu")


def test_a_log_without_a_header_is_read_by_the_fields_that_were_queried(tmp_path: Path) -> None:
    messages = "Unable to determine the device handle for GPU0\n"
    for text in (_HEADERLESS, messages + _HEADERLESS, _HEADERLESS.replace(" %", "").replace(" W", "")):
        path = written(tmp_path / "a.csv", text)
        found = imported(tmp_path, path, timezone="UTC", hints=Hints(fields=_QUERIED))
        assert [(row["device"], row["power_w"], row["temperature_c"]) for row in found.rows("sample")] == [
            ("gpu0", 312.34, 61.0),
            ("gpu0", 311.02, 62.0),
        ]
        assert found.result["account"]["read"] == text.count("\n")


def test_a_log_without_a_header_says_what_it_needs(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", _HEADERLESS)
    assert "give the fields of the query that was used, e.g. --columns timestamp,index" in refused(
        tmp_path, path
    )
    for fields, sentence in (
        (_QUERIED[:4], "--columns names 4 columns, but the rows of this log have 5 cells (2026/01/01"),
        ((*_QUERIED[1:], "pstate"), "names no timestamp, which says when a row was"),
        (("a", "b", "c", "d", "e"), "are not the fields of a query of nvidia-smi"),
    ):
        assert sentence in refused(tmp_path, path, timezone="UTC", hints=Hints(fields=fields))
    whole = written(tmp_path / "b.csv", "timestamp, index, power.draw\n2026/01/01 12:00:00.123, 0, 3 W\n")
    message = refused(
        tmp_path, whole, timezone="UTC", hints=Hints(fields=("timestamp", "index", "power.draw"))
    )
    assert "--columns is for a log without a header, but this one has one" in message


def test_fields_of_a_log_without_a_header_are_held_against_its_rows(tmp_path: Path) -> None:
    bare = _HEADERLESS.replace(" %", "").replace(" W", "")
    for text, fields, sentence in (
        (
            bare,
            "timestamp,index,utilization.gpu,temperature.gpu,power.draw",
            "temperature.gpu that holds '312.34'",
        ),
        (bare, "index,timestamp,utilization.gpu,power.draw,temperature.gpu", "index that holds '2026/01/01"),
        (
            bare,
            "timestamp,uuid,power.draw,utilization.gpu,temperature.gpu",
            "utilization.gpu that holds '312.34'",
        ),
        (_HEADERLESS, "timestamp,index,power.draw,fan.speed,temperature.gpu", "power.draw that holds '98 %'"),
        (
            _HEADERLESS,
            "timestamp,index,fan.speed,temperature.gpu,power.draw",
            "temperature.gpu that holds '312",
        ),
    ):
        path = written(tmp_path / "a.csv", text)
        message = refused(tmp_path, path, timezone="UTC", hints=Hints(fields=tuple(fields.split(","))))
        assert f"--columns calls a column {sentence}" in message


def test_a_log_without_a_header_may_be_named_in_our_words(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", _HEADERLESS + _HEADERLESS.replace(", 0,", ", 1,"))
    hints = Hints(fields=("timestamp", "device", "utilization_pct", "power_w [W]", "temperature_c"))
    found = imported(tmp_path, path, timezone="UTC", hints=hints)
    assert {(r["device"], r["power_w"], r["temperature_c"]) for r in found.rows("sample")} == {
        (gpu, power, celsius)
        for gpu in ("gpu0", "gpu1")
        for power, celsius in ((312.34, 61.0), (311.02, 62.0))
    }
    path = written(tmp_path / "a.csv", "0, 40000, 2026/01/01 12:00:00.123\n")
    fields = ("index", "memory_used_bytes", "timestamp")
    assert "--unit memory_used_bytes=B" in refused(tmp_path, path, timezone="UTC", hints=Hints(fields=fields))
    for said, units in (("memory.used", ()), ("memory_used_bytes", (("memory_used_bytes", "MiB"),))):
        hints = Hints(fields=("index", said, "timestamp"), units=units)
        (row,) = imported(tmp_path, path, timezone="UTC", hints=hints).rows("sample")
        assert row["memory_used_bytes"] == 40000 * 2**20


def test_its_own_column_of_times_may_be_named_and_a_value_in_another_unit_is_null(tmp_path: Path) -> None:
    text = "timestamp, index, power.draw [W], temperature.gpu\n" + "".join(
        f"2026/01/01 12:00:0{second}.123, 0, 250.12 W, {cell}\n"
        for second, cell in enumerate(("61", "120 W"))
    )
    found = imported(
        tmp_path, written(tmp_path / "a.csv", text), timezone="UTC", hints=Hints(time="timestamp")
    )
    assert [(row["device"], row["power_w"], row["temperature_c"]) for row in found.rows("sample")] == [
        ("gpu0", 250.12, 61.0),
        ("gpu0", 250.12, None),
    ]
    assert list(found.result["nulls"]) == ["temperature_c is 120 W, in the unit of something else"]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators_and_decimal_commas_are_read(tmp_path: Path, mark: str) -> None:
    """As a German or French spreadsheet writes a log again."""
    cells = ["timestamp", "index", "power.draw [W]", "clocks.sm [MHz]", "memory.total [MiB]"]
    rows = [
        cells,
        ["01.02.2026 12:00:00,5", "0", "312,34 W", "1980 MHz", "80"],
        ["1.2.2026 12:00:01", "0", "[N/A]", "5,5", "80"],
    ]
    text = "".join(f"{mark.join(row)}\r\n" for row in rows)
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    assert [(row["time_ns"], row["power_w"], row["sm_clock_mhz"]) for row in found.rows("sample")] == [
        (1769947200_500_000_000, 312.34, 1980.0),
        (1769947201_000_000_000, None, 5.5),
    ]
    assert found.result["nulls"] == {}


@pytest.mark.parametrize("word", ["throttle", "event"])
def test_reasons_with_a_column_each_are_one_mask(tmp_path: Path, word: str) -> None:
    names = ", ".join(
        f"clocks_{word}_reasons.{name}" for name in ("sw_power_cap", "hw_thermal_slowdown", "gpu_idle")
    )
    rows = ["Active, Not Active, Not Active", "Not Active, Active, Active", "Active, [Unknown Error], Active"]
    lines = [f"2026/01/01 12:00:0{second}.000, 0, {row}, 50\n" for second, row in enumerate(rows)]
    text = f"timestamp, index, {names}, temperature.gpu\n" + "".join(lines)
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    assert [row["clock_event_mask"] for row in found.rows("sample")] == [0x4, 0x41, None]
    assert found.result["nulls"] == {"clock_event_mask is [Unknown Error]": 1}
    (told,) = found.result["ignored"]
    assert told == "a.csv: clock_event_mask is of 3 of 8 reasons; the log has no column of the others"


def test_a_logger_that_was_started_again_with_other_fields_names_its_rows_anew(tmp_path: Path) -> None:
    text = (
        "timestamp, index, power.draw [W], temperature.gpu\n2026/01/01 12:00:00.000, 0, 100 W, 50\n"
        "temperature.gpu, index, timestamp\n51, 0, 2026/01/01 12:00:01.000\n"
    )
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    assert [(row["power_w"], row["temperature_c"]) for row in found.rows("sample")] == [
        (100.0, 50.0),
        (None, 51.0),
    ]
    assert found.result["left_out"] == {"repeated header row": 1}


def test_a_cell_of_a_hundred_thousand_digits_is_read_in_a_moment(tmp_path: Path) -> None:
    """By a pattern that tries every place for its unit, it took half a minute."""
    text = (
        "timestamp, index, power.draw [W]\n2026/01/01 12:00:00.123, 0, 3 W\n2026/01/01 12:00:01.123, 0, "
        f"{'9' * 100_000} of W\n"
    )
    path = written(tmp_path / "a.csv", text)
    with cpu_limit(5.0):
        found = imported(tmp_path, path, timezone="UTC")
    assert [row["power_w"] for row in found.rows("sample")] == [3.0]
