"""What Prometheus got from DCGM's exporter: as text and as a range query."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from importing import UUID, exposition, imported, refused, written
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily


def test_dcgm_text_with_timestamps_gives_one_sample_a_device_and_time(tmp_path: Path) -> None:
    path = written(tmp_path / "metrics.prom", exposition(1_700_000_000_250, 1_700_000_001_250))
    found = imported(tmp_path, path)
    first, second = found.rows("sample")
    assert first == {
        "time_ns": 1_700_000_000_250_000_000,
        "device": UUID,
        "power_w": 250.125,
        "energy_j": 1000.0,
        "temperature_c": 54.0,
        "memory_used_bytes": 1024.0 * 2**20,
        "throttled_power_ns": 5000,
    }
    assert second["energy_j"] - first["energy_j"] == pytest.approx(250.125)
    assert found.run.facts["devices"][UUID]["model"] == "NVIDIA H100"
    assert found.result["ignored"] == ["metrics.prom: 1 metric of no use: DCGM_FI_DEV_XID_ERRORS"]


def test_what_prometheus_own_client_writes_is_read(tmp_path: Path) -> None:
    """Its text, with its escapes and its numbers, not ours."""
    gauges = {
        "DCGM_FI_DEV_GPU_TEMP": [61.0, 62.0],
        "DCGM_FI_DEV_POWER_USAGE": [250.125, 1e-05],
        "DCGM_FI_DEV_SM_CLOCK": [1980.0, math.nan],
    }

    class Exporter:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            for name, values in gauges.items():
                family = GaugeMetricFamily(name, f"Help of {name} (in\nunits).", labels=["UUID", "modelName"])
                for place, value in enumerate(values):
                    family.add_metric(
                        [UUID, 'NVIDIA "H100" \\ 80GB'], value, timestamp=1_700_000_000.5 + place
                    )
                yield family

    registry = CollectorRegistry()
    registry.register(Exporter())
    found = imported(tmp_path, written(tmp_path / "metrics", generate_latest(registry)))
    rows = found.rows("sample")
    assert [row["temperature_c"] for row in rows] == [61.0, 62.0]
    assert [row["power_w"] for row in rows] == [250.125, 1e-05]
    assert [row["sm_clock_mhz"] for row in rows] == [1980.0, None]
    assert [row["time_ns"] for row in rows] == [1_700_000_000_500_000_000, 1_700_000_001_500_000_000]
    assert found.run.facts["devices"][UUID]["model"] == 'NVIDIA "H100" \\ 80GB'


def test_times_of_openmetrics_are_seconds(tmp_path: Path) -> None:
    text = 'DCGM_FI_DEV_GPU_TEMP{device="nvidia1",node="n"} 54 1700000000.25\n# EOF\n'
    (row,) = imported(tmp_path, written(tmp_path / "metrics", text)).rows("sample")
    assert row == {"time_ns": 1_700_000_000_250_000_000, "device": "n:gpu1", "temperature_c": 54.0}


def test_one_scrape_without_timestamps_is_refused(tmp_path: Path) -> None:
    text = exposition(0).replace(" 0\n", "\n")
    message = refused(tmp_path, written(tmp_path / "metrics", text))
    assert "no sample has a timestamp, so this is one scrape and no time series" in message


def test_lines_that_are_no_metrics_are_left_out(tmp_path: Path) -> None:
    text = exposition(1_700_000_000_250) + "\n".join(
        [
            "<html>502 Bad Gateway</html>",
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 54 1700000000250',
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 54',
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 54 99999999999999999',
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 1e400 1700000002250',
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 500 1700000003250',
            "DCGM_FI_DEV_GPU_TEMP 54 1700000004250",
            f'DCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 54 17000000',
        ]
    )
    found = imported(tmp_path, written(tmp_path / "metrics", text))
    assert found.result["left_out"] == {
        "torn row: not in Prometheus' text format": 1,
        "the same value of a metric, device and time again": 1,
        "a metric of no use": 1,
        "a row without a value": 2,
        "a sample without a timestamp": 1,
        "a timestamp that is no time between 1970 and 2100": 1,
        "a metric without a UUID or gpu label": 1,
        "torn row: the file ends in mid-line": 1,
    }
    assert found.rows("sample")[0]["temperature_c"] == 54.0
    assert found.result["nulls"] == {"temperature_c is 500.0, outside -50 to 150 degC": 1}
    assert found.result["account"] == {"read": 16, "kept": 1, "merged": 6, "left_out": 9}


def range_query(*series: dict[str, Any], **more: Any) -> str:
    answer = {"status": "success", "data": {"resultType": "matrix", "result": list(series)}}
    return json.dumps(answer | more)


def series(name: str, labels: dict[str, str], *values: tuple[float, str]) -> dict[str, Any]:
    return {"metric": {"__name__": f"DCGM_FI_DEV_{name}"} | labels, "values": [list(v) for v in values]}


def test_a_range_query_gives_samples_of_every_device(tmp_path: Path) -> None:
    gpu = {"gpu": "1", "Hostname": "node2"}
    text = range_query(
        series("GPU_TEMP", {"UUID": UUID}, (1_700_000_000.5, "54"), (1_700_000_001.5, "55")),
        series("POWER_USAGE", {"UUID": UUID}, (1_700_000_000.5, "250")),
        series("POWER_USAGE_INSTANT", {"UUID": UUID}, (1_700_000_000.5, "260")),
        series("GPU_TEMP", gpu, (1_700_000_000.5, "60")),
        series("GPU_TEMP", gpu | {"GPU_I_ID": "3"}, (1_700_000_000.5, "61")),
        {"metric": {}, "values": [[1_700_000_000.5, "1"]]},
    )
    found = imported(tmp_path, written(tmp_path / "query.json", text))
    rows = found.rows("sample")
    assert [(row["device"], row["temperature_c"]) for row in rows] == [
        (UUID, 54.0),
        ("node2:gpu1", 60.0),
        ("node2:gpu1/3", 61.0),
        (UUID, 55.0),
    ]
    assert (rows[0]["power_w"], rows[0]["power_w_average"]) == (260.0, 250.0)
    assert "series 6 (it has no name: an expression)" in found.result["ignored"][0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (range_query(status="error"), "Prometheus' answer has status 'error'"),
        ('{"status": "success", "data": {"resultType": "vector", "result": []}}', "the answer is a 'vector'"),
        (range_query({"metric": {}}), "series 1: allowed is an object with metric and values"),
        (range_query(series("GPU_TEMP", {"gpu": "0"}, (1.7e9, "x"), (1.7e9,))), "2 x torn point"),  # type: ignore[arg-type]
        (range_query(), "no usable row in this device log (it has none)"),
    ],
)
def test_an_answer_of_no_use_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    assert sentence in refused(tmp_path, written(tmp_path / "query.json", content))
