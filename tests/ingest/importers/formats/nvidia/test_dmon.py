"""Logs of nvidia-smi dmon and dcgmi dmon, against pandas."""

import json
from pathlib import Path

import pandas as pd
import pytest
from importing import Imported, imported, refused, written
from thermograd.analysis.run.analyze import analyze_run
from thermograd.ingest.importers.recording import Hints

FIXTURES = Path(__file__).parents[4] / "fixtures" / "imports"
STARTED = Hints(started_at="2026-11-24T10:00:00Z", sample_time_s=0.5)
_OF_DMON = {
    "pwr": ("power_w", 1),
    "gtemp": ("temperature_c", 1),
    "mtemp": ("memory_temperature_c", 1),
    "sm": ("utilization_pct", 1),
    "mclk": ("memory_clock_mhz", 1),
    "pclk": ("sm_clock_mhz", 1),
    "fb": ("memory_used_bytes", 2**20),
    "pci": ("pcie_replays", 1),
}


def told_by_pandas(path: Path, separator: str = r"\s+") -> pd.DataFrame:
    """Return the rows that are whole, under the names of the first heading."""
    names = path.read_text().splitlines()[0].lstrip("# ").replace(",", " ").split()
    options = {"comment": "#", "names": names, "na_values": "-", "engine": "python", "dtype": str}
    rows = pd.read_csv(path, sep=separator, **options)
    return rows[rows[names[-1]].notna()].reset_index(drop=True)


def equal(found: Imported, told: pd.DataFrame, columns: dict[str, tuple[str, float]]) -> bool:
    """Whether every value of every column is that of the other reader."""
    rows = found.rows("sample")
    for name in told.columns.intersection(list(columns)):
        column, factor = columns[name]
        read = [row.get(column) for row in rows]
        expected = [None if pd.isna(text) else float(text) * factor for text in told[name]]
        assert read == expected, name
    return len(rows) == len(told)


def test_each_value_of_a_dated_log_is_taken_with_its_unit(tmp_path: Path) -> None:
    path = FIXTURES / "dmon" / "dated.txt"
    found, told = imported(tmp_path, path, timezone="Europe/Vienna"), told_by_pandas(path)
    assert equal(found, told, _OF_DMON)
    assert [row["device"] for row in found.rows("sample")] == [f"gpu{index}" for index in told["gpu"]]
    times = pd.to_datetime(told["Date"] + told["Time"], format="%Y%m%d%H:%M:%S")
    times = times.dt.tz_localize("Europe/Vienna")
    assert [row["time_ns"] for row in found.rows("sample")] == [time.value for time in times]
    assert found.result["left_out"] == {"torn row: the file ends in mid-line": 1}
    assert found.result["ignored"][0].startswith(
        "dated.txt: 13 columns of no use: bar1, ccpm, dbecc, dec, enc"
    )


def test_the_analysis_warns_of_estimated_times_of_devices(tmp_path: Path) -> None:
    began_s = 1795514400
    log = [{"step": n, "loss": 1.0 / n, "grad_norm": 1.0, "timestamp": began_s + n} for n in range(1, 41)]
    written(tmp_path / "a" / "steps.json", json.dumps(log))
    rows = "".join(f"    0  {100 + n % 7}    {50 + n % 5}\n" for n in range(80))
    written(tmp_path / "a" / "dmon.txt", f"# gpu   pwr gtemp\n{rows}")
    run = imported(tmp_path, tmp_path / "a", hints=STARTED).run
    (warning,) = [text for text in analyze_run(run).to_json()["warnings"] if "estimated" in text]
    assert warning.startswith("The times of the devices are estimated: --started-at 2026-11-24T10:00:00Z")


def test_a_dated_log_that_is_there_twice_is_taken_once(tmp_path: Path) -> None:
    text = (FIXTURES / "dmon" / "dated.txt").read_text().rpartition("\n")[0] + "\n"
    found = imported(tmp_path, written(tmp_path / "a", text * 2), timezone="UTC")
    assert found.result["account"] == {"read": 56, "kept": 28, "merged": 0, "left_out": 28}


