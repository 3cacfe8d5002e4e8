"""What exporters call their readings, and of which device each is: of NVIDIA, of AMD, of the host."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from thermograd.ingest.importers.formats.prometheus.dcgm_names import (
    DCGM_METRICS,
    DCGM_PREFIX,
    HOST_LABELS,
    first_of,
)

_SMI = {  # of nvidia_gpu_exporter, which names units behind the fields of nvidia-smi
    "power_draw_watts": ("power_w_average", 1.0),
    "power_draw_instant_watts": ("power_w", 1.0),
    "enforced_power_limit_watts": ("power_limit_w", 1.0),
    "temperature_gpu": ("temperature_c", 1.0),
    "temperature_memory": ("memory_temperature_c", 1.0),
    "utilization_gpu_ratio": ("utilization_pct", 100.0),
    "memory_used_bytes": ("memory_used_bytes", 1.0),
    "clocks_current_sm_clock_hz": ("sm_clock_mhz", 1e-6),
    "clocks_current_memory_clock_hz": ("memory_clock_mhz", 1e-6),
    "fan_speed_ratio": ("fan_pct", 100.0),
}
_NVML = {  # of nvidia_gpu_prometheus_exporter
    "power_usage_milliwatts": ("power_w_average", 1e-3),
    "temperature_celsius": ("temperature_c", 1.0),
    "duty_cycle": ("utilization_pct", 1.0),
    "memory_used_bytes": ("memory_used_bytes", 1.0),
    "fanspeed_percent": ("fan_pct", 1.0),
}
_AMD = {  # of AMD's device-metrics-exporter
    "gpu_average_package_power": ("power_w_average", 1.0),
    "gpu_package_power": ("power_w", 1.0),
    "gpu_junction_temperature": ("temperature_c", 1.0),
    "gpu_memory_temperature": ("memory_temperature_c", 1.0),
    "gpu_gfx_activity": ("utilization_pct", 1.0),
}
GPU_METRICS: dict[str, tuple[str, float]] = {
    **{f"{DCGM_PREFIX}{name}": known for name, known in DCGM_METRICS.items()},
    **{f"nvidia_smi_{name}": known for name, known in _SMI.items()},
    **{f"nvidia_gpu_{name}": known for name, known in _NVML.items()},
    **_AMD,
}
_HWMON = {  # of node_exporter, by chip and sensor
    "node_hwmon_temp_celsius": ("temperature_c", 1.0),
    "node_hwmon_power_watt": ("power_w", 1.0),
    "node_hwmon_power_average_watt": ("power_w_average", 1.0),
}
_RAPL = re.compile(r"node_rapl_(package|dram)_joules_total")


class Reading(NamedTuple):
    """What a metric is: its column, the factor to its unit, and the device (None: that of its labels)."""

    column: str
    factor: float
    device: str | None = None


def reading_of(name: str, labels: Mapping[str, str]) -> Reading | None:
    """Return what a metric is; None for one of no use. The keys of `labels` are in lower case."""
    known = GPU_METRICS.get(name) or GPU_METRICS.get(name.removesuffix("_total"))
    if known is not None:
        return Reading(*known)
    host = first_of(labels, HOST_LABELS)
    prefix = f"{host}:" if host else ""
    if name in _HWMON and labels.get("chip") and labels.get("sensor"):
        return Reading(*_HWMON[name], f"{prefix}{labels['chip']}/{labels['sensor']}")
    if _RAPL.fullmatch(name):
        part = "ram" if "dram" in name else "cpu"
        return Reading("energy_j", 1.0, f"{prefix}{part}{labels.get('index', '')}")
    return None
