"""`analyze --all` over many runs: a plain loop, `multiprocessing`, its engines, growth, a killed worker.

Runs of 2,000 steps and 1,000 samples, one pair of signals each unless --pairs is all. Processor time
changes least with what else runs; the cluster's own is not in it. It says whether all give the same rows.

    python benchmarks/fleet_analysis.py --sizes 100 1000 5000
"""

import argparse
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import pyarrow as pa
from fleet_runs import fleet_runs
from thermograd.analysis.fleet.engines.choice import cores, workers_for
from thermograd.analysis.fleet.engines.chunks import chunks_of, gathered
from thermograd.analysis.fleet.engines.local import InThisProcess, Processes
from thermograd.analysis.fleet.question import Question
from thermograd.analysis.fleet.task import analyse_chunk, failed_run


class Measured:
    """Processor time of this process and of those that it had, and wall time."""

    def __enter__(self):
        """Begin."""
        self.begun, self.wall = processor_s(), time.monotonic()
        return self

    def __exit__(self, *_):
        """End."""
        self.cpu_s, self.wall_s = processor_s() - self.begun, time.monotonic() - self.wall

    def __str__(self):
        """Return both."""
        return f"{self.cpu_s:.1f} s of processor time, {self.wall_s:.1f} s"


def processor_s():
    """Return how long this process and its ended children have computed."""
    every = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in every)


def timed(runs, workers):
    """Return the rows of some runs, and how long they took."""
    with Measured() as measured:
        table = gathered(chunks_of(runs), workers, failed_run)
    return table, measured


def spread(runs, size):
    """Return so many runs, of which as large a share is coupled: those cost more."""
    return runs[:: len(runs) // size][:size]


def plain_loop(task, runs):
    """Return the rows of a loop over runs, one at a time."""
    with Measured() as measured:
        table = pa.concat_tables([task([str(run.path)]) for run in runs])
    return table, measured


def plain_pool(task, runs):
    """Return the rows of a pool of `multiprocessing`, one run at a time."""
    with Measured() as measured, multiprocessing.get_context("spawn").Pool(cores()) as pool:
        table = pa.concat_tables(pool.map(task, [[str(run.path)] for run in runs]))
        pool.close()
        pool.join()
    return table, measured


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
    print(f"Python {platform.python_version()}, {cores()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = list(fleet_runs(Path(folder), max(given.sizes), coupled=max(given.sizes) // 20))
        timed(runs[-2:], InThisProcess(task))  # imports
        few = spread(runs, min(given.sizes))
        loop, measured = plain_loop(task, few)
        print(f"{len(few)} runs, a plain loop: {measured}, load {os.getloadavg()[0]:.1f}", flush=True)
        pool, measured = plain_pool(task, few)
        print(f"{len(few)} runs, multiprocessing: {measured}, equal: {pool.equals(loop)}", flush=True)
        for size in given.sizes:
            table, pooled = timed(spread(runs, size), Processes(task, cores()))
            equal = f", equal: {table.equals(loop)}" if size == len(few) else ""
            print(
                f"{size} runs, local, {cores()} processes: {pooled}, {1000 * pooled.cpu_s / size:.0f} ms of "
                f"processor time a run{equal}, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
            if size == len(few):
                half_s = pooled.wall_s / 2
        killer = threading.Thread(target=kill_one, args=(half_s,))
        killer.start()
        killed, measured = timed(few, Processes(task, cores()))
        killer.join()
        print(
            f"{len(few)} runs, a worker killed half-way: {measured}, equal: {killed.equals(loop)}", flush=True
        )
        for engine in given.engines:
            there, measured = timed(runs, workers_for(task, engine))
            print(f"{len(runs)} runs, {engine}: {measured}, equal: {there.equals(table)}", flush=True)


if __name__ == "__main__":
    main()
