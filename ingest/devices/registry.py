"""Which devices of this machine an agent samples."""

import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any

from thermograd.ingest.devices.amd import AmdReader
from thermograd.ingest.devices.apple import AppleReader
from thermograd.ingest.devices.base import DeviceReader, DeviceUnavailableError
from thermograd.ingest.devices.host import HostReader
from thermograd.ingest.devices.nvml import NvmlReader
from thermograd.ingest.devices.simulated import SimulatedReader

_log = logging.getLogger("thermograd")

_VENDORS: dict[str, Callable[[], DeviceReader]] = {
    "nvidia": NvmlReader,
    "amd": AmdReader,
    "apple": AppleReader,
}


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
        The readers, and why others are not among them, by vendor.
    """
    readers: list[DeviceReader] = [HostReader()]
    absent = {}
    for vendor, open_reader in _VENDORS.items():
        try:
            readers.append(open_reader())
        except DeviceUnavailableError as error:
            absent[vendor] = str(error)
        except Exception as error:  # noqa: BLE001 - a vendor's library that breaks must not hide the other devices
            absent[vendor] = f"its library failed: {type(error).__name__}: {error}"
            _log.warning("thermograd: %s devices cannot be read (%r)", vendor, error)
    for reader in readers:
        absent |= getattr(reader, "unreadable", {})
    if simulate:
        readers.append(SimulatedReader(simulate, pid))
    return readers, absent


def described(readers: Iterable[DeviceReader]) -> dict[str, dict[str, Any]]:
    """Return what is known of each device that these readers read, this host among it."""
    found = [reader.describe().items() for reader in readers]
    return {name: facts | {"host": socket.gethostname()} for items in found for name, facts in items}
