"""How a run ended: its state and why, from what its processes, and who started them, said of the end."""

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec.structs import replace
from thermograd.store.processes import rank_of_writer
from thermograd.store.text import printable

LAUNCHER = "launcher"  # the role of who started the command, and knows how it ended
TRAINING = ("training", "recording")  # the roles of what a run is of

State = Literal["finished", "failed", "interrupted", "crashed"]

_UNCLOSED = "its process ended without closing its log"
_TOLD_TO_END = "SIGTERM ended its processes"
_UNKNOWN = f"{_UNCLOSED}: killed, out of memory, os._exit or a crash"
BY_SIGNAL = 128  # and the signal's number: the exit code of what a signal has ended
# from outside, as a person, a scheduler or a terminal that is closed ends a process
_OUTSIDE = frozenset({"SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGXCPU"})
_CRASHES = frozenset({"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV", "SIGSYS"})
# an account that a rank gives explains those that could give none: the last is told first
_ORDER = ("finished", "crashed", "interrupted", "failed")
_CLOSED_BY = {
    "exit": "the script ended without close()",
    "SystemExit": "the script ended without close(), by SystemExit (thermograd run tells the exit code)",
    "another run": "another run was started",
}
_LONGEST_REASON = 300
_LONGEST_OF_ONE = 160  # where several ranks are told of
_MOST_NAMED = 4

_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
_Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


@dataclass(frozen=True)
class RunEnd:
    """State of a run, why it is in it, and the exit code; None where nothing is to be said or known."""

    state: str
    reason: str | None = None
    exit_code: int | None = None


class Account(msgspec.Struct, frozen=True):
    """What a process, or who started it, said of the end: the detail of ``run_ended``, ``command_ended``."""

    state: State
    exit_code: _Count | None = None
    exception: str | None = None
    message: str | None = None
    closed_by: str | None = None
    lost: _Count | None = None


class Gone(msgspec.Struct, frozen=True):
    """What the agent has seen of the end of a process that said nothing of it."""

    time_ns: _Nanoseconds | None = None
    exit_code: _Count | None = None


def state_of_exit(exit_code: int) -> State:
    """Return the state of what ended with an exit code, as shells have it: 128 + n by signal n.

    Examples
    --------
    >>> [state_of_exit(code) for code in (0, 7, 143, 137)]
    ['finished', 'failed', 'interrupted', 'crashed']
    """
    if exit_code == 0:
        return "finished"
    name = signal_of_exit(exit_code)
    if name in _OUTSIDE:
        return "interrupted"
    return "crashed" if name in _CRASHES else "failed"


def signal_of_exit(exit_code: int) -> str | None:
    """Return the name of the signal that an exit code tells of; None where it tells of none.

    Examples
    --------
    >>> signal_of_exit(139), signal_of_exit(7)
    ('SIGSEGV', None)
    """
    try:
        return signal.Signals(exit_code - BY_SIGNAL).name
    except ValueError:
        return None


def end_told(source: str, facts: Mapping[str, Any]) -> RunEnd:
    """Return the end of a run that was not recorded here: its source, and what the log that it is of says.

    Examples
    --------
    >>> end_told("imported", {"import": {"run": {"state": "failed", "by": "MLflow"}}}).reason
    'failed, as MLflow says'
    """
    origin = facts.get("import")
    told = origin.get("run") if isinstance(origin, dict) else None
    if not isinstance(told, dict) or told.get("state") not in get_args(State):
        return RunEnd(source)
    code = told.get("exit_code")
    text = f"{told['state']}, as {printable(str(told.get('by') or 'its log'), _LONGEST_OF_ONE)} says"
    return RunEnd(source, text, code if type(code) is int and 0 <= code < 1 << 32 else None)


def was_told_to_end(exit_code: int | None) -> bool:
    """Return whether an exit code says that somebody outside told the process to end."""
    return exit_code is not None and signal_of_exit(exit_code) in _OUTSIDE


def end_of(writers: Iterable[Mapping[str, Any]], live: frozenset[str]) -> RunEnd:
    """Return how a recorded run ended, or that it lives.

    Parameters
    ----------
    writers
        What each writer left about itself. Of several of one rank the last counts: the job was restarted.
    live
        Names of the writers whose process lives.
    """
    known = sorted(writers, key=_began_ns)
    ranks = {_rank(facts): facts for facts in known if facts.get("role") in TRAINING}
    ended = sorted((f for f in ranks.values() if f.get("writer") not in live), key=_closed_ns)
    ends = {_rank(facts): _judged(_account(facts)) for facts in ended}
    if len(ends) < len(ranks):
        troubled = {rank: end for rank, end in ends.items() if end.state != "finished"}
        return RunEnd("live", _reason(troubled, several=True) if troubled else None)
    if not ends:
        return RunEnd("crashed", "no process of the training has left a log")
    worst = _worst(ends)
    command = _command(known, max(map(_began_ns, ranks.values())))
    if command is not None:
        ends[worst] = _judged(replace(ends[worst], exit_code=command.exit_code))
    elif ends[worst].state == "crashed" and (_was_told_to_end(known) or _were_all_told(ended)):
        ends[worst] = replace(ends[worst], state="interrupted", message=_TOLD_TO_END)
    return RunEnd(ends[worst].state, _reason(ends, several=len(ends) > 1), ends[worst].exit_code)


