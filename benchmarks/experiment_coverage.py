"""Measure sizes of heat on simulated switchbacks: what the interval holds, and whether what is told is found.

    python benchmarks/experiment_coverage.py            # three minutes of one core
    python benchmarks/experiment_coverage.py --runs 100

The runs are those of `experiment_switchback.py`: 30 minutes, 15 pairs of blocks of 60 s. The interval's truth
is of a block's end; the device's memory is not known to the analysis. Then the smallest effect that a run
says it would have shown with power .9 is put into the next run, which has a second outcome without one.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from experiment_switchback import BLOCK_STEPS, REDRAWS, STEP_S, World, ar, drawn, many, rate, seeded
from thermograd.analysis.experiment.switchback import analyze_switchback

BLOCK_S = BLOCK_STEPS * STEP_S


def coverage(runs: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Yield whether the interval holds the truth, and its width, where the device's memory is not known."""
    yield "noise", "memory", "size", "runs", "interval holds", "width, median", "mean"
    cells = [(20.0, 0.0), *((memory_s, size) for memory_s in (20.0, 60.0, 120.0) for size in (0.5, 3.0))]
    for phi in (0.0, 0.5):
        for memory_s, size in cells:
            world = World(f"AR({phi:g}), memory {memory_s:g} s", ar(phi), size, memory_s)
            effects = [effect for _, effect in many(world, runs, seed)]
            true = size * (1.0 - np.exp(-BLOCK_S / memory_s))
            ends = np.array([effect.interval for effect in effects])
            yield (
                f"AR({phi:g})",
                f"{memory_s:g} s",
                f"{size:g}",
                runs,
                rate(int(np.sum((ends[:, 0] <= true) & (true <= ends[:, 1]))), runs),
                f"{np.median(ends[:, 1] - ends[:, 0]):.2f}",
                f"{np.mean([effect.effect for effect in effects]):.2f} of {true:.2f}",
            )


def detectable(runs: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Yield how often an effect is found that another run of its world says it would have shown in .9."""
    yield "memory", "known to the analysis", "runs", "told, median", "found, both outcomes in the family"
    for memory_s in (5.0, 20.0, 60.0):
        for known in (True, False):
            world = World(f"detectable, memory {memory_s:g} s", ar(0.5), memory_s=memory_s)
            told: list[float] = []
            hits = 0
            for number in range(runs + 1):  # the first has no effect yet
                rng = seeded(world, seed, number)
                reached = 1.0 - np.exp(-BLOCK_S / memory_s)
                run = drawn(replace(world, size=told[-1] / reached if told else 0.0), rng)
                outcomes = {"log_grad_norm": run.outcome, "loss": ar(0.5)(rng, run.hot.size, run.time_s)}
                tau_s = memory_s if known else None
                moved, other = analyze_switchback(
                    outcomes, run.time_s, run.hot, run.pair, redraws=REDRAWS, seed=number, tau_s=tau_s
                )
                hits += bool(told) and moved.p_family <= 0.05
                told.append(other.detectable_sd)
            yield (
                f"{memory_s:g} s",
                "yes" if known else "no",
                runs,
                f"{np.median(told):.2f} sd",
                rate(hits, runs),
            )


def main() -> None:
    """Print both tables, a row as it is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for part in (coverage, detectable):
        for row, cells in enumerate(part(asked.runs, asked.seed)):
            print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)
            if row == 0:
                print("|" + "---|" * len(cells), flush=True)
        print()


if __name__ == "__main__":
    main()
