"""A simulated GPU as a device that the agent can read, beside the machine's own."""

import os
import time
from typing import Any

import psutil

_CHILDREN_PERIOD_S = 2.0


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
