"""A run as plain arrays: its steps, and each device's samples with the signals derived from them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from thermograd.analysis.align.grid import CausalGrid
from thermograd.analysis.align.sensed_grid import sensed_grid
from thermograd.analysis.arrays import Floats, Mask, Times
from thermograd.analysis.packed_table import Collected, PackedTable, in_time_order
from thermograd.analysis.remembered import fixed, plainly
from thermograd.analysis.spool import Spool, give_back
from thermograd.store.clocks.hosts import HostClock, RunClocks, run_clocks
from thermograd.store.events import was_watched
from thermograd.store.log.reader import read_kind, writers_parts
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.own_values.configuration import run_config
from thermograd.store.runs.own_values.metrics import Metric, read_metrics
from thermograd.store.telling.devices import device_label, device_labels, is_simulated
from thermograd.store.telling.episodes import Episode, ends_of, fold_alerts
from thermograd.store.throttling.reasons import COUNTERS
from thermograd.store.throttling.spans import throttled_spans

TRAINING_SIGNALS = ("grad_norm", "loss", "step_time_s")
_APART_NS = 5 * 10**9  # farther than this a first reading does not lag behind a training that begins
_MANY_STEPS = 500_000
_OF_EFFICIENCY = ("rle", "rle_smoothed", "collapse")
HARDWARE_SIGNALS = ("temperature_c", "power_w", "sm_clock_mhz", "throttled_ratio", "rle", "reported_rle")


@dataclass(frozen=True, eq=False)
class Device:
    """One device's samples in time order."""

    # name, facts: as recorded; `facts` from ``run.json``
    name: str
    facts: dict[str, Any]
    # the device's rows of the `sample` kind, sorted by time (of equal times in logged order)
    table: pa.Table | PackedTable
    called: str = ""  # for a person, among the run's other devices
    # of another host than the steps' own: that host's clock, by which the times have been set right
    clock: HostClock | None = None

    @property
    def simulated(self) -> bool:
        """Whether the readings come from a model, not from a sensor."""
        return is_simulated(self.name, self.facts)

    @property
    def label(self) -> str:
        """The name for a person."""
        return self.called or device_label(self.name, {self.name: self.facts})

    def doubt(self, column: str) -> str:
        """Return what the run's facts doubt of a recorded column; empty for nothing."""
        suspect = self.facts.get("suspect")
        return str(suspect.get(column) or "") if isinstance(suspect, dict) else ""

    @property
    def missing(self) -> dict[str, str]:
        """Sensors that the device lacks, each with why, as far as the run's facts tell."""
        told = self.facts.get("missing")
        return {name: str(why) for name, why in told.items() if why} if isinstance(told, dict) else {}

    def measures(self, name: str) -> bool:
        """Whether a hardware signal (see `signal`) has any value."""
        values = self.signal(name)
        return values is not None and bool(np.isfinite(values).any())

    @cached_property
    def time_ns(self) -> Times:
        """Sample times, int64 ns UTC, shape (n,)."""
        return fixed(np.asarray(self.table.column("time_ns"), dtype=np.int64))

    @cached_property
    def _efficiency(self) -> dict[str, Floats]:
        from thermograd.store.efficiency.columns import efficiency_columns, rle_column

        if isinstance(self.table, PackedTable):  # of a long run what is asked for again and again is kept
            return {"rle": rle_column(self.facts, self.table)}
        return efficiency_columns(self.facts, self.table)

    def let_go(self) -> None:
        """Forget what was unpacked of a long run; it is unpacked again once it is asked for."""
        if isinstance(self.table, PackedTable):
            for name in ("time_ns", "_efficiency"):
                self.__dict__.pop(name, None)
        self.tidy()

    def tidy(self) -> None:
        """Give back what working with a long run has freed: the holes add up to as much as is held."""
        if isinstance(self.table, PackedTable):
            give_back()

    def signal(self, name: str) -> Floats | None:
        """Return a hardware signal, shape (n,), NaN where not known; None where the device has none.

        Besides the recorded columns: `throttled_ratio` (share of the time since the last sample that was
        throttled; None without a counter) and `rle`, `rle_smoothed`, `collapse` of the estimator, which
        need a power sensor.
        """
        if not self.offers(name):
            return None
        if name == "throttled_ratio":
            return self._throttled_ratio()
        if name in _OF_EFFICIENCY:
            from thermograd.store.efficiency.columns import efficiency_columns

            kept = self._efficiency
            return kept[name] if name in kept else efficiency_columns(self.facts, self.table)[name]
        return _floats(self.table.column(name))

    def offers(self, name: str) -> bool:
        """Whether `signal` returns anything, without working it out."""
        if name == "throttled_ratio":
            return len(self.table) > 1 and any(self._has(counter) for counter in COUNTERS.values())
        if name in _OF_EFFICIENCY:
            return self._has("power_w") and self._has("utilization_pct")
        return self._has(name)

    def _has(self, name: str) -> bool:
        if name not in self.table.column_names:
            return False
        if isinstance(self.table, PackedTable):
            return self.table.null_count(name) < len(self.table)
        return bool(self.table.column(name).null_count < len(self.table))

    def _throttled_ratio(self) -> Floats:
        spans = throttled_spans(self.table)
        ratio = np.full(len(self.table), np.nan)
        places = np.searchsorted(self.time_ns, spans.end_ns, side="right") - 1
        ratio[places] = spans.throttled_s(COUNTERS) / spans.elapsed_s
        return ratio


