"""What macOS' powermetrics writes, as text and as property lists."""

import plistlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from importing import imported, refused, written

FIXTURES = Path(__file__).parents[3] / "fixtures/imports/powermetrics"
TEXT, PLIST = FIXTURES / "power.txt", FIXTURES / "power.plist"
NO_READING = "a sample without a reading of processor or GPU (--samplers cpu_power,gpu_power)"


def by_device(rows: list[dict[str, Any]], device: str, column: str) -> list[Any]:
    return [row[column] for row in rows if row["device"] == device]


def numbers(pattern: str) -> list[float]:
    return [float(text) for text in re.findall(pattern, TEXT.read_text())]


def test_each_block_of_text_is_a_sample_of_gpu_processor_and_chip(tmp_path: Path) -> None:
    found = imported(tmp_path, TEXT)
    rows = found.rows("sample")
    milliwatts = [1000 * value for value in by_device(rows, "gpu0", "power_w")]
    assert milliwatts == pytest.approx(numbers(r"GPU Power: (\d+) mW")[::2])  # it stands there twice
    assert by_device(rows, "gpu0", "utilization_pct") == numbers(r"GPU HW active residency: +([\d.]+)%")
    assert by_device(rows, "gpu0", "sm_clock_mhz") == numbers(r"GPU HW active frequency: (\d+)")
    cores = zip(
        numbers(r"CPU 0 active residency: +([\d.]+)%"),
        numbers(r"CPU 1 active residency: +([\d.]+)%"),
        strict=True,
    )
    assert by_device(rows, "cpu", "utilization_pct") == [sum(pair) / 2 for pair in cores]
    assert by_device(rows, "soc", "power_w") == [n / 1000 for n in numbers(r"ANE\): (\d+) mW")]
    assert by_device(rows, "ane", "power_w") == [0.0] * 6
    assert found.run.facts["devices"]["gpu0"]["model"] == "MacBookPro18,2"
    assert found.result["account"] == {"read": 6, "kept": 6, "merged": 0, "left_out": 0}


def test_samples_in_one_second_are_as_far_apart_as_they_took(tmp_path: Path) -> None:
    times = by_device(imported(tmp_path, TEXT).rows("sample"), "gpu0", "time_ns")
    began_ns = 1_795_510_800_000_000_000  # 10:00 at +01:00
    assert times[:3] == [began_ns, began_ns + 504_050_000, began_ns + 1_009_100_000]
    assert [(time - began_ns) // 10**9 for time in times] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        (
            lambda text: text.replace("10:00:00 2026 +0100", "10:00 2026"),
            {"torn row: the line that begins a sample has no time": 2},
        ),
        (
            lambda text: text.replace("Nov 24 10:00:01", "Nov 31 10:00:01"),
            {"torn row: the time of a sample is none": 2},
        ),
        (lambda text: text[: text.rindex("*** S") + 90], {NO_READING: 1}),
        (
            lambda text: text[: text.rindex("*** S") + 30],
            {"torn row: the line that begins a sample has no time": 1},
        ),
    ],
)
def test_a_block_that_cannot_be_trusted_is_left_out(
    tmp_path: Path, change: Callable[[str], str], left_out: dict[str, int]
) -> None:
    assert (
        imported(tmp_path, written(tmp_path / "p", change(TEXT.read_text()))).result["left_out"] == left_out
    )


def test_a_number_that_the_end_of_the_file_cuts_is_not_taken(tmp_path: Path) -> None:
    text = TEXT.read_text()
    cut = text[: text.rindex("CPU Power: ") + len("CPU Power: 89")]
    assert (
        by_device(imported(tmp_path, written(tmp_path / "p", cut)).rows("sample"), "cpu", "power_w")[5]
        is None
    )


def test_names_of_older_macos_and_of_intel_are_known(tmp_path: Path) -> None:
    block = (
        "*** Sampled system activity (Tue Nov  3 10:00:00 2020 -0800) (1000.00ms elapsed) ***\n"
        "Intel energy model derived package power (CPUs+GT+SA): 3.05W\nCPU die temperature: 50.47 C\n"
        "GPU active frequency: 712 MHz\nGPU active residency:   2.80% (396 MHz: 1%)\nPackage Power: 330 mW\n"
    )
    rows = imported(tmp_path, written(tmp_path / "p", block)).rows("sample")
    assert {
        row["device"]: {k: v for k, v in row.items() if v is not None and k not in ("device", "time_ns")}
        for row in rows
    } == {
        "cpu": {"power_w": 3.05, "temperature_c": 50.47},
        "gpu0": {"sm_clock_mhz": 712.0, "utilization_pct": 2.8},
        "soc": {"power_w": 0.33},
    }


def test_property_lists_are_read_with_zeros_between_them_or_without(tmp_path: Path) -> None:
    documents = [plistlib.loads(part) for part in PLIST.read_bytes().split(b"\0")]
    for name, data in (("a", PLIST.read_bytes()), ("b", PLIST.read_bytes().replace(b"\0", b"\n") + b"\n\0")):
        found = imported(tmp_path / name, written(tmp_path / name / "p.plist", data))
        rows = found.rows("sample")
        powers = [
            284 / 1.01229575,
            *(d["processor"]["gpu_power"] for d in documents[1:]),
        ]  # its energy, mJ, at first
        assert [1000 * value for value in by_device(rows, "gpu0", "power_w")] == pytest.approx(powers)
        assert by_device(rows, "gpu0", "sm_clock_mhz") == [d["gpu"]["freq_hz"] for d in documents]
        busy = [100 * (1 - d["gpu"]["idle_ratio"]) for d in documents]
        assert by_device(rows, "gpu0", "utilization_pct") == busy
        assert by_device(rows, "cpu", "utilization_pct") == pytest.approx([50 - k / 2 for k in range(5)])
        assert by_device(rows, "soc", "power_w") == [
            d["processor"]["combined_power"] / 1000 for d in documents
        ]
        assert by_device(rows, "cpu", "time_ns")[0] == 1_795_510_800_000_000_000
        assert found.result["account"]["read"] == 5


def test_damaged_property_lists_cost_their_sample_only(tmp_path: Path) -> None:
    parts = PLIST.read_bytes().split(b"\0")
    parts[1] = parts[1].replace(b"<key>elapsed_ns</key>", b"<key>elapsed_ns &</key>")
    parts[2] = parts[2].replace(b"2026-11-24T09:00:02Z", b"soon")
    parts[3] = parts[3].replace(b"2026-11-24T09:00:03Z", b"9999-11-24T09:00:03Z")
    parts[4] = parts[4][:-20]
    found = imported(tmp_path, written(tmp_path / "p.plist", b"\0".join(parts)))
    assert found.result["left_out"] == {
        "torn row: a sample that is no property list": 2,
        "torn row: a sample's timestamp is no time between 1970 and 2100": 1,
        "torn row: the file ends in mid-sample": 1,
    }
    nothing = plistlib.dumps({"elapsed_ns": 1, "timestamp": plistlib.loads(parts[0])["timestamp"]})
    assert NO_READING in refused(tmp_path, written(tmp_path / "none.plist", nothing))
