"""Which of several processes that print into one log is read, and what others alone have."""

import itertools
from collections import deque
from typing import NamedTuple

from thermograd.ingest.importers.printed.lines import Printed
from thermograd.ingest.importers.printed.programs import Program
from thermograd.ingest.importers.rows.seen import SeenKeys

_MOST_HELD = 4096
_NEAR = 8  # steps: as far apart processes print the same one


class Held(NamedTuple):
    """A step's line that waits."""

    printed: Printed
    line: int


def is_stand_in(program: Program, loss: float) -> bool:
    """Whether a loss only says that the stage of a pipeline has none: -1 for each gradient that is summed."""
    return program.has_stand_in and loss < 0 and loss.is_integer()


def rank_of(program: Program, first: list[Printed]) -> int | None:
    """Return the rank that is read: the lowest that has a loss, else the lowest; None where none is said."""
    ranks = {printed.rank for printed in first if printed.rank is not None}
    with_loss = {
        p.rank
        for p in first
        if p.rank is not None and "loss" in p.columns and not is_stand_in(program, p.columns["loss"])
    }
    return min(with_loss or ranks, default=None)


def copies_of(first: list[Printed]) -> int:
    """Return how often each step is there, one after the other with other values, where all are as often."""
    groups = [list(group) for _, group in itertools.groupby(first, key=lambda printed: printed.step)]
    whole = groups[:-1]  # the last may be cut
    sizes = {len(group) for group in whole}
    if len(whole) < 2 or len(sizes) > 1 or any(printed.step is None for printed in first):
        return 1
    return sizes.pop() if any(differs(a, b) for group in whole for a, b in itertools.pairwise(group)) else 1


def differs(one: Printed, other: Printed) -> bool:
    """Whether two lines have other values of a column."""
    both = one.columns.keys() & other.columns.keys()
    return any(one.columns[name] != other.columns[name] for name in both)


class OtherRanks:
    """The lines of other ranks while it is not known whether the rank that is read has their steps, too."""

    def __init__(self) -> None:
        self._own = SeenKeys()
        self._held: dict[int, Held] = {}

    def hold(self, line: int, printed: Printed) -> bool:
        """Keep a line; return False where its step is there already, or too many wait."""
        step = printed.step
        if step is None or step in self._held or len(self._held) >= _MOST_HELD or self._own.has(step):
            return False
        self._held[step] = Held(printed, line)
        return True

    def settle(self, step: int, last: int | None) -> tuple[list[Held], Held | None]:
        """Return those that have steps alone, and that which has the step that the rank prints now."""
        self._own.is_new(step)
        same = self._held.pop(step, None)
        begins_again = last is not None and step <= last
        alone = [held for number, held in self._held.items() if number < step or begins_again]
        for held in alone:
            self._held.pop(held.printed.step or 0)
        return alone, same

    def rest(self) -> list[Held]:
        """Return those that still wait: no other line has their steps."""
        held, self._held = list(self._held.values()), {}
        return held


class NearSteps:
    """Counts steps that were there shortly before."""

    def __init__(self) -> None:
        self._latest: deque[int] = deque(maxlen=_NEAR)
        self._steps = self._again = 0

    def note(self, step: int) -> None:
        """Take the next step."""
        self._steps += 1
        self._again += step in self._latest
        self._latest.append(step)

    @property
    def are_doubled(self) -> bool:
        """Whether most steps are there at least twice."""
        return self._steps >= 2 * _NEAR and 3 * self._again >= self._steps
