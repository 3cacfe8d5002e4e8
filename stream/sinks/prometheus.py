"""The present values of a live run for Prometheus, in OpenMetrics with base units.

A value that is not known has no series; a device that has fallen silent loses its series, at once where that
is told, else after a minute.
"""

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from thermograd.store.events import Event
from thermograd.store.telling.devices import device_labels, is_simulated
from thermograd.store.telling.episodes import ends_of
from thermograd.store.telling.silences import silence_of
from thermograd.store.text import printable
from thermograd.stream.alerts.alert import as_float
from thermograd.stream.efficiency import Efficiency

_SILENT_NS = 60_000_000_000

# column -> name, factor to the base unit, help
_STEP_GAUGES = {
    "step": ("step", 1.0, "Optimizer steps so far."),
    "epoch": ("epoch", 1.0, "Passes over the data so far."),
    "loss": ("loss", 1.0, "Loss of the latest step."),
    "grad_norm": ("grad_norm", 1.0, "L2 norm of the gradient before clipping, latest step."),
    "learning_rate": ("learning_rate", 1.0, "Learning rate of the latest step."),
    "step_time_s": ("step_time_seconds", 1.0, "Wall time of the latest step."),
}
_DEVICE_GAUGES = {
    "utilization_pct": ("utilization_ratio", 0.01, "Share of time in which something ran."),
    "power_w": ("power_watts", 1.0, "Power now."),
    "power_limit_w": ("power_limit_watts", 1.0, "Enforced power limit."),
    "temperature_c": ("temperature_celsius", 1.0, "Core temperature."),
    "memory_temperature_c": ("memory_temperature_celsius", 1.0, "Memory temperature."),
    "sm_clock_mhz": ("sm_clock_hertz", 1e6, "Processor clock."),
    "memory_clock_mhz": ("memory_clock_hertz", 1e6, "Memory clock."),
    "memory_used_bytes": ("memory_used_bytes", 1.0, "Memory in use."),
    "fan_pct": ("fan_ratio", 0.01, "Intended fan speed."),
    "rle": ("thermal_load_efficiency_ratio", 1.0, "RLE, mean over 5 s; throttling raises it."),
}
_THROTTLED = {f"throttled_{reason}_ns": reason for reason in ("thermal", "power", "brake")}
_COUNTS = {
    "joined": ("joined_rows", "Steps joined with a sample of a device."),
    "unmatched": ("unmatched_rows", "Steps without a sample of a device."),
    "late": ("late_events", "Events too late for the live join."),
    "lost": ("lost_events", "Events of the run that could not be written."),
}
_Pair = tuple[str, str, str]  # metric, device, hardware column
_Alert = tuple[str, str, str]  # alert, severity, device


