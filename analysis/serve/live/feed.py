"""One feed a run that somebody looks at: it follows the log and tells all its clients what is new."""

import asyncio
import contextlib
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
from thermograd.analysis.report.data.bands import Cast, cast_devices
from thermograd.analysis.serve.live.columns import give_back_memory
from thermograd.analysis.serve.live.recording import Recording
from thermograd.analysis.serve.live.state import alerts_now, devices_now, evidence_now, run_state
from thermograd.analysis.serve.live.timeline import Fresh, timeline
from thermograd.store.errors import ServeError
from thermograd.store.failures import warn
from thermograd.store.runs.catalogue import Run, is_run

POLL_S = 0.25
_STATE_S, _DESCRIBED_S = 1.0, 2.0
_IDLE_S = 10.0  # that a run stays open when nobody looks any more
_MOST_OPEN = 8
_MOST_WAITING = 40  # messages of a client, ten seconds; a small one all clients share
_NICE = 10
_BREATH_S = 0.005  # between two pieces of work while some is left
_MANY_STEPS = 100_000  # of which drawing takes memory that is worth giving back
_T = TypeVar("_T")


class Client:
    """One page that looks at a run: messages wait for it, not more than so many.

    One that does not read loses them, and is told to begin anew.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._waiting, self._some = loop, deque[bytes](), asyncio.Event()

    def tell(self, message: bytes) -> None:
        """Add a message; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._add, message)

    def _add(self, message: bytes) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.clear()
            message = sse("resync", {})
        self._waiting.append(message)
        self._some.set()

    async def next(self, patience_s: float) -> bytes | None:
        """Return what waits; None where nothing has come for so long."""
        if not self._waiting:
            self._some.clear()
            try:
                await asyncio.wait_for(self._some.wait(), patience_s)
            except TimeoutError:
                return None
        whole = b"".join(self._waiting)
        self._waiting.clear()
        return whole


def sse(event: str, told: Any) -> bytes:
    """Return a server-sent event."""
    return b"event: " + event.encode() + b"\ndata: " + msgspec.json.encode(told) + b"\n\n"


