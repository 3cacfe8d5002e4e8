"""What recording costs the training: processor time of the demonstration model's steps, with and without.

Every few steps recording is switched on or off, the order within a pair drawn by chance, so that whatever
else the machine does falls on both; compared is the processor time of the whole process (our log's thread
counts as ours). Whole steps differ by more than a percent on a machine that does other things too
(``overhead.py`` shows it), so what recording adds is measured in *bare* steps, which do all that a step of
the same model does with its gradients (clip, step, zero, a backward pass of one number) but not the forward
and backward pass of the model. What recording adds to a bare step it adds to a whole one.

Two styles: a script that clips (the norm is taken from there) and one that does not (it is worked out).
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from goals.goal import Goal, main

BLOCK = 5  # bare steps
STYLES = (("tap", "a script that clips", True, 0.25), ("own_norm", "a script that does not clip", False, 0.6))


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


def block_s(step: Callable[[], None], steps: int) -> float:
    """Return the processor time of a block of steps, in seconds a step."""
    step()  # what the switch itself leaves behind is not measured
    begun = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - begun) / steps


def pair_s(tap: object, step: Callable[[], None], steps: int, chance: random.Random) -> tuple[float, float]:
    """Return the time a step with and without recording, one after the other in an order drawn by chance."""
    times = {}
    for on in chance.sample([True, False], 2):
        if on:
            tap.start()
        times[on] = block_s(step, steps)
        if on:
            tap.stop()
    return times[True], times[False]


def timed(clips: bool, for_s: float) -> tuple[float, list[float], list[float]]:
    """Return a whole step's time, and those of bare steps with and without recording, block by block."""
    from thermograd.ingest.run import start_run

    job, chance = Job(clips), random.Random(0)
    with tempfile.TemporaryDirectory() as runs, start_run("overhead", runs, agent=False) as run:
        tap = run.tap()
        tap.stop()
        whole = [block_s(job.step, 1) for _ in range(4 if for_s < 5 else 16)]
        for _ in range(5):  # caches are warm by then
            pair_s(tap, job.bare_step, BLOCK, chance)
        pairs = []
        end = time.monotonic() + for_s
        while time.monotonic() < end or len(pairs) < 10:
            pairs.append(pair_s(tap, job.bare_step, BLOCK, chance))
    recorded, bare = zip(*pairs, strict=True)
    return undisturbed(whole), list(recorded), list(bare)


def undisturbed(values: Sequence[float]) -> float:
    """Return the time of a block that no neighbour slows down: the lowest but a tenth.

    On a core of which another process has the other half, the same step takes up to twice the time, and what
    is recorded is a hundredth of what that adds.
    """
    return sorted(values)[len(values) // 10]


def interval(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the median."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    return medians[round(0.025 * draws)], medians[round(0.975 * draws)]


def measure(quick: bool) -> Iterator[Goal]:
    """Measure both styles, one after the other."""
    for key, what, clips, limit in STYLES:
        whole_s, recorded, bare = timed(clips, 1.0 if quick else 15.0)
        added_s = undisturbed(recorded) - undisturbed(bare)
        halves = [undisturbed(recorded[i::2]) - undisturbed(bare[i::2]) for i in (0, 1)]
        yield Goal(
            f"overhead.{key}",
            f"recording of {what}, of a step's processor time",
            100 * added_s / whole_s,
            limit,
            "%",
            f"{1e6 * added_s:.0f} us ({1e6 * min(halves):.0f} and {1e6 * max(halves):.0f} in halves of "
            f"{len(bare)} pairs) of {1e3 * whole_s:.0f} ms",
        )


if __name__ == "__main__":
    main(measure)
