"""What the analysis of a run says of simulated experiments of known truth, from the marks to the verdict.

    python benchmarks/experiment_worlds.py --minutes 40 --runs 200   # all worlds: 20 minutes of one core

Prints a row a world: verdicts, how often the interval of the gradient norm holds the truth, an effect of the
wrong sign, and an e-value of any of the two outcomes that ever reached 20.
"""

import argparse
import collections
import tempfile
from pathlib import Path

from thermograd.analysis.experiment.result import ExperimentResult
from thermograd.analysis.run.experiment.experiments import run_experiments
from thermograd.analysis.run.series import load_series
from thermograd.ingest.simulate.experiment import WORLDS, simulate_experiment
from thermograd.store.experiment.e_process import REJECT_AT


def one(world: str, minutes: float, seed: int) -> tuple[ExperimentResult, float]:
    """Return what a run of a world shows, and what is true."""
    with tempfile.TemporaryDirectory() as folder:
        run = simulate_experiment(Path(folder), world, minutes, seed=seed)
        (result,) = run_experiments(load_series(run))
        truth = run.facts["truth"]  # of pulses only the sign is known
        return result, float(truth["effect_sd"] if truth["effect_sd"] is not None else bool(truth["effect"]))


def row(world: str, minutes: float, runs: int, seed: int) -> str:
    """Return a world's row."""
    said: collections.Counter[str] = collections.Counter()
    wrong = held = known = reached = 0
    for number in range(runs):
        result, truth = one(world, minutes, seed + number)
        asked = [effect for effect in result.effects if not effect.is_control]
        said[result.verdict] += 1
        first = asked[0]
        wrong += first.verdict == "effect" and (first.effect_sd or 0.0) * truth < 0
        reached += any((effect.e_largest or 0.0) >= REJECT_AT for effect in asked)
        if result.design == "switchback" and first.interval_sd is not None:
            known += 1
            held += first.interval_sd[0] <= truth <= first.interval_sd[1]
    verdicts = [
        f"{said[name] / runs:.3f}" for name in ("effect", "no_effect", "inconclusive", "insufficient")
    ]
    cells = [
        world.removeprefix("experiment-"),
        *verdicts,
        f"{held}/{known}",
        f"{wrong}",
        f"{reached / runs:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--world", action="append", choices=list(WORLDS))
    given = parser.parse_args()
    verdicts = "effect | no effect | inconclusive | insufficient"
    print(f"| world | {verdicts} | interval holds | wrong sign | ever e >= 20 |")
    print("|---|---|---|---|---|---|---|---|")
    for world in given.world or WORLDS:
        print(row(world, given.minutes, given.runs, given.seed), flush=True)


if __name__ == "__main__":
    main()
