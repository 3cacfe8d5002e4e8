"""The one interface of all device readers."""

from typing import Any, Protocol


class DeviceUnavailableError(Exception):
    """A vendor's driver, library or devices are not here; the message says which. Normal on most machines."""


class DeviceReader(Protocol):
    """Reads one vendor's devices. A reading that failed is None, never a number.

    Where there is no such device, its constructor raises `DeviceUnavailableError`.
    """

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each device by name: ``model``, ``simulated``, ``sensors``, ``missing``."""

    def read(self) -> list[dict[str, Any]]:
        """Return one sample a device: ``device`` and the columns of the `sample` kind it can give."""

    def marks(self) -> list[dict[str, Any]]:
        """Return what happened since the last call, as columns of marks: errors, devices that ended."""
        return []

    def take_failures(self) -> int:
        """Return how many readings failed in passing since the last call."""
        return 0

    def close(self) -> None:
        """Release what the reader holds."""
        return
