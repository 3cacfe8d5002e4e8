"""What tegrastats prints on Jetsons, of today and of before."""

import re
from pathlib import Path

import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.recording import Hints

FIXTURES = Path(__file__).parents[3] / "fixtures/imports/tegrastats"
ORIN, NANO = FIXTURES / "orin.log", FIXTURES / "nano.log"
START = Hints(started_at="2026-11-24T10:00:00Z", sample_time_s=0.5)


def numbers(path: Path, pattern: str) -> list[float]:
    """Return what stands at a place in every line, as another reader finds it."""
    return [float(re.search(pattern, line)[1]) for line in path.read_text().splitlines()]  # type: ignore[index]


def test_an_orin_gives_gpu_and_processor_with_the_time_of_each_line(tmp_path: Path) -> None:
    found = imported(tmp_path, ORIN, timezone="Europe/Vienna")
    rows = {name: [r for r in found.rows("sample") if r["device"] == name] for name in ("gpu0", "cpu")}
    gpu, cpu = rows["gpu0"], rows["cpu"]
    assert [row["utilization_pct"] for row in gpu] == numbers(ORIN, r"GR3D_FREQ (\d+)%")
    assert [row["power_w"] * 1000 for row in gpu] == pytest.approx(numbers(ORIN, r"VDD_GPU_SOC (\d+)mW"))
    celsius = numbers(ORIN, r"gpu@([-\d.]+)C")
    assert [row["temperature_c"] for row in gpu] == [None if c == -256 else c for c in celsius]
    assert {(row["sm_clock_mhz"], row["memory_clock_mhz"]) for row in gpu} == {(1295.0, 2133.0)}
    assert [row["memory_used_bytes"] / 2**20 for row in cpu] == numbers(ORIN, r"RAM (\d+)/")
    assert cpu[3]["utilization_pct"] == (15 + 7 + 0 + 3) / 4  # of the cores that are on
    assert cpu[3]["sm_clock_mhz"] == (1190 + 1190 + 729 + 729) / 4
    assert {row["power_w"] for row in cpu} == {1.591}
    assert gpu[0]["time_ns"] == 1_795_510_800_000_000_000  # 10:00 of Vienna, the 24th of November
    assert gpu[7]["time_ns"] - gpu[0]["time_ns"] == 7_000_000_000
    assert "feeds the GPU and the rest of the SoC" in found.run.facts["devices"]["gpu0"]["suspect"]["power_w"]
    assert found.result["account"] == {"read": 8, "kept": 8, "merged": 0, "left_out": 0}
    assert found.result["nulls"] == {}


def test_lines_without_a_time_need_a_start_and_the_interval(tmp_path: Path) -> None:
    sentence = "give --started-at TIME and --sample-time SECONDS, or log with a version that prints the date"
    assert sentence in refused(tmp_path, NANO)
    assert sentence in refused(tmp_path, NANO, hints=Hints(started_at="2026-11-24T10:00:00Z"))
    found = imported(tmp_path, NANO, hints=START)
    board = [row for row in found.rows("sample") if row["device"] == "board"]
    assert [row["power_w"] * 1000 for row in board] == pytest.approx(numbers(NANO, r"POM_5V_IN (\d+)/"))
    assert [row["time_ns"] for row in board] == [
        1_795_514_400_000_000_000 + n * 500_000_000 for n in range(6)
    ]
    gpu = [row for row in found.rows("sample") if row["device"] == "gpu0"]
    assert {(row["power_w"], row["temperature_c"], row.get("sm_clock_mhz")) for row in gpu} == {
        (0.118, 30.5, None)
    }
    assert "estimated: --started-at 2026-11-24T10:00:00Z plus 0.5 s" in found.result["timezone"]


@pytest.mark.parametrize(
    ("line", "device", "values"),
    [
        (
            "RAM 3468/3983MB (lfb 48x4MB) SWAP 873/8192MB (cached 295MB) cpu [17%,13%,29%,5%]@408 EMC 1%@408 "
            "APE 25 GR3D 3%@76",
            "cpu",
            {"utilization_pct": 16.0, "sm_clock_mhz": 408.0, "memory_used_bytes": 3468 * 2.0**20},
        ),
        ("RAM 1/2MB CPU [1%@729,off] GPU 1541/1541 CPU 924/900 VDDRQ 308/308", "gpu0", {"power_w": 1.541}),
        (
            "RAM 1/2MB CPU [1%@729] GR3D_FREQ 0%@305 VDD_IN 4915mW/4915mW VDD_CPU_GPU_CV 449mW/400mW",
            "VDD_CPU_GPU_CV",
            {"power_w": 0.449},
        ),
        ("RAM 1/2MB CPU [1%@729] GR3D_FREQ 0%@305 VDD_GPU -392mW/-392mW", "gpu0", {"sm_clock_mhz": 305.0}),
    ],
)
def test_the_rails_and_names_of_other_boards(
    tmp_path: Path, line: str, device: str, values: dict[str, float]
) -> None:
    found = imported(tmp_path, written(tmp_path / "t.log", line + "\n"), hints=START)
    (row,) = (row for row in found.rows("sample") if row["device"] == device)
    assert {name: row[name] for name in values} == values
    assert row.get("power_w") == values.get("power_w")


def test_lines_closer_than_the_clock_shows_need_the_interval(tmp_path: Path) -> None:
    """The clock shows whole seconds; a row every 400 ms is two or three in each."""
    line = ORIN.read_text().splitlines()[0]
    seconds = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    path = written(
        tmp_path / "t.log", "".join(line.replace("10:00:00", f"10:00:0{s}") + "\n" for s in seconds)
    )
    assert "6 of 10 rows are in the second of the row before" in refused(tmp_path, path, timezone="UTC")
    rows = imported(tmp_path, path, timezone="UTC", hints=Hints(sample_time_s=0.4)).rows("sample")
    times = [row["time_ns"] - 1_795_514_400_000_000_000 for row in rows if row["device"] == "gpu0"]
    assert times == [n * 400_000_000 for n in range(10)]


def test_what_is_no_line_of_tegrastats_is_left_out(tmp_path: Path) -> None:
    text = ORIN.read_text()
    lines = [
        text,
        "tegrastats: killed\n",
        "xx " + text.split("\n")[0] + "\n",
        text.split("\n")[1][20:] + "\n",
        text[:90],
    ]
    found = imported(tmp_path, written(tmp_path / "t.log", "".join(lines)), timezone="UTC")
    assert found.result["left_out"] == {
        "torn row: not a line of tegrastats": 1,
        "torn row: what it begins with is no time": 1,
        "torn row: a line without a time": 1,
        "torn row: the file ends in mid-line": 1,
    }
    sentence = "--started-at is for a log without times, but orin.log has some"
    assert sentence in refused(tmp_path, ORIN, timezone="UTC", hints=START)
