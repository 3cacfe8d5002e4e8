"""The part of the calibration that analyses whole runs: written as a training would, all pairs, corrected."""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from calibration_page import judged, rate
from calibration_pairs import MOST_COUPLED, MOST_DENIED, Row, most, together
from thermograd.analysis.calibration.scenarios import draw
from thermograd.analysis.calibration.zoo import ZOO, coupled, nulls
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import question_verdict
from thermograd.ingest.simulate.write import Signals, simulate_run

__all__ = ["many_devices", "whole_runs"]

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

MINUTES = 25.0
BINS = 300  # of each device: the longer a run, the slower it is sampled
NOISE = ((1, 1200.0, 2880), (8, 1200.0, 2880), (8, 86_400.0, 900), (64, 1200.0, 2880))  # devices, s, steps


def whole_runs(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Count the verdicts of whole runs of 25 minutes."""
    yield from together(run_row, [(name, runs, seed) for name in (*nulls(), *coupled())], jobs)


def run_row(name: str, runs: int, seed: int) -> Row:
    """Return one row of it."""
    said: Counter[str] = Counter()
    for run in range(runs):
        drawn = draw(name, minutes=MINUTES, seed=1000 * seed + run)
        with tempfile.TemporaryDirectory() as folder:
            written = simulate_run(Path(folder), Signals(**drawn.shown()), drawn.truth)
            said[question_verdict(analyze_run(written))] += 1
    process = ZOO[name]
    if process.is_null:
        met = judged(said["coupled"] <= most(MOST_COUPLED, runs) * runs)
    elif process.response in ("one lag", "slow"):
        met = judged(said["no_coupling"] <= most(MOST_DENIED, runs) * runs)
    else:
        met = ""
    others = runs - said["coupled"] - said["no_coupling"]
    kind = process.response or "nothing is coupled"
    return name, kind, runs, rate(said["coupled"], runs), rate(said["no_coupling"], runs), others, met


def many_devices(runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """Count the runs with any pair called coupled, where a training and its devices are independent.

    Of 64 devices an eighth of the runs.
    """
    calls = [(*size, min(runs, 8 * runs // size[0]), seed) for size in NOISE]
    yield from together(noise_row, [call for call in calls if call[3]], jobs)


def noise_row(devices: int, seconds: float, steps: int, runs: int, seed: int) -> Row:
    """Return one row of it."""
    from scale_runs import scale_run

    said: Counter[str] = Counter()
    for run in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            written = scale_run(Path(folder), devices, seconds, BINS, steps, seed=1000 * seed + run)
            analysis = analyze_run(written)
        said["tests"] = int(analysis.sensitivity.get("tests", 0))
        said["question"] += question_verdict(analysis) == "coupled"
        said["any"] += any(pair.verdict == "coupled" for pair in analysis.pairs)
    counted = rate(said["question"], runs), rate(said["any"], runs)
    met = judged(said["any"] <= most(MOST_COUPLED, runs) * runs)
    return devices, f"{seconds / 60:,.0f} min", said["tests"], runs, *counted, met
