"""What gpustat and nvidia-smi show, and what gpustat --json writes."""

import json
from pathlib import Path

import pytest
from importing import imported, refused, written

FIXTURES = Path(__file__).parents[4] / "fixtures" / "imports"
_MIB = 2**20


def objects_of(path: Path) -> list[dict]:
    """Return the JSON objects of a file, each of which ends with a brace at a line's beginning."""
    return [json.loads(text + "}") for text in path.read_text().split("\n}")[:-1]]


def test_each_value_of_gpustat_json_is_taken(tmp_path: Path) -> None:
    path = FIXTURES / "gpustat" / "repeated.json"
    found, reports = imported(tmp_path, path, timezone="UTC"), objects_of(path)
    told = [(report["query_time"], gpu) for report in reports for gpu in report["gpus"]]
    rows = found.rows("sample")
    assert len(rows) == len(told) == 10
    for row, (_, gpu) in zip(rows, told, strict=True):
        assert row["device"] == gpu["uuid"]
        assert row["memory_used_bytes"] == gpu["memory.used"] * _MIB
        for column, name in {
            "utilization_pct": "utilization.gpu",
            "power_w": "power.draw",
            "power_limit_w": "enforced.power.limit",
            "temperature_c": "temperature.gpu",
            "fan_pct": "fan.speed",
        }.items():
            assert row[column] == gpu[name]
    assert rows[0]["time_ns"] == 1795514400_123_456_000
    device = found.run.facts["devices"][told[1][1]["uuid"]]
    assert (device["index"], device["host"], device["model"]) == (1, "node7", "NVIDIA A100-SXM4-80GB")