def one_by_one(devices: Iterable[Device]) -> Iterator[Device]:
    """Go through devices; what was unpacked of one is forgotten before the next."""
    for device in devices:
        yield device
        device.let_go()


@dataclass(frozen=True, eq=False)
class RunSeries:
    """Everything of a run that analysis and figures need."""

    run: Run
    steps: pa.Table
    devices: dict[str, Device]
    alerts: list[dict[str, Any]] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    ranks: int = 1  # that log steps, of which `steps` has the lowest one's
    clocks: RunClocks | None = None  # of a run on several hosts

    @cached_property
    def step_time_ns(self) -> Times:
        """When each step ended, int64 ns UTC, shape (n_steps,)."""
        return fixed(np.asarray(self.steps.column("time_ns"), dtype=np.int64))

    @cached_property
    def roles(self) -> dict[str, Device]:
        """Devices by role: ``gpu 0``, ``gpu 1``, ... in the order of their indices, then ``cpu``.

        Simulated devices are GPUs. What is neither, such as an importer's own name, keeps its name.
        """
        roles: dict[str, Device] = {}
        for device in self.devices.values():
            name, model = device.name.lower(), str(device.facts.get("model") or "").lower()
            is_gpu = name.startswith(("gpu", "simulated:")) or "gpu" in model
            count = sum(role.startswith("gpu ") for role in roles)
            roles[f"gpu {count}" if is_gpu else device.name] = device
        return dict(sorted(roles.items(), key=lambda item: (not item[0].startswith("gpu "), item[0])))

    @property
    def training_s(self) -> float:
        """Seconds from the end of the first step to that of the last; 0 for no step."""
        times = self.step_time_ns
        return (int(times[-1]) - int(times[0])) / 1e9 if times.size else 0.0

    @cached_property
    def episodes(self) -> list[Episode]:
        """The alerts, what repeats as one episode."""
        return fold_alerts(self.alerts, ends_of(self.marks))

    @property
    def watched(self) -> bool:
        """Whether a stream layer looked for alerts; if not, that there is none says nothing."""
        return bool(self.alerts) or was_watched(self.marks)

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """What the script or its framework logged besides the steps (``run.log``, evaluations), by name."""
        return read_metrics(self.run)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration that the run was given, nested as it was."""
        return run_config(self.run)

    def training(self, name: str) -> Floats:
        """Return a signal of the steps as float64, NaN where null; shape (n_steps,).

        Besides the recorded columns: `tokens_per_s`, and `clipped` (1 where the norm was above the clip
        bound, 0 where not; NaN where nothing clips).
        """
        if name == "tokens_per_s":
            tokens, step_time_s = self.training("tokens"), self.training("step_time_s")
            per_second: Floats = np.full(tokens.size, np.nan)
            return np.divide(tokens, step_time_s, out=per_second, where=step_time_s > 0)
        if name == "clipped":
            norm, bound = self.training("grad_norm"), self.training("max_grad_norm")
            known = np.isfinite(bound) & ~np.isnan(norm)
            return np.where(known, norm > bound, np.nan)
        return _floats(self.steps.column(name))

    def has_training(self, x: str) -> bool:
        """Whether a training signal, a column of the steps or a metric, has a number at all."""
        return bool(np.isfinite(self.training_series(x)[1]).any()) if self._is_known(x) else False

    def _is_known(self, x: str) -> bool:
        return x in self.steps.column_names or x in self.metrics

    def training_series(self, x: str) -> tuple[Times, Floats]:
        """Return times and values of a training signal: of a column of the steps, or else of a metric.

        A metric has times of its own, as many as it was logged. One that is called like a column without a
        value stands for it.
        """
        is_column = x in self.steps.column_names
        if not is_column or (x in self.metrics and not np.isfinite(self.training(x)).any()):
            metric = self.metrics[x]
            return metric.time_ns, metric.value
        return self.step_time_ns, self.training(x)

    def tested(self, name: str) -> Floats:
        """Return a training signal on the scale on which it is tested: the norm as its logarithm."""
        if name not in self._tested:
            _, values = self.training_series(name)
            self._tested[name] = fixed(logarithm(values) if name == "grad_norm" else values)
        return self._tested[name]

    @cached_property
    def _tested(self) -> dict[str, Floats]:
        return {}

    def grid(
        self,
        x: str,
        device: Device,
        values: Floats,
        min_period_s: float = 1.0,
        call: Callable[..., Any] = plainly,
    ) -> CausalGrid:
        """Return a training signal and values of a device's samples on one clock.

        Of a sensor that repeats itself only the updates count. Where both signals look like running means,
        the bins are a quarter of the shorter window: finer ones remember so sharply that no own past
        predicts them. What was found stands in the grid's notes. `call` may remember what it was asked (see
        `Remembered`).
        """
        times, _ = self.training_series(x)
        return sensed_grid((times, self.tested(x)), (device.time_ns, values), min_period_s, call)

    def is_apart(self, x: str, device: Device, values: Floats) -> bool:
        """Return whether a training signal and values of a device's samples were recorded at other times."""
        times, _ = self.training_series(x)
        steps, samples = times[np.isfinite(self.tested(x))], device.time_ns[np.isfinite(values)]
        if not steps.size or not samples.size:
            return False
        begun, ended = max(steps.min(), samples.min()), min(steps.max(), samples.max())
        return bool(begun - ended > _APART_NS)

    def onset_times_ns(self, alerts: str, device: str | None = None) -> Times:
        """Return when what was alerted of began, ascending: of kinds that begin so, of all devices or one."""
        found = [
            alert["onset_time_ns"]
            for alert in self.alerts
            if alert["alert"].startswith(alerts) and device in (None, alert["device"])
        ]
        return np.sort(np.array([time for time in found if time is not None], dtype=np.int64))

    def loads(self, device: Device) -> dict[str, tuple[Floats, Floats]]:
        """Return a device's power and utilisation while training, and in the minute before and after it."""
        if not self.step_time_ns.size:
            return {}
        first, last, minute = self.step_time_ns[0], self.step_time_ns[-1], 60 * 10**9
        during: Mask = (device.time_ns >= first) & (device.time_ns <= last)
        near = (device.time_ns >= first - minute) & (device.time_ns <= last + minute)
        signals = {name: device.signal(name) for name in ("power_w", "utilization_pct")}
        return {
            name: (values[during], values[near & ~during])
            for name, values in signals.items()
            if values is not None
        }


