"""The live runs of one folder as a receiver: the fleet of those who have no broker."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from thermograd.store.events import Event
from thermograd.store.labels.hosts import WriterPlace, writer_places
from thermograd.store.log.following.follower import Follower
from thermograd.store.runs.catalogue import Run, list_runs
from thermograd.stream.fleet.brokers.messages import Beat, Body, Bye, alert_note, packed
from thermograd.stream.fleet.brokers.transport import Received
from thermograd.stream.fleet.summary import NodeSummary

_KINDS = ("step", "sample", "alert")
_LAST = 200  # events of each writer and kind that a view begins with
_PERIOD_S = 1.0
_LISTED_S = 30.0  # for so long a folder that has not changed is believed to hold the same runs
_COARSENESS_NS = 2_000_000_000  # of the time at which a folder last changed, on the coarsest file system


class _Followed(NamedTuple):
    run: Run
    follower: Follower
    summaries: dict[str, NodeSummary]
    seqs: dict[str, int]


class FolderReceiver:
    """Looks once a second at every run of a folder that is live, and tells what its agents would.

    A node is a host that writes to the run, and heard of as long as one of its writers lives. There is no
    evidence of couplings: that is a broker's. `runs` has each that was told of, as it was at the last look.
    """

    def __init__(self, runs_dir: Path, clock: Callable[[], int] = time.time_ns) -> None:
        self._runs_dir, self._clock = runs_dir, clock
        self._followed: dict[str, _Followed] = {}
        self.runs: dict[str, Run] = {}
        self._looked_s: float | None = None
        self._listed: list[Run] = []
        self._listed_at: tuple[int | None, float] = (None, 0.0)
        self._settled: dict[str, int] = {}

    def receive(self, most: int, wait_s: float) -> list[Received]:
        """Return what every live run tells now; waits until it is time to look again."""
        if self._looked_s is not None:
            due_s = self._looked_s + _PERIOD_S - time.monotonic()
            if due_s > 0.0:
                time.sleep(min(due_s, wait_s))
                return []
        self._looked_s = time.monotonic()
        now_ns = self._clock()
        return [Received(packed(body).data, now_ns) for body in self._look(now_ns)]

    def _look(self, now_ns: int) -> Iterator[Body]:
        for listed in self._list():
            stamp, followed = _stamp(listed.path / "writers"), self._followed.get(listed.run_id)
            if stamp is not None and self._settled.get(listed.run_id) == stamp:
                continue
            run = Run(listed.path, listed.known)  # facts are read once an object
            is_live = run.state() == "live" or bool(run.silent_hosts())
            if not is_live and stamp is not None:
                self._settled[run.run_id] = stamp
            if followed is None and is_live:
                followed = _Followed(run, Follower(run.path, _KINDS, _LAST), {}, {})
                self._followed[run.run_id] = followed
            if followed is not None:
                self.runs[run.run_id] = run
                yield from self._tell(run, followed, now_ns, is_live)
                if not is_live:
                    del self._followed[run.run_id]

    def _list(self) -> list[Run]:
        """Return the runs of the folder; of one that has not changed those that were there before."""
        stamp, (known, until_s) = _stamp(self._runs_dir), self._listed_at
        if stamp is None or stamp != known or time.monotonic() >= until_s:
            self._listed = list_runs(self._runs_dir)
            self._listed_at = stamp, time.monotonic() + _LISTED_S
        return self._listed

    def _tell(self, run: Run, followed: _Followed, now_ns: int, is_live: bool) -> Iterator[Body]:
        events = followed.follower.poll()
        places = {place.writer: place for place in writer_places(run.writers())}
        live = run.live_writers()
        hosts = {place.host or "" for place in places.values()}
        for host in sorted(hosts):
            ours = [event for event in events if _host(places, event) == host]
            yield from _alerts(run.run_id, host, ours)
            followed.summaries.setdefault(host, NodeSummary()).learn(ours)
            writers = {name for name, place in places.items() if (place.host or "") == host}
            if is_live and writers & live:
                yield self._beat(run, followed, host, now_ns, places.values())
            elif not is_live:
                yield Bye(run.run_id, host, _writer(host), 0, now_ns)

    def _beat(
        self, run: Run, followed: _Followed, host: str, now_ns: int, places: Iterable[WriterPlace]
    ) -> Beat:
        summary = followed.summaries[host]
        ranks, devices = summary.take()
        seq = followed.seqs[host] = followed.seqs.get(host, -1) + 1
        labels = {name: text for place in places if place.host == host for name, text in place.labels.items()}
        return Beat(
            run.run_id,
            host,
            _writer(host),
            seq,
            now_ns,
            run.name,
            world_size=run.facts.get("job", {}).get("world_size"),
            labels=labels,
            newest_ns=summary.newest_ns,
            ranks=ranks,
            devices=devices,
        )

    def settle(self) -> None:
        """Do nothing: the runs stay where they are."""

    def now_ns(self) -> int | None:
        """Return our own time."""
        return self._clock()

    @property
    def is_drained(self) -> bool:
        """Whether there was a look."""
        return self._looked_s is not None

    def close(self) -> None:
        """Do nothing: nothing is held."""


def _stamp(folder: Path) -> int | None:
    """Return when a folder last changed; None where that cannot be told, or was just now."""
    try:
        changed_ns = os.stat(folder).st_mtime_ns
    except OSError:
        return None
    return changed_ns if changed_ns < time.time_ns() - _COARSENESS_NS else None


def _writer(host: str) -> str:
    return f"{host}-folder"


def _host(places: dict[str, WriterPlace], event: Event) -> str:
    return (places[event.writer].host or "") if event.writer in places else ""


def _alerts(run_id: str, host: str, events: list[Event]) -> Iterator[Body]:
    for event in events:
        if event.kind == "alert":
            yield alert_note(run_id, host, event.writer, int(event.values["seq"]), event.values)