def test_a_log_without_times_needs_a_start_and_a_period(tmp_path: Path) -> None:
    path = FIXTURES / "dmon" / "undated.txt"
    assert "give --started-at TIME and --sample-time SECONDS, or log with nvidia-smi dmon -o DT" in refused(
        tmp_path, path
    )
    found, told = imported(tmp_path, path, hints=STARTED), told_by_pandas(path)
    assert equal(found, told, _OF_DMON)
    began = pd.Timestamp("2026-11-24T10:00:00Z").value
    rounds = told.groupby("gpu").cumcount()  # alike rows are readings of their own, not duplicates
    assert [row["time_ns"] for row in found.rows("sample")] == [began + n * 500_000_000 for n in rounds]
    how = "estimated: --started-at 2026-11-24T10:00:00Z plus 0.5 s a sample (as --sample-time says)"
    assert found.result["timezone"] == f"telemetry {how}"
    assert found.run.facts["import"]["sample_times_estimated"] == how
    assert found.run.facts["import"]["step_times_estimated"] is None
    assert found.run.facts["clock"] == f"imported, wall time only, sample times {how}"


@pytest.mark.parametrize(
    ("started_at", "zone"),
    [
        ("2026-11-24T23:59:50+01:00", None),
        ("2026-11-24 23:59:56", "Europe/Vienna"),
        ("2026-11-24", "+01:00"),
        ("2026-11-25 00:00:03", "+01:00"),
    ],
)
def test_times_of_day_get_their_date_and_the_next_one_after_midnight(
    tmp_path: Path, started_at: str, zone: str | None
) -> None:
    path = written(tmp_path / "a", over_midnight())
    found = imported(tmp_path, path, hints=Hints(started_at=started_at), timezone=zone)
    first = pd.Timestamp("2026-11-24T23:59:56+01:00").value
    assert [row["time_ns"] for row in found.rows("sample")] == [first + n * 10**9 for n in range(8)]
    assert equal(found, told_by_pandas(path, r",\s*"), _OF_DMON)


def over_midnight() -> str:
    text = (FIXTURES / "dmon" / "time_of_day.csv").read_text()
    return text.replace("09:59:", "23:59:").replace("10:00:", "00:00:")


def test_a_start_that_does_not_fit_the_first_time_of_day_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a", over_midnight())
    message = refused(tmp_path, path, hints=Hints(started_at="2026-11-24T22:59:50Z"))
    assert "its first row is of 23:59:56, but --started-at is 2026-11-24T22:59:50Z" in message
    assert "times of day without a date; give --started-at" in refused(tmp_path, path)


def test_a_time_of_day_that_jumps_is_left_out_and_does_not_move_the_days_after(tmp_path: Path) -> None:
    text = "# Time gpu pwr gtemp\n12:00:01 0 1 -\n02:00:02 0 2 -\n12:00:03 0 3 -\n25:00:04 0 4 -\n"
    hints = Hints(started_at="2026-11-24T12:00:00Z")
    found = imported(tmp_path, written(tmp_path / "a", text), hints=hints)
    rows = found.rows("sample")
    assert [row["power_w"] for row in rows] == [1.0, 3.0]
    assert rows[1]["time_ns"] - rows[0]["time_ns"] == 2 * 10**9
    assert found.result["left_out"] == {
        "a time of day more than 12 h after the row before": 1,
        "torn row: Date and Time are no date and time": 1,
    }


def test_columns_of_old_and_new_drivers_and_rows_that_are_torn(tmp_path: Path) -> None:
    """Of drivers before 384 the temperature is temp; headings may change in mid-file."""
    text = (
        "# gpu   pwr  temp    sm   mem   enc   dec  mclk  pclk pviol tviol\n"
        "# Idx     W     C     %     %     %     %   MHz   MHz     %  bool\n"
        "    0    25    43    10     4    40     0  3499  1721    12     1\n"
        "    0    25    43    10\n"
        "    x    25    43    10     4    40     0  3499  1721    12     1\n"
        "# gpu   pwr gtemp mtemp\n"
        "    0   100    51     -\n"
        "    0  9999    52  ERR!\n"
    )
    path = written(tmp_path / "a", text.replace("\n", "\r\n").encode("utf-16"))
    found = imported(tmp_path, path, hints=STARTED)
    rows = found.rows("sample")
    assert [row["power_w"] for row in rows] == [25.0, 100.0, None]
    assert [row["temperature_c"] for row in rows] == [43.0, 51.0, 52.0]
    assert not any("throttled_thermal_ns" in row for row in rows)
    since = [(row["time_ns"] - rows[0]["time_ns"]) / 1e9 for row in rows]
    assert since == [0.0, 1.0, 1.5]  # the row that is torn took its time, too
    assert found.result["left_out"] == {
        "torn row: not as many cells as the heading": 1,
        "torn row: gpu is no number": 1,
    }


