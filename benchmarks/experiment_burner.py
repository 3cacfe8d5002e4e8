"""What the burner's load does to a training on the CPU, and whether it ends with a training that is killed.

A training of matrix products on one core goes through blocks drawn by chance; of each are printed the load's
processor time a second and what a step takes. Then trainings are killed (SIGKILL) in hot blocks, with a
forked worker that keeps the load's pipe open, and the time is taken until the load is gone.

    OMP_NUM_THREADS=1 python benchmarks/experiment_burner.py --blocks 20 --trials 25
"""

import argparse
import statistics
import subprocess
import sys
import time

import numpy
import psutil
from thermograd.ingest.experiment.arms.arm import Scene
from thermograd.ingest.experiment.arms.burner import BurnerArm
from thermograd.store.experiment.schedules import Schedule, Switchback

BLOCK_STEPS = 200
KILLED = """
import os, sys, time
from thermograd.ingest.experiment.arms.arm import Scene
from thermograd.ingest.experiment.arms.burner import BurnerArm
from thermograd.store.experiment.schedules import Schedule, Switchback
arm = BurnerArm(float(sys.argv[1]))
scene = Scene(note=lambda text, **detail: print(detail["burner"][0]["pid"], flush=True))
while arm.prepare(scene) is False:
    time.sleep(0.01)
schedule = Schedule("burner", Switchback(1), 0, 0)
arm.begin(next(block for i in range(2) if (block := schedule.assignment(i)).level == "hot"))
if os.fork() == 0:
    time.sleep(600)
print("hot", flush=True)
time.sleep(600)
"""


def blocks(load: float, count: int) -> None:
    """Print a row for hot and one for cool blocks."""
    arm, schedule = BurnerArm(load), Schedule("burner", Switchback(BLOCK_STEPS), 1, 0)
    while arm.prepare(Scene()) is False:
        time.sleep(0.01)
    matrix = numpy.random.default_rng(0).standard_normal((512, 512), dtype=numpy.float32)
    seen: dict[str, list[tuple[float, float]]] = {"hot": [], "cool": []}
    for index in range(count):
        block = schedule.assignment(index)
        arm.begin(block)
        begun = time.monotonic()
        for step in range(block.first_step, block.last_step + 1):
            numpy.matmul(matrix, matrix)
            arm.after_step(step, None)
        took = time.monotonic() - begun
        done = arm.end()
        seen[str(block.level)].append((done.detail["load_cpu_s"] / took, 1e3 * took / BLOCK_STEPS))
    arm.close()
    print(
        "| load | block | blocks | load's cores, median | ms a step, median (range) |\n|---|---|---|---|---|"
    )
    for level, each in seen.items():
        shares, times = zip(*each, strict=True)
        spread = f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"
        print(f"| {load:g} | {level} | {len(each)} | {statistics.median(shares):.2f} | {spread} |")


def kills(load: float, trials: int) -> None:
    """Print how often the load has ended with a training that was killed, and how soon."""
    took = []
    for _ in range(trials):
        command = [sys.executable, "-c", KILLED, str(load)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            burner = psutil.Process(int(child.stdout.readline()))
            assert child.stdout.readline() == "hot\n"
            workers = [each for each in psutil.Process(child.pid).children() if each.pid != burner.pid]
            child.kill()
            begun = time.monotonic()
            while burner.is_running() and burner.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() - begun > 20:
                    burner.kill()
                    break
                time.sleep(0.005)
            else:
                took.append(time.monotonic() - begun)
            for worker in workers:
                worker.kill()
    text = f"median {statistics.median(took):.2f} s, largest {max(took):.2f} s" if took else ""
    print(f"the load ended with its training, SIGKILL: {len(took)} of {trials}; {text}")


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--load", type=float, default=0.5)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--trials", type=int, default=25)
    asked = parser.parse_args()
    blocks(asked.load, asked.blocks)
    kills(asked.load, asked.trials)


if __name__ == "__main__":
    main()
