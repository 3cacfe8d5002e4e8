"""All runs that are received: which one an export is of, how many there are, and when one ends."""

import contextlib
import os
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.agent.agent import StreamLayer
from thermograd.ingest.otlp.names import Names
from thermograd.ingest.otlp.own_devices import OwnDevices
from thermograd.ingest.otlp.received_run import MOST_DEVICES, BusyError, ReceivedRun, Taken
from thermograd.ingest.otlp.resources import Resource, left_resource, resource_of
from thermograd.store.errors import ThermogradError
from thermograd.store.failures import Guard
from thermograd.store.log.reading.held import HELD_FOLDER, held_files
from thermograd.store.runs.catalogue import Run, create_run, list_runs
from thermograd.store.version import __version__

_MOST_RUNS = 64
_MOST_POINTS = 200_000  # of an export: some hundred MB while they are read
_TICK_S = 0.5
_SEAL_PERIOD_S = 60.0
_LITTLE_SPACE_BYTES = 32 << 20
_SPACE_PERIOD_S = 1.0
_KILLED_S = 86_400.0  # so long after its last event the run of a receiver that was killed is gone on with
_BY_RECEIVER, _BY_IDLENESS, _BY_NEXT = "the receiver's end", "silence", "the next receiver"


class TooManyError(Exception):
    """An export has more readings than are read at once."""


class Answer(NamedTuple):
    """What a sender is told: how many readings were not taken, and why."""

    rejected: int
    message: str


