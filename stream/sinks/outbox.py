"""Sends messages in a thread of its own, so that no sink ever delays anything."""

import itertools
import queue
import threading
from collections.abc import Callable
from dataclasses import replace

from thermograd.store.events import gravity
from thermograd.store.failures import Guard
from thermograd.store.telling.quantities import counted
from thermograd.stream.sinks.base import Message, Sink, SinkError
from thermograd.stream.sinks.pictures import Picture

_LONGEST_WAIT_S = 60.0


class Outbox:
    """A bounded queue before one sink, emptied by a thread.

    A message that fails is tried again after `wait_s` seconds, then twice that and so on, up to a minute.
    One that fails `attempts` times is given up and counted; the first time that happens, and when one arrives
    after it, `on_trouble` is told, in the thread. After that each message gets one attempt until one
    succeeds. With `grave_first` the gravest of those that wait goes first. What comes beyond `capacity`
    waiting messages is dropped and counted. `sent` and `dropped` count the messages that arrived, and that
    did not, `pictured` those that arrived with a picture.

    `noun` is what a message is called.

    A message may have a picture that is still made: it is waited for before the first attempt, as long as the
    picture itself allows. Where that attempt fails it is repeated without, before anything else.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        on_trouble: Callable[[str], None],
        attempts: int = 5,
        wait_s: float = 1.0,
        capacity: int = 256,
        grave_first: bool = False,
        noun: str = "alert",
    ) -> None:
        self.name = name
        self.sent = self.dropped = self.pictured = 0
        self._sink = sink
        self._noun = noun
        again = f"{noun}s reach sink %(place)r again, after %(count)d failures"
        self._guard = Guard(f"{noun}s do not reach sink %(place)r: %(error)s", on_trouble, again)
        self._attempts, self._wait_s = attempts, wait_s
        self._failing = False
        self._ending = threading.Event()
        self._unsent = 0
        self._lock = threading.Lock()
        self._order, self._grave_first = itertools.count(), grave_first
        self._queue: queue.PriorityQueue[tuple[int, int, Message, Picture | None]] = queue.PriorityQueue(
            capacity
        )
        self._thread = threading.Thread(target=self._work, name=f"thermograd-sink-{name}", daemon=True)
        self._thread.start()

    def put(self, message: Message, picture: Picture | None = None) -> None:
        """Hand over a message, and the picture that it is to have; never waits."""
        with self._lock:
            self._unsent += 1
        try:
            rank = -gravity(message.severity) if self._grave_first else 0
            self._queue.put_nowait((rank, next(self._order), message, picture))
        except queue.Full:
            self._settle(sent=False)
            self._guard.count(f"more {self._noun}s than it can take; the rest is dropped", self.name)

    def finish(self) -> None:
        """Let the thread end when the queue is empty; from now on nothing is waited for between attempts."""
        self._ending.set()

    def close(self, wait_s: float) -> None:
        """Wait so long for what is left, then count it as dropped."""
        self.finish()
        self._thread.join(max(0.0, wait_s))
        with self._lock:
            left, self._unsent = self._unsent, 0
            self.dropped += left
        if left:
            self._guard.count(f"{counted(left, self._noun)} not sent before the end", self.name)

    def _work(self) -> None:
        while True:
            try:
                *_, message, picture = self._queue.get(timeout=0.2)
            except queue.Empty:
                if self._ending.is_set():
                    return
                continue
            self._settle(self._deliver_pictured(message, picture) or self._deliver(message))

    def _deliver_pictured(self, message: Message, picture: Picture | None) -> bool:
        """Try once to send a message with its picture; return whether it arrived."""
        png = None if picture is None or self._failing else picture.png()
        if png is None:
            return False
        try:
            self._sink.send(replace(message, png=png))
        except Exception:  # noqa: BLE001 - it is sent without its picture next, and why that fails is told
            return False
        self.pictured += 1
        return True

    def _deliver(self, message: Message) -> bool:
        attempts = 1 if self._failing else self._attempts
        for attempt in range(attempts):
            try:
                self._sink.send(message)
            except SinkError as error:
                reason, last = str(error), error.permanent
            except Exception as error:  # noqa: BLE001 - a sink may raise anything; told without its text
                reason, last = type(error).__name__, False
            else:
                self._failing = False
                self._guard.works(self.name)
                return True
            if last or attempt + 1 == attempts:
                break
            self._ending.wait(min(self._wait_s * 2**attempt, _LONGEST_WAIT_S))
        self._failing = True
        self._guard.count(f"{reason}; its {self._noun}s are in the log", self.name)
        return False

    def _settle(self, sent: bool) -> None:
        with self._lock:
            if not self._unsent:  # given up in `close`, and counted there
                return
            self._unsent -= 1
            self.sent += sent
            self.dropped += not sent
