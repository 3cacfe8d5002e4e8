import time
from typing import Any

import pytest
from thermograd.ingest.simulate.gpu import PRESETS, SimulatedGpu
from thermograd.store.events import KINDS


def run(gpu: SimulatedGpu, seconds: float, load: float, hz: float = 5.0) -> list[dict[str, Any]]:
    readings = []
    for _ in range(round(seconds * hz)):
        gpu.advance(1.0 / hz, load)
        readings.append(gpu.read())
    return readings


def test_the_server_part_settles_at_its_design_point() -> None:
    readings = run(SimulatedGpu("dc"), 400, 1.0)
    assert 54 <= readings[-1]["temperature_c"] <= 58
    assert readings[-1]["clock_event_mask"] == 0
    half = next(i for i, r in enumerate(readings) if r["temperature_c"] >= 27 + 0.63 * 29) / 5
    assert 15 <= half <= 45  # time constant near 35 s


def test_the_desktop_part_turns_its_fan_and_stays_cool() -> None:
    readings = run(SimulatedGpu("desktop"), 400, 1.0)
    assert 55 <= readings[-1]["fan_pct"] <= 80
    assert readings[-1]["temperature_c"] < 80
    assert SimulatedGpu("dc").read()["fan_pct"] is None


def test_the_restricted_part_throttles_within_a_minute_is_governed_and_cools() -> None:
    gpu = SimulatedGpu("restricted")
    readings = run(gpu, 600, 1.0)
    hot = next(i for i, r in enumerate(readings) if r["temperature_c"] >= gpu.part.target_c) / 5
    assert 35 <= hot <= 55
    steady = readings[-1000:]
    assert all(gpu.part.target_c - 3 <= r["temperature_c"] <= gpu.part.target_c + 1 for r in steady)
    assert all(r["clock_event_mask"] & 0x20 for r in steady)
    assert all(0.6 * 1980 < r["sm_clock_mhz"] < 0.95 * 1980 for r in steady)
    assert readings[-1]["throttled_thermal_ns"] > 500e9
    cooled = run(gpu, 120, 0.0)[-1]
    assert cooled["temperature_c"] < 40
    assert cooled["clock_event_mask"] & 0x1
    assert cooled["sm_clock_mhz"] == 345


def test_failing_airflow_lowers_the_clock_and_the_power() -> None:
    gpu = SimulatedGpu("dc")
    before = run(gpu, 200, 1.0)[-1]
    gpu.airflow = 0.3
    after = run(gpu, 400, 1.0)[-1]
    assert after["clock_event_mask"] & 0x60
    assert after["sm_clock_mhz"] < 0.9 * before["sm_clock_mhz"]
    assert after["power_w"] < 0.9 * before["power_w"]
    assert after["utilization_pct"] == before["utilization_pct"]


def test_the_brake_halves_the_clock_and_power_and_admin_caps_bite() -> None:
    gpu = SimulatedGpu("dc")
    gpu.brake = True
    braked = run(gpu, 5, 1.0)[-1]
    assert (braked["sm_clock_mhz"], braked["clock_event_mask"]) == (990.0, 0x88)
    assert braked["throttled_brake_ns"] == 5 * 10**9
    gpu.brake = False
    gpu.power_limit_w = 400.0
    capped = run(gpu, 30, 1.0)[-1]
    assert capped["clock_event_mask"] == 0x4
    assert capped["power_w_average"] < 415
    gpu.power_limit_w = 700.0
    gpu.clock_cap_mhz = 1500.0
    limited = run(gpu, 10, 1.0)[-1]
    assert (limited["sm_clock_mhz"], limited["clock_event_mask"]) == (1500.0, 0x2)


def test_the_energy_counter_is_the_integral_of_power() -> None:
    gpu = SimulatedGpu("dc")
    run(gpu, 100, 1.0)
    first = gpu.read()["energy_j"]
    readings = run(gpu, 100, 1.0)
    mean_w = sum(r["power_w_average"] for r in readings) / len(readings)
    assert (readings[-1]["energy_j"] - first) / 100 == pytest.approx(mean_w, rel=0.01)


def test_a_reading_has_every_sample_column_and_null_where_nothing_is_modelled() -> None:
    reading = SimulatedGpu("dc").read()
    assert set(reading) == {column.name for column in KINDS["sample"]}
    for name in ("memory_clock_mhz", "memory_temperature_c", "ecc_corrected", "reported_rle"):
        assert reading[name] is None
    types = {column.name: column.type for column in KINDS["sample"]}
    for name, value in reading.items():
        if value is not None:
            python = {"string": str, "float64": float, "int64": int, "uint64": int}[types[name]]
            assert isinstance(value, python), name


def test_the_same_seed_and_loads_give_the_same_readings_at_any_chunking() -> None:
    def series(seed: int, parts: int) -> list[dict[str, Any]]:
        gpu = SimulatedGpu("desktop", seed=seed)
        readings = []
        for i in range(200):
            for _ in range(parts):
                gpu.advance(0.2 / parts, load=(i % 10) / 9)
            readings.append(gpu.read())
        return readings

    assert series(1, 1) == series(1, 1) == series(1, 4) == series(1, 8)
    assert series(1, 1) != series(2, 1)


def test_it_says_that_it_is_simulated() -> None:
    gpu = SimulatedGpu("restricted")
    facts = gpu.describe()
    assert gpu.device == facts["device"] == gpu.read()["device"] == "simulated:restricted"
    assert facts["simulated"] is True
    assert "simulated" in facts["model"]
    assert facts["rated_power_w"] == facts["power_limit_w"] == 700.0
    assert facts["temperature_limit_c"] < facts["slowdown_temperature_c"] < facts["shutdown_temperature_c"]
    assert "temperature_c" in facts["sensors"]
    assert "memory_clock_mhz" in facts["missing"]
    assert SimulatedGpu("dc", device="simulated:rack7").device == "simulated:rack7"


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="must begin with 'simulated:'"):
        SimulatedGpu("dc", device="GPU-1234")
    with pytest.raises(ValueError, match="allowed: dc, desktop, restricted"):
        SimulatedGpu("h100")
    with pytest.raises(ValueError, match="airflow is 0"):
        SimulatedGpu(airflow=0)
    with pytest.raises(ValueError, match=r"load=1\.5"):
        SimulatedGpu().advance(1.0, 1.5)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_five_readings_a_second_cost_less_than_a_hundredth_of_a_core(preset: str) -> None:
    gpu = SimulatedGpu(preset)
    begin = time.process_time()
    run(gpu, 200, 1.0)
    assert (time.process_time() - begin) / 200 < 0.01
