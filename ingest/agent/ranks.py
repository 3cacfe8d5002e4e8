"""Which ranks of this host have fallen silent: judged by their processes, never by how long a step takes.

Once a second each process of the training on this host that has not closed its log is looked at. It is silent
when two looks in a row find it stopped (SIGSTOP, Ctrl-Z, a scheduler), held by a debugger, or gone without a
word. A step, a first compilation, an evaluation, a checkpoint or a stalled loader of any length is a process
that runs. What is found with the same look is told once. Of ranks that are gone the one is named that went
first and was not told to end: the others were ended because of it.
"""

import socket
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from thermograd.ingest.agent.deaths import Death, Deaths
from thermograd.ingest.agent.silence import Marks, SilenceLimits
from thermograd.ingest.restarts import last_step
from thermograd.store.errors import ThermogradError
from thermograd.store.files import WRITER, read_json, write_json, writer_file, writer_files
from thermograd.store.log.place import is_live
from thermograd.store.processes import boot_id, process_of, rank_of_writer
from thermograd.store.runs.ends import signal_of_exit, was_told_to_end
from thermograd.store.telling.episodes import ended_mark
from thermograd.store.telling.quantities import duration_text, moment_text
from thermograd.store.telling.silences import Silence, told_ranks

State = Literal["runs", "stopped", "traced", "gone"]

_LOOKS = 2
_MOST_SLEPT_S = 0.5  # since the look before; beyond it we were stopped ourselves, perhaps with all others
_TOGETHER_NS = 5_000_000  # who ended so close together, nobody knows who was first
_MOST_READ = 8  # ranks whose last step is looked up
_SAYS = {
    "stopped": "stopped (SIGSTOP, Ctrl-Z, or a scheduler); kill -CONT {pid} lets it go on",
    "traced": "held by a debugger",
    "gone": "gone without a word (killed, out of memory, os._exit, or a crash)",
}


@dataclass(eq=False)
class _Rank:
    """One process of the training, and how often in a row it was found in a state in which it is silent."""

    writer: str
    number: int
    facts: Mapping[str, Any]
    process: psutil.Process | None
    seen_ns: int
    state: State = "runs"
    looks: int = 0
    is_over: bool = False
    death: Death | None = None
    onset_ns: int | None = None  # of the silence that was told
    back_s: float | None = None
    back_ns: int = 0