class Feed:
    """Follows one run in a thread of its own until nobody has looked for a while."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._clients: set[Client] = set()
        self._ready, self._over = threading.Event(), threading.Event()
        self._recording: Recording | None = None
        self._failure = ""
        self._cast = Cast({})
        self._fresh = Fresh()
        self._waiting = 0  # askers, who go first
        self._state: dict[str, Any] = {}
        self._state_told = b""
        self._used_s = self._state_s = self._described_s = 0.0
        self.use()
        self._thread = threading.Thread(target=self._follow, name="thermograd-feed", daemon=True)
        self._thread.start()

    # -- for those who look ----------------------------------------------------------------------------

    def use(self) -> None:
        """Say that somebody looks at the run now."""
        self._used_s = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the run is followed no more."""
        return self._over.is_set()

    @property
    def clients(self) -> int:
        """How many pages are told what is new."""
        return len(self._clients)

    def join(self, client: Client) -> None:
        """Tell a client what is new from now on."""
        self.use()
        with self._lock:
            self._clients.add(client)
            if self._state_told:
                client.tell(self._state_told)

    def leave(self, client: Client) -> None:
        """Tell a client no more."""
        self.use()
        with self._lock:
            self._clients.discard(client)

    def timeline(self, from_s: float | None, to_s: float | None, width: int) -> bytes:
        """Return the panels between two times as JSON; ServeError where the run cannot be read."""
        begun_s = time.perf_counter()

        def told(recording: Recording) -> bytes:
            if from_s is None and to_s is None:
                self._recast(recording)
            whole = timeline(recording, self._cast, from_s, to_s, width)
            if recording.steps() > _MANY_STEPS:
                give_back_memory()
            return msgspec.json.encode(whole | {"cost_ms": round(1e3 * (time.perf_counter() - begun_s))})

        return self._of(told)

    def state(self) -> bytes:
        """Return the state of the run as JSON; ServeError where the run cannot be read."""
        return msgspec.json.encode(self._of(lambda recording: self._state or self._tell_state(recording)))

    def extent(self) -> tuple[int, float]:
        """Return how many events are known, and how long the run is by now, s."""

        def told(recording: Recording) -> tuple[int, float]:
            first, last = recording.span_ns()
            return recording.steps(), (last - first) / 1e9

        return self._of(told)

    def _of(self, ask: Callable[[Recording], _T]) -> _T:
        self.use()
        self._ready.wait()
        with self._asked():
            if self._recording is None or self._failure:
                raise ServeError(self._failure or "the run is closed")
            return ask(self._recording)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        """Hold the lock, before the feed's own thread takes it again."""
        self._waiting += 1
        with self._lock:
            self._waiting -= 1
            yield

    def close(self) -> None:
        """Follow the run no more."""
        self._over.set()

    # -- the thread ------------------------------------------------------------------------------------

    def _follow(self) -> None:
        try:
            recording = Recording(self._run)
            _be_nice()
            with self._lock:
                self._recording = recording
                self._recast(recording)
            self._ready.set()
            while not self._over.wait(POLL_S if recording.is_complete or self._waiting else _BREATH_S):
                if not self._clients and time.monotonic() - self._used_s > _IDLE_S:
                    break
                with self._lock:
                    self._look(recording)
        except Exception as error:  # noqa: BLE001 - a run may be deleted or garbage: its page says so, the server goes on
            self._fail(error)
        finally:
            self._over.set()
            self._ready.set()

    def _look(self, recording: Recording) -> None:
        if not is_run(self._run.path):
            raise FileNotFoundError
        news = recording.look()
        now_s = time.monotonic()
        if news.again:
            self._fresh.forget()
        if self._clients and news.events:
            told = self._fresh.since(recording, self._cast, news.first_ns)
            self._tell(sse("points", told | {"again": told["again"] or news.again}))
        elif news.again:
            self._tell(sse("resync", {}))
        if now_s - self._described_s >= _DESCRIBED_S:
            self._described_s = now_s
            if recording.steps() > _MANY_STEPS:
                give_back_memory()
            if recording.describe():
                self._recast(recording)
                self._tell(sse("resync", {}))
        if self._clients and now_s - self._state_s >= _STATE_S:
            self._tell_state(recording)

    def _recast(self, recording: Recording) -> None:
        self._cast = cast_devices(recording.series())

    def _tell_state(self, recording: Recording) -> dict[str, Any]:
        self._state_s = time.monotonic()
        self._state = run_state(recording) | {
            "devices": devices_now(recording),
            "alerts": alerts_now(recording),
            "evidence": evidence_now(recording),
        }
        message = sse("state", self._state)
        if message != self._state_told:
            self._state_told = message
            self._tell(message)
        return self._state

    def _tell(self, message: bytes) -> None:
        for client in self._clients:
            client.tell(message)

    def _fail(self, error: Exception) -> None:
        if not is_run(self._run.path):
            self._failure = "the run was deleted while it was open"
        else:
            self._failure = f"the run cannot be read ({type(error).__name__}: {error})"
            warn("serve: %s: %s", self._run.path, self._failure)
        with self._lock:
            self._tell(sse("gone", {"error": self._failure}))


def _be_nice() -> None:
    """Let a training beside the server go first, where the system can do so for a thread."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


class Feeds:
    """The feeds of a server: one a run, a few at most; the one unused for longest makes room."""

    def __init__(self) -> None:
        pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what was read to be thrown away
        self._open: OrderedDict[str, Feed] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, run: Run) -> Feed:
        """Return the feed of a run; ServeError where too many others are looked at."""
        with self._lock:
            for run_id, feed in list(self._open.items()):
                if feed.is_over:
                    del self._open[run_id]
            if run.run_id not in self._open:
                self._make_room()
                self._open[run.run_id] = Feed(run)
            self._open.move_to_end(run.run_id)
            self._open[run.run_id].use()
            return self._open[run.run_id]

    def _make_room(self) -> None:
        if len(self._open) < _MOST_OPEN:
            return
        unused = next((run_id for run_id, feed in self._open.items() if not feed.clients), None)
        if unused is None:
            raise ServeError(f"{_MOST_OPEN} other runs are open in pages; close one of those first")
        self._open.pop(unused).close()