@dataclass
class Receiver:
    """Takes exports from any thread and writes them to the runs of a folder.

    Attributes
    ----------
    runs_dir, names
        Where the runs are; which metric is which column.
    stream_layer
        Returns, for a run's directory, what watches its log; None for nothing.
    say
        Takes a sentence for a person.
    run_by
        The attribute of a resource by which runs are told apart; None for those that identify it.
    idle_s
        A run without a reading for so long ends.
    hz
        How often this machine's devices are sampled into the runs of this machine; None for not at all.
    counts
        Readings written, repeated, empty and rejected so far, late and second ones among them, and exports.
    """

    runs_dir: Path
    names: Names
    stream_layer: Callable[[Path], StreamLayer] | None
    say: Callable[[str], object]
    run_by: str | None = None
    idle_s: float = 600.0
    hz: float | None = None
    counts: Counter[str] = field(default_factory=Counter)
    _runs: dict[tuple[tuple[str, str], ...], ReceivedRun] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)
    _space: tuple[float, bool] = (0.0, True)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._own = OwnDevices(self.hz, self._own_runs) if self.hz else None
        self._thread = threading.Thread(target=self._tend, name="thermograd-otlp", daemon=True)
        self._thread.start()

    def take(self, request: Any) -> Answer:
        """Write an `ExportMetricsServiceRequest`; what it returns of is in the log.

        Raises
        ------
        BusyError
            If it has to come again.
        TooManyError
            If it has more than 200,000 readings.
        """
        count = sum(_count(of_resource.scope_metrics) for of_resource in request.resource_metrics)
        if count > _MOST_POINTS:
            text = (
                f"an export may have {_MOST_POINTS:,} data points, this one has {count:,}; send less at once"
            )
            raise TooManyError(f"{text} (Python's exporter: max_export_batch_size)")
        self._require_space()
        rejected: Counter[str] = Counter()
        for of_resource in request.resource_metrics:
            resource = resource_of(of_resource.resource, self.run_by)
            taken = self._take(resource, of_resource.scope_metrics)
            rejected.update(taken.rejected)
            for name in ("written", "repeated", "empty", "late", "second"):
                self.counts[name] += getattr(taken, name)
        self.counts["exports"] += 1
        self.counts["rejected"] += rejected.total()
        self._tell(rejected)
        told = "; ".join(f"{count} x {reason}" for reason, count in rejected.most_common(8))
        return Answer(rejected.total(), told)

    def _take(self, resource: Resource, scopes: Any) -> Taken:
        with self._lock:
            run = self._run_of(resource)
        if run is None:
            return Taken(0, 0, 0, {f"more than {_MOST_RUNS} resources at once": _count(scopes)})
        return run.take(resource, scopes)

    def _tell(self, rejected: Mapping[str, int]) -> None:
        for reason in rejected.keys() - self._said:
            if len(self._said) < 100:
                self._said.add(reason)
                self.say(f"not taken: {reason}")

    def _require_space(self) -> None:
        """Refuse before anything is lost: an event that cannot be written would be told as lost."""
        until_s, has_space = self._space
        if time.monotonic() >= until_s:
            with contextlib.suppress(OSError):
                has_space = shutil.disk_usage(self.runs_dir).free >= _LITTLE_SPACE_BYTES
            self._space = time.monotonic() + _SPACE_PERIOD_S, has_space
        if not has_space:
            raise BusyError(f"less than {_LITTLE_SPACE_BYTES >> 20} MB are free where the runs are", 30)

    # -- runs ----------------------------------------------------------------------------------------

    def _run_of(self, resource: Resource) -> ReceivedRun | None:
        if self._stop.is_set():
            raise BusyError("the receiver ends")
        known = self._runs.get(resource.identity)
        if known is None and len(self._runs) < _MOST_RUNS:
            known = self._runs[resource.identity] = self._open(resource)
        return known

    def _open(self, resource: Resource) -> ReceivedRun:
        try:
            before = self._left(resource)
            run = before or create_run(self.runs_dir, resource.name, _facts(resource))
            layer = self.stream_layer(run.path) if self.stream_layer is not None else None
            received = ReceivedRun(run, self.names, layer, self.say, resource.host, self._device_room)
        except (OSError, ThermogradError) as error:
            raise BusyError(f"a run cannot be begun ({error})", 30) from error
        if self._own is not None and received in self._of_this_host([received]):
            received.describe(self._own.facts(received.writer.writer))
        self.say(f"{'Going on with' if before else 'Recording'} {run.run_id}: {resource.name}")
        return received

    def take_up(self) -> None:
        """Write what earlier receivers acknowledged and had not written when they were killed.

        Their senders may never come again. A run that is gone on with ends as any other, the rest at once.
        """
        for run_dir in sorted({path.parent for path in self.runs_dir.glob(f"*/{HELD_FOLDER}")}):
            with Guard("thermograd cannot take up what is held: %(error)s", self.say):
                if held_files(run_dir) and not (run := Run(run_dir)).live_writers():
                    self._take_up(run)

    def _take_up(self, run: Run) -> None:
        resource = left_resource(run.facts)
        left = self._left(resource)
        with self._lock:
            if left is not None and left.path == run.path and self._run_of(resource) is not None:
                return
        received = ReceivedRun(run, self.names, None, self.say, resource.host)
        self.say(f"Ending {run.run_id}: its receiver was killed")
        received.close("its receiver was killed", _BY_NEXT)

    def _own_runs(self) -> list[ReceivedRun]:
        return self._of_this_host(self._runs.copy().values())

    @staticmethod
    def _of_this_host(runs: Iterable[ReceivedRun]) -> list[ReceivedRun]:
        """Return the runs that do not say that they are of another host."""
        return [run for run in runs if run.host in (None, socket.gethostname())]

    def _device_room(self) -> int:
        return MOST_DEVICES - sum(run.device_count() for run in self._runs.copy().values())

    def _left(self, resource: Resource) -> Run | None:
        """Return the run that an earlier receiver left of this resource, if it is gone on with."""
        identity = resource.facts()["identity"]
        for run in reversed(list_runs(self.runs_dir)):
            told = run.facts.get("otlp")
            if isinstance(told, dict) and told.get("identity") == identity:
                return run if self._goes_on(run) else None
        return None

    def _goes_on(self, run: Run) -> bool:
        writers = run.writers()
        if run.live_writers() or not writers:
            return False
        last = max(writers, key=lambda facts: facts.get("closed_time_ns", float("inf")))
        if "closed_time_ns" not in last:
            return time.time() - _newest_s(run.path) < _KILLED_S
        ended = last.get("ended") or {}
        is_recent = time.time() - last["closed_time_ns"] / 1e9 < self.idle_s
        return ended.get("closed_by") == _BY_RECEIVER and is_recent

    def _tend(self) -> None:
        """From time to time write what waits, seal, and end runs that have fallen silent."""
        seal_at_s = time.monotonic() + _SEAL_PERIOD_S
        guard = Guard("thermograd's receiver: %(error)s", self.say)
        while not self._stop.wait(_TICK_S):
            with guard:
                seals = time.monotonic() >= seal_at_s
                for identity, run in list(self._runs.items()):
                    self._look_at(identity, run, seals)
                seal_at_s = time.monotonic() + _SEAL_PERIOD_S if seals else seal_at_s

    def _look_at(self, identity: tuple[tuple[str, str], ...], run: ReceivedRun, seals: bool) -> None:
        run.tick()
        if time.monotonic() - run.newest_s > self.idle_s:
            with self._lock:
                self._runs.pop(identity, None)
            run.close(f"nothing came for {self.idle_s:g} s", _BY_IDLENESS)
            self.say(f"{run.run_id} has ended: nothing came for {self.idle_s:g} s")
        elif seals:
            run.seal()

    def close(self) -> list[str]:
        """End every run in order; return the ids of those that were open."""
        self._stop.set()
        self._thread.join(timeout=10)
        if self._own is not None:
            self._own.close()
        with self._lock:
            runs, self._runs = list(self._runs.values()), {}
        for run in runs:
            run.close("the receiver was ended", _BY_RECEIVER)
        return [run.run_id for run in runs]


def _count(scopes: Any) -> int:
    """Return how many data points `ScopeMetrics` hold."""
    kinds = ((metric, metric.WhichOneof("data")) for scope in scopes for metric in scope.metrics)
    return sum(len(getattr(metric, kind).data_points) for metric, kind in kinds if kind is not None)


def _facts(resource: Resource) -> dict[str, Any]:
    """Return what describes a run that is received; what is not known of its host is null."""
    facts: dict[str, Any] = {"thermograd_version": __version__, "otlp": resource.facts(), "devices": {}}
    if resource.host is not None and resource.host != socket.gethostname():
        unknown = dict.fromkeys(("boot_id", "platform", "python", "cpu_count", "memory_bytes"))
        facts |= unknown | {"host": resource.host}
    return facts


def _newest_s(run_dir: Path) -> float:
    """Return when anything of a run's log was last written, epoch s."""
    times = [0.0]
    for folder, _, names in os.walk(run_dir / "open"):
        for name in names:
            with contextlib.suppress(OSError):
                times.append(os.stat(os.path.join(folder, name)).st_mtime)
    with contextlib.suppress(OSError):
        times.append(os.stat(run_dir / "run.json").st_mtime)
    return max(times)
