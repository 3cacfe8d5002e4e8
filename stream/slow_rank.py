"""Which rank of a job is slower than its peers: told within a minute, with stated false alarms.

Time is cut into blocks, and a rank's time in a block is the median of its steps'. A rank scores where its
time, divided by 1 + `tolerance`, is still among the `top` share of all ranks' times. If no rank is slower
than the tolerance, a rank scores in at most that share of the blocks; after a block in which it scored, more
often where times have memory: as often as the other ranks have shown. A bet on its score at these odds cannot
win in the mean. The bets' winnings are summed over all blocks at which a
slowness may have begun (an e-detector, Shin, Ramdas and Rinaldo 2023), and averaged over ranks: in the mean
there are at least `alarm_s` between two false alarms of a job, however many ranks it has.

Collectives make all ranks wait for the slowest: where only the whole step's time is known, and they share it,
no rank scores and none is told. A script that gives `Run.step` its own time before the collective as
`step_time_s` is told.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from math import isfinite

_MOST_RANKS = 65_536
_MOST_GAIN = 4.0  # of a bet: some ten blocks are needed however much slower a rank is
_LEAST_STAKE, _MOST_STAKE = 0.02, 0.5
_TOP = 0.125  # share of the ranks that may be slow at once
_PRIOR = 2.0  # blocks: how much weighs that scores do not follow each other, before others show whether
_MOST_WON = 1e12
_RECENT = 20  # blocks, of which the ratio is told


@dataclass(frozen=True)
class SlowRank:
    """A rank that was found slow: by how much (ratio to its peers' median), since when, and the evidence.

    `evidence` is the mean of the ranks' e-detectors in blocks, raised when it passes `threshold`.
    """

    rank: int
    time_ns: int
    since_ns: int
    ratio: float
    evidence: float
    threshold: float


class SlowRanks:
    """Compares the ranks of one job block by block; `update` returns the ranks that are found slow then.

    Each is told once, and again only after it has been as fast as its peers for a while. The result depends
    on which times there were, not on the order in which ranks deliver them, as long as none is later than
    `lateness_s`; what is later is left out and counted in `late`.

    Parameters
    ----------
    tolerance
        A rank that is slower by less is not slow.
    alarm_s
        False alarms of a job are in the mean at least so far apart, s.
    block_s
        Length of a block, s; steps that are longer make it longer.
    lateness_s
        How late a rank's times may arrive, s.

    Examples
    --------
    >>> ranks = SlowRanks()
    >>> times = [(step * 10**9, rank) for step in range(90) for rank in range(8)]
    >>> for time_ns, rank in times:
    ...     for slow in ranks.update(rank, time_ns, 1.1 if rank == 5 else 1.0 + 0.001 * rank):
    ...         print(slow.rank, slow.time_ns / 1e9, round(slow.ratio, 2))
    5 30.0 1.1
    """

    def __init__(
        self,
        tolerance: float = 0.03,
        alarm_s: float = 259_200.0,
        block_s: float = 3.0,
        lateness_s: float = 2.0,
    ) -> None:
        if not (0 <= tolerance < 1 and alarm_s > 0 and block_s > 0 and lateness_s >= 0):
            raise ValueError(
                f"tolerance={tolerance!r}, alarm_s={alarm_s!r}, block_s={block_s!r}, "
                f"lateness_s={lateness_s!r}; "
                "expected 0 <= tolerance < 1, alarm_s > 0, block_s > 0, lateness_s >= 0"
            )
        self._tolerance, self._block_ns = tolerance, round(block_s * 1e9)
        self._lateness_ns, self._threshold = round(lateness_s * 1e9), alarm_s / block_s
        self._open: dict[int, dict[int, list[float]]] = {}  # block: rank: times
        self._closed_before: int | None = None
        self._newest_ns: int | None = None
        self._ranks: dict[int, _Standing] = {}
        self.late = 0

    @property
    def definition(self) -> str:
        """Name, version and parameters of the rule."""
        return (
            f"slow.rank/1(tolerance={self._tolerance!r},threshold={self._threshold!r},"
            f"block_s={self._block_ns / 1e9!r})"
        )

    def update(self, rank: int, time_ns: int, work_s: float | None) -> list[SlowRank]:
        """Take in how long a rank worked on the step that ended at a time; return who is found slow now."""
        if work_s is None or not isfinite(work_s) or work_s <= 0 or not 0 <= rank < _MOST_RANKS:
            return []
        block = time_ns // self._block_ns
        if self.is_late(time_ns):
            self.late += 1
            return []
        self._open.setdefault(block, {}).setdefault(rank, []).append(float(work_s))
        if self._newest_ns is None or time_ns > self._newest_ns:
            self._newest_ns = time_ns
        return self._close_until((self._newest_ns - self._lateness_ns) // self._block_ns)

    def is_late(self, time_ns: int) -> bool:
        """Return whether the block of a time has been judged."""
        return self._closed_before is not None and time_ns // self._block_ns < self._closed_before

    def close(self) -> list[SlowRank]:
        """Judge what is still open."""
        return self._close_until(max(self._open, default=-1) + 1)

    def _close_until(self, end: int) -> list[SlowRank]:
        found: list[SlowRank] = []
        for block in sorted(block for block in self._open if block < end):
            times = self._open.pop(block)
            if len(times) < max(3, 0.5 * len(self._ranks)):
                continue  # a longer step than a block, or half of the job is away: nobody to compare with
            found += self._judge(block, {rank: _median(of) for rank, of in sorted(times.items())})
            self._closed_before = block + 1
        return found

    def _judge(self, block: int, times: dict[int, float]) -> list[SlowRank]:
        """Let every rank bet on one block."""
        top = max(1, int(_TOP * len(times)))
        ordered = sorted(times.values())
        usual = _median(ordered)
        share, found = top / len(times), []
        memory = self._memory(top)
        for rank, time_s in times.items():
            standing = self._ranks.setdefault(rank, _Standing())
            deflated = time_s / (1.0 + self._tolerance)
            others_above = len(ordered) - bisect_right(ordered, deflated) - (time_s > deflated)
            scores = others_above < top
            fair = max(share, memory.without(standing, share)) if standing.has_scored else share
            standing.bet(block, scores, _gain(fair, scores), time_s / usual)
            evidence = standing.evidence / len(times)
            if evidence >= self._threshold and not standing.is_told:
                standing.is_told = True
                begin_ns, end_ns = standing.since * self._block_ns, (block + 1) * self._block_ns
                found.append(SlowRank(rank, end_ns, begin_ns, standing.ratio, evidence, self._threshold))
        return found

    def _memory(self, top: int) -> "_Memory":
        """Return how scores have followed each other, but for the `top` ranks that may be slow themselves."""
        by_again = sorted(self._ranks.values(), key=lambda standing: standing.again)
        return _Memory(frozenset(by_again[: len(by_again) - top]))


class _Memory:
    """Of some ranks: how many blocks followed one with a score, and in how many of them was another."""

    def __init__(self, standings: "frozenset[_Standing]") -> None:
        self._standings = standings
        self._after = sum(standing.after for standing in standings)
        self._again = sum(standing.again for standing in standings)

    def without(self, standing: "_Standing", share: float) -> float:
        """Return how often a score follows a score among the others."""
        is_in = standing in self._standings
        after = self._after - (standing.after if is_in else 0)
        again = self._again - (standing.again if is_in else 0)
        return (again + _PRIOR * share) / (after + _PRIOR)


def _gain(fair: float, scores: bool) -> float:
    """Return what a bet at fair odds pays: the stake is bounded, and so is what can be won at once."""
    if fair >= 0.98:
        return 1.0
    stake = min(_MOST_STAKE, max(_LEAST_STAKE, (_MOST_GAIN - 1.0) * fair / (1.0 - fair)))
    return 1.0 - stake + (stake / fair if scores else 0.0)


class _Standing:
    """One rank's winnings, since when it wins, and its last ratios to the peers' median."""

    __slots__ = ("_won", "after", "again", "evidence", "has_scored", "is_told", "ratios", "scores", "since")

    def __init__(self) -> None:
        self.evidence = 0.0
        self._won = 1.0
        self.since = 0
        self.is_told = self.has_scored = False
        self.after = self.again = 0  # blocks after one in which it scored, and those in which it did again
        self.ratios: deque[float] = deque(maxlen=_RECENT)
        self.scores: deque[bool] = deque(maxlen=_RECENT)

    @property
    def ratio(self) -> float:
        """The middle of the last ratios since then."""
        return _median(list(self.ratios))

    def bet(self, block: int, scores: bool, gain: float, ratio: float) -> None:
        """Bet all that is won, and one more; above the threshold nothing is won any more."""
        if self._won * gain <= 1.0:  # what has been until here speaks for no slowness
            self._won, self.since = 1.0, block + 1
            self.ratios.clear()
        else:
            self._won = min(self._won * gain, _MOST_WON)
            self.ratios.append(ratio)
        self.evidence = min((self.evidence + 1.0) * gain, _MOST_WON)
        self.after += self.has_scored
        self.again += self.has_scored and scores
        self.has_scored = scores
        self.scores.append(scores)
        if self.is_told and len(self.scores) == _RECENT and sum(self.scores) < _RECENT / 2:
            self.is_told, self.evidence = False, 0.0


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2.0
