"""Logs of GPU-Z and MSI Afterburner, against pandas."""

import io
from pathlib import Path

import pandas as pd
from importing import imported, refused, written
from thermograd.ingest.importers.recording import Hints

FIXTURES = Path(__file__).parents[4] / "fixtures" / "imports"


def test_each_value_of_gpu_z_is_taken(tmp_path: Path) -> None:
    path = FIXTURES / "gpu_z" / "sensors.txt"
    found = imported(tmp_path, path, timezone="UTC", hints=Hints(device="card"))
    told = pd.read_csv(path, encoding="cp1252", sep=r"\s*,\s*", engine="python", index_col=False, dtype=str)
    told = told.rename(columns=str.strip)
    told = told[told["Date"].str.strip() != "Date"]
    card = [row for row in found.rows("sample") if row["device"] == "card"]
    for column, name in {
        "utilization_pct": "GPU Load [%]",
        "power_w": "Board Power Draw [W]",
        "temperature_c": "GPU Temperature [°C]",
        "memory_temperature_c": "Memory Temperature [°C]",
        "sm_clock_mhz": "GPU Clock [MHz]",
        "memory_clock_mhz": "Memory Clock [MHz]",
        "fan_pct": "Fan 1 Speed (%) [%]",
    }.items():
        assert [row[column] for row in card] == [float(text) for text in told[name]]
    times = pd.to_datetime(told["Date"].str.strip())
    assert [row["time_ns"] for row in card] == [time.value for time in times]
    cpu = [row["temperature_c"] for row in found.rows("sample") if row["device"] == "cpu"]
    assert cpu == [float(text) for text in told["CPU Temperature [°C]"]]
    assert found.result["account"] == {"read": 11, "kept": 10, "merged": 0, "left_out": 1}
    assert not any("memory_used_bytes" in row for row in card)  # which MB is not said


def test_an_old_gpu_z_with_decimal_commas_and_another_date(tmp_path: Path) -> None:
    """The chip's power is not the board's, and the run says so."""
    text = (
        "        Date        , GPU Core Clock [MHz] , GPU Temperature [°F] , GPU only Power Draw [W] ,\r\n"
        "24.11.2026 10:00:00 ,              300,5   ,              212,0   ,                 35,25   ,\r\n"
        "24.11.2026 10:00:01 ,              300,5   ,              -99,0   ,                 35"
    )
    found = imported(tmp_path, written(tmp_path / "a", text.encode("cp1252")), timezone="UTC")
    (row,) = found.rows("sample")
    assert (row["device"], row["sm_clock_mhz"], row["power_w"]) == ("gpu", 300.5, 35.25)
    assert row["temperature_c"] == 100.0
    assert row["time_ns"] == 1795514400 * 10**9
    assert "of the GPU's chip alone (GPU only Power Draw [W]), not of the board" in str(
        found.result["warnings"]
    )
    assert found.result["left_out"] == {"torn row: the file ends in mid-line": 1}


def test_a_degree_sign_that_an_editor_of_another_code_page_read_is_one(tmp_path: Path) -> None:
    """The bytes of a degree sign and its letter are one character in Korea's and China's code pages."""
    for page in ("cp949", "gbk"):
        unit = "\N{DEGREE SIGN}C".encode("cp1252").decode(page)
        text = f"        Date        , GPU Temperature [{unit}] ,\n2026-11-24 10:00:00 , 61.5   ,\n"
        found = imported(tmp_path, written(tmp_path / "a", text), timezone="UTC")
        assert [row["temperature_c"] for row in found.rows("sample")] == [61.5]


def test_a_person_names_the_columns_of_a_gpu_z_in_another_language(tmp_path: Path) -> None:
    """In the unit that is in brackets, or in the one that is said; without either it is refused."""
    header, row = (
        "Date , GPU Temperatur [°F] , Belegt [MB] , Takt [] ,",
        "2026-11-24 10:00:00 , 212,0 , 4096 , 1 ,",
    )
    path = written(tmp_path / "a", f"{header}\n{row}\n")
    columns = (("temperature_c", "GPU Temperatur [°F]"), ("memory_used_bytes", "Belegt [MB]"))
    hints = Hints(columns=columns, units=(("memory_used_bytes", "MiB"),))
    found = imported(tmp_path, path, timezone="UTC", hints=hints)
    (sample,) = found.rows("sample")
    assert (sample["temperature_c"], sample["memory_used_bytes"]) == (100.0, 2.0**32)
    assert found.result["columns"] == dict(columns)
    message = refused(tmp_path, path, timezone="UTC", hints=Hints(columns=(("sm_clock_mhz", "Takt []"),)))
    assert "--column sm_clock_mhz=Takt [] is in 'no unit'" in message
    message = refused(tmp_path, path, timezone="UTC", hints=Hints(columns=(("power_w", "Watt [W]"),)))
    assert (
        "--column power_w=Watt [W], but this device log has no Watt [W]; allowed is one of: Belegt [MB]"
        in message
    )


