"""One run that is received: everything that is answered with success is in its log by then."""

import contextlib
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.agent.agent import StreamLayer
from thermograd.ingest.agent.saying import print_line
from thermograd.ingest.agent.shipping import Shipping
from thermograd.ingest.otlp.names import COUNTERS, Names
from thermograd.ingest.otlp.once import Once, exact
from thermograd.ingest.otlp.readings import MetricPart, Reader, Readings, SamplePart, metric_rows, text_of
from thermograd.ingest.otlp.resources import Resource
from thermograd.ingest.otlp.steps import Steps
from thermograd.ingest.restarts import Restarts
from thermograd.store.failures import Guard
from thermograd.store.files import read_json, write_json
from thermograd.store.log.reading.held import HELD_FOLDER
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import clock_pair, new_writer_name, rank_of_writer
from thermograd.store.runs.catalogue import Run
from thermograd.store.text import printable

KINDS = ("step", "sample", "metric", "mark")
_AT_ONCE = 500  # rows of one write
_REMEMBERED_ROWS = 500_000  # of each kind, that a receiver that is started again looks at
MOST_DEVICES = 512  # of all runs: the live layer needs up to 0.9 MB for each
_MOST_NEWEST = 20_000  # series of which the newest value is known
_MOST_RANKS = 64
_MOST_RESOURCES = 256  # of one run, with --run-by


class BusyError(Exception):
    """Nothing more can be taken now; the sender is to come again after `after_s`."""

    def __init__(self, reason: str, after_s: int = 5) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Taken(NamedTuple):
    """What became of the readings of an export.

    `rejected` counts by reason; `repeated` were there before, `empty` hold no value; `late` and `second` are
    among the written: for steps that had been written, and other values for the same metric and time.
    """

    written: int
    repeated: int
    empty: int
    rejected: Mapping[str, int]
    late: int = 0
    second: int = 0


