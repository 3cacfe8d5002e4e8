"""Logs of amd-smi and rocm-smi, against pandas and json."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from importing import imported, refused, written
from thermograd.ingest.importers.recording import Hints

FIXTURES = Path(__file__).parents[4] / "fixtures" / "imports"
STARTED = Hints(started_at="2026-11-24T10:00:00Z", sample_time_s=2.0)
_BEGAN_NS = 1795514400 * 10**9
_MIB = 2**20


def csv_rows(path: Path) -> pd.DataFrame:
    """Return the rows of a CSV with its header again and again."""
    told = pd.read_csv(path, dtype=str, skip_blank_lines=True, na_values=["N/A"])
    return told[told.iloc[:, 0] != told.columns[0]].dropna(subset=[told.columns[2]])


def equal(rows: list[dict[str, Any]], told: pd.DataFrame, columns: dict[str, tuple[str, float]]) -> bool:
    """Whether every value of these columns is that of the other reader."""
    for name, (column, factor) in columns.items():
        expected = [None if pd.isna(text) else float(text.strip("()Mhz")) * factor for text in told[name]]
        assert [row.get(column) for row in rows] == expected, name
    return len(rows) == len(told)


def test_each_value_of_amd_smi_metric_is_taken(tmp_path: Path) -> None:
    path = FIXTURES / "amd_smi" / "metric_watch.csv"
    rows, told = imported(tmp_path, path).rows("sample"), csv_rows(path)
    columns = {"gfx_activity": ("utilization_pct", 1), "socket_power": ("power_w", 1)}
    columns |= {"hotspot": ("temperature_c", 1), "mem": ("memory_temperature_c", 1)}
    columns |= {"gfx_0_clk": ("sm_clock_mhz", 1), "mem_0_clk": ("memory_clock_mhz", 1)}
    columns |= {"total_uncorrectable_count": ("ecc_uncorrected", 1), "used_vram": ("memory_used_bytes", _MIB)}
    assert equal(rows, told, columns)
    assert [row["time_ns"] for row in rows] == [int(text) * 10**9 for text in told["timestamp"]]
    assert [row["device"] for row in rows] == [f"gpu{index}" for index in told["gpu"]]


def test_the_mem_of_amd_smi_monitor_is_a_share_and_no_temperature(tmp_path: Path) -> None:
    """A partition is a device of its own; readings that are alike are readings of their own."""
    path = FIXTURES / "amd_smi" / "monitor.csv"
    rows, told = imported(tmp_path, path, hints=STARTED).rows("sample"), csv_rows(path)
    wholes = [row for row in rows if "/" not in row["device"]]
    columns = {"power_usage": ("power_w", 1), "hotspot_temperature": ("temperature_c", 1)}
    columns |= {"memory_temperature": ("memory_temperature_c", 1), "gfx": ("utilization_pct", 1)}
    columns |= {"gfx_clk": ("sm_clock_mhz", 1), "vram_used": ("memory_used_bytes", _MIB)}
    assert equal(wholes, told, columns)
    assert [row["utilization_pct"] for row in rows if row["device"] == "gpu0/1"] == [40.0, 41.0, 42.0, 43.0]
    assert [(row["time_ns"] - _BEGAN_NS) / 10**9 for row in wholes] == [
        0.0,
        0.0,
        2.0,
        2.0,
        4.0,
        4.0,
        6.0,
        6.0,
    ]


def test_each_value_of_amd_smi_json_is_taken(tmp_path: Path) -> None:
    """A list a query with times, an object of all GPUs without; a GPU without a hotspot has its edge."""
    text = (FIXTURES / "amd_smi" / "metric_watch.json").read_text()
    told = [entry for part in text.split("\n]\n")[:-1] for entry in json.loads(part + "]")]
    dated = imported(tmp_path, FIXTURES / "amd_smi" / "metric_watch.json").rows("sample")
    again = imported(tmp_path, FIXTURES / "amd_smi" / "metric.json", hints=STARTED)
    for rows in (dated, again.rows("sample")):
        assert len(rows) == len(told) == 6
        for row, entry in zip(rows, told, strict=True):
            temperatures = entry["temperature"]
            core = temperatures["edge"] if temperatures["hotspot"] == "N/A" else temperatures["hotspot"]
            assert row["device"] == f"gpu{entry['gpu']}"
            assert row["temperature_c"] == core["value"]
            assert row["power_w"] == entry["power"]["socket_power"]["value"]
            assert row["memory_used_bytes"] == entry["mem_usage"]["used_vram"]["value"] * _MIB
            assert row["energy_j"] == entry["energy"]["total_energy_consumption"]["value"]
            assert row["ecc_corrected"] == entry["ecc"]["total_correctable_count"]
            assert row["pcie_replays"] == 3
    assert [row["time_ns"] for row in dated] == [entry["timestamp"] * 10**9 for entry in told]
    assert again.result["left_out"] == {"a line that is no JSON": 1}


def test_what_amd_smi_appends_to_a_file_has_no_line_between(tmp_path: Path) -> None:
    entry = json.dumps(
        {
            "gpu": 0,
            "gfx_clk": "N/A",
            "power_usage": {"value": 0.2, "unit": "kW"},
            "vram_used": {"value": 1, "unit": "GB"},
        }
    )
    text = f"[{entry}][{entry}]"
    found = imported(tmp_path, written(tmp_path / "a", text), hints=STARTED)
    assert [row["memory_used_bytes"] for row in found.rows("sample")] == [2.0**30] * 2
    assert found.result["nulls"] == {"power_w is 0.2 kW": 2}  # no unit of amd-smi: not guessed


def test_each_value_of_rocm_smi_is_taken(tmp_path: Path) -> None:
    columns = {"GPU use (%)": ("utilization_pct", 1), "VRAM Total Used Memory (B)": ("memory_used_bytes", 1)}
    columns |= {"Temperature (Sensor junction) (C)": ("temperature_c", 1)}
    columns |= {"Temperature (Sensor memory) (C)": ("memory_temperature_c", 1)}
    new = {
        "Current Socket Graphics Package Power (W)": ("power_w", 1),
        "sclk clock speed:": ("sm_clock_mhz", 1),
    }
    old = {"Average Graphics Package Power (W)": ("power_w", 1), "Fan speed (%)": ("fan_pct", 1)}
    for name, more in (("rocm_6.csv", new), ("rocm_5.csv", old)):
        path = FIXTURES / "rocm_smi" / name
        found = imported(tmp_path, path, hints=STARTED)
        told = csv_rows(path)
        assert equal(found.rows("sample"), told, columns | more)
        named = told["Unique ID"] if "Unique ID" in told else told["device"]
        assert [row["device"] for row in found.rows("sample")] == list(named)
    assert found.run.facts["devices"]["card0"]["index"] == 0


def test_rocm_smi_json_is_a_round_an_object(tmp_path: Path) -> None:
    path = FIXTURES / "rocm_smi" / "repeated.json"
    found = imported(tmp_path, path, hints=STARTED)
    told = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row for row in found.rows("sample") if row["device"] == "card0"]
    assert [row["temperature_c"] for row in rows] == [
        float(one["card0"]["Temperature (Sensor edge) (C)"]) for one in told
    ]
    assert {row["sm_clock_mhz"] for row in rows} == {1502.0}
    assert [(row["time_ns"] - _BEGAN_NS) / 10**9 for row in rows] == [0.0, 2.0, 4.0, 6.0]
    assert found.result["left_out"] == {"an entry of no card": 4}
    assert found.run.facts["devices"]["card0"]["model"] == "Instinct MI100"


def test_one_answer_of_rocm_smi_needs_no_period_and_several_do(tmp_path: Path) -> None:
    """Tables of other columns are of the same round."""
    use = "device,GPU use (%)\ncard0,42\ncard1,17\n\n"
    one = f"{use}device,Temperature (Sensor edge) (C)\ncard0,72.5\ncard1,69.0\n"
    hints = Hints(started_at="2026-11-24T10:00:00Z")
    rows = imported(tmp_path, written(tmp_path / "a", one), hints=hints).rows("sample")
    assert {row["time_ns"] for row in rows} == {_BEGAN_NS}
    assert [row.get("temperature_c") for row in rows] == [None, None, 72.5, 69.0]
    message = refused(tmp_path, written(tmp_path / "a", one * 2), hints=hints)
    assert "--sample-time SECONDS, or log with amd-smi metric" in message