def test_a_gpu_z_log_of_other_names_is_refused_with_them(tmp_path: Path) -> None:
    text = "        Date        , Тактовая частота [MHz] ,\n2026-11-24 10:00:00 , 300.0   ,\n"
    assert "this GPU-Z log has no column that is known; it has: Тактовая" in refused(
        tmp_path, written(tmp_path / "a", text), timezone="UTC"
    )


def test_each_value_of_afterburner_is_taken(tmp_path: Path) -> None:
    path = FIXTURES / "afterburner" / "monitoring.hml"
    found = imported(tmp_path, path, timezone="UTC")
    lines = path.read_bytes().decode("cp1252").splitlines()
    names = next(line for line in lines if line.startswith("02,")).split(",")
    data = "\n".join(line for line in lines if line.startswith("80,"))
    told = pd.read_csv(io.StringIO(data), names=[name.strip() for name in names], skipinitialspace=True)
    for device, names_of in {
        "gpu": {"GPU temperature": "temperature_c", "GPU usage": "utilization_pct", "Power": "power_w"}
        | {"Core clock": "sm_clock_mhz", "Memory clock": "memory_clock_mhz", "Fan speed": "fan_pct"},
        "cpu": {"CPU temperature": "temperature_c", "CPU usage": "utilization_pct", "CPU power": "power_w"}
        | {"CPU clock": "sm_clock_mhz"},
    }.items():
        rows = [row for row in found.rows("sample") if row["device"] == device]
        for name, column in names_of.items():
            assert [row[column] for row in rows] == [float(value) for value in told[name]]
    times = pd.to_datetime(told.iloc[:, 1], format="%d-%m-%Y %H:%M:%S")
    assert [row["time_ns"] for row in rows] == [time.value for time in times]
    assert found.run.facts["devices"]["gpu"]["model"] == "Radeon RX 560 Series"


def afterburner_log(names: str, units: list[str], *rows: str, card: str = "A , B") -> str:
    at = "24-11-2026 10:00:00"
    told = [f"00, {at}, Hardware monitoring log v1.5", f"01, {at}, {card}", f"02, {at}, {names}"]
    told += [f"03, {at}, {n:<20},{unit:<20},0.000 ,100.000 ,10 , , ," for n, unit in enumerate(units)]
    return "\r\n".join([*told, *rows, ""])


def test_cards_of_afterburner_are_counted_and_a_power_in_percent_is_none(tmp_path: Path) -> None:
    text = afterburner_log(
        "GPU1 temperature,GPU2 temperature,GPU1 power,GPU2 power",
        ["°C", "°F", "%", "W"],
        "80, 24-11-2026 10:00:01, 61,000              ,140,000             ,98,000      ,210,500      ",
        "80, 24-11-2026 10:00:02, 62.000,N/A,98.000",
        "81, 24-11-2026 10:00:03, 62.000,N/A,98.000,1.0",
    )
    found = imported(tmp_path, written(tmp_path / "a", text.encode("cp1252")), timezone="UTC")
    first, second = found.rows("sample")
    assert (first["device"], first["temperature_c"], first["power_w"]) == ("gpu1", 61.0, None)
    assert (second["device"], second["temperature_c"], second["power_w"]) == ("gpu2", 60.0, 210.5)
    assert [found.run.facts["devices"][name]["model"] for name in ("gpu1", "gpu2")] == ["A", "B"]
    assert found.result["left_out"] == {
        "torn row: not as many cells as the row of sensors": 1,
        "torn row: it begins with no known number": 1,
    }


def test_a_log_of_afterburner_in_another_language_is_refused_by_its_sensors(tmp_path: Path) -> None:
    text = afterburner_log("Температура ГП", ["C"], "80, 24-11-2026 10:00:01, 61.0")
    path = written(tmp_path / "a", text)
    message = refused(tmp_path, path, timezone="UTC")
    assert "has no sensor that is known with its unit; it has: Температура ГП" in message
    assert "or --column temperature_c=NAME" in message
    hints = Hints(columns=(("temperature_c", "Температура ГП"),))
    found = imported(tmp_path, path, timezone="UTC", hints=hints)
    assert [row["temperature_c"] for row in found.rows("sample")] == [61.0]


def test_a_log_of_afterburner_that_lost_its_first_line_is_one_and_dates_may_be_iso(tmp_path: Path) -> None:
    text = afterburner_log("GPU temperature", ["C"], "80, 2026-11-24 10:00:01, 61.0").partition("\n")[2]
    found = imported(tmp_path, written(tmp_path / "a", text), timezone="UTC")
    assert [row["time_ns"] for row in found.rows("sample")] == [1795514401 * 10**9]