def load_series(run: Run) -> RunSeries:
    """Read a run: of several ranks the lowest one's steps; other hosts' times by the clock of that rank."""
    steps: pa.Table = in_time_order(read_kind(run.path, "step"))
    clocks = run_clocks(run, steps)
    if len(steps) > _MANY_STEPS:
        steps = steps.drop_columns(["seq", "writer"])  # 20 MB of a million; no analysis reads them again
    ranks = [rank for rank in steps.column("rank").unique().to_pylist() if rank is not None]
    if len(ranks) > 1:
        keep = [rank == min(ranks) for rank in steps.column("rank").to_pylist()]
        steps = steps.filter(pa.array(keep))
    facts = run.facts.get("devices", {})
    samples, clock_of = _samples_by_device(run, clocks)
    labels = device_labels({name: facts.get(name, {}) for name in {**facts, **samples}})
    devices = {
        name: Device(name, facts.get(name, {}), samples[name], label, clock_of.get(name))
        for name, label in labels.items()
        if name in samples
    }
    rest = [
        read_kind(run.path, kind).sort_by([("time_ns", "ascending"), ("seq", "ascending")]).to_pylist()
        for kind in ("alert", "mark")
    ]
    if clocks is not None:
        set_alerts_right(rest[0], clocks)
    return RunSeries(run, steps, devices, rest[0], rest[1], ranks=max(1, len(ranks)), clocks=clocks)


