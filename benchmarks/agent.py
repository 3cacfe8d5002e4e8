"""Whether the agent goes on sampling while the trainer holds the interpreter.

The trainer makes calls into C that hold the interpreter's lock for 2.7 s (a `PyDLL` sleep, and a
`pickle.dumps` as long as this machine takes), while the agent and a thread of the trainer both sample ten
times a second. The gap is the longest time between two samples, over the whole measurement. What the agent
costs is measured by `goals/agent.py`.
"""

import argparse
import ctypes
import pickle
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

from thermograd.ingest.agent.supervisor import AgentProcess
from thermograd.ingest.devices.host import HostReader
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import create_run


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
    parser.add_argument("--holds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        held(Path(directory) / "runs", arguments.holds)


if __name__ == "__main__":
    main()
