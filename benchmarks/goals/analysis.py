"""`analyze` of long runs: a day of 21 pairs, of a GPU that throttles; 35 hours of 8 devices; time and memory.

The day is `simulate --scenario throttling --minutes 1440 --seed 9` without a stream layer, 15 pairs, and a
processor with a temperature and a clock, 6 more: 203,171 steps, 172,802 samples, 63 tests. The goal is of 20
pairs, which three training signals do not give. The 35 hours are 1 M steps and 10 M samples, 360 tests.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from goals.goal import CLI, Goal, Taken, main, take
from scale_runs import scale_run
from simulated_runs import simulated, with_processor
from thermograd.analysis.run.series import HARDWARE_SIGNALS, TRAINING_SIGNALS, load_series
from thermograd.store.runs.catalogue import Run

_MOST_MIB = 1024.0


def measure(quick: bool) -> Iterator[Goal]:
    """Measure a whole process each; the runs are written before."""
    with tempfile.TemporaryDirectory() as folder:
        minutes = 20 if quick else 1440
        day = with_processor(simulated(Path(folder), "throttling", minutes=minutes, seed=9), minutes)
        taken = take(*CLI, "--runs", folder, "analyze", day.run_id)
        told = f"processor time {taken.cpu_s:.1f} s"
        yield Goal("analysis.day21", f"`analyze` of 24 h, {_pairs(day)} pairs", taken.wall_s, 15.0, "s", told)
        yield _memory("analysis.day21_memory", "the same", taken)
    with tempfile.TemporaryDirectory() as folder:
        hours, samples, steps = (1, 4_000, 4_000) if quick else (35, 1_250_000, 1_000_000)
        long = scale_run(Path(folder), 8, 3600.0 * hours, samples, steps, cpu=False)
        taken = take(*CLI, "--runs", folder, "analyze", long.run_id)
        told = f"wall {taken.wall_s:.1f} s"
        yield Goal("analysis.long", "`analyze` of 35 h, 8 devices, CPU", taken.cpu_s, 120.0, "s", told)
        yield _memory("analysis.long_memory", "the same", taken)


def _pairs(run: Run) -> int:
    """Return how many pairs of signals `analyze` finds in a run."""
    data = load_series(run)
    offered = [device.offers(name) for device in data.devices.values() for name in HARDWARE_SIGNALS]
    return sum(map(data.has_training, TRAINING_SIGNALS)) * sum(offered)


def _memory(key: str, what: str, taken: Taken) -> Goal:
    return Goal(key, f"{what}, most memory", taken.peak_mib, _MOST_MIB, "MiB", "of the process at its peak")


if __name__ == "__main__":
    main(measure)