class RankWatch:
    """Looks at the processes of this host's ranks; a watcher of the agent's sampler.

    Parameters
    ----------
    where
        Returns the run's directory; it may be moved.
    limits
        For how long a rank has to be back.
    state_of
        Returns the state of a process, for tests.
    deaths
        Knows how processes ended.
    """

    def __init__(
        self,
        where: Callable[[], Path],
        limits: SilenceLimits | None = None,
        state_of: "Callable[[psutil.Process], State] | None" = None,
        deaths: Deaths | None = None,
    ) -> None:
        self._where, self._limits = where, limits or SilenceLimits()
        self._state_of = state_of or process_state
        self._deaths = deaths or Deaths()
        self._known: set[str] = set()
        self._ranks: dict[str, _Rank] = {}
        self._began_ns = time.time_ns()

    def look(self, slept_s: float = 0.0) -> Marks:
        """Look once; return the marks to be written."""
        self._find()
        now_ns = time.time_ns()
        for rank in list(self._ranks.values()):
            self._look_at(rank, now_ns, slept_s <= _MOST_SLEPT_S)
        return self._ended(self._limits.quiet_s) + self._told(_LOOKS)

    def last_look(self) -> Marks:
        """Look at the end, once more, who is gone: nobody else will tell of it."""
        self._find()
        for rank in list(self._ranks.values()):
            self._look_at(rank, time.time_ns(), True)
            rank.looks *= rank.state == "gone"
        gone = [rank for rank in self._ranks.values() if rank.state == "gone" and rank.onset_ns is None]
        told_to_end = bool(gone) and all(map(_was_told, gone))
        return self._ended(0.0) + ([] if told_to_end else self._told(1))

    def _find(self) -> None:
        """Find the processes that have begun to write."""
        for path in writer_files(self._where()):
            if path.stem in self._known or (number := rank_of_writer(path.stem)) is None:
                continue
            facts = read_json(path)
            if not facts or not WRITER.fullmatch(path.stem):
                continue
            self._known.add(path.stem)
            ours = facts.get("host") == socket.gethostname() and facts.get("boot_id") == boot_id()
            if ours and facts.get("role") == "training" and "closed_time_ns" not in facts:
                rank = _Rank(path.stem, number, facts, process_of(facts), time.time_ns())
                is_earlier = _began_ns(rank) < self._began_ns and self._state(rank) == "gone"
                if not is_earlier:  # of a start of the job that was over before we looked
                    self._ranks[path.stem] = rank
                    if rank.process is not None:
                        self._deaths.follow(int(facts["pid"]))

    def _look_at(self, rank: _Rank, now_ns: int, is_awake: bool) -> None:
        state = "runs" if rank.is_over else self._state(rank)
        if state == "gone" and self._is_over(rank):
            state, rank.is_over = "runs", True
        if state == "runs":
            rank.seen_ns, rank.looks = now_ns, 0
            if rank.onset_ns is not None and rank.back_s is None:
                rank.back_s, rank.back_ns = time.monotonic(), now_ns
        else:
            rank.looks = rank.looks + 1 if is_awake and state == rank.state else 1
            rank.back_s = None
        rank.state = state
        if state == "gone" and rank.process is not None:
            self._note_death(rank)

    def _note_death(self, rank: _Rank) -> None:
        """Write for a rank that is gone when and how it ended: what is read of the run says so."""
        before, rank.death = rank.death, self._deaths.of(int(rank.facts["pid"]))
        if (death := rank.death) is not None and death != before:
            with suppress(OSError):
                file = writer_file(self._where(), rank.writer)
                told = {"time_ns": death.time_ns, "exit_code": death.exit_code}
                write_json(file, (read_json(file) or dict(rank.facts)) | {"gone": told})

    def _state(self, rank: _Rank) -> State:
        """Return the state of a process; of one that cannot be seen, in another container, by its lock."""
        if rank.process is not None:
            return self._state_of(rank.process)
        return "runs" if is_live(self._where(), rank.writer) else "gone"

    def _is_over(self, rank: _Rank) -> bool:
        """Return whether it has closed its log, or another process of this rank has begun after it."""
        if "closed_time_ns" in read_json(writer_file(self._where(), rank.writer)):
            return True
        others = (other for other in self._ranks.values() if other.number == rank.number)
        return any(_began_ns(other) > _began_ns(rank) for other in others)

    def _told(self, looks: int) -> Marks:
        """Return a mark for those who have fallen silent, one for all in the same state."""
        found: dict[State, list[_Rank]] = defaultdict(list)
        for rank in sorted(self._ranks.values(), key=lambda rank: rank.number):
            if rank.state != "runs" and rank.looks >= looks and rank.onset_ns is None:
                found[rank.state].append(rank)
        return [self._tell(state, ranks) for state, ranks in found.items()]

    def _tell(self, state: State, ranks: list[_Rank]) -> dict[str, Any]:
        onset_ns = min(rank.seen_ns for rank in ranks)
        for rank in ranks:
            rank.onset_ns = onset_ns
        silent = [rank for rank in ranks if not _was_told(rank)] or ranks
        ranks, followed = _first_gone(ranks) if state == "gone" else (ranks, "")
        steps = {rank.number: self._last_step(rank.number) for rank in ranks[:_MOST_READ]}
        known = [step for step in steps.values() if step is not None]
        step, at_ns = max(known, key=lambda each: each[1]) if known else (None, 0)
        last = "no step was logged" if step is None else f"last step {step:,} at {_clock(at_ns)}"
        says = _gone(ranks) if state == "gone" else _SAYS[state]
        one = f"its process is {says.format(pid=ranks[0].facts.get('pid'))}"
        many = f"their processes are {says.partition(';')[0]}"
        silent_s = max(0.0, (time.time_ns() - onset_ns) / 1e9)
        text = (
            f"{told_ranks(rank.number for rank in ranks)} on {socket.gethostname()}: "
            f"{one if len(ranks) == 1 else many}{followed}; "
            f"no sign of life for {duration_text(silent_s)}; {last}"
        )
        return Silence(
            "silent.rank",
            "warning" if state == "traced" or all(map(_was_told, ranks)) else "critical",
            onset_ns,
            self._limits.definition("silent.rank"),
            ranks=tuple(rank.number for rank in silent),
            writers=tuple(rank.writer for rank in silent),
            host=socket.gethostname(),
            step=step,
            metric="step",
            value=None if step is None else float(step),
        ).mark(text)

    def _last_step(self, number: int) -> tuple[int, int] | None:
        with suppress(ThermogradError, OSError):  # whatever the log is like, the silence is told
            return last_step(self._where(), number)
        return None

    def _ended(self, quiet_s: float) -> Marks:
        """Return a mark for each silence of which every rank has been back for a while."""
        told: dict[int, list[_Rank]] = defaultdict(list)
        for rank in self._ranks.values():
            if rank.onset_ns is not None:
                told[rank.onset_ns].append(rank)
        now_s, marks = time.monotonic(), []
        for onset_ns, ranks in told.items():
            if any(rank.back_s is None or now_s - rank.back_s < quiet_s for rank in ranks):
                continue
            end_ns = max(rank.back_ns for rank in ranks)
            for rank in ranks:
                rank.onset_ns = rank.back_s = None
            at = {"time_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
            marks.append(ended_mark(at, "silent.rank", None, onset_ns, end_ns))
        over = [rank for rank in self._ranks.values() if rank.is_over and rank.onset_ns is None]
        for rank in over:
            del self._ranks[rank.writer]
        return marks


def _was_told(rank: _Rank) -> bool:
    """Return whether somebody told a process to end, as `kill`, a launcher or a scheduler do."""
    return rank.death is not None and was_told_to_end(rank.death.exit_code)


def _first_gone(ranks: list[_Rank]) -> tuple[list[_Rank], str]:
    """Return those of the ranks that are gone that went first, and in words the others."""
    if len(ranks) == 1:
        return ranks, ""
    unasked = [rank for rank in ranks if not _was_told(rank)] or ranks
    ends = [rank.death.time_ns for rank in unasked if rank.death is not None]
    if len(ends) < len(unasked):
        return ranks, "; which of them went first cannot be told"
    first = [rank for rank in unasked if _died_ns(rank) - min(ends) <= _TOGETHER_NS]
    if others := [rank for rank in ranks if rank not in first]:
        after_s = max(0.0, (max(map(_died_ns, others)) - min(ends)) / 1e9)
        how = " by SIGTERM" if all(map(_was_told, others)) else ""
        told = (
            f"; {told_ranks(rank.number for rank in others)} ended{how} within {duration_text(after_s)} of it"
        )
        return first, told
    return first, "; they ended together"


def _died_ns(rank: _Rank) -> int:
    return 0 if rank.death is None else rank.death.time_ns


def _gone(ranks: list[_Rank]) -> str:
    """Return what is known of how processes ended that have said nothing."""
    codes = {None if rank.death is None else rank.death.exit_code for rank in ranks}
    code = codes.pop() if len(codes) == 1 else None
    if code is None:
        return _SAYS["gone"]
    name = signal_of_exit(code)
    if was_told_to_end(code):
        return f"ended by {name}: somebody told it to end"
    memory = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"gone without a word ({name or f'exit code {code}'}{memory})"


def process_state(process: psutil.Process) -> State:
    """Return in which state a process is; one that nobody may ask runs."""
    try:
        status = process.status()
    except psutil.NoSuchProcess:
        return "gone"
    except psutil.Error:
        return "runs"
    if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        return "gone"
    if status == psutil.STATUS_TRACING_STOP:
        return "traced"
    return "stopped" if status == psutil.STATUS_STOPPED else "runs"


def _began_ns(rank: _Rank) -> int:
    clock = rank.facts.get("clock")
    time_ns = clock.get("time_ns") if isinstance(clock, Mapping) else None
    return time_ns if isinstance(time_ns, int) else 0


def _clock(time_ns: int) -> str:
    return moment_text(time_ns, with_date=False)
