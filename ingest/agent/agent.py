"""The agent: one process a node that samples the devices while a run lasts.

It samples on an absolute schedule (see `thermograd.ingest.agent.sampler`), runs the stream layer that it is
handed in a thread of its own (sampling goes on when that fails), ends with its parent however the parent
ends, and seals what the run left. It never imports torch.
"""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thermograd.ingest.agent.footprint import SparingFinder
from thermograd.ingest.agent.sampler import Sampler
from thermograd.ingest.devices.base import DeviceReader
from thermograd.ingest.devices.registry import open_readers
from thermograd.store.failures import Guard
from thermograd.store.files import read_json, write_json
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import ProcessLock, host_label, new_writer_name
from thermograd.store.runs.catalogue import Run

_log = logging.getLogger("thermograd")
_PARENT_POLL_S = 0.5
_SEAL_PERIOD_S = 60.0
_STANDBY_POLL_S = 1.0

StreamLayer = Callable[[EventWriter, threading.Event], None]


def run_agent(
    run_dir: Path,
    hz: float,
    parent_pid: int,
    simulate: str | None = None,
    stream_layer: StreamLayer | None = None,
    duration_s: float | None = None,
) -> int:
    """Sample until the parent is gone, its end of stdin is closed, or the time is up.

    Where another agent of this host works for the run already, wait, and take over should it end. Return
    the number of samples written.

    `parent_pid` is 0 for an agent without a parent (``thermograd record``), `simulate` the preset of a
    simulated GPU to add. `stream_layer` is called in a thread of its own with the agent's writer and an
    event that is set at the end; it follows the log and raises alerts.
    """
    stop = threading.Event()
    if parent_pid:
        _watch_parent(parent_pid, stop)
        SparingFinder().install()
    lock = ProcessLock(run_dir, f"agent-{host_label()}")
    with _signals(parent_pid, stop):
        while not lock.acquire():
            if stop.wait(_STANDBY_POLL_S):
                return 0
        try:
            run = Run(run_dir)
            readers, absent = open_readers(simulate, parent_pid or os.getpid())
            role = "agent" if parent_pid else "recording"
            writer = EventWriter(run_dir, run.run_id, new_writer_name(role), ("sample", "mark"), role=role)
            sampler = Sampler(readers, writer, hz)
            _describe_devices(run_dir, readers, absent, {writer.writer: sampler.schedule})
            with _beside(run, writer, stream_layer):
                samples = sampler.run(stop, duration_s)
            _seal(run)
            return samples
        finally:
            lock.release()


@contextmanager
def _beside(run: Run, writer: EventWriter, stream_layer: StreamLayer | None) -> Iterator[None]:
    """Run the stream layer, and seal from time to time, in threads of their own; then close the writer."""
    stop = threading.Event()
    stream = threading.Thread(target=_run_stream, args=(stream_layer, writer, stop), daemon=True)
    sealer = threading.Thread(target=_seal_from_time_to_time, args=(run, stop), daemon=True)
    stream.start()
    sealer.start()
    try:
        yield
    finally:
        stop.set()
        stream.join(timeout=4)
        writer.close()
        sealer.join(timeout=4)


@contextmanager
def _signals(parent_pid: int, stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM end the sampling in order; Ctrl-C too, where we have no parent for which it is."""
    handlers: dict[signal.Signals, Any] = {signal.SIGTERM: lambda *_: stop.set()}
    handlers[signal.SIGINT] = signal.SIG_IGN if parent_pid else handlers[signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_parent(parent_pid: int, stop: threading.Event) -> None:
    """Set `stop` when the parent says so, closes our stdin, or is gone."""

    def wait_for_end_of_stdin() -> None:
        try:
            os.read(0, 1)  # a word or the end; os.read: a daemon thread inside sys.stdin aborts the exit
        except OSError as error:
            _log.debug("the agent has no stdin: %s", error)
        stop.set()

    def wait_for_parent() -> None:  # forked workers may keep the pipe open after the parent's death
        while os.getppid() == parent_pid:
            if stop.wait(_PARENT_POLL_S):
                return
        stop.set()

    for target in (wait_for_end_of_stdin, wait_for_parent):
        threading.Thread(target=target, daemon=True).start()


def _describe_devices(
    run_dir: Path, readers: list[DeviceReader], absent: dict[str, str], sampling: dict[str, Any]
) -> None:
    """Add devices and schedule to ``run.json``: from the agent's start on, agents alone write that file."""
    facts = read_json(run_dir / "run.json")
    devices: dict[str, Any] = dict(facts.get("devices", {}))
    for reader in readers:
        devices |= reader.describe()
    facts |= {"devices": devices, "devices_absent": absent}
    write_json(run_dir / "run.json", facts | {"sampling": facts.get("sampling", {}) | sampling})


def _run_stream(layer: StreamLayer | None, writer: EventWriter, stop: threading.Event) -> None:
    if layer is None:
        return
    try:
        layer(writer, stop)
    except Exception as error:  # noqa: BLE001 - sampling goes on without the stream layer; said once, in the log too
        writer.append("mark", mark="error", text=f"the stream layer failed: {type(error).__name__}: {error}")
        print_line(f"thermograd: live alerts have stopped ({error}); sampling goes on")


def print_alerts(append: Callable[..., Any]) -> Callable[..., Any]:
    """Return an `append` that prints each alert as one line of JSON, for the parent to react to."""

    def append_and_print(kind: str, **values: Any) -> Any:
        seq = append(kind, **values)
        if kind == "alert":
            print_line(json.dumps(values, default=str))
        return seq

    return append_and_print


def print_line(line: str) -> None:
    """Write one line to our stdout, which the parent shows; a closed pipe is no reason to stop."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        _log.debug("nobody reads the agent's lines: %s", error)


def _seal_from_time_to_time(run: Run, stop: threading.Event) -> None:
    while not stop.wait(_SEAL_PERIOD_S):
        _seal(run)


def _seal(run: Run) -> None:
    """Turn what is complete into Parquet: of writers that still run, segments that have a successor."""
    from thermograd.store.log.seal import seal_run

    with Guard("thermograd could not seal the run: %(error)s"):  # `seal` can be run later
        seal_run(run.path, run.run_id, run.live_writers())
