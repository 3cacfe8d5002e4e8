"""NVIDIA GPUs through NVML; beside `power.limits`, the only module that imports pynvml.

Written from ``nvml.h`` and tested through unmodified pynvml against a stand-in library.
"""

import ctypes
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from thermograd.ingest.devices.base import DeviceReader, DeviceUnavailableError
from thermograd.ingest.devices.nvml_fields import xid_text
from thermograd.ingest.devices.nvml_gpu import NvmlGpu
from thermograd.ingest.devices.visible_gpus import Gpu, select_gpus
from thermograd.store.telling.devices import device_labels

_log = logging.getLogger("thermograd")
_EVENT_WAIT_MS = 500
_XID_EVENTS = 0x8
_TIMEOUT, _NO_LIBRARY = 10, 12


class NvmlReader(DeviceReader):
    """Reads every NVIDIA GPU that the job may use.

    Parameters
    ----------
    environment
        The job's environment variables, for ``CUDA_VISIBLE_DEVICES``; by default this process's.

    Attributes
    ----------
    unreadable
        GPUs that are there and cannot be read, with the reason.
    reading
        The GPU that is being read just now, for who wonders where that hangs.

    Raises
    ------
    DeviceUnavailableError
        If there is no driver or no GPU: normal on most machines.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise DeviceUnavailableError("the package nvidia-ml-py is not installed") from error
        self._nvml = pynvml
        self.unreadable: dict[str, str] = {}
        self.reading: str | None = None
        self._note: str | None = None
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise DeviceUnavailableError(_advice(error)) from error
        try:
            self._versions = {
                "driver_version": pynvml.nvmlSystemGetDriverVersion(),
                "nvml_version": pynvml.nvmlSystemGetNVMLVersion(),
            }
            self._gpus = self._open(os.environ if environment is None else environment)
        except (pynvml.NVMLError, DeviceUnavailableError) as error:
            self._shut_down()
            raise DeviceUnavailableError(str(error)) from error
        labels = device_labels({gpu.uuid: gpu.identity for gpu in self._gpus})
        self._events = _XidWatcher(pynvml, self._handles, labels)

    def _open(self, environment: Mapping[str, str]) -> list[NvmlGpu]:
        """Open the GPUs that the environment chooses; one that does not answer does not hide the others."""
        nvml = self._nvml
        handles, known, numbers = [], [], []
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                known.append(Gpu(nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)))
                handles.append(handle)
                numbers.append(index)
            except nvml.NVMLError as error:
                self.unreadable[f"nvidia GPU {index}"] = str(error)
        if not known:
            raise DeviceUnavailableError("; ".join(self.unreadable.values()) or "the driver reports no GPU")
        indices, self._note = select_gpus(known, environment, self._mig_parent)
        if not indices:
            raise DeviceUnavailableError(str(self._note))
        gpus = []
        self._handles: dict[str, Any] = {}
        for i in indices:
            try:
                gpus.append(NvmlGpu(nvml, handles[i], self._versions["driver_version"], numbers[i]))
                self._handles[known[i].uuid] = handles[i]
            except nvml.NVMLError as error:
                self.unreadable[known[i].uuid] = str(error)
        if not gpus:
            raise DeviceUnavailableError("; ".join(self.unreadable.values()))
        return gpus

    def _mig_parent(self, name: str) -> str | None:
        nvml = self._nvml
        try:
            part = nvml.nvmlDeviceGetHandleByUUID(name)
            whole = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)
            return str(nvml.nvmlDeviceGetUUID(whole))
        except nvml.NVMLError:
            return None

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each GPU by ``GPU-<uuid>``."""
        shared = self._versions | ({"note": self._note} if self._note else {})
        facts = {gpu.uuid: gpu.describe() | shared for gpu in self._gpus}
        for uuid, reason in self._events.refused.items():
            facts[uuid]["missing"]["xid events"] = reason
        return facts

    def read(self) -> list[dict[str, Any]]:
        """Return one sample a GPU that answers."""
        samples = []
        for gpu in self._gpus:
            self.reading = gpu.uuid
            if (sample := gpu.read()) is not None:
                samples.append(sample)
        self.reading = None
        return samples

    def marks(self) -> list[dict[str, Any]]:
        """Return what happened since the last call: XID errors, lost GPUs, readings that ended."""
        found = self._events.take()
        for gpu in self._gpus:
            found += gpu.marks
            gpu.marks = []
        return found

    def take_failures(self) -> int:
        """Return how many readings failed in passing since the last call."""
        return sum(gpu.guard.take() for gpu in self._gpus)

    def close(self) -> None:
        """Stop listening for events and shut NVML down."""
        if self._events.stop():  # NVML must not be shut down under a thread that waits in it
            self._shut_down()

    def _shut_down(self) -> None:
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError as error:
            _log.debug("nvmlShutdown: %s", error)


class _XidWatcher:
    """Waits for XID errors in a thread of its own; errors from before it began are lost."""

    def __init__(self, nvml: Any, handles: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        self._nvml, self._labels = nvml, labels
        self._uuids = {_address(handle): uuid for uuid, handle in handles.items()}
        self._marks: deque[dict[str, Any]] = deque()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.refused: dict[str, str] = {}
        try:
            self._set = nvml.nvmlEventSetCreate()
        except nvml.NVMLError as error:
            self.refused = dict.fromkeys(handles, str(error))
            return
        for uuid, handle in handles.items():
            try:
                nvml.nvmlDeviceRegisterEvents(handle, _XID_EVENTS, self._set)
            except nvml.NVMLError as error:
                self.refused[uuid] = str(error)
        if len(self.refused) < len(handles):
            self._thread = threading.Thread(target=self._wait, name="thermograd-xid", daemon=True)
            self._thread.start()

    def _wait(self) -> None:
        while not self._stop.is_set():
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._set, _EVENT_WAIT_MS)
            except self._nvml.NVMLError as error:
                if error.value != _TIMEOUT:
                    self._stop.wait(_EVENT_WAIT_MS / 1e3)
                continue
            if event.eventType & _XID_EVENTS:
                self._note(event)

    def _note(self, event: Any) -> None:
        xid = int(event.eventData)
        uuid = self._uuids.get(_address(event.device), "a GPU")
        self._marks.append(
            {
                "mark": "error",
                "time_ns": time.time_ns(),
                "monotonic_ns": time.monotonic_ns(),
                "text": f"{self._labels.get(uuid, uuid)}: {xid_text(xid)}",
                "detail": json.dumps({"xid": xid, "device": uuid}),
            }
        )

    def take(self) -> list[dict[str, Any]]:
        return [self._marks.popleft() for _ in range(len(self._marks))]

    def stop(self) -> bool:
        """Return whether no thread is in NVML any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(4 * _EVENT_WAIT_MS / 1e3)
            if self._thread.is_alive():
                return False
        if hasattr(self, "_set"):
            try:
                self._nvml.nvmlEventSetFree(self._set)
            except self._nvml.NVMLError as error:
                _log.debug("nvmlEventSetFree: %s", error)
        return True


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


def _advice(error: Any) -> str:
    """Return why NVML cannot start, and what a container needs for it."""
    needs = "a container needs its runtime's --gpus option and NVIDIA_DRIVER_CAPABILITIES=utility"
    return f"{error}: no NVIDIA driver here ({needs})" if error.value == _NO_LIBRARY else str(error)
