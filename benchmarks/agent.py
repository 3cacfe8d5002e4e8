"""What the agent costs, and whether it goes on sampling while the trainer holds the interpreter.

Cost: processor time and memory of the agent at 5 Hz while a stand-in for a training writes ten steps a
second; with the stream layer (as it runs), without it, and with two GPUs that a stand-in for NVIDIA's
library answers for (needs gcc). Private memory is what would be free without the agent; the rest of the
resident memory is shared libraries, most of them the trainer's too.

Sampling: the trainer makes calls into C that hold the interpreter's lock for 2.7 s (a `PyDLL` sleep, and a
`pickle.dumps` as long as this machine takes), while the agent and a thread of the trainer both sample ten
times a second. The gap is the longest time between two samples, over the whole measurement.
"""

import argparse
import ctypes
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

import psutil
from thermograd.ingest.agent.footprint import FRUGAL
from thermograd.ingest.agent.supervisor import AgentProcess
from thermograd.ingest.devices.host import HostReader
from thermograd.store.log.reader import read_kind
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

WITHOUT_STREAM = """
import sys
from pathlib import Path
from thermograd.ingest.agent.agent import run_agent
run_agent(Path(sys.argv[1]), 5.0, int(sys.argv[2]))
"""


def cost(name: str, runs: Path, seconds: float, stream: bool, environment: dict[str, str]) -> None:
    """Print one row: processor share and memory of an agent."""
    run = create_run(runs, name)
    os.environ.update(environment)
    if stream:
        agent = AgentProcess(run.path, 5.0, None, lambda line: None)
        pid, stop = agent.pid, agent.stop
    else:
        command = [sys.executable, "-P", "-c", WITHOUT_STREAM, str(run.path), str(os.getpid())]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | FRUGAL)
        pid, stop = child.pid, lambda: child.communicate()
    for variable in environment:
        del os.environ[variable]
    writer = EventWriter(run.path, run.run_id, "training")
    process = psutil.Process(pid)
    train(writer, 5.0)
    before, begun = sum(process.cpu_times()[:2]), time.monotonic()
    train(writer, seconds)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begun)
    memory = process.memory_full_info()
    stop()
    writer.close()
    devices = len(Run(run.path).facts["devices"])
    print(
        f"{name}: {share:.2%} of a core, {memory.rss / 2**20:.1f} MiB resident of which "
        f"{memory.uss / 2**20:.1f} MiB private; {devices} devices, {before:.2f} s of processor time to start"
    )


def train(writer: EventWriter, seconds: float) -> None:
    """Write ten quiet steps a second."""
    for step in range(round(10 * seconds)):
        writer.append("step", step=step, loss=1.0, grad_norm=1.0 + step % 7 / 100)
        time.sleep(0.1)


def held(runs: Path, holds: int) -> None:
    """Print the worst gaps of the agent and of a thread while C calls hold the interpreter's lock."""
    run = create_run(runs, "held")
    agent = AgentProcess(run.path, 10.0, None, lambda line: None)
    while not read_kind(run.path, "sample").num_rows:
        time.sleep(0.1)
    reader, ticks, done = HostReader(), [], threading.Event()

    def sample() -> None:
        due = time.monotonic()
        while not done.wait(max(0.0, due - time.monotonic())):
            reader.read()
            ticks.append(time.monotonic_ns())
            due = max(due + 0.1, time.monotonic())

    thread = threading.Thread(target=sample)
    thread.start()
    begun_ns = time.monotonic_ns()
    lasted = []
    for _ in range(holds):
        time.sleep(1.0)
        lasted.append(timed(lambda: ctypes.PyDLL(None).usleep(2_700_000)))
        time.sleep(1.0)
        lasted.append(timed(lambda: pickle.dumps([(i, str(i)) for i in range(3_000_000)])))
    end_ns = time.monotonic_ns()
    done.set()
    thread.join()
    agent.stop()
    rows = read_kind(run.path, "sample").to_pylist()
    theirs = [row["monotonic_ns"] for row in rows if begun_ns < row["monotonic_ns"] < end_ns]
    print(f"C calls of {', '.join(f'{s:.1f}' for s in lasted)} s")
    for name, times in (("agent", sorted(theirs)), ("thread in the trainer", ticks)):
        gaps = sorted((b - a) / 1e6 for a, b in pairwise(times))
        print(
            f"{name}: worst gap {gaps[-1]:.0f} ms, median {gaps[len(gaps) // 2]:.0f} ms, {len(times)} samples"
        )


def timed(call: object) -> float:
    """Return how long a call takes, s."""
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--holds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        runs = Path(directory) / "runs"
        cost("agent", runs, arguments.seconds, True, {})
        cost("agent without its stream layer", runs, arguments.seconds, False, {})
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
        from fake_nvml import FakeNvml, build

        fake = FakeNvml(build(Path(directory) / "library"), Path(directory) / "gpus")
        cost("agent with two stand-in GPUs", runs, arguments.seconds, True, fake.environment())
        held(runs, arguments.holds)


if __name__ == "__main__":
    main()
