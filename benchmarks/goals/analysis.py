"""`analyze` of long runs: a day of 15 pairs that throttles, 35 hours of 8 devices; time and memory.

The day is `simulate --scenario throttling --minutes 1440 --seed 9` without a stream layer: 203,171 steps,
86,401 samples, 45 tests. The 35 hours are 1 M steps and 10 M samples, 360 tests.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from goals.goal import CLI, Goal, Taken, main, take
from scale_runs import scale_run
from simulated_runs import simulated

_MOST_MIB = 1024.0


def measure(quick: bool) -> Iterator[Goal]:
    """Measure a whole process each; the runs are written before."""
    with tempfile.TemporaryDirectory() as folder:
        day = simulated(Path(folder), "throttling", minutes=20 if quick else 1440, seed=9)
        taken = take(*CLI, "--runs", folder, "analyze", day.run_id)
        told = f"processor time {taken.cpu_s:.1f} s"
        yield Goal("analysis.day", "`analyze` of 24 h, 15 pairs", taken.wall_s, 15.0, "s", told)
        yield _memory("analysis.day_memory", "the same", taken)
    with tempfile.TemporaryDirectory() as folder:
        hours, samples, steps = (1, 4_000, 4_000) if quick else (35, 1_250_000, 1_000_000)
        long = scale_run(Path(folder), 8, 3600.0 * hours, samples, steps, cpu=False)
        taken = take(*CLI, "--runs", folder, "analyze", long.run_id)
        told = f"wall {taken.wall_s:.1f} s"
        yield Goal("analysis.long", "`analyze` of 35 h, 8 devices, CPU", taken.cpu_s, 120.0, "s", told)
        yield _memory("analysis.long_memory", "the same", taken)


def _memory(key: str, what: str, taken: Taken) -> Goal:
    return Goal(key, f"{what}, most memory", taken.peak_mib, _MOST_MIB, "MiB", "of the process at its peak")


if __name__ == "__main__":
    main(measure)
