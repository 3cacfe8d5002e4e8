"""The host's own processor as a device: psutil, and the kernel's files for what psutil does not have."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from thermograd.ingest.devices.base import DeviceReader
from thermograd.ingest.devices.kernel.kept_file import KeptFile
from thermograd.ingest.devices.kernel.processor import frequency_mhz, memory_used, processor_load
from thermograd.ingest.devices.rapl import RaplMeter

_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "acpitz")
_LEAST_INTERVAL_S = 0.05  # the kernel counts in hundredths of a second
_OPTIONAL = ("temperature_c", "sm_clock_mhz", "power_w", "energy_j", "throttled_thermal_ns")


class HostReader(DeviceReader):
    """Reads utilisation, frequency, temperature, power and memory of the processor, as device ``cpu``.

    What the platform cannot give is null in every sample, and `describe` says why and what would enable it.
    ``/sys`` and ``/proc`` are in `root`.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._missing: dict[str, str] = {}
        self._temperature = self._find_temperature()
        self._frequency_mhz = frequency_mhz(root) if self._measures_frequency() else None
        self._load, self._memory_used = processor_load(), memory_used()
        self._throttled = self._find_throttled()
        self._rapl = RaplMeter(root)
        if self._rapl.missing:
            self._missing |= {"power_w": self._rapl.missing, "energy_j": self._rapl.missing}
        self._missing["fan_pct"] = "fans of a host report revolutions, not a percentage"
        self._utilization_s: float | None = None

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each device: model, limits, sensors that exist, and why others do not."""
        facts: dict[str, Any] = {"model": _cpu_model(self._root), "simulated": False}
        facts |= {"cores": psutil.cpu_count(logical=False), "threads": psutil.cpu_count()}
        limit = self._temperature("limit") if self._temperature else None
        if limit:
            facts["temperature_limit_c"] = limit
        sensors = {"utilization_pct", "memory_used_bytes", *_OPTIONAL} - self._missing.keys()
        return {"cpu": facts | {"sensors": sorted(sensors), "missing": dict(sorted(self._missing.items()))}}

    def read(self) -> list[dict[str, Any]]:
        """Return one sample; utilisation and power are means since the last call."""
        energy_j, power_w = self._rapl.read()
        return [
            {
                "device": "cpu",
                "utilization_pct": self._utilization_pct(),
                "power_w": power_w,
                "energy_j": energy_j,
                "temperature_c": self._temperature("now") if self._temperature else None,
                "sm_clock_mhz": self._frequency_mhz() if self._frequency_mhz else None,
                "memory_used_bytes": self._memory_used(),
                "throttled_thermal_ns": _throttled_ns(self._throttled),
            }
        ]

    def _utilization_pct(self) -> float | None:
        """Return the mean since the last call; None at the first, and where too little has been counted."""
        last_s, now_s = self._utilization_s, time.monotonic()
        if last_s is not None and now_s - last_s < _LEAST_INTERVAL_S:
            return None
        self._utilization_s = now_s
        utilization_pct = self._load()  # the first call only sets the start of its interval
        return utilization_pct if last_s is not None else None

    def _find_temperature(self) -> Callable[[str], float | None] | None:
        """Return a function that gives the hottest core ("now") or its limit ("limit"), degC.

        The processor's own files are read where the kernel has them: psutil reads those of every chip.
        """
        for chip in sorted((self._root / "sys" / "class" / "hwmon").glob("hwmon*")):
            inputs = sorted(chip.glob("temp*_input"))
            if inputs and _text(chip / "name") in _CPU_SENSORS:
                now = [KeptFile(path) for path in inputs]
                return lambda what: _hottest(now) if what == "now" else _limit(inputs)
        find = getattr(psutil, "sensors_temperatures", None)
        if find is None:
            self._missing["temperature_c"] = "psutil has no temperatures on this platform"
            return None
        found = find()
        for name in _CPU_SENSORS:
            if found.get(name):
                return lambda what: _hottest_of_psutil(name, what)
        self._missing["temperature_c"] = (
            "the kernel shows no processor sensor (usual in a virtual machine; else try: "
            "sudo modprobe coretemp, or k10temp for AMD)"
        )
        return None

    def _measures_frequency(self) -> bool:
        try:
            frequency = psutil.cpu_freq()
        except (OSError, NotImplementedError, RuntimeError):
            frequency = None
        if frequency is not None and frequency.max > frequency.min > 0:
            return True
        self._missing["sm_clock_mhz"] = "the platform gives a nominal frequency, not a measured one"
        return False

    def _find_throttled(self) -> list[KeptFile]:
        """Return one file for each package: time that it was throttled for heat, ms since boot."""
        packages: dict[str, Path] = {}
        for cpu in sorted((self._root / "sys" / "devices" / "system" / "cpu").glob("cpu[0-9]*")):
            path = cpu / "thermal_throttle" / "package_throttle_total_time_ms"
            if path.is_file():
                packages.setdefault(_text(cpu / "topology" / "physical_package_id"), path)
        if not packages:
            self._missing["throttled_thermal_ns"] = (
                "the kernel counts no throttled time (it does for Intel's)"
            )
        return [KeptFile(path) for path in packages.values()]


def read_pressure(root: Path = Path("/")) -> dict[str, float]:
    """Return the seconds since boot in which something waited for each resource (PSI), where known.

    Keys are ``cpu_stalled_s``, ``memory_stalled_s``, ``io_stalled_s``. Empty outside Linux, and where
    the kernel was booted with ``psi=0``.
    """
    found = {}
    for resource in ("cpu", "memory", "io"):
        for line in _text(root / "proc" / "pressure" / resource).splitlines():
            kind, _, rest = line.partition(" ")
            total = rest.rpartition("total=")[2]
            if kind == "some" and total.isdecimal():
                found[f"{resource}_stalled_s"] = int(total) / 1e6
    return found


def _throttled_ns(files: list[KeptFile]) -> int | None:
    values = [value for file in files if (value := _number(file)) is not None]
    return sum(values) * 1_000_000 if files and len(values) == len(files) else None


def _hottest(inputs: list[KeptFile]) -> float | None:
    return max((value / 1e3 for file in inputs if (value := _number(file)) is not None), default=None)


def _limit(inputs: list[Path]) -> float | None:
    stems = [str(path).removesuffix("_input") for path in inputs]
    values = [_integer(Path(stem + end)) for end in ("_crit", "_max") for stem in stems]
    return next((value / 1e3 for value in values if value), None)


def _number(file: KeptFile) -> int | None:
    try:
        return file.integer()
    except (OSError, ValueError):
        return None


def _integer(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _hottest_of_psutil(name: str, what: str) -> float | None:
    entries = psutil.sensors_temperatures().get(name, [])
    if what == "now":
        return max((float(entry.current) for entry in entries if entry.current), default=None)
    limits = [limit for entry in entries for limit in (entry.critical or entry.high,) if limit]
    return float(max(limits)) if limits else None


def _text(path: Path) -> str:
    """Return a file's text without surrounding space, empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _cpu_model(root: Path) -> str:
    for line in _text(root / "proc" / "cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    import platform

    return platform.processor() or platform.machine()
