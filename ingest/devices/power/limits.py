"""The power limits of this machine's NVIDIA GPUs, through NVML: read, and, where that is allowed, set.

Limits are whole milliwatts, as NVML has them, so that what was found is put back to the digit.
"""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.ingest.devices.base import DeviceUnavailableError
from thermograd.ingest.devices.visible_gpus import Gpu
from thermograd.store.telling.devices import device_label

_log = logging.getLogger("thermograd")
_NO_PERMISSION = 4
_SYS_ADMIN = 21  # of the capabilities; what NVIDIA's kernel module asks for
_WHOLE_MACHINE = ["0", "0", "4294967295"]  # /proc/self/uid_map outside any user namespace


class LimitError(Exception):
    """A power limit that cannot be read or set; the message says why."""


class NotPermittedError(LimitError):
    """That this process may not set power limits."""


class PowerLimits:
    """NVML, opened for power limits. Raises `DeviceUnavailableError` where there is no driver or GPU."""

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise DeviceUnavailableError("the package nvidia-ml-py is not installed") from error
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise DeviceUnavailableError(f"{error}: no NVIDIA driver here") from error

    def gpus(self) -> list[Gpu]:
        """Return the GPUs that NVML sees, in its order; one that does not answer is left out."""
        nvml, found = self._nvml, []
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                found.append(Gpu(str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle))))
            except nvml.NVMLError as error:
                _log.debug("GPU %d: %s", index, error)
        return found

    def of(self, uuid: str) -> "GpuLimit":
        """Return the limit of one GPU. Raises `LimitError` where NVML knows no such GPU."""
        try:
            return GpuLimit(self._nvml, self._nvml.nvmlDeviceGetHandleByUUID(uuid), uuid)
        except self._nvml.NVMLError as error:
            raise LimitError(f"{uuid}: {error}") from error

    def close(self) -> None:
        """Shut NVML down, as far as it is ours."""
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError as error:
            _log.debug("nvmlShutdown: %s", error)


class GpuLimit:
    """The power limit of one GPU. Every method raises `LimitError` where the driver refuses."""

    def __init__(self, nvml: Any, handle: Any, uuid: str) -> None:
        self._nvml, self._handle, self.uuid = nvml, handle, uuid

    @property
    def label(self) -> str:
        """What the GPU is called for a person."""
        facts: dict[str, Any] = {}
        with suppress(self._nvml.NVMLError):
            facts["model"] = str(self._nvml.nvmlDeviceGetName(self._handle))
            facts["index"] = int(self._nvml.nvmlDeviceGetIndex(self._handle))
        return device_label(self.uuid, {self.uuid: facts})

    def now_mw(self) -> int:
        """Return the limit that is set."""
        return int(self._ask("nvmlDeviceGetPowerManagementLimit"))

    def range_mw(self) -> tuple[int, int]:
        """Return the lowest and the highest limit that the GPU takes."""
        least, most = self._ask("nvmlDeviceGetPowerManagementLimitConstraints")
        return int(least), int(most)

    def is_divided(self) -> bool:
        """Return whether the GPU is divided (MIG)."""
        try:
            return bool(self._nvml.nvmlDeviceGetMigMode(self._handle)[0])
        except self._nvml.NVMLError:  # most GPUs cannot be
            return False

    def set_mw(self, limit_mw: int) -> None:
        """Set the limit. Raises `NotPermittedError` where this process may not."""
        self._ask("nvmlDeviceSetPowerManagementLimit", limit_mw)

    def _ask(self, name: str, *values: int) -> Any:
        try:
            return getattr(self._nvml, name)(self._handle, *values)
        except self._nvml.NVMLError as error:
            kind = NotPermittedError if error.value == _NO_PERMISSION else LimitError
            raise kind(f"{self.label}: {error}") from error


def may_set_limits(process: Path = Path("/proc/self")) -> bool | None:
    """Return whether this process may set power limits, without trying; None where that is not known.

    On Linux the driver asks for the capability SYS_ADMIN, and not one of a user namespace.
    """
    try:
        status = (process / "status").read_text("ascii", "replace")
        held = int(status.partition("CapEff:")[2].split()[0], 16)
        is_whole = (process / "uid_map").read_text("ascii").split() == _WHOLE_MACHINE
    except (OSError, ValueError, IndexError):
        return None
    return bool(held >> _SYS_ADMIN & 1) and is_whole


def watts(limit_mw: int) -> str:
    """Return a limit for a person.

    Examples
    --------
    >>> watts(350_000), watts(212_500)
    ('350 W', '212.5 W')
    """
    return f"{limit_mw / 1e3:g} W"
