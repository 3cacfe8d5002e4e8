"""One consumer for the whole fleet: receives, takes in, tells, and only then lets the broker forget."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from thermograd.store.errors import ConfigError, LogError, os_errors_as
from thermograd.store.failures import Guard, warn
from thermograd.store.files import write_file
from thermograd.store.locks import ProcessLock
from thermograd.store.text import strict_json
from thermograd.stream.fleet.brokers.messages import Beat, Body, unpacked
from thermograd.stream.fleet.brokers.transport import Received, Receiver, RefusedError, TransportError
from thermograd.stream.fleet.slow_ranks import FleetSlowRanks
from thermograd.stream.fleet.state import FleetAlert, FleetState

_AT_ONCE = 1000
_KEEP_EVERY_S = 5.0
_PAUSE_S = 1.0
_WAIT_S = 0.5
_LOOK_EVERY_S = 0.25  # at every node: there may be thousands


class Journal:
    """What a named consumer has told, one line of JSON each, and the state that it goes on from.

    Both lie in `folder`: ``alerts.jsonl``, to which each alert is written once and for certain before its
    message is settled, and ``state``, written as a whole. A torn last line, left by a kill, is taken off.
    """

    def __init__(self, folder: Path) -> None:
        self._state_path, path = folder / "state", folder / "alerts.jsonl"
        with os_errors_as(LogError, f"cannot use {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = ProcessLock(folder, "consumer")
            if not self._lock.acquire():
                raise ConfigError(
                    f"a consumer called {folder.name!r} is at work already; choose another name"
                )
            self.known = set(_told(path))
            self._file = path.open("ab", buffering=0)

    def write(self, alerts: list[FleetAlert]) -> list[FleetAlert]:
        """Write those that were not told before, for certain; return them."""
        new = [alert for alert in alerts if alert.id not in self.known]
        if new:
            lines = (strict_json(msgspec.to_builtins(alert)) + "\n" for alert in new)
            with os_errors_as(LogError, "cannot write what the fleet is told"):
                self._file.write("".join(lines).encode())
                os.fsync(self._file.fileno())
            self.known.update(alert.id for alert in new)
        return new

    def load(self) -> FleetState | None:
        """Return the state that was kept last; None without one that can be read."""
        try:
            return msgspec.msgpack.decode(self._state_path.read_bytes(), type=FleetState)
        except (OSError, msgspec.DecodeError):
            return None

    def keep(self, state: FleetState) -> None:
        """Keep the state."""
        with os_errors_as(LogError, "cannot keep the fleet's state"):
            write_file(self._state_path, msgspec.msgpack.encode(state), sync=True)
            self._lock.refresh()

    def close(self) -> None:
        """Close the file, and let another consumer of this name begin."""
        self._file.close()
        self._lock.release()


def _told(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    for line in data[:whole].splitlines():
        yield str(json.loads(line)["id"])


class FleetConsumer:
    """Receives and takes in; each `turn` returns what is new, each alert once.

    With a `journal` a consumer that is killed goes on where it was: its state is kept before messages are
    settled, what came since is received again, and what was told already is not told again.
    """

    def __init__(
        self,
        receiver: Receiver,
        state: FleetState,
        journal: Journal | None = None,
        on_trouble: Callable[[str], object] = warn,
    ) -> None:
        kept = journal.load() if journal is not None else None
        if kept is not None:
            kept.silent_s, kept.recent_s = state.silent_s, state.recent_s
            kept.budget.per_day, kept.budget.lateness_s = state.budget.per_day, state.budget.lateness_s
        self.state = kept or state
        self._receiver, self._journal = receiver, journal
        self._slow_ranks = FleetSlowRanks(self.state.budget.per_day)
        self._kept_s, self._looked_s = time.monotonic(), 0.0
        self._told: set[str] = set() if journal is None else journal.known
        self._guard = Guard(
            "the fleet cannot be heard: %(error)s", on_trouble, again="the fleet is heard again"
        )
        self._is_away = kept is not None  # what was silent meanwhile was not heard
        self._is_heard = False

    def turn(self, wait_s: float = _WAIT_S) -> list[FleetAlert]:
        """Receive for a while, and return what is to be told now.

        A broker that is away is told of and tried again; `RefusedError` where it never had us.
        """
        try:
            received = self._receiver.receive(_AT_ONCE, wait_s)
        except TransportError as error:
            if isinstance(error, RefusedError) and not self._is_heard:
                raise
            self._guard.count(error)
            self._is_away = True
            time.sleep(min(wait_s, _PAUSE_S))
            return []
        self._guard.works()
        self._is_heard = True
        return self._handle(received)

    def _handle(self, received: list[Received]) -> list[FleetAlert]:
        now_ns = self._receiver.now_ns()
        if self._is_away and now_ns is not None:
            self.state.reconnected(now_ns)
        self._is_away = False
        told: list[FleetAlert] = []
        for data, arrived_ns in received:
            told += self._take(unpacked(data), arrived_ns)
        if time.monotonic() - self._looked_s >= _LOOK_EVERY_S or not received:
            self._looked_s = time.monotonic()
            told += self.state.look(now_ns, self._receiver.is_drained)
            self._slow_ranks.forget_old(self.state.clock_ns)
        new = self._journal.write(told) if self._journal is not None else self._not_told(told)
        if time.monotonic() - self._kept_s >= _KEEP_EVERY_S:
            self._settle()
        return new

    def _take(self, body: Body | None, arrived_ns: int) -> list[FleetAlert]:
        before = self.state.repeated
        told = self.state.take(body, arrived_ns)
        if isinstance(body, Beat) and self.state.repeated == before:
            for alert in self._slow_ranks.take(body):
                told += self.state.tell(alert)
        return told

    def _not_told(self, alerts: list[FleetAlert]) -> list[FleetAlert]:
        new = [alert for alert in alerts if alert.id not in self._told]
        self._told.update(alert.id for alert in new)
        return new

    def _settle(self) -> None:
        if self._journal is None:
            return
        self._kept_s = time.monotonic()
        self._journal.keep(self.state)
        try:
            self._receiver.settle()
        except TransportError as error:
            self._guard.count(error)

    def drain(self, within_s: float = 10.0) -> list[FleetAlert]:
        """Receive all that is there now; return what is to be told.

        TransportError where the broker cannot be used, or says nothing for so long although it has more.
        """
        told: list[FleetAlert] = []
        heard_s, is_drained = time.monotonic(), False
        while not is_drained:
            received = self._received()
            is_drained = self._receiver.is_drained
            if received:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > within_s:
                raise TransportError("the broker has more messages, and does not give them")
            told += self._handle(received)
        self._looked_s = 0.0
        return told + self._handle([])

    def _received(self) -> list[Received]:
        """Receive, at the second trial where the broker, busy or just begun, fails once."""
        try:
            return self._receiver.receive(_AT_ONCE, _WAIT_S)
        except RefusedError:
            raise
        except TransportError:
            time.sleep(_WAIT_S)
            return self._receiver.receive(_AT_ONCE, _WAIT_S)

    def now_ns(self) -> int:
        """Return the time by the clock of arrivals."""
        return max(self._receiver.now_ns() or 0, self.state.clock_ns)

    def close(self) -> None:
        """Keep the state and let go of the broker."""
        self._settle()
        self._receiver.close()
        if self._journal is not None:
            self._journal.close()
