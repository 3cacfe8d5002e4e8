"""What the end of a run costs: the training's exit with and without its card, in pairs, and a picture.

The card is counted in the agent while the run lasts; the training waits for the agent in any case. The
picture of an alert is the work of a process of its own. Processor time is what other load changes less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = """
import json, sys, time
import thermograd
run = thermograd.start_run("end", sys.argv[1], simulate="dc", card=sys.argv[2] == "card")
for step in range(200):
    time.sleep(0.005)
    run.step(loss=2.0, grad_norm=9.0 if step == 150 else 1.0 + step % 7 / 100)
wall, own = time.perf_counter(), time.process_time()
run.close()
print(json.dumps([time.perf_counter() - wall, time.process_time() - own, str(run.path)]))
"""


def closing(runs: str, card: str) -> tuple[float, float, str]:
    """Return wall and processor time of a training's `close`, s, and where its run is."""
    command = [sys.executable, "-c", SCRIPT, runs, card]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall, own, path = json.loads(done.stdout)
    return wall, own, path


def child(*command: str, given: bytes = b"") -> tuple[float, float]:
    """Return wall and processor time of one of our hidden commands, s."""
    before, begun = os.times(), time.perf_counter()
    line = [sys.executable, "-P", "-m", "thermograd.cli", *command]
    subprocess.run(line, input=given, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begun, cpu


def shown(seconds: list[float]) -> str:
    """Return the median of times in ms, with their ends."""
    low, *_, high = (1e3 * each for each in sorted(seconds))
    return f"{1e3 * statistics.median(seconds):.1f} ms ({low:.1f} to {high:.1f})"


def main() -> None:
    """Measure and print one row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as runs:
        rounds = [(closing(runs, "card"), closing(runs, "none")) for _ in range(pairs)]
        for place, kind in enumerate(("wall time of close", "its own processor time")):
            with_card, without = ([pair[side][place] for pair in rounds] for side in (0, 1))
            more = [a - b for a, b in zip(with_card, without, strict=True)]
            print(f"{kind}: with a card {shown(with_card)}, without {shown(without)}, more {shown(more)}")
        path = Path(rounds[-1][0][2])
        alert = {"time_ns": time.time_ns(), "alert": "spike.grad", "severity": "critical"}
        drawn = [child("moment", str(path), given=json.dumps(alert).encode()) for _ in range(3)]
        told = [child("card", str(path)) for _ in range(3)]
    for name, times in (("picture of an alert", drawn), ("card with a verdict, after `run`", told)):
        print(f"{name}: wall {shown([w for w, _ in times])}, processor {shown([c for _, c in times])}")


if __name__ == "__main__":
    main()
