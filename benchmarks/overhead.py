"""What recording costs the training, in whole steps: processor time with and without the tap, and the noise.

The noise is what the same comparison says about pairs in which recording was off both times: more than a
percent on a machine that does other things too. What is beneath it, ``goals/overhead.py`` measures.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from goals.overhead import Job, block_s, interval, pair_s

BLOCK = 4


def measure(clips: bool, pairs: int, seed: int) -> dict[str, list[tuple[float, float]]]:
    """Return, a pair of blocks, processor time with and without recording, and of two without; in s."""
    from thermograd.ingest.run import start_run

    job, chance = Job(clips), random.Random(seed)
    whole, noise = [], []
    with tempfile.TemporaryDirectory() as runs, start_run("overhead", runs, agent=False) as run:
        tap = run.tap()
        tap.stop()
        for _ in range(pairs + 5):
            whole.append(pair_s(tap, job.step, BLOCK, chance))
            noise.append((block_s(job.step, BLOCK), block_s(job.step, BLOCK)))
    return {"with/without": whole[5:], "without/without": noise[5:]}  # caches are warm by then


def main() -> None:
    """Measure in a few processes and print two rows a style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="recorded and unrecorded blocks, each process")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--one", choices=["clip", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one == "clip", arguments.pairs, arguments.seed)))
        return
    for style, text in (("clip", "script that clips"), ("plain", "script that does not clip")):
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(arguments.processes):
            command = [sys.executable, str(Path(__file__)), "--one", style, "--seed", str(seed)]
            command += ["--pairs", str(arguments.pairs)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            for name, pairs in json.loads(result.stdout.splitlines()[-1]).items():
                found.setdefault(name, []).extend(pairs)
        for name, pairs in found.items():
            ratios = [on / off for on, off in pairs]
            low, high = interval(ratios)
            step_ms = 1e3 * statistics.median(off for _, off in pairs)
            print(
                f"{text}: {name} {statistics.median(ratios) - 1:+.3%} of {step_ms:.1f} ms a step "
                f"(95 % interval {low - 1:+.3%} to {high - 1:+.3%}, {len(ratios)} pairs)"
            )


if __name__ == "__main__":
    main()
