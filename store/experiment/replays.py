"""What a training's own replay has said: Megatron's rerun of a step, torchtitan's comparison of losses.

Megatron-LM runs a step whose result it doubts again (``--rerun-mode validate_results``) and says by its
logger what that shows; torchtitan's ``loss_compare.py`` prints whether two trainings' losses are equal. Both
stand in a run as the text of a mark: under `thermograd run` Megatron's are kept, others by ``run.mark``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ReplayVerdict = Literal["transient", "persistent", "correct", "reproduced", "equal", "different"]
_PATTERNS: tuple[tuple[str, ReplayVerdict, re.Pattern[str]], ...] = (
    ("Megatron-LM", "transient", re.compile(r"Possible transient error")),
    ("Megatron-LM", "persistent", re.compile(r"Possible persistent error")),
    ("Megatron-LM", "correct", re.compile(r"Correct result \(but possible Application error\)")),
    ("Megatron-LM", "reproduced", re.compile(r"First rerun: unexpected result is reproducible")),
    ("torchtitan", "equal", re.compile(r"\[LOSS_COMPARE\] All losses are equal")),
    ("torchtitan", "different", re.compile(r"\[LOSS_COMPARE\] Loss assertion failed")),
)
_ITERATION = re.compile(r"\biteration #?(\d{1,15})\b")
_RANK = re.compile(r"\b[Rr]ank (\d{1,9})\b")
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Replay:
    """What a training's own replay has said of a step; step and rank None where it does not say."""

    program: str
    verdict: ReplayVerdict
    step: int | None
    rank: int | None
    text: str


def replay_of(text: str, step: int | None = None) -> Replay | None:
    """Return what a message says of a replay; None of any other message.

    Examples
    --------
    >>> found = replay_of("Rank 3, node n1, device 3, iteration #120: Possible transient error!")
    >>> found.verdict, found.step, found.rank
    ('transient', 120, 3)
    """
    for program, verdict, pattern in _PATTERNS:
        if pattern.search(text):
            said, rank = _ITERATION.search(text), _RANK.search(text)
            at = int(said[1]) if said else step
            return Replay(program, verdict, at, int(rank[1]) if rank else None, text[:_LONGEST])
    return None


def read_replays(marks: Iterable[Mapping[str, Any]]) -> list[Replay]:
    """Return what replays have said in a run, from its marks (mappings by column), in their order."""
    found = (replay_of(mark["text"], mark.get("step")) for mark in marks if mark.get("text"))
    return [replay for replay in found if replay is not None]
