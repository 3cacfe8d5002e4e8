"""A run that a test writes while something looks at it."""

from pathlib import Path
from typing import Any

from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

SECOND = 10**9
START_NS = 1_790_000_000 * SECOND
GPU = {"model": "NVIDIA H200", "index": 0, "rated_power_w": 700.0, "temperature_limit_c": 87.0}
_WRITING: set[EventWriter] = set()


def end_all() -> None:
    """End the logs that a test has left open: their threads do not meet what the next one patches."""
    while _WRITING:
        _WRITING.pop().close()


class Training:
    """A run that is written step by step; with more than one rank, by as many writers."""

    def __init__(
        self,
        folder: Path,
        ranks: int = 1,
        devices: dict[str, Any] | None = None,
        start_ns: int = START_NS,
        name: str = "live",
    ) -> None:
        given = {"gpu": GPU} if devices is None else devices
        self.run = create_run(folder, name, {"devices": given, "sampling_hz": 1.0})
        self.start_ns = start_ns
        self.ranks = [self.writer(f"host-r{rank}", "step") for rank in range(ranks)]
        self.agent = self.writer("agent", "sample", "alert", "mark")
        self.steps = self.samples = 0

    def writer(self, name: str, *kinds: str) -> EventWriter:
        """Begin another writer's log."""
        made = EventWriter(self.run.path, self.run.run_id, name, kinds, role="training")
        _WRITING.add(made)
        return made

    def train(self, count: int, **values: Any) -> None:
        """Log so many steps of every rank, ten a second."""
        for i in range(self.steps, self.steps + count):
            time_ns = self.start_ns + i * SECOND // 10
            for rank, writer in enumerate(self.ranks):
                told = {"loss": 2.0 + i % 7, "grad_norm": 1.0 + i % 5, "step_time_s": 0.1} | values
                writer.append("step", time_ns, time_ns, step=i, rank=rank, **told)
        self.steps += count

    def sample(self, count: int, device: str = "gpu") -> None:
        """Log so many samples, one a second."""
        for i in range(self.samples, self.samples + count):
            time_ns = self.start_ns + i * SECOND
            told = {"temperature_c": 60.0 + i % 9, "power_w": 500.0 + i % 4, "utilization_pct": 90.0}
            self.agent.append("sample", time_ns, time_ns, device=device, **told)
        self.samples += count

    def seal(self) -> None:
        """Seal what is there, as if nobody wrote any more."""
        seal_run(self.run.path, self.run.run_id, frozenset())

    def close(self) -> None:
        """End the run."""
        for writer in (*self.ranks, self.agent):
            writer.close()
            _WRITING.discard(writer)
