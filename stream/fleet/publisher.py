"""Publishes for one agent, in a thread of its own: whatever becomes of the broker, it costs delay only.

Alerts are never dropped: what does not fit into memory is read from the log again. Beats are thinned while
the broker is away, and counted; the evidence in them is not, it goes with the next.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from thermograd.store.events import Event
from thermograd.store.failures import Guard
from thermograd.stream.fleet.brokers.messages import (
    AlertNote,
    Beat,
    Bye,
    Evidence,
    Message,
    alert_note,
    packed,
)
from thermograd.stream.fleet.brokers.transport import Sender, TransportError
from thermograd.stream.fleet.summary import NodeSummary

_SEND_S = 2.0  # that a broker may take
_LONGEST_PAUSE_S = 5.0
_MOST_ALERTS = 2_000  # in memory
_MOST_BEATS = 120
_AT_ONCE = 64
_MOST_EVIDENCE = 200_000  # a day of two devices
_BEAT_S = 1.0

Recall = Callable[[str, int], Iterable[tuple[int, Mapping[str, Any]]]]


@dataclass(frozen=True)
class About:
    """Whose messages these are, and what does not change about them."""

    run: str
    node: str
    writer: str
    name: str = ""
    world_size: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


class Publisher:
    """Takes what the stream layer sees, sends it when the broker will have it. Nothing of it waits or raises.

    `recall` returns from the log the alerts of a writer from a seq on, as (seq, columns); `on_trouble` gets
    one sentence when the broker cannot be used, and one when it can again. `state` is what beats say of the
    agent; `own_times` gives, each once, metrics of the log that the stream layer does not follow. `sent`
    counts messages that arrived, `thinned` beats that were dropped.
    """

    def __init__(
        self,
        sender: Sender,
        about: About,
        recall: Recall,
        on_trouble: Callable[[str], object],
        beat_s: float = _BEAT_S,
        own_times: Callable[[], Iterable[Event]] = tuple,
    ) -> None:
        self.state = "live"
        self.sent = self.thinned = 0
        self._sender, self._about, self._recall, self._beat_s = sender, about, recall, beat_s
        self._own_times = own_times
        self._summary, self._lock = NodeSummary(), threading.Lock()
        self._alerts: deque[AlertNote] = deque()
        self._left_in_log: dict[str, int] = {}  # of each writer, the first alert that is only there
        self._written = 0
        self._evidence: list[Evidence] = []
        self._beats: deque[Beat] = deque()
        self._numbered: list[Message] = []  # what may have arrived already: sent again as it was
        self._next_beat = 0
        self._wake, self._ending = threading.Event(), threading.Event()
        self._random = random.Random()
        again = "the fleet is told again, after %(count)d failures"
        self._guard = Guard("the fleet cannot be told: %(error)s; alerts wait in the log", on_trouble, again)
        self._thread = threading.Thread(target=self._work, name="thermograd-publisher", daemon=True)
        self._thread.start()

    def take(self, events: Iterable[Event], standings: Iterable[Sequence[Any]] = ()) -> None:
        """Take in what the stream layer has just looked at.

        Among the events are alerts that earlier agents of this node wrote: what they could not send is sent.
        """
        for event in events:
            if event.kind == "alert" and self._is_of_an_earlier_agent(event.writer):
                self._alert(event.writer, int(event.values["seq"]), event.values)
        with self._lock:
            self._summary.learn(events)
            self._evidence += [Evidence(*each) for each in standings]
            del self._evidence[:-_MOST_EVIDENCE]

    def _is_of_an_earlier_agent(self, writer: str) -> bool:
        return writer != self._about.writer and writer.startswith(f"{self._about.node}-")

    def alert(self, seq: int, values: Mapping[str, Any]) -> None:
        """Take in an alert that was just written to the log, to be sent at once."""
        self._alert(self._about.writer, seq, values)

    def _alert(self, writer: str, seq: int, values: Mapping[str, Any]) -> None:
        about = self._about
        with self._lock:
            if writer == about.writer:
                self._written = max(self._written, seq + 1)
            if writer in self._left_in_log or len(self._alerts) >= _MOST_ALERTS:
                self._left_in_log[writer] = min(seq, self._left_in_log.get(writer, seq))
            else:
                self._alerts.append(alert_note(about.run, about.node, writer, seq, dict(values)))
        self._wake.set()

    def finish(self, wait_s: float = 2.0) -> bool:
        """Send what is left and a goodbye, for at most so long; return whether the broker has it all."""
        self._ending.set()
        self._wake.set()
        self._thread.join(wait_s)
        return not self._thread.is_alive() and not self.waiting

    @property
    def waiting(self) -> int:
        """How many messages the broker does not have yet."""
        with self._lock:
            return len(self._alerts) + len(self._beats) + len(self._numbered) + len(self._left_in_log)

    def _work(self) -> None:
        try:
            self._send_until_the_end()
        finally:
            self._sender.close()

    def _send_until_the_end(self) -> None:
        beat_s, free_s, failures = time.monotonic(), 0.0, 0
        while not self._ending.is_set():
            now_s = time.monotonic()
            if now_s >= beat_s:
                self._make_beat()
                beat_s = max(beat_s + self._beat_s, now_s)
            if now_s >= free_s:
                sent = self._try()
                failures = failures + 1 if sent is None else 0
                free_s = time.monotonic() + self._pause_s(failures)
                if sent and self.waiting:
                    continue
            due_s = min(beat_s, free_s) if failures else beat_s
            self._wake.wait(max(0.005, due_s - time.monotonic()))
            self._wake.clear()
        self._make_beat()
        self._say_goodbye()

    def _pause_s(self, failures: int) -> float:
        """Return how long not to try after so many failures: a broker that comes back is not stormed."""
        if not failures:
            return 0.0
        return min(0.25 * 2.0 ** min(failures, 9), _LONGEST_PAUSE_S) * self._random.uniform(0.5, 1.0)

    def _say_goodbye(self) -> None:
        about, until_s = self._about, time.monotonic() + 2 * _SEND_S
        while self.waiting and time.monotonic() < until_s:
            if not self._try():
                time.sleep(0.1)
        if not self.waiting:
            bye = Bye(about.run, about.node, about.writer, 0, time.time_ns(), self._written)
            self._numbered = [packed(bye)]
            self._try()

    def _make_beat(self) -> None:
        about, own_times = self._about, self._read_own_times()
        with self._lock:
            self._summary.learn(own_times)
            ranks, devices = self._summary.take()
            evidence, self._evidence = self._evidence, []
            beat = Beat(
                about.run,
                about.node,
                about.writer,
                -1,
                time.time_ns(),
                about.name,
                self.state,
                about.world_size,
                dict(about.labels),
                self._summary.newest_ns,
                ranks,
                devices,
                evidence,
                self._written,
            )
            self._beats.append(beat)
            if len(self._beats) > _MOST_BEATS:
                self._thin()

    def _read_own_times(self) -> list[Event]:
        try:
            return list(self._own_times())
        except Exception as error:  # noqa: BLE001 - whatever the log is like, the heart beats on; told once
            self._guard.count(type(error).__name__, "metrics")
            return []

    def _thin(self) -> None:
        """Keep every other beat, the newest among them; their evidence goes with the one after each."""
        kept: deque[Beat] = deque()
        before: Beat | None = None
        for at, beat in enumerate(reversed(self._beats)):
            if at % 2 == 0:
                kept.appendleft(beat)
                before = beat
            elif before is not None:
                before.evidence = beat.evidence + before.evidence
                self.thinned += 1
        self._beats = kept

    def _try(self) -> int | None:
        """Send some of what waits; return how many messages that were, None where it failed."""
        messages = self._numbered or self._number()
        if not messages:
            return 0
        try:
            self._sender.send(messages, _SEND_S)
        except TransportError as error:
            self._guard.count(error)
            return None
        except Exception as error:  # noqa: BLE001 - a client may raise anything; told without its text
            self._guard.count(type(error).__name__)
            return None
        self._guard.works()
        self.sent += len(messages)
        self._numbered = []
        return len(messages)

    def _number(self) -> list[Message]:
        """Return what is to be sent next, alerts first; a beat gets its number when it may arrive."""
        self._recall_some()
        with self._lock:
            notes = list(islice(self._alerts, _AT_ONCE))
            beats = list(islice(self._beats, _AT_ONCE - len(notes)))
        for beat in beats:
            beat.seq, beat.thinned = self._next_beat, self.thinned
            self._next_beat += 1
        messages = [*map(packed, notes), *map(packed, beats)]
        with self._lock:  # at once: what is on its way is waiting all the time
            for waiting, taken in ((self._alerts, notes), (self._beats, beats)):
                for _ in taken:
                    waiting.popleft()
            self._numbered = messages
        return messages

    def _recall_some(self) -> None:
        """Take alerts from the log that found no room, once those before them have gone."""
        with self._lock:
            wanted = dict(self._left_in_log) if not self._alerts else {}
        for writer, first in wanted.items():
            found = []
            for seq, values in self._recall(writer, first):
                found.append(alert_note(self._about.run, self._about.node, writer, seq, dict(values)))
                if len(found) >= _MOST_ALERTS:
                    break
            with self._lock:
                self._alerts.extend(found)
                next_seq = found[-1].seq + 1 if found else first
                came_meanwhile = writer == self._about.writer and self._written > next_seq
                if len(found) >= _MOST_ALERTS or came_meanwhile:
                    self._left_in_log[writer] = next_seq
                else:
                    del self._left_in_log[writer]
