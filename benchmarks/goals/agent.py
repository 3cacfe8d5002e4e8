"""What the agent costs at 5 Hz beside a training of ten steps a second, and what it takes to begin and end.

One agent of this host, and one with eight stand-in GPUs beside it (needs gcc), at the same time, their stream
layers too. What is resident is what the agents have while they sample, libraries that they share with others
included. Then trainings that have imported torch and nothing of ours: the first use of `start_run`, which
imports it, counts, by the processor time of the calling thread.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from thermograd.ingest.agent.supervisor import AgentProcess
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from fake_nvml import FakeNvml, build
from goals.goal import Goal, main

_GPUS = 8
_SETTLED_S = 5.0
_SCRIPT = """
import json, sys, time
import torch

def timed(do):
    wall, own = time.perf_counter(), time.thread_time()
    result = do()
    return result, [time.perf_counter() - wall, time.thread_time() - own]

import thermograd
run, start = timed(lambda: thermograd.start_run("startup", sys.argv[1]))
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.AdamW(model.parameters())
_, watch = timed(lambda: run.watch(optimizer))
for _ in range(10):
    model(torch.ones(4, 8)).square().mean().backward()
    optimizer.step()
time.sleep(float(sys.argv[2]))
_, close = timed(run.close)
print(json.dumps({"start_run": start, "watch": watch, "close": close}))
"""


class _Agent:
    """An agent that runs, beside the log of a training."""

    def __init__(self, runs: Path, name: str, environment: dict[str, str]) -> None:
        before = dict(os.environ)
        os.environ.update(environment)
        self._run = create_run(runs, name)
        self._process = AgentProcess(self._run.path, 5.0, None, lambda line: None)
        for variable in environment.keys() - before.keys():
            del os.environ[variable]
        os.environ.update(before)
        self._log = EventWriter(self._run.path, self._run.run_id, "training")
        self._of = psutil.Process(self._process.pid)

    def step(self, step: int) -> None:
        self._log.append("step", step=step, loss=1.0, grad_norm=1.0 + step % 7 / 100)

    def cpu_s(self) -> float:
        return sum(self._of.cpu_times()[:2])

    def resident_mib(self) -> float:
        return self._of.memory_info().rss / 2**20

    def end(self) -> int:
        """End it; return how many devices it sampled."""
        self._process.stop()
        self._log.close()
        return len(Run(self._run.path).facts["devices"])


def _train(agents: list[_Agent], seconds: float) -> float:
    """Write ten quiet steps a second; return how long it took."""
    begun = time.monotonic()
    for step in range(round(10 * seconds)):
        for agent in agents:
            agent.step(step)
        time.sleep(max(0.0, begun + (step + 1) / 10 - time.monotonic()))
    return time.monotonic() - begun


def _of_agents(seconds: float) -> Iterator[Goal]:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        fake = FakeNvml(build(folder / "library"), folder / "gpus", _GPUS)
        agents = [_Agent(folder / "runs", "one", {}), _Agent(folder / "runs", "gpus", fake.environment())]
        _train(agents, _SETTLED_S)
        begun = [agent.cpu_s() for agent in agents]
        took_s = _train(agents, seconds)
        shares = [100 * (agent.cpu_s() - b) / took_s for agent, b in zip(agents, begun, strict=True)]
        resident = [agent.resident_mib() for agent in agents]
        devices = [agent.end() for agent in agents]
    of = f"over {took_s:.0f} s, stream layer and log included"
    yield Goal("agent.one_device", "agent at 5 Hz, one device", shares[0], 0.6, "%", f"of a core, {of}")
    what = f"agent at 5 Hz, {devices[1] - 1} stand-in GPUs and the host"
    yield Goal("agent.eight_gpus", what, shares[1], 2.0, "%", f"of a core, {of}")
    told = " and ".join(f"{mib:.1f} MiB of {count}" for mib, count in zip(resident, devices, strict=True))
    yield Goal("agent.resident", "agent, resident memory", max(resident), 60.0, "MiB", f"{told} devices")
    least = f"the first {_SETTLED_S:.0f} s with their samples"
    yield Goal("agent.start", "agent's start, processor time", begun[0], 0.4, "s", least)


def _of_trainings(rounds: int) -> Iterator[Goal]:
    taken = []
    with tempfile.TemporaryDirectory() as runs:
        for _ in range(rounds):
            command = [sys.executable, "-c", _SCRIPT, runs, "2"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            taken.append(json.loads(done.stdout))
    for call, limit_ms in (("start_run", 95.0), ("watch", None)):
        wall, own = (sorted(1e3 * each[call][kind] for each in taken) for kind in (0, 1))
        told = f"{own[0]:.0f} to {own[-1]:.0f} ms; by the clock {statistics.median(wall):.0f} ms"
        middle = statistics.median(own)
        yield Goal(f"start.{call}", f"`{call}`, processor time of its thread", middle, limit_ms, "ms", told)
    close = sorted(1e3 * each["close"][0] for each in taken)
    told = f"{close[0]:.0f} to {close[-1]:.0f} ms"
    yield Goal(
        "agent.close", "`close`, which waits for the agent", statistics.median(close), None, "ms", told
    )


def measure(quick: bool) -> Iterator[Goal]:
    """Measure the agents, then trainings that start and end."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
    yield from _of_agents(3.0 if quick else 20.0)
    yield from _of_trainings(1 if quick else 5)


if __name__ == "__main__":
    main(measure)
