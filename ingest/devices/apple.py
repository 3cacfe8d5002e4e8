"""Energy of Apple's chips through zeus-apple-silicon; the only module that imports it.

Written from the source of zeus-apple-silicon 1.1 and run against a stand-in only, never on a Mac. The
numbers are the chip's own model of its energy, not a sensor's; Apple calls them estimates, so do the facts.
"""

import logging
import time
from importlib import import_module
from typing import Any

from thermograd.ingest.devices.base import DeviceReader, DeviceUnavailableError
from thermograd.store.failures import Guard

_log = logging.getLogger("thermograd")
_PARTS = {"apple-gpu": "gpu_mj", "apple-cpu": "cpu_total_mj"}


class AppleReader(DeviceReader):
    """Reads the energy of the chip's GPU and processor, as devices ``apple-gpu`` and ``apple-cpu``."""

    def __init__(self) -> None:
        try:
            monitor = import_module("zeus_apple_silicon").AppleEnergyMonitor
        except ImportError as error:
            raise DeviceUnavailableError(
                "the package zeus-apple-silicon is not installed (thermograd[apple], macOS only)"
            ) from error
        if not hasattr(monitor, "get_cumulative_energy"):
            raise DeviceUnavailableError("zeus-apple-silicon is too old; 1.1 or newer is needed")
        try:
            self._monitor = monitor()
            first = self._energies_j()
        except RuntimeError as error:
            raise DeviceUnavailableError(f"the chip's energy cannot be read ({error})") from error
        if not first:
            raise DeviceUnavailableError("the chip gives no energy")
        self._devices = sorted(first)
        self._last = (time.monotonic(), first)
        self._guard = Guard("the chip's energy cannot be read (%(error)s)", tell=_log.debug)

    def _energies_j(self) -> dict[str, float]:
        energy = self._monitor.get_cumulative_energy()
        values = {device: getattr(energy, name) for device, name in _PARTS.items()}
        return {device: value / 1e3 for device, value in values.items() if value is not None}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each part of the chip."""
        reason = "zeus-apple-silicon gives energy only"
        facts = {
            "simulated": False,
            "estimated": "the chip's own model of its energy, not a sensor",
            "sensors": ["energy_j", "power_w"],
            "missing": {"temperature_c": reason, "sm_clock_mhz": reason, "utilization_pct": reason},
        }
        return {
            device: {"model": f"Apple, {device.removeprefix('apple-')}"} | facts for device in self._devices
        }

    def read(self) -> list[dict[str, Any]]:
        """Return one sample a part; power is the mean since the last call."""
        now_s = time.monotonic()
        try:
            energies = self._energies_j()
        except RuntimeError as error:
            self._guard.count(error)
            return []
        last_s, before = self._last
        self._last = (now_s, energies)
        samples = []
        for device, energy_j in energies.items():
            sample: dict[str, Any] = {"device": device, "energy_j": energy_j}
            if now_s > last_s and device in before:
                sample["power_w"] = (energy_j - before[device]) / (now_s - last_s)
            samples.append(sample)
        return samples

    def take_failures(self) -> int:
        """Return how many readings failed since the last call."""
        return self._guard.take()
