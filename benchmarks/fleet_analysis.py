"""`analyze --all` over many runs: a plain loop against processes, growth with the runs, a killed worker.

Runs of 2,000 steps and 1,000 samples, one pair of signals each unless --pairs is all. Run on an idle machine.

    python benchmarks/fleet_analysis.py --sizes 100 1000 5000
"""

import argparse
import multiprocessing
import os
import platform
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from fleet_runs import fleet_runs
from thermograd.analysis.fleet.engines.choice import cores, workers_for
from thermograd.analysis.fleet.engines.chunks import chunks_of, gathered
from thermograd.analysis.fleet.engines.local import InThisProcess, Processes
from thermograd.analysis.fleet.question import Question
from thermograd.analysis.fleet.task import analyse_chunk, failed_run


def timed(runs, workers):
    """Return the rows of some runs, and how long they took."""
    begun = time.monotonic()
    table = gathered(chunks_of(runs), workers, failed_run)
    return table, time.monotonic() - begun


def kill_one(after_s):
    """Kill a worker of this process after some time."""
    time.sleep(after_s)
    for child in multiprocessing.active_children()[:1]:
        child.kill()


def main():
    """Print a row for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--pairs", choices=["one", "all"], default="one")
    parser.add_argument("--engines", nargs="*", default=[], help="ray, dask: the largest size there, too.")
    given = parser.parse_args()
    question = Question() if given.pairs == "all" else Question(x=("grad_norm",), y=("power_w",))
    task = partial(analyse_chunk, question)
    print(f"Python {platform.python_version()}, {cores()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        runs = list(fleet_runs(Path(folder), max(given.sizes), coupled=max(given.sizes) // 20))
        timed(runs[:2], InThisProcess(task))  # imports
        for size in given.sizes:
            table, pool_s = timed(runs[:size], Processes(task, cores()))
            print(
                f"{size} runs, {cores()} processes: {pool_s:.1f} s, {1000 * pool_s / size:.0f} ms a run",
                flush=True,
            )
        few = runs[: min(given.sizes)]
        loop, loop_s = timed(few, InThisProcess(task))
        pool, pool_s = timed(few, Processes(task, cores()))
        print(f"{len(few)} runs: loop {loop_s:.1f} s, processes {pool_s:.1f} s, equal: {loop.equals(pool)}")
        killer = threading.Thread(target=kill_one, args=(0.5 * pool_s,))
        killer.start()
        killed, killed_s = timed(few, Processes(task, cores()))
        killer.join()
        print(f"{len(few)} runs, a worker killed half-way: {killed_s:.1f} s, equal: {killed.equals(loop)}")
        for engine in given.engines:
            there, there_s = timed(runs, workers_for(task, engine))
            print(f"{len(runs)} runs, {engine}: {there_s:.1f} s, equal: {there.equals(table)}", flush=True)


if __name__ == "__main__":
    main()
