"""The host's sensors on a made-up /sys and /proc: this machine may have none."""

import psutil
import pytest
from thermograd.ingest.devices.host import HostReader, read_pressure
from thermograd.ingest.devices.kernel.kept_file import KeptFile
from thermograd.ingest.devices.rapl import RaplMeter


def write(root, path, value):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{value}\n")
    return file


@pytest.fixture
def machine(tmp_path):
    """Return the root of a machine with two packages, sensors, counters and pressure."""
    for i, energy in enumerate((5_000_000, 9_000_000)):
        powercap = f"sys/class/powercap/intel-rapl:{i}"
        write(tmp_path, f"{powercap}/name", f"package-{i}")
        write(tmp_path, f"{powercap}/energy_uj", energy)
        write(tmp_path, f"{powercap}/max_energy_range_uj", 10_000_000)
        write(tmp_path, f"{powercap}/intel-rapl:{i}:0/name", "core")
    write(tmp_path, "sys/class/powercap/intel-rapl:2/name", "psys")
    for i, (chip, heat) in enumerate((("nvme", 90_000), ("coretemp", 61_000))):
        write(tmp_path, f"sys/class/hwmon/hwmon{i}/name", chip)
        write(tmp_path, f"sys/class/hwmon/hwmon{i}/temp1_input", heat)
        write(tmp_path, f"sys/class/hwmon/hwmon{i}/temp2_input", heat - 7_000)
        write(tmp_path, f"sys/class/hwmon/hwmon{i}/temp1_crit", 100_000)
    for cpu, package in ((0, 0), (1, 0), (2, 1)):
        base = f"sys/devices/system/cpu/cpu{cpu}"
        write(tmp_path, f"{base}/topology/physical_package_id", package)
        write(tmp_path, f"{base}/thermal_throttle/package_throttle_total_time_ms", 40 + package)
    for resource in ("cpu", "memory", "io"):
        text = "some avg10=0.10 avg60=0.20 avg300=0.30 total=2500000\nfull avg10=0 avg60=0 avg300=0 total=1"
        write(tmp_path, f"proc/pressure/{resource}", text)
    write(tmp_path, "proc/cpuinfo", "processor : 0\nmodel name\t: Test CPU @ 3 GHz")
    return tmp_path


def test_a_machine_with_sensors_gives_them(machine):
    reader = HostReader(machine)
    (sample,) = reader.read()
    facts = reader.describe()["cpu"]
    assert facts["model"] == "Test CPU @ 3 GHz"
    assert (sample["temperature_c"], facts["temperature_limit_c"]) == (61.0, 100.0)
    assert sample["energy_j"] == 14.0
    assert sample["throttled_thermal_ns"] == 81_000_000
    assert {"energy_j", "power_w", "temperature_c", "throttled_thermal_ns"} <= set(facts["sensors"])
    assert "energy_j" not in facts["missing"]


def test_energy_goes_on_over_the_counters_wrap_and_power_is_its_difference(machine):
    meter = RaplMeter(machine)
    assert meter.read(10.0) == (14.0, None)
    write(machine, "sys/class/powercap/intel-rapl:0/energy_uj", 6_000_000)
    write(machine, "sys/class/powercap/intel-rapl:1/energy_uj", 500_000)
    energy_j, power_w = meter.read(10.5)
    assert energy_j == pytest.approx(14.0 + 1.0 + 1.5)
    assert power_w == pytest.approx(5.0)


def test_a_package_that_cannot_be_read_makes_the_sum_null_not_smaller(machine):
    meter = RaplMeter(machine)
    meter.read(10.0)
    file = write(machine, "sys/class/powercap/intel-rapl:1/energy_uj", "")
    assert meter.read(10.5) == (None, None)
    file.write_text("9500000\n")
    energy_j, power_w = meter.read(11.0)
    assert (energy_j, power_w) == (14.5, None)


def test_a_counter_for_root_only_says_how_to_allow_it(machine, monkeypatch):
    read = KeptFile.read

    def refuse(file, *args):
        if file.path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(file, *args)

    monkeypatch.setattr(KeptFile, "read", refuse)
    reader = HostReader(machine)
    assert reader.read()[0]["power_w"] is None
    assert "chmod a+r" in reader.describe()["cpu"]["missing"]["power_w"]


def test_an_empty_machine_gives_null_and_reasons(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    reader = HostReader(tmp_path)
    (sample,) = reader.read()
    missing = reader.describe()["cpu"]["missing"]
    for name in ("power_w", "energy_j", "temperature_c", "throttled_thermal_ns"):
        assert sample[name] is None
        assert missing[name]
    assert "percentage" in missing["fan_pct"]
    assert "modprobe" in missing["power_w"]


def test_pressure_is_the_time_that_something_waited(machine, tmp_path):
    assert read_pressure(machine) == {"cpu_stalled_s": 2.5, "memory_stalled_s": 2.5, "io_stalled_s": 2.5}
    assert read_pressure(tmp_path / "nowhere") == {}
