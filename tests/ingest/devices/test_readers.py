from types import SimpleNamespace

import psutil
import pytest
from thermograd.ingest.devices import simulated
from thermograd.ingest.devices.host import HostReader
from thermograd.ingest.devices.registry import open_readers
from thermograd.store.events import column_names


def test_the_host_gives_what_it_has_and_says_why_not_the_rest():
    reader = HostReader()
    reader.read()  # power is a difference: the first reading has none, whatever the machine measures
    (sample,) = reader.read()
    facts = reader.describe()["cpu"]
    assert sample["device"] == "cpu"
    assert sample.keys() <= set(column_names("sample"))
    assert sample["memory_used_bytes"] > 0
    for name in ("temperature_c", "sm_clock_mhz", "power_w"):
        if sample.get(name) is None:
            assert facts["missing"][name]
            assert name not in facts["sensors"]
        else:
            assert name in facts["sensors"]


def test_a_processor_sensor_is_read_with_its_limit(monkeypatch, tmp_path):
    entries = [psutil._ntuples.shwtemp("", t, 90.0, 100.0) for t in (51.0, 64.0)]
    monkeypatch.setattr(
        psutil, "sensors_temperatures", lambda: {"nvme": [], "coretemp": entries}, raising=False
    )
    reader = HostReader(tmp_path)  # this machine's own sensor, had it one, would come first
    assert reader.read()[0]["temperature_c"] == 64.0
    assert reader.describe()["cpu"]["temperature_limit_c"] == 100.0


def test_a_nominal_frequency_is_no_measurement(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_freq", lambda: psutil._ntuples.scpufreq(2596.0, 0.0, 0.0))
    reader = HostReader()
    assert reader.read()[0]["sm_clock_mhz"] is None
    assert "nominal" in reader.describe()["cpu"]["missing"]["sm_clock_mhz"]
    monkeypatch.setattr(psutil, "cpu_freq", lambda: psutil._ntuples.scpufreq(3100.0, 800.0, 4200.0))
    assert HostReader().read()[0]["sm_clock_mhz"] == 3100.0


def test_a_simulated_gpu_follows_the_load_of_a_process_and_says_that_it_is_simulated(monkeypatch):
    reader = simulated.SimulatedReader("restricted", 1)
    clock = {"s": 100.0, "busy": 0.0}
    monkeypatch.setattr(simulated, "time", SimpleNamespace(monotonic=lambda: clock["s"]))
    monkeypatch.setattr(reader, "_busy_s", lambda: clock["busy"])
    reader._last = (100.0, 0.0)
    for _ in range(50):
        clock["s"] += 0.2
        clock["busy"] += 0.2
        (sample,) = reader.read()
    hot = sample["power_w"]
    for _ in range(50):
        clock["s"] += 0.2
        (sample,) = reader.read()
    assert hot > 2 * sample["power_w"]
    (name,) = reader.describe()
    assert name == sample["device"] == "simulated:restricted"
    assert reader.describe()[name]["simulated"] is True


@pytest.mark.parametrize("simulate", [None, "restricted"])
def test_every_reader_of_this_machine_gives_known_columns(simulate):
    readers, absent = open_readers(simulate, 1)
    names = {name for reader in readers for name in reader.describe()}
    assert "cpu" in names
    assert ("simulated:restricted" in names) == bool(simulate)
    for reader in readers:
        for sample in reader.read():
            assert sample.keys() <= set(column_names("sample"))
            assert sample["device"] in names
        reader.close()
    assert all(isinstance(reason, str) and reason for reason in absent.values())
