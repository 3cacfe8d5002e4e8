"""What fills the log: training capture, the agent's sampler, device readers, importers."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "agent.sampler": "Sampler",
        "devices.base": "DeviceReader",
        "devices.doctor": "examine_machine",
        "devices.host": "HostReader",
        "devices.nvml": "NvmlReader",
        "devices.simulated": "SimulatedReader",
        "devices.registry": "open_readers",
        "importers.import_logs": "import_run",
        "run": "Run start_run",
        "simulate.write": "simulate_run",
    },
)

if TYPE_CHECKING:
    from thermograd.ingest.agent.sampler import Sampler as Sampler
    from thermograd.ingest.devices.base import DeviceReader as DeviceReader
    from thermograd.ingest.devices.doctor import examine_machine as examine_machine
    from thermograd.ingest.devices.host import HostReader as HostReader
    from thermograd.ingest.devices.nvml import NvmlReader as NvmlReader
    from thermograd.ingest.devices.registry import open_readers as open_readers
    from thermograd.ingest.devices.simulated import SimulatedReader as SimulatedReader
    from thermograd.ingest.importers.import_logs import import_run as import_run
    from thermograd.ingest.run import Run as Run, start_run as start_run
    from thermograd.ingest.simulate.write import simulate_run as simulate_run
