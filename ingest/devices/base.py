"""Which devices an agent samples, behind one small interface."""

import logging
import os
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Protocol

import psutil
from thermograd.ingest.devices.amd import AmdReader, AmdUnavailableError
from thermograd.ingest.devices.apple import AppleReader, AppleUnavailableError
from thermograd.ingest.devices.host import HostReader, read_pressure
from thermograd.ingest.devices.nvml import NvmlReader, NvmlUnavailableError

_log = logging.getLogger("thermograd")
_CHILDREN_PERIOD_S = 2.0
_OPTIONAL = {
    "torch": "needed to record torch training (thermograd[train])",
    "transformers": "needed for the Trainer callback and the demo (thermograd[train])",
    "lightning": "needed for the Lightning callback (thermograd[lightning])",
    "altair": "needed for report.html (thermograd[report])",
    "matplotlib": "needed for figures (thermograd[report])",
    "tensorboard": "needed to import event files (thermograd[import])",
    "wandb": "needed to import offline runs of it (thermograd[import])",
    "apprise": "needed to send alerts to chats and mail (thermograd[alerts])",
}

_VENDORS: dict[str, Callable[[], "DeviceReader"]] = {
    "nvidia": lambda: NvmlReader(),
    "amd": lambda: AmdReader(),
    "apple": lambda: AppleReader(),
}


class DeviceReader(Protocol):
    """Reads one vendor's devices. A reading that failed is None, never a number."""

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each device by name: ``model``, ``simulated``, ``sensors``, ``missing``."""

    def read(self) -> list[dict[str, Any]]:
        """Return one sample a device: ``device`` and the columns of the `sample` kind it can give."""

    def marks(self) -> list[dict[str, Any]]:
        """Return what happened since the last call, as columns of marks: errors, devices that ended."""

    def take_failures(self) -> int:
        """Return how many readings failed in passing since the last call."""

    def close(self) -> None:
        """Release what the reader holds."""


class SimulatedReader:
    """A simulated GPU that a real process heats: its load is that process's processor time.

    One busy processor core is full load, whatever the number of cores.

    Parameters
    ----------
    preset
        Part to simulate, see `thermograd.ingest.simulate.gpu.SimulatedGpu`.
    pid
        The process, with its children, whose load it follows.
    """

    def __init__(self, preset: str, pid: int) -> None:
        from thermograd.ingest.simulate.gpu import SimulatedGpu

        self._gpu = SimulatedGpu(preset)
        self._pid = pid
        self._processes: dict[int, psutil.Process] = {}
        self._children_at_s = 0.0
        self._last = (time.monotonic(), 0.0)
        self._last = (self._last[0], self._busy_s())

    def _busy_s(self) -> float:
        """Return the processor seconds that the process and its children (but not we) have used."""
        total = 0.0
        try:
            if time.monotonic() >= self._children_at_s:
                self._children_at_s = time.monotonic() + _CHILDREN_PERIOD_S
                self._find_processes()
            for process in self._processes.values():
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.Error:
            self._children_at_s = 0.0  # one has ended: look again, and say nothing new this time
            return self._last[1]
        return total

    def _find_processes(self) -> None:
        """Look for children now and then: that reads every process of the machine."""
        parent = self._processes.get(self._pid) or psutil.Process(self._pid)
        known, self._processes = self._processes, {}
        for process in [parent, *parent.children(recursive=True)]:
            if process.pid != os.getpid():
                self._processes[process.pid] = known.get(process.pid, process)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the simulated part's facts, ``simulated: True`` among them."""
        return {self._gpu.device: self._gpu.describe()}

    def read(self) -> list[dict[str, Any]]:
        """Let the time since the last call pass in the model, then read its sensors."""
        now_s, busy_s = time.monotonic(), self._busy_s()
        elapsed_s = now_s - self._last[0]
        load = (busy_s - self._last[1]) / elapsed_s if elapsed_s > 0 else 0.0
        self._last = (now_s, busy_s)
        self._gpu.advance(elapsed_s, min(1.0, max(0.0, load)))
        return [{"device": self._gpu.device, **self._gpu.read()}]

    def marks(self) -> list[dict[str, Any]]:
        """Nothing happens to a simulated GPU that its samples do not say."""
        return []

    def take_failures(self) -> int:
        """None fail."""
        return 0

    def close(self) -> None:
        """Nothing to release."""


def open_readers(simulate: str | None, pid: int) -> tuple[list[DeviceReader], dict[str, str]]:
    """Open a reader for everything this machine has.

    Parameters
    ----------
    simulate
        Preset of a simulated GPU to add, or None.
    pid
        Process that loads the simulated GPU.

    Returns
    -------
    readers, absent
        The readers, and why the others are not among them, by vendor.
    """
    readers: list[DeviceReader] = [HostReader()]
    absent = {}
    for vendor, open_reader in _VENDORS.items():
        try:
            readers.append(open_reader())
        except (NvmlUnavailableError, AmdUnavailableError, AppleUnavailableError) as error:
            absent[vendor] = str(error)
        except Exception as error:  # noqa: BLE001 - a vendor's library that breaks must not hide the other devices
            absent[vendor] = f"its library failed: {type(error).__name__}: {error}"
            _log.warning("thermograd: %s devices cannot be read (%r)", vendor, error)
    for reader in readers:
        absent |= getattr(reader, "unreadable", {})
    if simulate:
        readers.append(SimulatedReader(simulate, pid))
    return readers, absent


def examine_machine() -> dict[str, Any]:
    """Return what this machine can measure, what it cannot, and why: the document of ``doctor``."""
    readers, absent = open_readers(None, os.getpid())
    devices: dict[str, Any] = {}
    for reader in readers:
        devices |= reader.describe()
        reader.close()
    packages = {
        package: f"installed, {_version(package)}" if find_spec(package) else f"not installed; {purpose}"
        for package, purpose in _OPTIONAL.items()
    }
    pressure = sorted(read_pressure())
    return {"devices": devices, "absent": absent, "pressure": pressure, "packages": packages}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "version unknown"
