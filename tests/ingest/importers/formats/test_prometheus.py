"""Prometheus' answers as they are, of any exporter."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.hints.named import hints_of

FIXTURES = Path(__file__).parents[3] / "fixtures/imports/prometheus"
SERIES, POLLED = FIXTURES / "exporters_series.json", FIXTURES / "polled_vectors.json"
GPU = "df6e7a7c-7314-46f8-abc4-b88b36dcf3aa"


def told(name: str) -> list[float]:
    """Return the values of a series as pandas reads them."""
    frame = pd.json_normalize(json.loads(SERIES.read_text()))
    (values,) = frame.loc[frame["metric.__name__"] == name, "values"]
    return [float(value) for _, value in values]


def test_the_list_of_series_alone_gives_gpus_sensors_and_counters(tmp_path: Path) -> None:
    found = imported(tmp_path, SERIES)
    rows = {
        name: [r for r in found.rows("sample") if r["device"] == name] for name in found.run.facts["devices"]
    }
    assert rows.keys() == {GPU, "node2:9100:platform_coretemp_0/temp1", "node2:9100:cpu0"}
    gpu = rows[GPU]
    watts = told("nvidia_smi_power_draw_watts")
    assert [row["power_w"] for row in gpu] == [watts[0], watts[1], None, watts[3]]
    assert [row["temperature_c"] for row in gpu] == told("nvidia_smi_temperature_gpu")
    assert [row["utilization_pct"] for row in gpu] == [
        100 * r for r in told("nvidia_smi_utilization_gpu_ratio")
    ]
    hertz = told("nvidia_smi_clocks_current_sm_clock_hz")
    assert [row["sm_clock_mhz"] for row in gpu] == pytest.approx([h / 1e6 for h in hertz])
    assert [row["memory_used_bytes"] for row in gpu] == told("nvidia_smi_memory_used_bytes")
    energy = told("node_rapl_package_joules_total")
    assert [row["energy_j"] for row in rows["node2:9100:cpu0"]] == [energy[0], energy[1], energy[3]]
    assert [row["time_ns"] for row in gpu][:2] == [1_795_510_800_500_000_000, 1_795_510_815_500_000_000]
    assert found.result["left_out"] == {"a metric of no use": 4, "a row without a value": 1}
    assert found.result["account"] == {"read": 32, "kept": 11, "merged": 16, "left_out": 5}


def test_instant_answers_one_after_the_other_are_a_time_series(tmp_path: Path) -> None:
    rows = imported(tmp_path, POLLED).rows("sample")
    assert [row["power_w"] for row in rows] == [250.5, 251.5, 252.5, 253.5, 254.5]
    assert {row["temperature_c"] for row in rows} == {55.0}
    one = POLLED.read_text().splitlines()[0]
    sentence = "the answer is a 'vector', not a time series; allowed is the 'matrix' of a range query"
    assert sentence in refused(tmp_path, written(tmp_path / "one.json", one))


def answer(*series: dict[str, Any]) -> str:
    return json.dumps({"resultType": "matrix", "result": list(series)})


def test_data_without_an_envelope_and_any_metric_by_name(tmp_path: Path) -> None:
    series = {
        "metric": {"__name__": "my_power", "rack": "7"},
        "values": [[1.7e9, "52300"], [1.7e9 + 1, "NaN"]],
    }
    path = written(tmp_path / "data.json", answer(series))
    assert "2 x a metric of no use" in refused(tmp_path, path)
    hints = hints_of(columns=["power_w=my_power"], units=["power_w=mW"], device="rack7")
    (row,) = imported(tmp_path, path, hints=hints).rows("sample")
    assert (row["device"], row["power_w"]) == ("rack7", 52.3)


def test_native_histograms_are_left_out_and_counted(tmp_path: Path) -> None:
    histogram = {"metric": {"__name__": "requests"}, "histograms": [[1.7e9, {"count": "2"}], [1.7e9 + 1, {}]]}
    power = {"metric": {"__name__": "gpu_package_power", "gpu_uuid": "a"}, "values": [[1.7e9, "300"]]}
    found = imported(tmp_path, written(tmp_path / "h.json", answer(histogram, power)))
    assert found.result["left_out"] == {"a native histogram, which is no reading": 2}
    assert found.rows("sample")[0]["power_w"] == 300.0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (answer({"metric": {}}), "series 1: allowed is an object with metric and values"),
        (answer({"metric": {}, "values": 3}), "series 1: allowed is an object with metric and values"),
        (answer() + "\n" + answer()[:-3], "line 2, column"),
        (answer() + " 7", "JSON of another sort (int); allowed are answers of Prometheus"),
        (
            '{"resultType": "scalar", "result": [1700000000, "1"]}',
            "the answer is a 'scalar', not a time series",
        ),
        ('{"resultType": "matrix", "result": ' + "[" * 100_000, "JSON that cannot be read"),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    assert sentence in refused(tmp_path, written(tmp_path / "a.json", content))


def test_text_of_other_exporters_is_known_too(tmp_path: Path) -> None:
    text = (
        'nvidia_gpu_power_usage_milliwatts{minor_number="0",uuid="GPU-1",name="A100"} 250500 1700000000000\n'
        'node_hwmon_power_average_watt{chip="0000:03:00_0",sensor="power1"} 35.5 1700000000000\n'
    )
    rows = imported(tmp_path, written(tmp_path / "m.prom", text)).rows("sample")
    assert {row["device"]: row["power_w"] for row in rows} == {"GPU-1": 250.5, "0000:03:00_0/power1": 35.5}
