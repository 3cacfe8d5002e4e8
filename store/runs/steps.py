"""How many optimizer steps a run made: a step of a world of ranks is one, though every rank logs it."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from thermograd.store.log.present.snapshots import count_by_writer
from thermograd.store.processes import rank_of_writer


class StepCount(NamedTuple):
    """The optimizer steps of a run, as its lowest rank has logged them, and how many ranks log steps.

    Examples
    --------
    >>> str(StepCount(200, 2)), str(StepCount(1, 1))
    ('200 steps on 2 ranks', '1 step')
    """

    steps: int
    ranks: int

    def __str__(self) -> str:
        """Return the count in words."""
        return f"{self.steps:,} step{'s' * (self.steps != 1)}{on_ranks(self.ranks)}"


def on_ranks(ranks: int) -> str:
    """Return what stands behind a number of steps; empty for a training of one process."""
    return f" on {ranks:,} ranks" if ranks > 1 else ""


def count_steps(run_dir: Path) -> StepCount:
    """Return how many steps a run made. What is not known to be of a rank is the lowest one's."""
    counts = count_by_writer(run_dir, "step")
    known = [rank for writer in counts if (rank := rank_of_writer(writer)) is not None]
    lowest = min(known, default=0)
    by_rank: Counter[int] = Counter()
    for writer, count in counts.items():
        rank = rank_of_writer(writer)
        by_rank[lowest if rank is None else rank] += count
    return StepCount(by_rank[lowest], len(by_rank))
