"""What recording costs the training: CPU time of the demonstration model's steps, with and without the tap.

One process trains the small GPT-2 on one thread; every few steps recording is switched on or off, the
order within a pair drawn by chance, so that whatever else the machine does falls on both. Compared is the
CPU time of the whole process (our log's thread counts as ours), pair by pair. The noise is what the same
comparison says about pairs in which recording was off both times. Beside it, the part that can be measured
exactly: the CPU time of all hooks of a step, on the same model, over and over.

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
from pathlib import Path
from typing import Any

BLOCK = 4


class Job:
    """The demonstration model in a plain loop."""

    def __init__(self, clips: bool) -> None:
        import torch
        from thermograd.ingest.demo import demo_trainer

        self.trainer = demo_trainer(10, 0, {})
        torch.set_num_threads(1)
        self.model, self.clips, self.torch = self.trainer.model, clips, torch
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

    def block(self) -> float:
        """Return the CPU time of a block of steps, in seconds a step."""
        self.step()  # what the switch itself leaves behind is not measured
        begun = time.process_time()
        for _ in range(BLOCK):
            self.step()
        return (time.process_time() - begun) / BLOCK


def measure(clips: bool, pairs: int, seed: int) -> dict[str, Any]:
    """Return the paired ratios with and without recording, and what the hooks take."""
    from thermograd.ingest.run import start_run

    job, chance = Job(clips), random.Random(seed)
    ratios: list[float] = []
    noise: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as runs, start_run("overhead", runs, agent=False) as run:
        tap = run.tap()
        tap.stop()
        for number in range(pairs + 5):
            for recorded, found in ((True, ratios), (False, noise)):
                times = {}
                for on in chance.sample([True, False], 2):
                    if on and recorded:
                        tap.start()
                    times[on] = job.block()
                    if on and recorded:
                        tap.stop()
                if number >= 5:  # caches are warm
                    found.append(times[True] / times[False])
                    plain.append(times[False])
        own_us = isolated(job, tap, clips)
    return {"ratios": ratios, "noise": noise, "plain_ms": 1e3 * statistics.median(plain), "own_us": own_us}


def isolated(job: Job, tap: Any, clips: bool, steps: int = 300) -> float:
    """Return the CPU time of all that the tap does in a step, in microseconds: the median."""
    job.backward()
    parameters, loss = list(job.model.parameters()), job.torch.tensor(2.0)
    norm = job.torch.nn.utils.get_total_norm([p.grad for p in parameters])
    times = []
    for _ in range(steps):
        begun = time.thread_time_ns()
        tap.before_backward()
        tap.after_backward(loss)
        if clips:
            tap.saw_clip(parameters, 1.0, norm, False)
        tap.before_step(job.optimizer, False)
        tap.after_step(job.optimizer, False)
        tap.zeroed(job.optimizer)
        times.append(time.thread_time_ns() - begun)
    return statistics.median(times) / 1e3


def interval(ratios: list[float], draws: int = 2000) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the median."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[round(0.025 * draws)], medians[round(0.975 * draws)]


def main() -> None:
    """Measure in a few processes and print two rows a style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60, help="recorded and unrecorded blocks, each process")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--one", choices=["clip", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one == "clip", arguments.pairs, arguments.seed)))
        return
    for style, goal in (("clip", 0.005), ("plain", 0.01)):
        results = []
        for seed in range(arguments.processes):
            command = [sys.executable, str(Path(__file__)), "--one", style, "--seed", str(seed)]
            command += ["--pairs", str(arguments.pairs)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            results.append(json.loads(result.stdout.splitlines()[-1]))
        report(style, goal, results)


def report(style: str, goal: float, results: list[dict[str, Any]]) -> None:
    """Print what was found of one style."""
    text = {"clip": "script that clips (tap)", "plain": "script that does not clip (own norm)"}[style]
    plain_ms = statistics.median(r["plain_ms"] for r in results)
    own_us = statistics.median(r["own_us"] for r in results)
    for name in ("ratios", "noise"):
        ratios = [ratio for r in results for ratio in r[name]]
        low, high = interval(ratios)
        what = "with/without" if name == "ratios" else "without/without"
        print(
            f"{text}: {what} {statistics.median(ratios) - 1:+.3%} of {plain_ms:.1f} ms CPU a step "
            f"(95 % interval {low - 1:+.3%} to {high - 1:+.3%}, {len(ratios)} pairs)"
        )
    share = own_us / plain_ms / 1e3
    verdict = "met" if share <= goal else "not met"
    print(f"{text}: its hooks take {own_us:.0f} us CPU a step, {share:.3%}; goal {goal:.1%}: {verdict}")


if __name__ == "__main__":
    main()
