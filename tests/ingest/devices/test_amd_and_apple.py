"""AMD and Apple readers against stand-in modules with the vendors' names: no such hardware was at hand."""

import sys
from enum import IntEnum
from types import ModuleType, SimpleNamespace

import pytest
from thermograd.ingest.devices import registry as vendors
from thermograd.ingest.devices.amd import AmdReader
from thermograd.ingest.devices.apple import AppleReader
from thermograd.ingest.devices.base import DeviceUnavailableError
from thermograd.store.events import column_names


class SmiError(Exception):
    pass


@pytest.fixture
def amd(monkeypatch):
    """Return a stand-in for amdsmi with one GPU; a test may change what its functions return."""
    smi = ModuleType("amdsmi")
    smi.AmdSmiException = SmiError
    smi.AmdSmiTemperatureType = IntEnum("AmdSmiTemperatureType", "EDGE HOTSPOT VRAM")
    smi.AmdSmiTemperatureMetric = IntEnum("AmdSmiTemperatureMetric", "CURRENT CRITICAL")
    smi.AmdSmiClkType = IntEnum("AmdSmiClkType", "GFX MEM")
    smi.AmdSmiMemoryType = IntEnum("AmdSmiMemoryType", "VRAM")
    smi.calls = []
    heat = {(2, 1): 71, (3, 1): 64, (2, 2): 110}
    for name, function in {
        "init": lambda: smi.calls.append("init"),
        "shut_down": lambda: smi.calls.append("shut_down"),
        "get_processor_handles": lambda: ["gpu"],
        "get_gpu_device_uuid": lambda h: "aaaa-bbbb",
        "get_gpu_asic_info": lambda h: {"market_name": "AMD Instinct Test"},
        "get_gpu_activity": lambda h: {"gfx_activity": 93, "umc_activity": 20, "mm_activity": "N/A"},
        "get_power_info": lambda h: {"current_socket_power": 512, "average_socket_power": "N/A"},
        "get_energy_count": lambda h: {"energy_accumulator": 1_000_000, "counter_resolution": 15.25},
        "get_temp_metric": lambda h, kind, metric: heat[kind, metric],
        "get_clock_info": lambda h, kind: {"clk": 2100 if kind == 1 else 1300, "max_clk": 2400},
        "get_gpu_memory_usage": lambda h, kind: 2**34,
        "get_power_cap_info": lambda h: {"power_cap": 750_000_000, "default_power_cap": 750_000_000},
        "get_gpu_fan_speed": lambda h, i: 51,
        "get_gpu_fan_speed_max": lambda h, i: 255,
        "get_gpu_total_ecc_count": lambda h: {"correctable_count": 3, "uncorrectable_count": 0},
        "get_gpu_pci_replay_counter": lambda h: 4,
    }.items():
        setattr(smi, f"amdsmi_{name}", function)
    monkeypatch.setitem(sys.modules, "amdsmi", smi)
    return smi


def refuse(*_):
    raise SmiError("AMDSMI_STATUS_NOT_SUPPORTED -\n\tFeature not supported")


def test_an_amd_gpu_is_read_in_si_units(amd):
    reader = AmdReader()
    (sample,) = reader.read()
    assert sample == {
        "device": "GPU-aaaa-bbbb",
        "utilization_pct": 93.0,
        "power_w": 512.0,
        "energy_j": 15.25,
        "temperature_c": 71.0,
        "memory_temperature_c": 64.0,
        "sm_clock_mhz": 2100.0,
        "memory_clock_mhz": 1300.0,
        "memory_used_bytes": 2.0**34,
        "power_limit_w": 750.0,
        "fan_pct": 20.0,
        "ecc_corrected": 3,
        "ecc_uncorrected": 0,
        "pcie_replays": 4,
    }
    assert sample.keys() <= set(column_names("sample"))
    facts = reader.describe()["GPU-aaaa-bbbb"]
    assert (facts["model"], facts["rated_power_w"], facts["temperature_limit_c"]) == (
        "AMD Instinct Test",
        750.0,
        110.0,
    )
    assert {"power_w_average", "throttled_thermal_ns"} <= facts["missing"].keys()
    reader.close()
    assert amd.calls == ["init", "shut_down"]


