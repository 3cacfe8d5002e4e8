"""The part of the calibration that analyses whole runs: written as a training would, all pairs, corrected."""

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

__all__ = ["whole_runs"]

MINUTES = 25.0


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
