"""CodeCarbon's emissions and Zeus' power and energy: every value beside what pandas reads."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.recording import Hints

FIXTURES = Path(__file__).parents[3] / "fixtures/imports"
EMISSIONS, TASKS = (FIXTURES / "codecarbon" / name for name in ("emissions.csv", "emissions_base_tasks.csv"))
WINDOWS, POWER = (FIXTURES / "zeus" / name for name in ("windows.csv", "power.csv"))
KWH_J = 3_600_000


def test_the_energies_of_a_run_of_codecarbon_are_counters_from_its_start(tmp_path: Path) -> None:
    table = pd.read_csv(EMISSIONS)
    found = imported(tmp_path, EMISSIONS, timezone="UTC")
    for device in ("cpu", "ram"):  # gpu_count is 0: there is none
        rows = [row for row in found.rows("sample") if row["device"] == device]
        energies = table[f"{device}_energy"] * KWH_J
        assert [row["energy_j"] for row in rows] == [0.0, *energies]
        means = energies.diff().fillna(energies) / table["duration"].diff().fillna(table["duration"])
        assert [row["power_w_average"] for row in rows[1:]] == pytest.approx(list(means), rel=1e-12)
        stamps = pd.to_datetime(table["timestamp"]).astype("datetime64[s]").astype("int64")
        assert [row["time_ns"] // 10**9 for row in rows[1:]] == list(stamps)
        assert rows[1]["time_ns"] - rows[0]["time_ns"] == round(table["duration"][0] * 1e9)
    assert len(found.rows("sample")) == 8
    assert found.run.facts["devices"]["cpu"]["model"] == "AMD EPYC"
    assert found.result["account"] == {"read": 3, "kept": 3, "merged": 0, "left_out": 0}


def test_tasks_of_codecarbon_give_the_mean_power_of_each(tmp_path: Path) -> None:
    table = pd.read_csv(TASKS)
    rows = [r for r in imported(tmp_path, TASKS, timezone="UTC").rows("sample") if r["device"] == "cpu"]
    means = table["cpu_energy"] * KWH_J / table["duration"]
    assert [row["power_w_average"] for row in rows] == pytest.approx(list(means), rel=1e-12)
    assert "energy_j" not in rows[0]


def with_second_run(text: str) -> str:
    """Append a run with a GPU, as the next training appends it."""
    row = dict(zip(text.split("\n")[0].split(","), text.split("\n")[1].split(","), strict=True))
    row |= {"run_id": "second", "gpu_count": "2", "gpu_energy": "0.25", "gpu_model": "2 x NVIDIA H100"}
    return text + ",".join((row | {"pue": "1.5", "timestamp": "2026-11-29T09:00:00"}).values()) + "\n"


def test_several_runs_of_codecarbon_are_refused_until_one_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "emissions.csv", with_second_run(EMISSIONS.read_text()))
    run = pd.read_csv(EMISSIONS)["run_id"][0]
    sentence = (
        f"2 runs of CodeCarbon are in it, each with its own counters; say which with --run: {run} (3 rows)"
    )
    assert sentence in refused(tmp_path, path, timezone="UTC")
    assert "say which with --run" in refused(tmp_path, path, timezone="UTC", hints=Hints(run="third"))
    found = imported(tmp_path, path, timezone="UTC", hints=Hints(run="second", device="node7:gpus"))
    rows = [row for row in found.rows("sample") if row["device"] == "node7:gpus"]
    assert [row["energy_j"] for row in rows] == [0.0, 900_000.0]
    assert found.result["left_out"] == {"a row of another run than --run names": 3}
    assert "energies include the PUE of 1.5" in found.result["warnings"]
    assert (
        "all GPUs of the machine together"
        in found.run.facts["devices"]["node7:gpus"]["suspect"]["power_w_average"]
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda text: text.replace("2.009505665002507", "soon"),
            "torn row: timestamp or duration is no time",
        ),
        (
            lambda text: text.replace("4.01421179099998", "1.5"),
            "a row whose duration is less than that of the row before",
        ),
        (lambda text: text.rstrip("\n"), "torn row: the file ends in mid-line"),
    ],
)
def test_a_row_of_codecarbon_that_cannot_be_trusted_is_left_out(
    tmp_path: Path, change: Callable[[str], str], reason: str
) -> None:
    found = imported(tmp_path, written(tmp_path / "e.csv", change(EMISSIONS.read_text())), timezone="UTC")
    assert found.result["left_out"] == {reason: 1}


def test_windows_of_zeus_give_their_mean_power_and_those_around_others_are_left_out(tmp_path: Path) -> None:
    table = pd.read_csv(WINDOWS)
    steps = table[table["window_name"] == "step"]
    found = imported(tmp_path, WINDOWS)
    for index in (0, 1):
        rows = [row for row in found.rows("sample") if row["device"] == f"gpu{index}"]
        means = steps[f"gpu{index}_energy"] / steps["elapsed_time"]
        assert [row["power_w_average"] for row in rows] == list(means)
        ends_ns = ((steps["start_time"] + steps["elapsed_time"]) * 1e9).round()
        assert [row["time_ns"] for row in rows] == pytest.approx(list(ends_ns), abs=1000)
    assert found.result["left_out"] == {"a window around others, which have its energy": 1}
    assert found.run.facts["devices"]["gpu1"]["index"] == 1


def test_power_of_zeus_is_the_drivers(tmp_path: Path) -> None:
    table = pd.read_csv(POWER)
    rows = imported(tmp_path, POWER).rows("sample")
    assert [row["power_w"] for row in rows if row["device"] == "gpu1"] == list(table["gpu1"])
    assert rows[0]["time_ns"] == 1_764_067_200_051_200_000