def test_a_log_without_headings_is_read_with_the_columns_that_are_said(tmp_path: Path) -> None:
    """What nvidia-smi dmon --format csv,noheader,nounit writes, with dates and without."""
    path = written(tmp_path / "a", "0,300,61,-,98\n1,290,60,-,97\n0,301,62,-,99\n")
    fields = ("gpu", "pwr", "gtemp", "mtemp", "sm")
    rows = imported(tmp_path, path, hints=STARTED._replace(fields=fields)).rows("sample")
    assert [(row["device"], row["power_w"]) for row in rows] == [("gpu0", 300), ("gpu1", 290), ("gpu0", 301)]
    path = written(tmp_path / "b", "20261124 10:00:00 0 300 61\n20261124 10:00:01 0 301 61\n")
    hints = Hints(fields=("Date", "Time", "gpu", "pwr", "gtemp"))
    rows = imported(tmp_path, path, hints=hints, timezone="UTC").rows("sample")
    assert [row["time_ns"] // 10**9 - 1795514400 for row in rows] == [0, 1]


def test_a_number_of_too_many_digits_is_none(tmp_path: Path) -> None:
    long = "9" * 20_000
    path = written(tmp_path / "a", f"# gpu pwr gtemp\n{long} 1 2\n0 {long} 2\n")
    found = imported(tmp_path, path, hints=STARTED)
    assert [(row["device"], row["temperature_c"]) for row in found.rows("sample")] == [("gpu0", 2.0)]
    assert found.result["left_out"] == {"torn row: gpu is no number": 1}


def test_pmon_is_of_processes_and_says_what_to_log(tmp_path: Path) -> None:
    text = (
        "# gpu        pid  type    sm   mem   enc   dec   command\n"
        "# Idx          #   C/G     %     %     %     %   name\n"
        "    0       4810     G     0     0     0     0   Xorg\n"
    )
    message = refused(tmp_path, written(tmp_path / "a", text))
    assert "nvidia-smi pmon, which is by process" in message
    assert "nvidia-smi dmon -s pucm -o DT" in message


def test_each_value_of_dcgmi_dmon_is_taken_with_its_unit(tmp_path: Path) -> None:
    path = FIXTURES / "dcgmi" / "dmon.txt"
    found = imported(tmp_path, path, hints=STARTED)
    lines = [line.split() for line in path.read_text().splitlines() if line.startswith("GPU")]
    names = path.read_text().split("\n")[0].lstrip("#").split()
    told = pd.DataFrame([line[1:] for line in lines], columns=["ID", *names[1:]]).replace("N/A", None)
    columns = {"GPUTL": ("utilization_pct", 1), "POWER": ("power_w_average", 1), "POWINST": ("power_w", 1)}
    columns |= {"TMPTR": ("temperature_c", 1), "MMTMP": ("memory_temperature_c", 1)}
    columns |= {"SMCLK": ("sm_clock_mhz", 1), "FBUSD": ("memory_used_bytes", 2**20)}
    assert equal(found, told, columns)
    rows = found.rows("sample")
    assert [row["energy_j"] for row in rows] == pytest.approx([float(text) / 1000 for text in told["TOTEC"]])
    assert [row["device"] for row in rows] == [f"gpu{index}" for index in told["ID"]]
    assert found.result["ignored"] == ["dmon.txt: 1 column of no use: SMACT"]


def test_other_entities_of_dcgmi_keep_their_names(tmp_path: Path) -> None:
    rows = "GPU 3  60.5  41  2147483632\nGPU-I 0  N/A  40  7\nSwitch 1  N/A  N/A  N/A\n"
    text = f"# Entity  POWER  TMPTR  ESVTL\n      Id      W      C\n{rows}"
    found = imported(tmp_path, written(tmp_path / "a", text), hints=STARTED)
    named = [(row["device"], row["power_w"]) for row in found.rows("sample")]
    assert named == [("gpu3", 60.5), ("GPU-I 0", None)]
    assert [row["ecc_corrected"] for row in found.rows("sample")] == [None, 7]  # DCGM's stand-in is null
    assert found.result["left_out"] == {"a row without a value": 1}