class Exporter:
    """Answers Prometheus. Scrapes see the state of the last `publish`, never half of one.

    `devices` has the facts of each device from ``run.json``, `run` the ``run_id`` and ``name`` of the run.
    """

    def __init__(
        self, devices: Mapping[str, Mapping[str, Any]] | None = None, run: Mapping[str, Any] | None = None
    ) -> None:
        self._devices = dict(devices or {})
        self._run = {name: printable((run or {}).get(name) or "") for name in ("run_id", "name")}
        self._run["host"] = printable(socket.gethostname())
        self._lock = threading.Lock()
        self._steps: dict[str, Mapping[str, Any]] = {}
        self._samples: dict[str, Mapping[str, Any]] = {}
        self._efficiencies: dict[str, Efficiency] = {}
        self._alerts: Counter[tuple[str, str]] = Counter()
        self._latest_alerts_ns: dict[_Alert, int] = {}
        self._told: dict[tuple[str, str], int] = {}
        self._disabled = 0
        self._silences: set[tuple[str, str | None, int]] = set()
        self._counts: dict[str, int] = dict.fromkeys(_COUNTS, 0)
        self._correlations: dict[_Pair, float | None] = {}
        self._e_values: dict[_Pair, float | None] = {}
        self._newest_ns = 0
        self._server: Any = None

    def listen(self, port: int, host: str = "127.0.0.1") -> int:
        """Start to answer on a port (0 takes any that is free); return it. OSError where that cannot be."""
        registry = CollectorRegistry()
        registry.register(self)
        self._server, _ = start_http_server(port, host, registry)
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def count(self, alert: Mapping[str, Any]) -> None:
        """Count an alert, and note when it was."""
        kind = str(alert["alert"]), str(alert["severity"])
        with self._lock:
            self._alerts[kind] += 1
            time_ns, of = alert.get("time_ns"), (*kind, str(alert.get("device") or ""))
            if time_ns is not None:
                self._latest_alerts_ns[of] = max(int(time_ns), self._latest_alerts_ns.get(of, 0))

    def publish(
        self,
        events: Iterable[Event],
        pairs: Any = None,
        told: Mapping[tuple[str, str], int] | None = None,
        disabled: int = 0,
    ) -> None:
        """Take in what has happened since the last call.

        `pairs` are the monitor's `DevicePairs`, if any, `told` the counts of `Notifier.counts`, `disabled`
        says how many detectors have failed.
        """
        with self._lock:
            for event in events:
                self._learn(event)
            self._told, self._disabled = dict(told or {}), disabled
            if pairs is not None:
                self._counts |= {name: getattr(pairs.join, name) for name in ("joined", "unmatched", "late")}
                self._correlations = pairs.correlations()
                self._e_values = {pair: known.run_e_value for pair, known in pairs.coupling().items()}

    def _learn(self, event: Event) -> None:
        values = event.values
        self._newest_ns = max(self._newest_ns, int(values["time_ns"]))
        if event.kind == "step":
            rank = values.get("rank")
            self._steps["" if rank is None else str(rank)] = values
        elif event.kind == "sample" and values.get("device") is not None:
            device = str(values["device"])
            self._samples[device] = {**values, "rle": self._efficiency(device, values)}
        elif event.kind == "mark":
            self._learn_mark(values)

    def _learn_mark(self, values: Mapping[str, Any]) -> None:
        if values.get("mark") == "gap":
            self._counts["lost"] += _lost(values.get("detail"))
        if (silence := silence_of(values)) is not None:
            self._silences.add((silence.alert, silence.device, silence.onset_time_ns))
            for device in silence.devices:
                self._samples.pop(device, None)
        self._silences -= ends_of([values]).keys()

    def _efficiency(self, device: str, values: Mapping[str, Any]) -> float | None:
        known = self._efficiencies.get(device)
        if known is None:
            facts = self._devices.get(device, {})
            rated_w, limit_c = map(_positive, map(facts.get, ("rated_power_w", "temperature_limit_c")))
            known = Efficiency(rated_w, limit_c)
            self._efficiencies[device] = known
        readings = (values.get(name) for name in ("utilization_pct", "power_w", "temperature_c"))
        known.update(int(values.get("monotonic_ns") or 0) / 1e9, *readings)
        return None if known.flags else known.rle_smoothed  # a flag tells of a guess in it

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on the run."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has a series."""
        with self._lock:
            families = [*self._training(), *self._hardware(), *self._findings()]
        for family in families:
            if family.samples:
                yield family

    def _training(self) -> Iterator[Metric]:
        yield InfoMetricFamily("thermograd_run", "The run that is recorded.", value=self._run)
        newest = GaugeMetricFamily(
            "thermograd_last_event_timestamp_seconds", "Time of the newest event that the agent has seen."
        )
        _add(newest, [], self._newest_ns or None, 1e-9)
        yield newest
        yield from _gauges("", _STEP_GAUGES, "rank", self._steps)

    def _hardware(self) -> Iterator[Metric]:
        fresh = {
            device: values
            for device, values in sorted(self._samples.items())
            if self._newest_ns - int(values["time_ns"]) <= _SILENT_NS
        }
        for kind in ("gpu", "cpu"):
            ours = {d: v for d, v in fresh.items() if (d == "cpu") == (kind == "cpu")}
            yield from _gauges(f"{kind}_", _DEVICE_GAUGES, "device", ours)
        throttled = CounterMetricFamily(
            "thermograd_throttled_seconds", "Time throttled so far.", labels=["device", "reason"]
        )
        energy = CounterMetricFamily("thermograd_energy_joules", "Energy counter.", labels=["device"])
        info = GaugeMetricFamily(
            "thermograd_device", "1 for each device.", labels=["device", "label", "model", "simulated"]
        )
        labels = device_labels(self._devices | {name: self._devices.get(name, {}) for name in fresh})
        for device, values in fresh.items():
            name, facts = printable(device), self._devices.get(device, {})
            for column, reason in _THROTTLED.items():
                _add(throttled, [name, reason], values.get(column), 1e-9)
            _add(energy, [name], values.get("energy_j"), 1.0)
            simulated = "true" if is_simulated(device, facts) else "false"
            info.add_metric([name, labels[device], printable(facts.get("model") or ""), simulated], 1.0)
        yield from (throttled, energy, info)

    def _findings(self) -> Iterator[Metric]:
        alerts = CounterMetricFamily(
            "thermograd_alerts", "Alerts raised so far.", labels=["alert", "severity"]
        )
        for (alert, severity), count in sorted(self._alerts.items()):
            alerts.add_metric([alert, severity], count)
        latest = GaugeMetricFamily(
            "thermograd_last_alert_timestamp_seconds",
            "Time of the latest alert of a kind.",
            labels=["alert", "severity", "device"],
        )
        for (alert, severity, device), time_ns in sorted(self._latest_alerts_ns.items()):
            _add(latest, [alert, severity, printable(device)], time_ns, 1e-9)
        silent = GaugeMetricFamily(
            "thermograd_silent", "Silences that have not ended.", labels=["alert", "device"]
        )
        for (alert, device), count in sorted(Counter((a, d or "") for a, d, _ in self._silences).items()):
            silent.add_metric([alert, printable(device)], count)
        yield from (alerts, latest, silent, *self._own_health())
        for name, text, series in (
            ("rolling_correlation", "Correlation of the latest steps.", self._correlations),
            ("coupling_e_value", "Evidence of coupling in the run; 1 is none, 20 is strong.", self._e_values),
        ):
            gauge = GaugeMetricFamily(f"thermograd_{name}", text, labels=["metric", "device", "hardware"])
            for (metric, device, hardware), value in sorted(series.items()):
                _add(gauge, [metric, printable(device), hardware], value, 1.0)
            yield gauge
        for column, (name, text) in _COUNTS.items():
            counter = CounterMetricFamily(f"thermograd_{name}", text)
            counter.add_metric([], self._counts[column])
            yield counter

    def _own_health(self) -> Iterator[Metric]:
        told = CounterMetricFamily(
            "thermograd_sink_alerts", "Alerts by what became of them.", labels=["sink", "outcome"]
        )
        for (sink, outcome), count in sorted(self._told.items()):
            told.add_metric([printable(sink), outcome], count)
        disabled = GaugeMetricFamily("thermograd_disabled_detectors", "Detectors that failed and are off.")
        disabled.add_metric([], self._disabled)
        yield from (told, disabled)


def _positive(value: Any) -> float | None:
    """Return a rating that can be one, else None."""
    known = as_float(value)
    return known if known is not None and isfinite(known) and known > 0 else None


def _gauges(
    prefix: str,
    table: Mapping[str, tuple[str, float, str]],
    label: str,
    latest: Mapping[str, Mapping[str, Any]],
) -> Iterator[Metric]:
    for column, (name, factor, text) in table.items():
        gauge = GaugeMetricFamily(f"thermograd_{prefix}{name}", text, labels=[label])
        for key, values in sorted(latest.items()):
            _add(gauge, [printable(key)], values.get(column), factor)
        yield gauge


def _add(family: Any, labels: list[str], value: Any, factor: float) -> None:
    if value is not None:
        family.add_metric(labels, float(value) * factor)


def _lost(detail: Any) -> int:
    try:
        return int(json.loads(detail)["lost"])
    except (TypeError, ValueError, KeyError):
        return 0
