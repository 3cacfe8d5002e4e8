"""How long it takes to say how a run's devices stand among those of many runs; first, again, and in a report.

Run: python benchmarks/fleet_population.py [RUNS]
"""

import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from population_runs import run_of
from thermograd.analysis.fleet.population.beside import population_lines
from thermograd.analysis.fleet.population.exported import export_of
from thermograd.analysis.fleet.population.kept import all_summaries
from thermograd.analysis.fleet.population.place import kept_path
from thermograd.analysis.fleet.population.population import population_of
from thermograd.store.runs.catalogue import list_runs

DEVICES, SECONDS = 8, 600


def timed(what: str, do: Callable[[], Any]) -> Any:
    """Print how long something took; return what it gave."""
    begun_s, cpu_s = time.monotonic(), time.process_time()
    result = do()
    print(f"  {what}: {time.monotonic() - begun_s:.2f} s, {time.process_time() - cpu_s:.2f} s CPU")
    return result


def main(count: int) -> None:
    """Write so many runs of 8 of 4,000 devices, and measure."""
    folder = Path(tempfile.mkdtemp(prefix="population-"))
    rng = np.random.default_rng(0)
    for number in range(count):
        devices = {
            int(each): {
                "power_w": 600 + 10 * rng.standard_normal(),
                "temperature_c": 60 + 3 * rng.standard_normal(),
            }
            for each in rng.choice(4000, DEVICES, replace=False)
        }
        run_of(folder, devices, name=f"run-{number}", seconds=SECONDS)
    last = list_runs(folder)[-1]
    print(f"{count:,} runs of {DEVICES} devices, {SECONDS} samples and {2 * SECONDS} steps each")
    summaries, errors = timed("all summaries, the first time", lambda: all_summaries(folder))
    assert not errors
    timed("again, all kept", lambda: all_summaries(folder))
    found = timed("where one run stands", lambda: population_of(last, summaries))
    lines = timed("the lines of a report", lambda: population_lines(last))
    timed("an export", lambda: export_of(summaries, list_runs(folder)))
    print(f"  {lines[0]}; {found.tests} comparisons")
    print(f"  kept: {kept_path(folder).stat().st_size / 1e6:.1f} MB of {summaries.num_rows:,} summaries")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    shutil.rmtree(folder)


if __name__ == "__main__":
    print(f"Python {platform.python_version()}, duckdb {duckdb.__version__}, {platform.machine()}")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
