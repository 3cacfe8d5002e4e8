"""The agent: one process a node that samples the devices while a run lasts.

It samples on an absolute schedule (see `thermograd.ingest.agent.sampler`), runs the stream layer that it is
handed in a thread of its own (sampling goes on when that fails), ends with its parent however the parent
ends, and seals what the run left. It never imports torch.
"""

import logging
import os
import signal
import socket
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from thermograd.ingest.agent.description import Description
from thermograd.ingest.agent.footprint import SparingFinder
from thermograd.ingest.agent.hosts import HostWatch
from thermograd.ingest.agent.ranks import RankWatch
from thermograd.ingest.agent.sampler import Sampler
from thermograd.ingest.agent.saying import print_line
from thermograd.ingest.agent.shipping import Shipping, leave
from thermograd.ingest.agent.silence import SilenceLimits
from thermograd.ingest.devices.power.restoring import limits_kept
from thermograd.ingest.devices.registry import described, open_readers
from thermograd.ingest.job import launcher_link
from thermograd.ingest.job.ends.ending import ended_if_it_fails
from thermograd.ingest.job.labels import labels_here
from thermograd.store.clocks.ntp import TimeService
from thermograd.store.failures import Guard
from thermograd.store.locks import ProcessLock
from thermograd.store.log.following.sealing import SealingApart
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import host_label, new_writer_name
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.ends import LAUNCHER

if TYPE_CHECKING:
    from thermograd.store.log.seal import SealReport

_log = logging.getLogger("thermograd")
_PARENT_POLL_S = 0.5
_DYING_POLL_S = 0.01
_DYING_S = 5.0
_LAUNCHER_S = 2.0
_BUSY_S, _BUSY_POLL_S = 3.0, 0.1  # for which who seals already is waited for
_SEAL_PERIOD_S = 60.0
_LOOK_PERIOD_S = 1.0
_STANDBY_POLL_S = 1.0

# an agent is a process: what it cannot do it says once, and once when it is over
_upkeep = Guard(
    "thermograd's agent cannot %(place)s: %(error)s",
    again="thermograd's agent can %(place)s again, after %(count)d failures",
)
_DIRECTORY, _SEALING = "use the run's directory", "seal the run"
loading = threading.Lock()  # two threads that load what imports each other, as scipy does, find it half done

StreamLayer = Callable[[EventWriter, threading.Event], None]


def run_agent(
    run_dir: Path,
    hz: float,
    parent_pid: int,
    simulate: str | None = None,
    stream_layer: StreamLayer | None = None,
    duration_s: float | None = None,
    config: Path | None = None,
    limits: SilenceLimits | None = None,
) -> int:
    """Sample until the parent is gone, its end of stdin is closed, or the time is up.

    Where another agent of this host works for the run already, wait, and take over should it end; where the
    run's directory cannot be used, until it can. Return the number of samples written.

    `parent_pid` is 0 for an agent without a parent (``thermograd record``), `simulate` the preset of a
    simulated GPU to add. `stream_layer` is called in a thread of its own with the agent's writer and an
    event that is set at the end; it follows the log and raises alerts. `config` is the configuration file
    that was named, for the labels of this host; `limits` say when something is silent.
    """
    run_dir = run_dir.absolute()
    stop = _Stop(parent_pid)
    if parent_pid:
        _watch_parent(parent_pid, stop)
        SparingFinder().install()
    lock = ProcessLock(run_dir, f"agent-{host_label()}")
    role = "agent" if parent_pid else "recording"
    with _signals(parent_pid, stop):
        writer = _begin(lock, run_dir, role, stop, config)
        if writer is None:
            return 0
        try:
            readers, absent = open_readers(simulate, parent_pid or os.getpid())
            devices = described(readers)
            run, limits = _Whereabouts(writer), limits or SilenceLimits()
            ranks = RankWatch(lambda: run.path, limits)
            watchers = (ranks, HostWatch(lambda: run.path, writer.writer, limits))
            sampler = Sampler(readers, writer, hz, limits, devices, watchers)
            sampler.start(duration_s)  # to load the stream layer takes longer than a short run
            description = Description(run_dir, devices, absent, {writer.writer: sampler.schedule})
            _try(run, "describe the devices", description.write)
            shipping = Shipping(lambda: run.path, partial(_tell, writer))
            _try(run, "ship the run", lambda _: shipping.start())
            with _beside(run, description, writer, stream_layer, stop):
                with limits_kept(lambda: run.path, writer.append, print_line, stop):
                    samples = sampler.run(stop)
                if stop.account() is None and not _may_start_again():
                    _try(run, "look at the ranks", lambda _: _tell_silences(ranks, writer))
                _try(run, "compare the hosts' clocks", lambda path: _note_offsets(path, writer))
            _try(run, "wait for the training's end", lambda path: _let_go(Run(path), parent_pid))
            _seal(run)
            shipping.end()
            if parent_pid:
                _try(run, "leave the shipping to another process", lambda _: shipping.hand_over())
        finally:
            with Guard("thermograd's agent could not give its lock back: %(error)s", _log.debug):
                lock.release()
    leave(bool(parent_pid) and shipping.is_stuck)
    return samples