class ReceivedRun:
    """Takes the exports of one run, from any thread, one at a time.

    `stream_layer` is called in a thread of its own, as an agent's. `say` takes a sentence for a person.
    `room` returns how many devices more may be taken, in all runs.

    Attributes
    ----------
    writer
        Writes the run's log.
    host
        The host that the first resource of the run is on, None where it does not say.
    newest_s
        When the newest reading came, on the monotonic clock.
    """

    def __init__(
        self,
        run: Run,
        names: Names,
        stream_layer: StreamLayer | None,
        say: Callable[[str], object],
        host: str | None = None,
        room: Callable[[], int] = lambda: MOST_DEVICES,
    ) -> None:
        self._room = room
        self.run_id, self.host, self._names, self._say = run.run_id, host, names, say
        self._lock = threading.Lock()
        self._once = Once()
        self._readers: dict[frozenset[tuple[str, str]], Reader] = {}
        self._restarts: defaultdict[int | None, Restarts] = defaultdict(Restarts)
        self._totals: dict[tuple[str, str], float] = {}
        self._devices: dict[str, dict[str, Any]] = dict(run.facts.get("devices") or {})
        writer = new_writer_name("r0")  # a receiver that is started again goes on with the run, as a job
        self._held = run.path / HELD_FOLDER / f"held-{writer}.jsonl"
        self._steps = Steps(self._write_step, self._held)
        self._written, self._second, self._is_told = 0, 0, False
        self._newest: dict[tuple[str, int | None], MetricPart] = {}
        self._remember(run.path)
        self.writer = EventWriter(run.path, run.run_id, writer, KINDS, role="recording")
        pair = clock_pair()
        self._ranks: dict[int, EventWriter] = {}  # besides the first: a step is counted by its rank's writer
        for rank in {rank_of_writer(str(facts.get("writer"))) for facts in run.writers()}:
            self._step_writer(rank)
        self._ahead_ns = pair["time_ns"] - pair["monotonic_ns"]
        self._go_on(run.path)
        self.newest_s = time.monotonic()
        self._stop = threading.Event()
        self._shipping = Shipping(lambda: self.writer.run_dir, say)
        self._shipping.start()
        self._stream = threading.Thread(target=self._watch, args=(stream_layer,), daemon=True)
        self._stream.start()

    # -- what is in the log already ------------------------------------------------------------------

    def _remember(self, run_dir: Path) -> None:
        """Learn what earlier receivers wrote: what is sent again is not written again."""
        kinds = (("metric", self._know_metric), ("sample", self._know_sample), ("step", self._know_step))
        for kind, learn in kinds:
            for part in _newest(run_dir, kind):
                for row in part.to_pylist():
                    learn(row)

    def _know_metric(self, row: Mapping[str, Any]) -> None:
        text, value = row["text"], row["value"]
        number = value if text is None else int(text) if text.lstrip("-").isdecimal() else value
        if number is not None:
            part = MetricPart(row["name"], row["step"], row["rank"], row["time_ns"], number)
            self._once.is_new(_identity(part))
            self._newest[part.name, part.rank] = part

    def _know_sample(self, row: Mapping[str, Any]) -> None:
        device, time_ns = row["device"], row["time_ns"]
        for column, value in row.items():
            if value is None or column in ("seq", "time_ns", "monotonic_ns", "device"):
                continue
            self._once.is_new((device, column, time_ns, exact(value)))
            if column in COUNTERS:
                self._totals[device, column] = value
                self._once.is_new((device, column, time_ns, "added"))

    def _know_step(self, row: dict[str, Any]) -> None:
        common = ("seq", "time_ns", "monotonic_ns", "step", "rank")
        values = {name: value for name, value in row.items() if value is not None and name not in common}
        self._restarts[row["rank"]].follow(row["step"], row["time_ns"])
        self._steps.know(row["rank"], row["step"], row["time_ns"], values)

    def _go_on(self, run_dir: Path) -> None:
        for left in sorted((run_dir / HELD_FOLDER).glob("held-*.jsonl")):
            if left != self._held:
                self._steps.take_left(left)
                left.unlink(missing_ok=True)

    # -- what comes ----------------------------------------------------------------------------------

    def device_count(self) -> int:
        """Return how many devices have readings in the run."""
        return len(self._devices)

    def take(self, resource: Resource, scopes: Iterable[Any]) -> Taken:
        """Write what an export holds of this run. BusyError where not all of it could be written."""
        with self._lock:
            if self._stop.is_set():
                raise BusyError("the run has just ended", 1)
            key = frozenset(resource.attributes.items())
            if key not in self._readers:
                if len(self._readers) >= _MOST_RESOURCES:
                    self._readers.clear()  # they learn their series again
                self._readers[key] = Reader(self._names, resource.rank)
            reader = self._readers[key]
            return self._take(reader.read(scopes, time.time_ns()))

    def _take(self, readings: Readings) -> Taken:
        self.newest_s = time.monotonic()
        self._written = self._second = 0
        before, late, second = self._steps.repeated, self._steps.late, self._steps.second
        self._describe(readings.devices)
        self._refuse_devices(readings)
        total = len(readings.metrics) + len(readings.samples)
        self._tell_unnumbered(readings)
        try:
            self._write_samples(readings.samples)
            self._write_metrics(readings.metrics)
            if readings.steps:
                self._steps.take(readings.steps)
        except OSError as error:
            raise BusyError(f"the log cannot be written ({error.strerror or error})") from error
        repeated_steps = self._steps.repeated - before
        written = self._written + len(readings.steps) - repeated_steps
        repeated = total - self._written + repeated_steps
        late, second = self._steps.late - late, self._steps.second - second + self._second
        return Taken(written, repeated, readings.empty, readings.rejected, late, second)

    def _tell_unnumbered(self, readings: Readings) -> None:
        if readings.unnumbered and not (self._is_told or readings.steps):
            self._is_told = True
            name = printable(readings.unnumbered, 80)
            self._say(
                f"{self.run_id}: {name} comes without a step's number and is kept by its name; "
                'give it an attribute "step", or send a metric "step" with it'
            )

    def _append(self, seq: int | None) -> None:
        if seq is None:
            raise BusyError("the log cannot be written; is the disk full?")

    def _write_step(self, rank: int | None, step: int | None, time_ns: int, values: dict[str, Any]) -> None:
        seq = self._step_writer(rank).append(
            "step", time_ns, time_ns - self._ahead_ns, step=step, rank=rank, **values
        )
        self._append(seq)
        restart = self._restarts[rank].follow(step, time_ns)
        if restart is not None:
            detail = json.dumps(restart.detail)
            self.writer.append(
                "mark",
                time_ns,
                time_ns - self._ahead_ns,
                mark="gap",
                step=step,
                text=restart.text,
                detail=detail,
            )

    def _step_writer(self, rank: int | None) -> EventWriter:
        if not rank or (rank not in self._ranks and len(self._ranks) >= _MOST_RANKS):
            return self.writer
        if rank not in self._ranks:
            name = new_writer_name(f"r{rank}")
            self._ranks[rank] = EventWriter(
                self.writer.run_dir, self.run_id, name, ("step",), role="recording"
            )
        return self._ranks[rank]

    def _write_samples(self, parts: Iterable[SamplePart]) -> None:
        rows: dict[tuple[str, int], list[dict[str, float | int]]] = {}
        for part in parts:
            mark = "added" if part.is_delta else exact(part.value)
            if not self._once.is_new((part.device, part.column, part.time_ns, mark)):
                continue
            value = self._total(part) if part.is_delta else part.value
            of_device = rows.setdefault((part.device, part.time_ns), [{}])
            if part.column in of_device[-1]:  # two sensors by one name: both happened
                of_device.append({})
            of_device[-1][part.column] = value
        self._write_rows(rows)

    def _write_rows(self, rows: dict[tuple[str, int], list[dict[str, float | int]]]) -> None:
        unwritten = list(rows.items())
        try:
            while unwritten:
                (device, time_ns), of_device = unwritten[0]
                for values in of_device:
                    mono_ns = time_ns - self._ahead_ns
                    self._append(self.writer.append("sample", time_ns, mono_ns, device=device, **values))
                    self._written += len(values)
                unwritten.pop(0)
        except BusyError:
            self._forget_samples(unwritten)
            raise

    def _forget_samples(self, rows: Iterable[tuple[tuple[str, int], list[dict[str, float | int]]]]) -> None:
        for (device, time_ns), of_device in rows:
            for column, value in ((c, v) for values in of_device for c, v in values.items()):
                for mark in (exact(value), "added"):
                    self._once.forget((device, column, time_ns, mark))

    def _total(self, part: SamplePart) -> float | int:
        """Return a counter of which a sender only tells what was added."""
        total = self._totals.get((part.device, part.column), 0) + part.value
        self._totals[part.device, part.column] = total
        return total

    def _write_metrics(self, parts: Iterable[MetricPart]) -> None:
        groups: defaultdict[Any, list[MetricPart]] = defaultdict(list)
        for part in parts:
            if self._is_new(part):
                has = part.step is not None, part.rank is not None, text_of(part.value) is not None
                groups[(part.time_ns, *has)].append(part)
        waiting = deque(groups.items())
        while waiting:
            (time_ns, *has), group = waiting.popleft()
            for start in range(0, len(group), _AT_ONCE):
                rows = metric_rows(group[start : start + _AT_ONCE], has)
                if self.writer.append_rows("metric", rows, time_ns, time_ns - self._ahead_ns) is None:
                    for part in (*group[start:], *(part for _, rest in waiting for part in rest)):
                        self._once.forget(_identity(part))
                        self._newest.pop((part.name, part.rank), None)
                    raise BusyError("the log cannot be written; is the disk full?")
                self._written += len(rows.rows)

    def _is_new(self, part: MetricPart) -> bool:
        """Whether a value was not there; one that only was read beside a step's number has to be another."""
        key = part.name, part.rank
        newest = self._newest.get(key)
        is_another = newest is None or exact(newest.value) != exact(part.value)
        if not self._once.is_new(_identity(part)) or (not part.told and not is_another):
            return False
        if newest is not None and (newest.time_ns, newest.step) == (part.time_ns, part.step):
            self._second += 1
        if key in self._newest or len(self._newest) < _MOST_NEWEST:
            self._newest[key] = part
        return True

    def _describe(self, devices: Mapping[str, dict[str, Any]]) -> None:
        """Add what is new of devices to ``run.json``."""
        new = {name: told for name, told in devices.items() if name not in self._devices}
        fits = dict(islice(new.items(), max(0, self._room())))
        if fits:
            self.describe({"devices": fits})

    def _refuse_devices(self, readings: Readings) -> None:
        """Take no samples of more devices than a run may have."""
        taken = [part for part in readings.samples if part.device in self._devices]
        if len(taken) < len(readings.samples):
            reason = f"more than {MOST_DEVICES:,} devices at once"
            readings.rejected[reason] += len(readings.samples) - len(taken)
            readings.samples = taken

    def describe(self, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Add facts to objects of ``run.json``."""
        self._devices |= facts.get("devices", {})
        with Guard("thermograd cannot describe a run: %(error)s", self._say):
            path = self.writer.run_dir / "run.json"
            known = read_json(path)
            write_json(
                path, known | {name: {**(known.get(name) or {}), **new} for name, new in facts.items()}
            )

    # -- beside it -----------------------------------------------------------------------------------

    def _watch(self, layer: StreamLayer | None) -> None:
        if layer is None:
            return
        try:
            layer(self.writer, self._stop)
        except Exception as error:  # noqa: BLE001 - receiving goes on without the stream layer; said, in the log too
            text = f"the stream layer failed: {type(error).__name__}: {error}"
            self.writer.append("mark", mark="error", text=text)
            print_line(f"thermograd: live alerts of {self.run_id} have stopped ({error}); receiving goes on")

    def tick(self) -> None:
        """Write steps that have waited long enough."""
        with self._lock, contextlib.suppress(BusyError, OSError):  # they stay where they are
            self._steps.tick()

    def seal(self) -> None:
        """Seal what is complete."""
        from thermograd.store.log.seal import seal_run

        with Guard("thermograd cannot seal a run: %(error)s", self._say):
            now = Run(self.writer.run_dir)
            seal_run(now.path, now.run_id, now.live_writers())

    def close(self, why: str, by: str) -> None:
        """End the run in order; repeatable."""
        with self._lock:
            if self._stop.is_set():
                return
            with contextlib.suppress(BusyError, OSError):
                self._steps.close()
            self._stop.set()
        self._stream.join(timeout=6)
        for writer in (*self._ranks.values(), self.writer):
            writer.close({"state": "finished", "message": why, "closed_by": by})
        self.seal()
        with contextlib.suppress(OSError):
            (self.writer.run_dir / HELD_FOLDER).rmdir()
        self._shipping.end()
        with Guard("thermograd cannot hand a run over to be shipped: %(error)s", self._say):
            self._shipping.hand_over()


def _newest(run_dir: Path, kind: str) -> Iterable[Any]:
    """Return the newest events of a kind, a table of some of them at a time."""
    from thermograd.store.log.reader import kind_parts

    parts: deque[Any] = deque()
    count = 0
    for part in kind_parts(run_dir, kind):
        parts.append(part)
        count += len(part)
        while count - len(parts[0]) > _REMEMBERED_ROWS:
            count -= len(parts.popleft())
    return parts


def _identity(part: MetricPart) -> Any:
    """Return what is written once: an SDK says a gauge of a step again, with a new time."""
    time_ns = part.time_ns if part.step is None else None
    return part.name, part.step, part.rank, time_ns, exact(part.value)
