"""What turbostat prints, beside what pandas reads of it."""

import io
from pathlib import Path

import pandas as pd
import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.recording import Hints

FIXTURES = Path(__file__).parents[3] / "fixtures/imports/turbostat"
PACKAGES, SUMMARY = FIXTURES / "packages.tsv", FIXTURES / "summary.tsv"
START = Hints(started_at="2026-11-24T10:00:00Z", sample_time_s=5.0)
OF_ALL = "the row of all packages, which are taken one by one"


def table(path: Path) -> pd.DataFrame:
    lines = path.read_text().splitlines()
    header = next(line for line in lines if "Bzy_MHz" in line)
    rows = [line for line in lines if "\t" in line and line != header]
    return pd.read_csv(io.StringIO("\n".join([header, *rows])), sep="\t")


def test_each_package_is_a_device_with_the_mean_of_its_threads(tmp_path: Path) -> None:
    found = imported(tmp_path, PACKAGES)
    threads = table(PACKAGES)
    for package in ("0", "1"):
        own = threads[threads["Package"] == package]
        rows = [row for row in found.rows("sample") if row["device"] == f"cpu{package}"]
        first = own[own["Core"] == "0"]
        assert [row["power_w"] for row in rows] == list(first["PkgWatt"])
        assert [row["temperature_c"] for row in rows] == list(first["PkgTmp"])
        busy = own["Busy%"].to_numpy().reshape(-1, 2).mean(axis=1)
        assert [row["utilization_pct"] for row in rows] == pytest.approx(list(busy))
        clock = own["Bzy_MHz"].to_numpy().reshape(-1, 2).mean(axis=1)
        assert [row["sm_clock_mhz"] for row in rows] == pytest.approx(list(clock))
        memory = [row["power_w"] for row in found.rows("sample") if row["device"] == f"ram{package}"]
        assert memory == list(first["RAMWatt"])
    stamps = threads[threads["Package"] == "-"]["Time_Of_Day_Seconds"]
    times = sorted({row["time_ns"] for row in found.rows("sample")})
    assert [time / 10**9 for time in times] == list(stamps)
    assert found.result["left_out"] == {OF_ALL: 4, "repeated header row": 3}
    assert found.result["account"] == {"read": 23, "kept": 8, "merged": 8, "left_out": 7}


def test_a_summary_without_times_needs_a_start_and_the_interval(tmp_path: Path) -> None:
    sentence = "give --started-at TIME and --sample-time SECONDS, or log with --enable Time_Of_Day_Seconds"
    assert sentence in refused(tmp_path, SUMMARY)
    found = imported(tmp_path, SUMMARY, hints=START)
    rows = [row for row in found.rows("sample") if row["device"] == "cpu"]
    told = table(SUMMARY)
    assert [row["power_w"] for row in rows] == list(told["PkgWatt"])
    assert [row["utilization_pct"] for row in rows] == list(told["Busy%"])
    assert [row["sm_clock_mhz"] for row in rows] == list(told["Bzy_MHz"])
    assert [row["time_ns"] for row in rows] == [1_795_514_400_000_000_000 + n * 5 * 10**9 for n in range(5)]
    graphics = [row for row in found.rows("sample") if row["device"] == "igpu"]
    assert [(row["power_w"], row["sm_clock_mhz"]) for row in graphics] == list(
        zip(told["GFXWatt"], told["GFXMHz"], strict=True)
    )
    assert found.result["left_out"] == {"repeated header row": 1}


def test_one_package_is_the_row_of_all_processors(tmp_path: Path) -> None:
    text = (
        "Core\tCPU\tBusy%\tBzy_MHz\tCoreTmp\tPkgWatt\n"
        "-\t-\t26.14\t1493\t63\t55.5\n0\t0\t16.27\t1473\t62\t55.5\n0\t1\t50.12\t1574\n"
        "-\t-\t27.14\t1493\t64\t56.5\nkilled\n0\t0\t16"
    )
    found = imported(tmp_path, written(tmp_path / "t", text), hints=START)
    rows = found.rows("sample")
    assert [(row["power_w"], row["temperature_c"], row["utilization_pct"]) for row in rows] == [
        (55.5, 63.0, 26.14),
        (56.5, 64.0, 27.14),
    ]
    assert found.result["left_out"] == {
        "a row of one thread; the row of all has the mean": 2,
        "torn row: not a row of turbostat": 1,
        "torn row: the file ends in mid-line": 1,
    }


def test_a_last_interval_that_is_not_whole_gives_no_mean(tmp_path: Path) -> None:
    whole = PACKAGES.read_text()
    text = whole[: whole.rstrip("\n").rindex("\n") + 1]
    found = imported(tmp_path, written(tmp_path / "t", text))
    assert found.result["left_out"]["torn row: the last interval is not whole"] == 4
    assert found.result["rows"]["sample"] == 12
