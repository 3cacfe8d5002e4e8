"""One outcome beside the schedule: what each pair of blocks says for an effect, through several memories."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.experiment.heat.blocks import Blocks
from thermograd.analysis.experiment.heat.whitening import Whitened, whitened

_ALIKE_KNOWN = 0.5  # of a pair's fuller block, what the other has to have of known values

_BEYOND = 1.5  # times the longest memory of the test, which looks much the same to it


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One outcome beside the schedule.

    Attributes
    ----------
    clean
        The outcome's innovations.
    blocks
        The pairs that count for this outcome.
    pairs
        Shape (pairs,): their numbers among the pairs of the experiment.
    memories_s
        Thermal memories that are looked through, s, ascending; `tested` are the places of those of the test.
    scores
        Shape (memories, pairs): what each pair says for an effect, as drawn; turned around, the negative.
    answers
        Shape (memories, memories, pairs): [i] what an effect of 1 at a block's end through memory i adds to
        the scores.
    """

    clean: Whitened
    blocks: Blocks
    pairs: Ints
    memories_s: Floats
    tested: Ints
    scores: Floats
    answers: Floats

    @property
    def said(self) -> Floats:
        """What each pair says through the memories of the test, shape (tested, pairs)."""
        return np.asarray(self.scores[self.tested])

    @property
    def answered(self) -> Floats:
        """What an effect of 1 through each memory adds to it, shape (memories, tested, pairs)."""
        return np.asarray(self.answers[:, self.tested])

    def acting(self, tau_s: float | None, is_sure: bool) -> Ints:
        """Return the places of the memories that heat may act through.

        Of an effect all of them. Where none is sure, those up to somewhat beyond the longest of the test, or
        within a factor of two of the device's own where that is known: only for these is a size ruled out.
        """
        if is_sure:
            return np.arange(self.memories_s.size)
        low, high = (
            (0.0, _BEYOND * self.memories_s[self.tested[-1]]) if tau_s is None else (tau_s / 2, tau_s * 2)
        )
        return np.flatnonzero((self.memories_s >= low) & (self.memories_s <= high))

    def best(self, places: Ints) -> int:
        """Return the place of the memory through which an effect explains most of the outcome."""
        own = np.array([self.answers[place, place].sum() for place in places])
        whole = own * [self.blocks.at_block_end(float(each_s)) for each_s in self.memories_s[places]]
        return int(places[np.argmax(self.scores[places].sum(axis=1) ** 2 / whole)])

    def sd_without(self, size: float, place: int) -> float:
        """Return the sd of the outcome about its trend, without an effect of this size through a memory."""
        memory_s = float(self.memories_s[place])
        heat = self.blocks.through(memory_s) / self.blocks.at_block_end(memory_s)
        return self.clean.sd_without(size * heat)


def scored(
    outcome: Floats, blocks: Blocks, memories_s: Sequence[float], tau_s: float | None
) -> Scored | None:
    """Return an outcome beside the schedule; None where nothing can be said.

    A pair in one of whose blocks the outcome is missing, or much less often known than in the other, is left
    out: which one that is makes no difference, so that no draw of the coins changes it.
    """
    place, numbers = _with_both(outcome, blocks)
    own = replace(blocks, place=place, pairs=numbers.size)
    inside = np.flatnonzero(place >= 0)
    if not inside.size:
        return None
    known = np.where((blocks.place >= 0) & (place < 0), np.nan, outcome)
    known[: inside[0]] = np.nan
    known[inside[-1] + 1 :] = np.nan
    clean = whitened(known, own.pairs)
    if clean is None:
        return None
    all_s = _looked_through(memories_s, tau_s)
    weights = clean.weights(clean.innovations)
    scores = np.array([own.by_pair_through(memory_s, weights) for memory_s in all_s])
    answers = np.array([_answers(clean, own, memory_s, all_s) for memory_s in all_s])
    lengths = np.linalg.norm(scores, axis=1)
    if not (np.isfinite(scores).all() and np.isfinite(answers).all() and np.all(lengths > 0)):
        return None
    found = Scored(clean, own, numbers, all_s, np.searchsorted(all_s, np.sort(memories_s)), scores, answers)
    answered = [each[place].sum() for place, each in enumerate(answers)]
    return found if min(answered) > 0 and found.answered.sum(axis=(1, 2)).min() > 0 else None


def _with_both(outcome: Floats, blocks: Blocks) -> tuple[Ints, Ints]:
    """Return the place of each step among the pairs whose blocks are both known, and their numbers."""
    known = np.isfinite(outcome) & (blocks.place >= 0)
    sides = [known & (blocks.heat > 0), known & (blocks.heat < 0)]
    counts = [np.bincount(blocks.place[side], minlength=blocks.pairs) for side in sides]
    both = np.minimum(*counts) >= np.maximum(1, _ALIKE_KNOWN * np.maximum(*counts))
    among = np.append(np.where(both, np.cumsum(both) - 1, -1), -1)  # of no pair the last
    return among[blocks.place].astype(np.int64), np.flatnonzero(both).astype(np.int64)


def _looked_through(memories_s: Sequence[float], tau_s: float | None) -> Floats:
    """Return the memories, those between them, longer ones, and the device's own."""
    given = np.unique(np.asarray(memories_s, dtype=np.float64))
    own = [] if tau_s is None else [tau_s]
    return np.unique([*given, *np.sqrt(given[1:] * given[:-1]), _BEYOND * given[-1], 2.0 * given[-1], *own])


def _answers(clean: Whitened, blocks: Blocks, memory_s: float, memories_s: Floats) -> Floats:
    expected = clean.kept * clean.of(blocks.through(memory_s)) / blocks.at_block_end(memory_s)
    weights = clean.weights(expected)
    return np.array([blocks.by_pair_through(each_s, weights) for each_s in memories_s])
