"""What nvidia-smi -q prints, as text and as XML."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from importing import imported, refused, written

FIXTURES = Path(__file__).parents[4] / "fixtures" / "imports" / "smi_query"
_MIB = 2**20


def numbers(text: str, name: str, group: str = "") -> list[float]:
    """Return every number of a name, behind its group, in the order of the file."""
    return [float(n) for n in re.findall(rf"{group}(?:\n {{8}}.*)*?\n +{name} +: ([-\d.]+)", text)]


def test_each_value_of_the_text_is_taken_from_its_group(tmp_path: Path) -> None:
    """The same names stand in other groups: of the module, of the clocks of applications."""
    path = FIXTURES / "driver_580.txt"
    found, text = imported(tmp_path, path, timezone="UTC"), path.read_text()
    rows = found.rows("sample")
    told = {
        "power_w": numbers(text, "Instantaneous Power Draw", "GPU Power Readings"),
        "power_w_average": numbers(text, "Average Power Draw", "GPU Power Readings"),
        "power_limit_w": numbers(text, "Current Power Limit", "GPU Power Readings"),
        "utilization_pct": numbers(text, "GPU", "Utilization"),
        "temperature_c": numbers(text, "GPU Current Temp"),
        "slowdown_margin_c": numbers(text, "GPU T.Limit Temp"),
        "memory_temperature_c": numbers(text, "Memory Current Temp"),
        "sm_clock_mhz": numbers(text, "SM", " Clocks"),
        "memory_clock_mhz": numbers(text, "Memory", "    Clocks"),
        "memory_used_bytes": [n * _MIB for n in numbers(text, "Used", "FB Memory Usage")],
    }
    assert len(rows) == 6
    assert {column: [row[column] for row in rows] for column in told} == told
    assert [row["time_ns"] // 10**9 - 1795514400 for row in rows] == [0, 0, 1, 1, 2, 2]
    uuid = "GPU-5428af19-1e82-a38c-ee42-cdd3ad745b71"
    assert rows[1]["device"] == uuid
    assert found.run.facts["devices"][uuid]["index"] == 1


def test_a_log_of_power_and_temperature_names_its_gpu_by_its_bus(tmp_path: Path) -> None:
    path = FIXTURES / "power_367.txt"
    rows, text = imported(tmp_path, path, timezone="UTC").rows("sample"), path.read_text()
    assert {row["device"] for row in rows} == {"0000:00:1E.0"}
    assert [row["power_w"] for row in rows] == numbers(text, "Power Draw")
    assert [row["power_limit_w"] for row in rows] == numbers(text, "Enforced Power Limit")
    assert [row["temperature_c"] for row in rows] == numbers(text, "GPU Current Temp")


def test_a_reading_that_a_driver_gave_up_gives_way_to_the_one_that_has_a_number(tmp_path: Path) -> None:
    text = (FIXTURES / "power_367.txt").read_text()
    gone = re.sub(r"(Power Draw +: )[\d.]+ W", r"\1Requested functionality has been deprecated", text)
    gone = gone.replace(
        "        Power Management", "        Average Power Draw : 31.5 W\n        Power Management"
    )
    found = imported(tmp_path, written(tmp_path / "a", gone), timezone="UTC")
    assert [row["power_w"] for row in found.rows("sample")] == [31.5] * 3


def test_each_value_of_the_xml_is_taken(tmp_path: Path) -> None:
    path = FIXTURES / "repeated.xml"
    found = imported(tmp_path, path, timezone="UTC")
    documents = ["<?xml" + part for part in path.read_text().split("<?xml")[1:]]
    gpus = [gpu for text in documents for gpu in ElementTree.fromstring(text).iter("gpu")]
    rows = found.rows("sample")
    assert len(rows) == len(gpus) == 6
    for row, gpu in zip(rows, gpus, strict=True):
        told = {
            tag: gpu.findtext(tag, "").split()[0] for tag in ("uuid", "utilization/gpu_util", "fan_speed")
        }
        assert row["device"] == told["uuid"]
        assert row["utilization_pct"] == float(told["utilization/gpu_util"])
        assert row["fan_pct"] == float(told["fan_speed"])
        for column, tag in {
            "power_w": "gpu_power_readings/power_draw",
            "power_limit_w": "gpu_power_readings/current_power_limit",
            "temperature_c": "temperature/gpu_temp",
            "slowdown_margin_c": "temperature/gpu_temp_tlimit",
            "sm_clock_mhz": "clocks/sm_clock",
        }.items():
            assert row[column] == float(gpu.findtext(tag, "").split()[0])
        assert row["memory_used_bytes"] == float(gpu.findtext("fb_memory_usage/used", "").split()[0]) * _MIB


def test_an_entity_is_refused_and_broken_xml_costs_what_follows_in_its_document(tmp_path: Path) -> None:
    whole = (FIXTURES / "repeated.xml").read_text()
    bomb = whole.replace('SYSTEM "nvsmi_device_v12.dtd"', '[<!ENTITY a "aaaaaaaaaa">]')
    assert "row 2: it declares an entity, which nvidia-smi does not" in refused(
        tmp_path, written(tmp_path / "a", bomb), timezone="UTC"
    )
    torn = whole.replace("</uuid>", "</uid>", 1)
    found = imported(tmp_path, written(tmp_path / "a", torn), timezone="UTC")
    assert found.result["rows"]["sample"] == 4
    assert found.result["left_out"] == {"torn entry: broken XML": 1}


@pytest.mark.parametrize("name", ["driver_580.txt", "repeated.xml"])
def test_a_log_without_times_is_refused_and_a_cut_one_loses_its_last_gpu(tmp_path: Path, name: str) -> None:
    whole = (FIXTURES / name).read_text()
    untimed = "\n".join(line for line in whole.split("\n") if "imestamp" not in line)
    assert "no line with a Timestamp is above its GPUs" in refused(
        tmp_path, written(tmp_path / "a", untimed), timezone="UTC"
    )
    cut = whole[: whole.rindex(" MHz") - 1]
    found = imported(tmp_path, written(tmp_path / "a", cut), timezone="UTC")
    assert found.result["rows"]["sample"] == 5
