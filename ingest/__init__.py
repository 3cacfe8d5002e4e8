"""What fills the log: training capture, the agent's sampler, device readers, importers."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.ingest.agent.sampler import Sampler
    from thermograd.ingest.devices.base import DeviceReader
    from thermograd.ingest.devices.doctor import examine_machine
    from thermograd.ingest.devices.host import HostReader
    from thermograd.ingest.devices.nvml import NvmlReader
    from thermograd.ingest.devices.simulated import SimulatedReader
    from thermograd.ingest.devices.vendors import open_readers
    from thermograd.ingest.importers.importing import import_run
    from thermograd.ingest.run import Run, start_run
    from thermograd.ingest.simulate.write import simulate_run
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "thermograd.ingest.agent.sampler": "Sampler",
            "thermograd.ingest.devices.base": "DeviceReader",
            "thermograd.ingest.devices.doctor": "examine_machine",
            "thermograd.ingest.devices.host": "HostReader",
            "thermograd.ingest.devices.nvml": "NvmlReader",
            "thermograd.ingest.devices.simulated": "SimulatedReader",
            "thermograd.ingest.devices.vendors": "open_readers",
            "thermograd.ingest.importers.importing": "import_run",
            "thermograd.ingest.run": "Run start_run",
            "thermograd.ingest.simulate.write": "simulate_run",
        },
    )

__all__ = [
    "DeviceReader",
    "HostReader",
    "NvmlReader",
    "Run",
    "Sampler",
    "SimulatedReader",
    "examine_machine",
    "import_run",
    "open_readers",
    "simulate_run",
    "start_run",
]
