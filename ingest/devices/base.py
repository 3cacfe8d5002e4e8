"""Which devices an agent samples, behind one small interface."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from thermograd.ingest.devices.amd import AmdReader, AmdUnavailableError
from thermograd.ingest.devices.apple import AppleReader, AppleUnavailableError
from thermograd.ingest.devices.host import HostReader
from thermograd.ingest.devices.nvml import NvmlReader, NvmlUnavailableError
from thermograd.ingest.simulate.reader import SimulatedReader

_log = logging.getLogger("thermograd")

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