def _samples_by_device(
    run: Run, clocks: RunClocks | None
) -> tuple[dict[str, pa.Table | PackedTable], dict[str, HostClock]]:
    """Return each device's samples in time order, and the clocks of those that another host has sampled.

    A file is read, divided and let go before the next.
    """
    spool = Spool()
    parts: dict[str, Collected] = {}
    clock_of: dict[str, HostClock] = {}
    for writer, part in writers_parts(run.path, "sample"):
        clock = None if clocks is None else clocks.host_of(writer)
        if clocks is not None and clock is not None:
            part = set_right(part, writer, clocks)
        names = part.column("device").unique().to_pylist()
        for name in names:
            if name:
                is_alone = len(names) == 1
                rows = part if is_alone else part.filter(pa.compute.equal(part.column("device"), name))
                parts.setdefault(name, Collected(spool)).add(rows)
                if clock is not None:
                    clock_of[name] = _less_sure(clock_of.get(name), clock)
    samples = {name: in_time_order(parts.pop(name).whole()) for name in list(parts)}
    return samples, clock_of


def _less_sure(known: HostClock | None, other: HostClock) -> HostClock:
    """Return the worse known of two clocks: of a name that several hosts use, such as cpu."""
    if known is None or known.unsure_s is None or other.unsure_s is None:
        return known if known is not None and known.unsure_s is None else other
    return max(known, other, key=lambda clock: clock.unsure_s or 0.0)


def set_right(part: pa.Table, writer: str, clocks: RunClocks) -> pa.Table:
    """Return a writer's events with their times by the clock of the run's reference."""
    times = (np.asarray(part.column(name), dtype=np.int64) for name in ("time_ns", "monotonic_ns"))
    right = pa.array(clocks.set_right(writer, *times), pa.int64())
    place = part.column_names.index("time_ns")
    return part.set_column(place, part.schema.field("time_ns"), right)


def set_alerts_right(alerts: list[dict[str, Any]], clocks: RunClocks) -> None:
    """Set the times of other hosts' alerts right, in place, and those of their onsets by as much."""
    for alert in alerts:
        if clocks.host_of(alert["writer"]) is not None:
            given = (np.array([alert[name]], dtype=np.int64) for name in ("time_ns", "monotonic_ns"))
            ahead_ns = alert["time_ns"] - int(clocks.set_right(alert["writer"], *given)[0])
            for name in ("time_ns", "onset_time_ns"):
                if alert[name] is not None:
                    alert[name] -= ahead_ns


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.cast(pa.float64(), safe=False).fill_null(float("nan")), dtype=np.float64)


def logarithm(values: Floats) -> Floats:
    """Return the natural logarithm, NaN of what is not above 0."""
    return np.log(values, out=np.full(values.size, np.nan), where=values > 0)


def model_warnings(series: Sequence[RunSeries]) -> list[str]:
    """Return a sentence for each role whose devices are of different models."""
    models: dict[str, dict[str, None]] = {}
    for data in series:
        for role, device in data.roles.items():
            models.setdefault(role, {})[str(device.facts.get("model") or "model not recorded")] = None
    return [
        f"{role} is not the same model in all runs: {'; '.join(names)}."
        for role, names in models.items()
        if len(names) > 1
    ]
