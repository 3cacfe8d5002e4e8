"""A simulated GPU as a device that the agent can read, beside the machine's own."""

import os
import time
from typing import Any

import psutil
from thermograd.ingest.devices.base import DeviceReader
from thermograd.ingest.simulate.gpu import SimulatedGpu

_CHILDREN_PERIOD_S = 2.0


class SimulatedReader(DeviceReader):
    """A simulated GPU that a real process heats: its load is the processor time of `pid` and its children.

    One busy processor core is full load, whatever the number of cores.
    """

    def __init__(self, preset: str, pid: int) -> None:
        self._gpu = SimulatedGpu(preset)
        self._pid = pid
        self._processes: dict[int, psutil.Process] = {}
        self._children_at_s = 0.0
        self._last = (0.0, 0.0)  # monotonic clock and busy time, s
        self._last = (time.monotonic(), self._busy_s())

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
        return [self._gpu.read()]
