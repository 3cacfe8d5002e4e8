"""Importing device logs of other tools.

The nvidia-smi, DCGM, Prometheus and HWiNFO files here are made by hand after the tools' documentation
(and recordings in public): none of these tools runs where the tests run.
"""

from pathlib import Path

from importing import SMI_HEADER, exposition, imported, refused, smi_row, written


def test_two_device_logs_of_different_formats_in_a_folder_need_a_choice(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    written(folder / "smi.csv", SMI_HEADER + smi_row("00.000", 0))
    written(folder / "metrics", exposition(1_700_000_000_250))
    assert "2 device logs (metrics, smi.csv)" in refused(tmp_path, folder)
    found = imported(tmp_path, folder, telemetry=Path("metrics"))
    assert found.result["rows"] == {"step": 0, "sample": 1, "metric": 0}
    assert "smi.csv: another device log; --telemetry names metrics" in found.result["ignored"]


def test_times_that_run_backwards_are_sorted_and_counted(tmp_path: Path) -> None:
    rows = [smi_row(f"{second}.000", index) for second in ("05", "03", "04", "06") for index in (0, 1)]
    found = imported(tmp_path, written(tmp_path / "a.csv", SMI_HEADER + "".join(rows)), timezone="UTC")
    times = [row["time_ns"] for row in found.rows("sample")]
    assert times == sorted(times)
    assert found.run.facts["import"]["out_of_order"] == 4


def test_hostile_names_stay_data_in_every_format(tmp_path: Path) -> None:
    name = "../../<script>alert(1)</script>"
    smi = f"timestamp, uuid, temperature.gpu\n2026/11/24 10:00:00, {name}, 54\n"
    for text in (smi, exposition(1_700_000_000_250, device=name)):
        found = imported(tmp_path, written(tmp_path / "a", text), timezone="UTC", name=name)
        assert found.rows("sample")[0]["device"] == name
        assert found.run.path.parent == tmp_path / "runs"
        assert not set(found.run.path.name) & set("/<>")
