"""How long a user waits: for the command line's help, and for `start_run`, `watch` and `close`.

Help is measured against an empty Python, in pairs. `start_run` is measured in processes that have imported
torch and nothing of ours: the first use of its name, which imports it, counts. Wall time is what one waits,
processor time of the calling thread what the load of the machine changes less.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLI = str(Path(__file__).parents[1] / "cli.py")
SCRIPT = """
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
_, close = timed(run.close)
print(json.dumps({"start_run": start, "watch": watch, "close": close}))
"""


def seconds(*command: str) -> float:
    """Run a command and return its wall time in seconds."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def waits() -> dict[str, list[float]]:
    """Return wall time and processor time of each call of a short training, in a process of its own."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-c", SCRIPT, runs]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure and print one row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    seconds(CLI, "--help")
    times = [(seconds("-c", "pass"), seconds(CLI, "--help")) for _ in range(pairs)]
    empty, help_ = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(f"cli.py --help: {1e3 * help_:.1f} ms; python -c pass: {1e3 * empty:.1f} ms; ratio {ratio:.2f}")
    rounds = [waits() for _ in range(pairs)]
    for call in ("start_run", "watch", "close"):
        wall, own = (sorted(1e3 * each[call][kind] for each in rounds) for kind in (0, 1))
        shown = f"{statistics.median(wall):.0f} ms ({wall[0]:.0f} to {wall[-1]:.0f})"
        print(f"{call}: {shown}; of which its own thread computes {statistics.median(own):.0f} ms")


if __name__ == "__main__":
    main()