def _rank(facts: Mapping[str, Any]) -> str:
    """Return the rank in a writer's name, or the name itself."""
    name = str(facts.get("writer"))
    rank = rank_of_writer(name)
    return name if rank is None else f"rank {rank}"


def _began_ns(facts: Mapping[str, Any]) -> int:
    clock = facts.get("clock")
    time_ns = clock.get("time_ns") if isinstance(clock, Mapping) else None
    return time_ns if isinstance(time_ns, int) else 0


def _closed_ns(facts: Mapping[str, Any]) -> tuple[float, bool, float, int, str]:
    name = _rank(facts)  # of several that were gone without a word who went first, else the first rank
    gone = _gone(facts)
    told, gone_ns = was_told_to_end(gone.exit_code), float(gone.time_ns or "inf")
    return float(facts.get("closed_time_ns", "inf")), told, gone_ns, len(name), name


def _gone(facts: Mapping[str, Any]) -> Gone:
    """Return what the agent has seen of the end of a process that has not closed its log."""
    try:
        return msgspec.convert(facts["gone"], Gone)
    except (KeyError, msgspec.ValidationError):
        return Gone()


def _were_all_told(ended: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether each process that has not closed its log was told to end."""
    unclosed = [_gone(facts) for facts in ended if "closed_time_ns" not in facts]
    return bool(unclosed) and all(was_told_to_end(gone.exit_code) for gone in unclosed)


def _account(facts: Mapping[str, Any]) -> Account:
    """Return what a writer said of its end; of a log that was not closed, that it crashed."""
    if "closed_time_ns" not in facts:
        return Account("crashed", message=_words_of_code(_gone(facts).exit_code))
    try:
        return msgspec.convert(facts["ended"], Account)
    except (KeyError, msgspec.ValidationError):  # written by an earlier version, or by a stranger
        return Account("finished")


def _command(writers: Iterable[Mapping[str, Any]], after_ns: int) -> Account | None:
    """Return what was said of the command by those who started it; None of an earlier start of the job."""
    said = [f for f in writers if f.get("role") == LAUNCHER and "ended" in f and _began_ns(f) >= after_ns]
    accounts = {str(facts.get("writer")): _account(facts) for facts in said}
    return accounts[_worst(accounts)] if accounts else None


def _was_told_to_end(writers: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the agent that was started last ended by SIGTERM, with its training gone as well."""
    agents = [facts for facts in writers if facts.get("role") == "agent"]
    return bool(agents) and _account(agents[-1]).state == "interrupted"


def _judged(account: Account) -> Account:
    """Return an account whose state agrees with its exit code: the process went on after the run's end."""
    if not account.exit_code:
        return account
    by_code = state_of_exit(account.exit_code)
    if account.state == "finished" and account.closed_by not in (None, "exit", "SystemExit"):
        return replace(account, state=by_code, message="after the run was closed")
    if account.state == "finished" or (account.state == "crashed" and by_code == "interrupted"):
        return replace(account, state=by_code)
    return account


def _worst(ends: Mapping[str, Account]) -> str:
    """Return whose account explains most; of several the first."""
    return max(ends, key=lambda name: _ORDER.index(ends[name].state))


def _reason(ends: Mapping[str, Account], several: bool) -> str | None:
    worst = _worst(ends)
    why = _why(ends[worst])
    if why is None or ends[worst].state == "finished" or not several:
        return why
    state = ends[worst].state
    also = [
        name if end.state == state else f"{name} ({end.state})"
        for name, end in ends.items()
        if end.state != "finished" and name != worst
    ]
    told = ", ".join(also[:_MOST_NAMED]) + f" and {len(also) - _MOST_NAMED} more" * (len(also) > _MOST_NAMED)
    why = printable(why, _LONGEST_OF_ONE)
    return printable(f"{worst}: {why}{'; also ' * bool(also)}{told}", _LONGEST_REASON)


def _why(end: Account) -> str | None:
    """Return why a process is in its state, as one line; None where there is nothing to say."""
    words = _own_words(end) if end.state == "finished" else _coded(_own_words(end) or _by_code(end), end)
    lost = f"{end.lost:,} events could not be written" if end.lost else None
    return printable("; ".join(filter(None, (words, lost))), _LONGEST_REASON) or None


def _own_words(end: Account) -> str | None:
    if end.state == "finished":
        said = [_CLOSED_BY.get(end.closed_by or ""), end.message]
    else:
        said = [": ".join(filter(None, (end.exception, end.message)))]
    return ", ".join(filter(None, said)) or None


def _words_of_code(exit_code: int | None) -> str | None:
    name = signal_of_exit(exit_code) if exit_code else None
    return f"{name}, perhaps for want of memory" if name == "SIGKILL" else name


def _by_code(end: Account) -> str | None:
    """Return what the exit code tells where nobody said anything."""
    if (words := _words_of_code(end.exit_code)) is not None:
        return words
    if end.state != "crashed":
        return None
    return _UNKNOWN if end.exit_code is None else _UNCLOSED


def _coded(words: str | None, end: Account) -> str | None:
    if end.exit_code is None:
        return words
    code = f"exit code {end.exit_code}"
    return code if words is None else f"{words} ({code})"