def test_what_an_amd_gpu_refuses_is_named_and_what_fails_later_is_null_and_counted(amd):
    amd.amdsmi_get_gpu_fan_speed_max = refuse
    amd.amdsmi_get_power_info = lambda h: {"current_socket_power": 0xFFFFFFFF, "average_socket_power": 300}
    reader = AmdReader()
    facts = reader.describe()["GPU-aaaa-bbbb"]
    assert facts["missing"]["fan_pct"] == "AMDSMI_STATUS_NOT_SUPPORTED - Feature not supported"
    assert "power_w" in facts["missing"]
    amd.amdsmi_get_gpu_activity = refuse
    (sample,) = reader.read()
    assert "utilization_pct" not in sample
    assert sample["power_w_average"] == 300.0
    assert (reader.take_failures(), reader.take_failures()) == (1, 0)


def test_older_releases_gave_thousandths_of_a_degree(amd):
    amd.amdsmi_get_temp_metric = lambda *_: 68_000
    assert AmdReader().read()[0]["temperature_c"] == 68.0


def test_no_amd_driver_or_gpu_is_a_normal_answer(amd):
    amd.amdsmi_get_processor_handles = list
    with pytest.raises(DeviceUnavailableError, match="no GPU"):
        AmdReader()
    amd.amdsmi_init = refuse
    with pytest.raises(DeviceUnavailableError, match="NOT_SUPPORTED"):
        AmdReader()


def test_amdsmi_without_its_library_says_where_that_comes_from(tmp_path, monkeypatch, capsys):
    (tmp_path / "amdsmi.py").write_text("print('Unable to find libamd_smi.so')\n{}['libamd_smi.so']\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "amdsmi", raising=False)
    with pytest.raises(DeviceUnavailableError, match="it comes with ROCm"):
        AmdReader()
    assert capsys.readouterr().out == ""


@pytest.fixture
def apple(monkeypatch):
    """Return the energies that a stand-in for zeus-apple-silicon gives, mJ."""
    energies = SimpleNamespace(gpu_mj=5_000, cpu_total_mj=9_000)
    module = ModuleType("zeus_apple_silicon")
    module.AppleEnergyMonitor = type("M", (), {"get_cumulative_energy": lambda self: energies})
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", module)
    return energies


def test_apples_energy_is_differenced_to_power_and_called_an_estimate(apple, monkeypatch):
    clock = iter([10.0, 12.0])
    stand_in = SimpleNamespace(monotonic=lambda: next(clock))  # other threads ask the real one
    monkeypatch.setattr("thermograd.ingest.devices.apple.time", stand_in)
    reader = AppleReader()
    apple.gpu_mj += 30_000
    apple.cpu_total_mj = None
    assert reader.read() == [{"device": "apple-gpu", "energy_j": 35.0, "power_w": 15.0}]
    facts = reader.describe()
    assert facts.keys() == {"apple-gpu", "apple-cpu"}
    assert facts["apple-gpu"]["estimated"]


def test_an_absent_or_silent_apple_chip_is_a_normal_answer(apple, monkeypatch):
    apple.gpu_mj = apple.cpu_total_mj = None
    with pytest.raises(DeviceUnavailableError, match="gives no energy"):
        AppleReader()
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", None)
    with pytest.raises(DeviceUnavailableError, match="not installed"):
        AppleReader()


def test_a_vendors_library_that_breaks_does_not_hide_the_other_devices(monkeypatch, caplog):
    def broken():
        raise ZeroDivisionError("inside a vendor's library")

    monkeypatch.setitem(vendors._VENDORS, "amd", broken)
    readers, absent = vendors.open_readers(None, 1)
    assert "cpu" in readers[0].describe()
    assert "ZeroDivisionError" in absent["amd"]
