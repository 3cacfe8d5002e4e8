"""The devices of this machine, sampled into every run that is received from this machine."""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from thermograd.ingest.agent.sampler import Sampler
from thermograd.ingest.devices.registry import described, open_readers
from thermograd.ingest.otlp.received_run import ReceivedRun

_ENDING_S = 10.0


class OwnDevices:
    """Samples until it is closed; `runs` returns those that the samples go to."""

    def __init__(self, hz: float, runs: Callable[[], Iterable[ReceivedRun]]) -> None:
        self._runs = runs
        readers, self._absent = open_readers(None, os.getpid())
        self._devices = described(readers)
        self._sampler = Sampler(readers, self, hz)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sampler.run, args=(self._stop,), daemon=True)
        self._thread.start()

    def facts(self, writer: str) -> dict[str, dict[str, Any]]:
        """Return what ``run.json`` says of the devices that a writer has samples of."""
        sampling = {writer: self._sampler.schedule}
        return {"devices": self._devices, "devices_absent": self._absent, "sampling": sampling}

    def append(self, kind: str, /, **values: Any) -> None:
        """Write a sample or a mark of the sampler into every run."""
        for run in self._runs():
            run.writer.append(kind, **values)

    def close(self) -> None:
        """Read each device once more, and end."""
        self._stop.set()
        self._thread.join(_ENDING_S)