def _tell_silences(ranks: RankWatch, writer: EventWriter) -> None:
    """Tell which ranks are gone, unless somebody has ended them, as the launcher says who started them."""
    marks = ranks.last_look()
    if marks and not (launcher_link.VARIABLE in os.environ and _were_told_to_end(writer)):
        for mark in marks:
            writer.append("mark", **mark)


def _were_told_to_end(writer: EventWriter) -> bool:
    """Wait a moment for the launcher's word; return whether a signal from outside ended the command."""
    until_s, since_ns = time.monotonic() + _LAUNCHER_S, time.time_ns() - round(_LAUNCHER_S * 1e9)
    while time.monotonic() < until_s:
        known = [facts for facts in Run(writer.run_dir).writers() if facts.get("role") == LAUNCHER]
        ended = [facts for facts in known if facts.get("closed_time_ns", 0) > since_ns]
        said = [each for facts in ended if isinstance(each := facts.get("ended"), dict)]
        if said:
            return any(each.get("state") == "interrupted" for each in said)
        time.sleep(_DYING_POLL_S)
    return False


def _may_start_again() -> bool:
    """Return whether torchrun may have ended this node's ranks to start them again."""
    count, most = (os.environ.get(f"TORCHELASTIC_{name}", "") for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    return count.isdecimal() and most.isdecimal() and int(count) < int(most)


class _Stop(threading.Event):
    """Set when the agent is to end; knows whether a signal said so, and whether the training is gone too."""

    def __init__(self, parent_pid: int) -> None:
        super().__init__()
        self._parent_pid, self.by_signal = parent_pid, False

    def told(self) -> None:
        """Take SIGTERM, which a scheduler sends to every process of a job: see `_wait_for_parent`."""
        self.by_signal = True
        if not self._parent_pid:  # `set` takes a lock that what the signal interrupts may hold
            start_new_thread(self.set, ())

    def account(self) -> dict[str, Any] | None:
        """Return what the training, gone without a word, could not say of its end."""
        is_gone = self._parent_pid and os.getppid() != self._parent_pid
        return {"state": "interrupted", "closed_by": "SIGTERM"} if is_gone and self.by_signal else None


def _begin(
    lock: ProcessLock, run_dir: Path, role: str, stop: threading.Event, config: Path | None
) -> EventWriter | None:
    """Wait until the run is ours to sample, and return our writer; None where the end comes first."""
    where = str(run_dir).replace("%", "%%")
    guard = Guard(
        f"thermograd's agent cannot work in {where} (%(error)s); it goes on trying",
        again=f"thermograd's agent works in {where} after %(count)d failures",
    )
    while True:
        with guard:
            if lock.acquire():
                with ended_if_it_fails(lock.release):
                    run_id, name, kinds = Run(run_dir).run_id, new_writer_name(role), ("sample", "mark")
                    labels = labels_here(config)
                    return EventWriter(run_dir, run_id, name, kinds, role=role, labels=labels)
        if stop.wait(_STANDBY_POLL_S):
            return None


class _Whereabouts(NamedTuple):
    """Where the run is: its directory may be moved while it is written to."""

    writer: EventWriter

    @property
    def path(self) -> Path:
        """The directory as it is now."""
        return self.writer.run_dir


@contextmanager
def _beside(
    run: _Whereabouts,
    description: Description,
    writer: EventWriter,
    stream_layer: StreamLayer | None,
    ending: "_Stop",
) -> Iterator[None]:
    """Run what goes on beside the sampling in threads of their own; then close the writer."""
    stop, service = threading.Event(), TimeService()
    _note_time_service(writer, service)
    stream = threading.Thread(target=_run_stream, args=(stream_layer, writer, stop), daemon=True)
    sealer = threading.Thread(target=_look_after, args=(run, service, ending), daemon=True)
    describer = threading.Thread(target=_keep_described, args=(run, description, stop), daemon=True)
    for thread in (stream, sealer, describer):
        thread.start()
    try:
        yield
    finally:
        for event in (stop, ending):  # the time may be up
            event.set()
        stream.join(timeout=4)
        writer.close(ending.account())
        for thread in (sealer, describer):
            thread.join(timeout=4)


@contextmanager
def _signals(parent_pid: int, stop: _Stop) -> Iterator[None]:
    """Let SIGTERM end the sampling in order; Ctrl-C too, where we have no parent for which it is."""
    handlers: dict[signal.Signals, Any] = {signal.SIGTERM: lambda *_: stop.told()}
    handlers[signal.SIGINT] = signal.SIG_IGN if parent_pid else handlers[signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_parent(parent_pid: int, stop: _Stop) -> None:
    """Set `stop` when the parent says so, closes our stdin, or is gone."""

    def wait_for_end_of_stdin() -> None:
        try:
            word = os.read(0, 1)  # os.read: a daemon thread inside sys.stdin aborts the exit
            if not word:
                _let_die(parent_pid)
        except OSError as error:
            _log.debug("the agent has no stdin: %s", error)
        stop.set()

    for target in (wait_for_end_of_stdin, partial(_wait_for_parent, parent_pid, stop)):
        threading.Thread(target=target, daemon=True).start()


def _wait_for_parent(parent_pid: int, stop: _Stop) -> None:
    """Set `stop` when the parent is gone: forked workers may keep the pipe open after its death.

    One that the signal has ended, too, may take a while to be gone, of which we are to tell. Where it lives
    on, the signal was for us alone, or it ends in order.
    """
    while os.getppid() == parent_pid and not stop.by_signal:
        if stop.wait(_PARENT_POLL_S):
            return
    if stop.by_signal:
        _let_die(parent_pid)
    stop.set()


def _let_die(parent_pid: int) -> None:
    """Wait, a while at most, until a parent is gone that has closed our stdin without a word.

    It is ended: its files are closed one after the other, and that of its log's lock, without which the log
    cannot be sealed, may come last.
    """
    until_s = time.monotonic() + _DYING_S
    while os.getppid() == parent_pid and time.monotonic() < until_s:
        time.sleep(_DYING_POLL_S)


def _let_go(run: Run, parent_pid: int) -> None:
    """Wait, a while at most, until a training that has died holds no log: a thread of it may still write."""
    until_s = time.monotonic() + _DYING_S
    while os.getppid() != parent_pid and time.monotonic() < until_s:
        if not any(f"-{parent_pid}-" in writer for writer in run.live_writers()):
            return
        time.sleep(_DYING_POLL_S)


def _run_stream(layer: StreamLayer | None, writer: EventWriter, stop: threading.Event) -> None:
    if layer is None:
        return
    try:
        layer(writer, stop)
    except Exception as error:  # noqa: BLE001 - sampling goes on without the stream layer; said once, in the log too
        writer.append("mark", mark="error", text=f"the stream layer failed: {type(error).__name__}: {error}")
        print_line(f"thermograd: live alerts have stopped ({error}); sampling goes on")


def _tell(writer: EventWriter, text: str) -> None:
    """Tell a person, and note it in the log, where that still takes notes."""
    writer.append("mark", mark="note", text=text)
    print_line(f"thermograd: {text.removeprefix('thermograd ')}")


def _keep_described(run: _Whereabouts, description: Description, stop: threading.Event) -> None:
    _try(run, "ask git about the training's files", description.complete)
    is_over = False
    while not is_over:
        _try(run, "describe the devices", description.keep)
        is_over = stop.wait(_LOOK_PERIOD_S)


def _look_after(run: _Whereabouts, service: TimeService, ending: threading.Event) -> None:
    """From time to time seal what is complete, and note whether the host's clock is still kept."""
    apart = SealingApart()

    def seal(run_dir: Path) -> None:
        now = Run(run_dir)
        apart.seal(run_dir, now.run_id, now.live_writers())

    while not ending.wait(_SEAL_PERIOD_S):
        _note_time_service(run.writer, service)
        _try(run, _SEALING, seal)
    with Guard(
        "thermograd's agent cannot load what seals: %(error)s", _log.debug
    ):  # told where it is to seal
        _load_sealing()  # while the last readings are taken


def _load_sealing() -> "Callable[[Path, str, frozenset[str]], SealReport]":
    with loading:
        from thermograd.store.log.seal import seal_run
    return seal_run


def _note_time_service(writer: EventWriter, service: TimeService) -> None:
    mark = service.news()
    if mark is not None:
        writer.append("mark", **mark)


def _note_offsets(run_dir: Path, writer: EventWriter) -> None:
    with loading:
        from thermograd.store.clocks.marks import offset_marks

        marks = list(offset_marks(run_dir, socket.gethostname()))
    for mark in marks:
        writer.append("mark", **mark)


def _seal(run: _Whereabouts) -> None:
    """Turn the run into Parquet, as it ends; of writers that still run, segments that have a successor.

    Wait a while for who seals it just now: that may be a process of ours that does not know of the end.
    """

    def seal(run_dir: Path) -> None:
        seal_run, until_s, is_busy = _load_sealing(), time.monotonic() + _BUSY_S, True
        while is_busy and time.monotonic() < until_s:
            now = Run(run_dir)
            is_busy = seal_run(run_dir, now.run_id, now.live_writers()).busy
            if is_busy:
                time.sleep(_BUSY_POLL_S)

    _try(run, _SEALING, seal)  # where it fails, `thermograd seal` can be run later


def _try(run: _Whereabouts, what: str, do: Callable[[Path], object]) -> None:
    """Do what the sampling must not depend on; where the directory is gone, all fails for one reason."""
    try:
        do(run.path)
    except Exception as error:  # noqa: BLE001 - whatever happens to the directory, the sampling goes on; told once
        _upkeep.count(error, what if run.path.is_dir() else _DIRECTORY)
    else:
        for place in (what, _DIRECTORY):
            _upkeep.works(place)
