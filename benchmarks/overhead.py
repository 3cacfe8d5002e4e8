"""What recording costs the training: CPU time of the demonstration model's steps, with and without the tap.

One process trains the small GPT-2 on one thread; every few steps recording is switched on or off, the
order within a pair drawn by chance, so that whatever else the machine does falls on both. Compared is the
CPU time of the whole process (our log's thread counts as ours), pair by pair. The noise is what the same
comparison says about pairs in which recording was off both times. That noise is more than a percent on a
machine that does other things too, so the cost is measured once more where it is not small beside what it
is measured on: in *bare* steps, which do all that a step of the same model does with its gradients (clip,
step, zero, a backward pass of one number) but not the forward and backward pass of the model. What
recording adds to a bare step it adds to a whole one.

Two styles: a script that clips (the norm is taken from there) and one that does not (it is worked out).
The agent is another process; benchmarks of its own are beside this file.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCK, BARE_BLOCK = 4, 40


class Job:
    """The demonstration model in a plain loop."""

    def __init__(self, clips: bool) -> None:
        import torch
        from thermograd.ingest.demo import demo_trainer

        self.trainer = demo_trainer(10, 0, {})
        torch.set_num_threads(1)
        self.model, self.clips, self.torch = self.trainer.model, clips, torch
        self.one = torch.ones((), requires_grad=True)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.batch = torch.randint(256, (8, 128))

    def backward(self) -> None:
        """Compute the gradients of a batch."""
        self.optimizer.zero_grad()
        self.model(input_ids=self.batch, labels=self.batch).loss.backward()

    def step(self) -> None:
        """Train on a batch."""
        self.backward()
        if self.clips:
            self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def bare_step(self) -> None:
        """Do with the gradients what a step does, without working out what they are."""
        self.optimizer.zero_grad(set_to_none=False)
        (self.one * 2.0).backward()
        if self.clips:
            self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    @staticmethod
    def block(step: Callable[[], None], steps: int) -> float:
        """Return the CPU time of a block of steps, in seconds a step."""
        step()  # what the switch itself leaves behind is not measured
        begun = time.process_time()
        for _ in range(steps):
            step()
        return (time.process_time() - begun) / steps


def measure(clips: bool, pairs: int, seed: int) -> dict[str, Any]:
    """Return, a pair of blocks, CPU time with and without recording: whole steps, noise, bare steps; in s."""
    from thermograd.ingest.run import start_run

    job = Job(clips)
    with tempfile.TemporaryDirectory() as runs, start_run("overhead", runs, agent=False) as run:
        tap = run.tap()
        tap.stop()
        chance = random.Random(seed)

        def pair(step: Callable[[], None], steps: int, recorded: bool) -> tuple[float, float]:
            times = {}
            for on in chance.sample([True, False], 2):
                if on and recorded:
                    tap.start()
                times[on] = job.block(step, steps)
                if on and recorded:
                    tap.stop()
            return times[True], times[False]

        whole, noise = [], []
        for _ in range(pairs + 5):
            whole.append(pair(job.step, BLOCK, True))
            noise.append(pair(job.step, BLOCK, False))
        job.backward()
        bare = [pair(job.bare_step, BARE_BLOCK, True) for _ in range(16 * pairs + 5)]
    return {"whole": whole[5:], "noise": noise[5:], "bare": bare[5:]}  # caches are warm by then


def interval(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the median."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    return medians[round(0.025 * draws)], medians[round(0.975 * draws)]


def main() -> None:
    """Measure in a few processes and print three rows a style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="recorded and unrecorded blocks, each process")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--one", choices=["clip", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one == "clip", arguments.pairs, arguments.seed)))
        return
    for style, goal in (("clip", 0.005), ("plain", 0.01)):
        found: dict[str, list[tuple[float, float]]] = {"whole": [], "noise": [], "bare": []}
        for seed in range(arguments.processes):
            command = [sys.executable, str(Path(__file__)), "--one", style, "--seed", str(seed)]
            command += ["--pairs", str(arguments.pairs)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            for name, pairs in json.loads(result.stdout.splitlines()[-1]).items():
                found[name] += pairs
        report(style, goal, found)


def report(style: str, goal: float, found: dict[str, list[tuple[float, float]]]) -> None:
    """Print what was found of one style."""
    text = {"clip": "script that clips (tap)", "plain": "script that does not clip (own norm)"}[style]
    step_s = statistics.median(off for _, off in found["whole"] + found["noise"])
    for name, what in (("whole", "with/without"), ("noise", "without/without")):
        ratios = [on / off for on, off in found[name]]
        low, high = interval(ratios)
        print(
            f"{text}: {what} {statistics.median(ratios) - 1:+.3%} of {1e3 * step_s:.1f} ms CPU a step "
            f"(95 % interval {low - 1:+.3%} to {high - 1:+.3%}, {len(ratios)} pairs)"
        )
    added = [on - off for on, off in found["bare"]]
    low, high = interval(added)
    print(
        f"{text}: recording adds {1e6 * statistics.median(added):.0f} us CPU to a bare step "
        f"(95 % interval {1e6 * low:.0f} to {1e6 * high:.0f}, {len(added)} pairs), "
        f"{statistics.median(added) / step_s:.3%} of a step ({low / step_s:.3%} to {high / step_s:.3%}), "
        f"goal {goal:.1%}: {'met' if high / step_s <= goal else 'not met'}"
    )


if __name__ == "__main__":
    main()