def test_what_gpustat_shows_has_the_same_values(tmp_path: Path) -> None:
    """In colours and without; a GPU that is lost has no readings."""
    told = {
        (report["query_time"][:19], f"node7:gpu{gpu['index']}"): gpu
        for report in objects_of(FIXTURES / "gpustat" / "repeated.json")
        for gpu in report["gpus"]
    }
    for name, shown in (("watch.txt", 11), ("color.txt", 6)):
        found = imported(tmp_path, FIXTURES / "gpustat" / name, timezone="UTC")
        rows = found.rows("sample")
        assert len(rows) == shown
        for row in rows:
            gpu = told.get((f"2026-11-24T10:00:0{row['time_ns'] // 10**9 - 1795514400}", row["device"]))
            if gpu is not None:
                assert row["utilization_pct"] == gpu["utilization.gpu"]
                assert row["memory_used_bytes"] == gpu["memory.used"] * _MIB
                if name == "watch.txt":
                    assert (row["power_w"], row["fan_pct"]) == (gpu["power.draw"], gpu["fan.speed"])


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("Tue 24 Nov 2026 10:00:07 PM CET", 43207),
        ("Tue 24 Nov 2026 10:00:07 ", 7),
        ("2026-11-24 10:00:07", 7),
        ("Tue Nov 24 10:00:07 2026", 7),
    ],
)
def test_the_times_of_other_locales_of_gpustat_are_read(tmp_path: Path, time: str, seconds: int) -> None:
    text = f"node7  {time}  535.1\n[0] Tesla T4 | 45'C, 7 % | 100 / 15109 MB |\n"
    rows = imported(tmp_path, written(tmp_path / "a", text), timezone="UTC").rows("sample")
    assert [(row["time_ns"] // 10**9 - 1795514400, row["temperature_c"]) for row in rows] == [(seconds, 45.0)]


def test_a_time_of_gpustat_that_is_not_known_is_refused_with_what_to_do(tmp_path: Path) -> None:
    text = "node7  24 листопада 2026\n[0] Tesla T4 | 45°C, 7 % | 100 / 15109 MB |\n"
    assert "log with LC_ALL=C gpustat -i, or gpustat --json" in refused(
        tmp_path, written(tmp_path / "a", text)
    )


def test_broken_entries_of_gpustat_cost_themselves_only(tmp_path: Path) -> None:
    whole = (FIXTURES / "gpustat" / "repeated.json").read_text()
    half = whole[: whole.index('"memory.total"')] + "\n"
    text = f'{half}{whole}no device\n{{"gpus": 1}}\n' + half
    found = imported(tmp_path, written(tmp_path / "a", text), timezone="UTC")
    assert found.result["rows"]["sample"] == 10
    assert found.result["left_out"] == {
        "torn entry: broken JSON": 2,
        "a line that is no JSON": 1,
        "torn entry: no report of gpustat": 1,
    }


@pytest.mark.parametrize("name", ["driver_535.txt", "driver_384.txt", "mig.txt"])
def test_each_value_of_the_screen_of_nvidia_smi_is_taken(tmp_path: Path, name: str) -> None:
    """Against the numbers that stand before the units in the lines with a percent sign."""
    path = FIXTURES / "smi_screen" / name
    found = imported(tmp_path, path, timezone="UTC")
    lines = [line for line in path.read_text().splitlines() if "Default" in line]
    rows = [row for row in found.rows("sample") if "/" not in row["device"]]
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        cells = line.replace("|", " ").replace("/", " ").split()
        told = {
            unit: [float(c.removesuffix(unit)) for c in cells if c[:1].isdigit() and c.endswith(unit)]
            for unit in ("W", "MiB", "%")
        }
        assert row["memory_used_bytes"] == told["MiB"][0] * _MIB
        assert row["power_w"] == (told["W"][0] if told["W"] else None)
        loads = told["%"] if "N/A" in line.split("W")[0] or "%" not in line[:8] else told["%"][1:]
        assert row.get("utilization_pct") == (loads[0] if loads else None)


def test_the_screen_of_nvidia_smi_in_detail(tmp_path: Path) -> None:
    found = imported(tmp_path, FIXTURES / "smi_screen" / "driver_535.txt", timezone="UTC")
    first, second = found.rows("sample")[2:4]
    assert first == {
        "time_ns": 1795514401 * 10**9,
        "device": "gpu0",
        "utilization_pct": 91.0,
        "power_w": 251.0,
        "power_limit_w": 400.0,
        "temperature_c": 46.0,
        "memory_used_bytes": 1235.0 * _MIB,
        "ecc_uncorrected": 0,
    }
    assert (second["device"], second["ecc_uncorrected"]) == ("gpu1", 2)
    assert found.result["left_out"] == {"torn row: the file ends in mid-row": 1}
    assert found.run.facts["devices"]["gpu1"]["model"] == "NVIDIA A100-SXM4-80GB"


def test_a_mig_instance_has_its_number_behind_its_gpu(tmp_path: Path) -> None:
    found = imported(tmp_path, FIXTURES / "smi_screen" / "mig.txt", timezone="UTC")
    rows = [(row["device"], row["memory_used_bytes"] / _MIB) for row in found.rows("sample")[:3]]
    assert rows == [("gpu0", 5000.0), ("gpu0/7", 2000.0), ("gpu0/8", 3000.0)]


def test_a_screen_that_watch_showed_in_colours_is_read(tmp_path: Path) -> None:
    text = (FIXTURES / "smi_screen" / "driver_535.txt").read_text()
    shown = "".join(f"\x1b[1;{n}H\x1b[K{line}\x1b[39;49m\n" for n, line in enumerate(text.split("\n")))
    found = imported(tmp_path, written(tmp_path / "a", shown), timezone="UTC")
    plain = imported(tmp_path, FIXTURES / "smi_screen" / "driver_535.txt", timezone="UTC")
    assert found.rows("sample") == plain.rows("sample")


def test_a_screen_with_errors_has_nulls_and_one_without_a_time_is_refused(tmp_path: Path) -> None:
    path = FIXTURES / "smi_screen" / "driver_384.txt"
    found = imported(tmp_path, path, timezone="UTC")
    assert found.result["nulls"]["temperature_c is ERR!"] == 3
    untimed = "\n".join(line for line in path.read_text().split("\n") if not line.startswith("Tue"))
    assert "no line with a date and time is above its tables" in refused(
        tmp_path, written(tmp_path / "a", untimed), timezone="UTC"
    )
