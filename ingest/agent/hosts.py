"""Which other hosts of the job have fallen silent: by the signs of life of their writers, on a shared disk.

Every writer writes one into its lock's file every ten seconds, in a thread of its own. A host is silent
when none of those of it that have not closed their log has given one for three such periods, by our clock;
theirs has no part in it. One agent alone looks at all: of those that live the first by name; the others look
whether it lives. A single process of a host whose agent lives is that agent's business; the agent's silence
that of the training beside it.
"""

import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thermograd.ingest.agent.silence import Marks, SilenceLimits
from thermograd.store.files import WRITER, read_json, writer_file, writer_files
from thermograd.store.log.place import sign_of_life_of
from thermograd.store.processes import rank_of_writer
from thermograd.store.telling.episodes import ended_mark
from thermograd.store.telling.quantities import duration_text
from thermograd.store.telling.silences import Silence, told_ranks
from thermograd.store.text import printable

_BEAT_S = 10.0
_LOOK_S = 2.0
_DOUBT_S = 11.0  # without its agent's sign the others of a host are asked, too: they have time for two
_ROLES = ("agent", "training", "recording")


@dataclass(eq=False)
class _Host:
    """Another host of the job: what its writers said last, and when that was new to us."""

    name: str
    signs: dict[str, Any] = field(default_factory=dict)
    heard_s: float = 0.0
    heard_ns: int = field(default_factory=time.time_ns)
    onset_ns: int | None = None  # of the silence that was told
    is_silent: bool = False
    is_in_doubt: bool = False


class HostWatch:
    """Looks at the other hosts' signs of life; a watcher of the agent's sampler.

    `where` returns the run's directory, `writer` is our own name, `limits` say after how many periods.
    """

    def __init__(self, where: Callable[[], Path], writer: str, limits: SilenceLimits | None = None) -> None:
        self._where, self._writer, self._limits = where, writer, limits or SilenceLimits()
        self._facts: dict[str, dict[str, Any]] = {}
        self._hosts: dict[str, _Host] = {}
        self._next_s = 0.0

    def look(self, slept_s: float = 0.0, now_s: float | None = None) -> Marks:
        """Look, where it is time; return the marks to be written."""
        now_s = time.monotonic() if now_s is None else now_s
        for host in self._hosts.values():
            host.heard_s += slept_s
        if now_s < self._next_s:
            return []
        self._next_s = now_s + _LOOK_S
        writers = self._open_writers()
        for name in self._hosts.keys() - writers.keys():  # all have closed their log
            del self._hosts[name]
        leads = self._leads(writers, now_s)
        for name, theirs in writers.items():
            if leads:
                self._hear(name, theirs, now_s)
            elif self._first_agent(theirs) > self._writer:  # to be looked at anew, should we lead one day
                self._hosts.pop(name, None)
        return [mark for host in self._hosts.values() for mark in self._judge(host, now_s, leads)]

    def _leads(self, writers: dict[str, list[str]], now_s: float) -> bool:
        """Return whether no agent whose name comes before ours lives; of those that do one is asked."""
        for name in sorted(writers, key=lambda name: self._first_agent(writers[name])):
            if self._first_agent(writers[name]) > self._writer:
                return True
            if not self._is_silent(self._hear(name, writers[name], now_s), now_s):
                return False
        return True

    def _first_agent(self, writers: list[str]) -> str:
        """Return the first agent of a host by name, which orders hosts; without one it comes last."""
        return min((name for name in writers if self._facts[name].get("role") == "agent"), default="~")

    def _open_writers(self) -> dict[str, list[str]]:
        """Return, by other host, the writers that have not closed their log.

        None of a host whose agent has closed its own: it has told what there was to tell.
        """
        found = defaultdict(list)
        for path in writer_files(self._where()):
            if path.stem not in self._facts and WRITER.fullmatch(path.stem) and (facts := read_json(path)):
                self._facts[path.stem] = facts
        for name, facts in self._facts.items():
            host = str(facts.get("host"))
            if "closed_time_ns" in facts or facts.get("role") not in _ROLES or host == socket.gethostname():
                continue
            found[host].append(name)
        agents = [facts for facts in self._facts.values() if facts.get("role") == "agent"]
        had = {str(facts.get("host")) for facts in agents}
        has = {str(facts.get("host")) for facts in agents if "closed_time_ns" not in facts}
        return {host: names for host, names in found.items() if host in has or host not in had}

    def _hear(self, name: str, writers: list[str], now_s: float) -> _Host:
        host = self._hosts.setdefault(name, _Host(name, heard_s=now_s))
        agents = [each for each in writers if self._facts[each].get("role") == "agent"]
        self._ask(host, agents or writers, now_s)
        was_in_doubt, host.is_in_doubt = host.is_in_doubt, now_s - host.heard_s > _DOUBT_S
        if host.is_in_doubt:
            others = [each for each in writers if each not in agents]
            if not was_in_doubt:  # what they said last may be old by now
                host.signs = {each: sign for each, sign in host.signs.items() if each in agents}
            self._ask(host, others, now_s)
        return host

    def _ask(self, host: _Host, writers: Iterable[str], now_s: float) -> None:
        for name in writers:
            sign = sign_of_life_of(self._where(), name)
            if sign is None:  # it may have closed its log
                self._facts[name] = read_json(writer_file(self._where(), name)) or self._facts[name]
            elif sign != (before := host.signs.get(name)):
                host.signs[name] = sign
                if before is not None:  # else it may be an old one
                    host.heard_s, host.heard_ns = now_s, time.time_ns()

    def _is_silent(self, host: _Host, now_s: float) -> bool:
        return now_s - host.heard_s > (self._limits.periods - 0.5) * _BEAT_S

    def _judge(self, host: _Host, now_s: float, is_ours: bool) -> Marks:
        was_silent, host.is_silent = host.is_silent, self._is_silent(host, now_s)
        if host.is_silent and not was_silent and host.signs and is_ours:
            return [self._tell(host, now_s)]
        if not host.is_silent and host.onset_ns is not None:
            at = {"time_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
            mark = ended_mark(at, "silent.agent", None, host.onset_ns, host.heard_ns)
            host.onset_ns = None
            return [mark]
        return []

    def _tell(self, host: _Host, now_s: float) -> dict[str, Any]:
        host.onset_ns = host.heard_ns
        ranks = sorted(rank for name in host.signs if (rank := rank_of_writer(name)) is not None)
        who = f"its agent and {told_ranks(ranks)}" if ranks else "its agent"
        silent_s = now_s - host.heard_s
        text = (
            f"host {printable(host.name)}: {who} gave no sign of life for {duration_text(silent_s)}; they "
            f"come every {_BEAT_S:g} s: the host is down, or out of reach"
        )
        return Silence(
            "silent.agent",
            "critical",
            host.heard_ns,
            self._limits.definition("silent.agent"),
            ranks=tuple(ranks),
            writers=tuple(sorted(host.signs)),
            host=host.name,
            metric="sign_of_life_s",
            value=silent_s,
            threshold=self._limits.periods * _BEAT_S,
        ).mark(text)
