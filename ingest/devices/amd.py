"""AMD GPUs through amdsmi; the only module that imports it.

Written from the documentation and source of amdsmi 7.0 and run against a stand-in only, never on a GPU.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from thermograd.ingest.devices.base import DeviceReader, DeviceUnavailableError
from thermograd.store.failures import Guard

_log = logging.getLogger("thermograd")
_NOT_A_READING = 0xFFFF  # amdsmi's "not available" for power, where it does not say "N/A"
_HOTTER_THAN_ANY_C = 500.0  # older releases gave thousandths of a degree


class AmdReader(DeviceReader):
    """Reads every AMD GPU."""

    def __init__(self) -> None:
        self._smi = _load()
        try:
            self._smi.amdsmi_init()
            handles = self._smi.amdsmi_get_processor_handles()
        except self._smi.AmdSmiException as error:
            raise DeviceUnavailableError(_sentence(error)) from error
        if not handles:
            raise DeviceUnavailableError("the driver reports no GPU")
        self._guard = Guard("an AMD GPU did not give %(place)s (%(error)s)", tell=_log.debug)
        self._gpus = [_AmdGpu(self._smi, h, self._guard, index) for index, h in enumerate(handles)]

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each GPU by ``GPU-<uuid>``."""
        return {gpu.device: gpu.describe() for gpu in self._gpus}

    def read(self) -> list[dict[str, Any]]:
        """Return one sample a GPU that answers."""
        return [sample for gpu in self._gpus if len(sample := gpu.read()) > 1]

    def take_failures(self) -> int:
        """Return how many readings failed since the last call."""
        return self._guard.take()

    def close(self) -> None:
        """Shut the library down."""
        try:
            self._smi.amdsmi_shut_down()
        except self._smi.AmdSmiException as error:
            _log.debug("amdsmi_shut_down: %s", error)


class _AmdGpu:
    """One GPU; a call that fails at first is left out and named, one that fails later gives null."""

    def __init__(self, smi: ModuleType, handle: Any, guard: Guard, index: int) -> None:
        self._smi, self._handle, self._guard, self._index = smi, handle, guard, index
        self.device = "GPU-" + smi.amdsmi_get_gpu_device_uuid(handle)
        self._missing = dict.fromkeys(
            ("throttled_thermal_ns", "throttled_power_ns", "throttled_brake_ns"),
            "amdsmi counts violations in its own unit, not in time",
        )
        wanted = self._wanted()
        self._calls = {name: wanted[name] for name in self._ask(wanted)}

    def _ask(self, calls: dict[str, Callable[[], Any]]) -> dict[str, Any]:
        """Return what calls give; those that give nothing are missing from now on, with the reason."""
        given = {}
        for name, call in calls.items():
            try:
                given[name] = call()
            except self._smi.AmdSmiException as error:
                self._missing[name] = _sentence(error)
        self._missing |= {name: "the GPU does not give it" for name, value in given.items() if value is None}
        return {name: value for name, value in given.items() if value is not None}

    def _wanted(self) -> dict[str, Callable[[], float | int | None]]:
        smi, h = self._smi, self._handle
        kind, now = smi.AmdSmiTemperatureType, smi.AmdSmiTemperatureMetric.CURRENT
        clock = smi.AmdSmiClkType
        return {
            "utilization_pct": lambda: _number(smi.amdsmi_get_gpu_activity(h)["gfx_activity"]),
            "power_w": lambda: _power(smi.amdsmi_get_power_info(h)["current_socket_power"]),
            "power_w_average": lambda: _power(smi.amdsmi_get_power_info(h)["average_socket_power"]),
            "energy_j": lambda: _energy_j(smi.amdsmi_get_energy_count(h)),
            "temperature_c": lambda: _celsius(smi.amdsmi_get_temp_metric(h, kind.HOTSPOT, now)),
            "memory_temperature_c": lambda: _celsius(smi.amdsmi_get_temp_metric(h, kind.VRAM, now)),
            "sm_clock_mhz": lambda: _number(smi.amdsmi_get_clock_info(h, clock.GFX)["clk"]),
            "memory_clock_mhz": lambda: _number(smi.amdsmi_get_clock_info(h, clock.MEM)["clk"]),
            "memory_used_bytes": lambda: float(smi.amdsmi_get_gpu_memory_usage(h, smi.AmdSmiMemoryType.VRAM)),
            "power_limit_w": lambda: _watts(smi.amdsmi_get_power_cap_info(h)["power_cap"]),
            "fan_pct": self._fan_pct,
            "ecc_corrected": lambda: smi.amdsmi_get_gpu_total_ecc_count(h)["correctable_count"],
            "ecc_uncorrected": lambda: smi.amdsmi_get_gpu_total_ecc_count(h)["uncorrectable_count"],
            "pcie_replays": lambda: smi.amdsmi_get_gpu_pci_replay_counter(h),
        }

    def _fan_pct(self) -> float | None:
        most = self._smi.amdsmi_get_gpu_fan_speed_max(self._handle, 0)
        return 100.0 * self._smi.amdsmi_get_gpu_fan_speed(self._handle, 0) / most if most else None

    def describe(self) -> dict[str, Any]:
        smi, h = self._smi, self._handle
        critical = smi.AmdSmiTemperatureMetric.CRITICAL
        wanted: dict[str, Callable[[], Any]] = {
            "model": lambda: smi.amdsmi_get_gpu_asic_info(h)["market_name"],
            "rated_power_w": lambda: _watts(smi.amdsmi_get_power_cap_info(h)["default_power_cap"]),
            "max_sm_clock_mhz": lambda: _number(
                smi.amdsmi_get_clock_info(h, smi.AmdSmiClkType.GFX)["max_clk"]
            ),
            "temperature_limit_c": lambda: _celsius(
                smi.amdsmi_get_temp_metric(h, smi.AmdSmiTemperatureType.HOTSPOT, critical)
            ),
        }
        facts: dict[str, Any] = {"model": "AMD GPU", "index": self._index, "simulated": False}
        facts |= self._ask(wanted)
        return facts | {"sensors": sorted(self._calls), "missing": dict(sorted(self._missing.items()))}

    def read(self) -> dict[str, Any]:
        sample: dict[str, Any] = {"device": self.device}
        for name, call in self._calls.items():
            try:
                sample[name] = call()
            except self._smi.AmdSmiException as error:
                self._guard.count(error, name)
        return sample


def _load() -> ModuleType:
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # it prints when it fails
            return import_module("amdsmi")
    except ModuleNotFoundError as error:
        raise DeviceUnavailableError("the package amdsmi is not installed (thermograd[amd])") from error
    except Exception as error:  # without its library the import fails in ways of its own
        raise DeviceUnavailableError(
            "amdsmi finds no libamd_smi.so; it comes with ROCm (package amd-smi-lib)"
        ) from error


def _number(value: Any) -> float | None:
    """Return a number; None for "N/A"."""
    return float(value) if isinstance(value, int | float) else None


def _power(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number < _NOT_A_READING else None


def _watts(value_uw: Any) -> float | None:
    number = _number(value_uw)
    return number / 1e6 if number else None


def _celsius(value: Any) -> float | None:
    number = _number(value)
    return number / 1e3 if number is not None and number > _HOTTER_THAN_ANY_C else number


def _energy_j(count: dict[str, Any]) -> float | None:
    accumulated, unit_uj = _number(count["energy_accumulator"]), _number(count["counter_resolution"])
    return accumulated * unit_uj / 1e6 if accumulated is not None and unit_uj else None


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())
