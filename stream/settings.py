"""Every setting: its section, name, default, range and meaning.

A section is a frozen dataclass and a table of ``thermograd.toml``; its fields are the keys. The sections
in `DEFINING` decide which alerts there are, so a live run records them and its replay uses the same.
The others only decide who is told.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from thermograd.store.events import ALERTS, SEVERITIES


def _a(default: Any, meaning: str, **limits: Any) -> Any:
    """Return a field with what the configuration says about it: meaning, limits, or choices."""
    shown = not limits.get("secret", False)
    return field(default=default, repr=shown, metadata={"meaning": meaning} | limits)


@dataclass(frozen=True, slots=True)
class SpikeSettings:
    """Alerts ``spike.grad`` and ``spike.loss``, see `thermograd.stream.spike.SpikeDetector`."""

    k: float = _a(6.0, "standard deviations above the recent level", above=0)
    grad_ratio: float = _a(1.3, "a gradient norm below this multiple of its level is no spike", least=1)
    loss_ratio: float = _a(1.1, "a loss below this multiple of its level is no spike", least=1)
    window_steps: int = _a(128, "steps that make the level", least=2, most=1_000_000)
    warmup_steps: int = _a(20, "steps before anything is detected", least=2)
    rebase_steps: int = _a(32, "spikes in a row after which the level has changed", least=2)
    quiet_steps: int = _a(10, "steps without a spike that end an episode", least=1)
    critical_score: float = _a(10.0, "deviations from which on a spike is critical", above=0)


@dataclass(frozen=True, slots=True)
class ShiftSettings:
    """Alert ``shift.grad``, see `thermograd.stream.shift.LevelShift`."""

    fast_steps: int = _a(16, "steps of the recent median", least=1)
    slow_steps: int = _a(256, "steps of the median it is compared with", least=2, most=1_000_000)
    ratio: float = _a(1.6, "smallest growth of the median", least=1)
    deviations: float = _a(2.0, "robust standard deviations it must have grown by", least=0)
    warmup_steps: int = _a(64, "steps before anything is detected", least=1)
    quiet_steps: int = _a(10, "steps without a shift that end an episode", least=1)


@dataclass(frozen=True, slots=True)
class NonfiniteSettings:
    """Alert ``nonfinite``: a loss or gradient norm that is NaN or infinite."""

    quiet_steps: int = _a(10, "finite steps that end an episode", least=1)


@dataclass(frozen=True, slots=True)
class ZeroGradSettings:
    """Alert ``zero_grad``: a gradient norm of exactly 0."""

    quiet_steps: int = _a(10, "steps with a gradient that end an episode", least=1)


@dataclass(frozen=True, slots=True)
class ThrottleSettings:
    """Alerts ``collapse.*``, ``throttle.warn``, ``power_limited``, see `ThrottleDetector`."""

    clock_loss_ratio: float = _a(0.05, "share of the usual clock that must be lost", above=0, most=1)
    loss_s: float = _a(2.0, "seconds the loss must last", least=0)
    majority_s: float = _a(3.0, "seconds in most of which the driver must report it", above=0)
    warn_margin_c: float = _a(2.0, "degC below the limit that are warned of", least=0)
    near_margin_c: float = _a(4.0, "degC below the limit that count as heat without a driver's word", least=0)
    counter_warn_s: float = _a(0.1, "throttled seconds in majority_s that are warned of", above=0)
    reference_s: float = _a(1800.0, "seconds that make the usual clock", above=0, most=86_400)
    reference_min_s: float = _a(5.0, "seconds needed to know it", least=0)
    idle_pct: float = _a(10.0, "utilisation below which a low clock is no loss", least=0, most=100)
    gap_s: float = _a(3.0, "longest time one sample stands for", above=0)
    quiet_s: float = _a(30.0, "seconds without the condition that end an episode", above=0)


@dataclass(frozen=True, slots=True)
class SensorGapSettings:
    """Alert ``sensor.gap``: samples of a device that stopped for a while."""

    least_s: float = _a(5.0, "shortest gap that is told, s", above=0)
    intervals: int = _a(5, "and in usual intervals between samples", least=1)
    median_of: int = _a(31, "intervals that make the usual one", least=3, most=10_000)


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """Live join of steps with samples, see `thermograd.stream.join.event_time.EventTimeJoin`."""

    tolerance_s: float = _a(1.0, "largest distance of a step and its sample", least=0)
    lateness_s: float = _a(2.0, "how late an event may arrive; the answers wait for it", least=0)


@dataclass(frozen=True, slots=True)
class CorrelationSettings:
    """Rolling correlation of the watch view and the exporter; raises no alert."""

    window: int = _a(128, "steps in the window", least=2, most=100_000)


@dataclass(frozen=True, slots=True)
class CouplingSettings:
    """Alert ``coupling``, see `thermograd.stream.join.coupling_rule.CouplingRule`."""

    alarm_s: float = _a(259_200.0, "false alarms are in the mean at least so far apart", above=1)
    max_lag_s: int = _a(12, "largest lag, in either direction", least=1, most=60)
    warmup_s: int = _a(120, "seconds before the first bet", least=0)
    quiet_s: int = _a(1800, "seconds without an alarm that end an episode", least=1)
    order: int = _a(4, "past values that predict a series", least=1, most=20)
    forgetting: float = _a(0.999, "weight of a second relative to the next", least=0.9, most=1)
    driver_lags: int = _a(1, "past seconds of each driver that are regressed out", least=0, most=10)


@dataclass(frozen=True, slots=True)
class EfficiencySettings:
    """Collapse as the first instrument defined it, as alert ``collapse.thermal``: cannot see throttling."""

    collapse: str = _a("off", "definition that raises it", choices=("off", "rle_clean", "seed_1hz"))


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Which alerts there are at all, in the log and everywhere."""

    off: tuple[str, ...] = _a((), "alerts that are not raised", choices=ALERTS)
    minimum: str = _a("info", "least severity that is raised", choices=SEVERITIES)


@dataclass(frozen=True, slots=True)
class TerminalSettings:
    """The lines on the terminal."""

    minimum: str = _a("info", "least severity that is shown", choices=SEVERITIES)
    cooldown_s: float = _a(0.0, "seconds of event time between two alike", least=0)


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """The Prometheus exporter of the agent."""

    port: int = _a(0, "port to listen on; 0 is off", least=0, most=65_535)
    host: str = _a("127.0.0.1", "address to listen on")


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One place that is told of alerts: a table ``[sinks.NAME]``."""

    type: str = _a("", "what it is", choices=("jsonl", "webhook", "apprise"))
    url: str = _a("", 'of a webhook or apprise; "env:NAME" takes it from the environment', secret=True)
    token: str = _a("", "sent to a webhook as bearer token", secret=True)
    path: str = _a("", "file of a jsonl sink")
    minimum: str = _a("warning", "least severity that is sent", choices=SEVERITIES)
    alerts: tuple[str, ...] = _a((), "only these alerts; none named means all", choices=ALERTS)
    cooldown_s: float = _a(300.0, "seconds of event time between two alike", least=0)
    timeout_s: float = _a(10.0, "seconds that one attempt may take", above=0, most=120)
    attempts: int = _a(5, "attempts before an alert is given up", least=1, most=20)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of the stream layer; what is not given has its default.

    Examples
    --------
    >>> Settings(spike=SpikeSettings(k=7.0)).definitions()["spike"]["k"]
    7.0
    """

    spike: SpikeSettings = SpikeSettings()
    shift: ShiftSettings = ShiftSettings()
    nonfinite: NonfiniteSettings = NonfiniteSettings()
    zero_grad: ZeroGradSettings = ZeroGradSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    sensor_gap: SensorGapSettings = SensorGapSettings()
    join: JoinSettings = JoinSettings()
    correlation: CorrelationSettings = CorrelationSettings()
    coupling: CouplingSettings = CouplingSettings()
    efficiency: EfficiencySettings = EfficiencySettings()
    alerts: AlertSettings = AlertSettings()
    terminal: TerminalSettings = TerminalSettings()
    metrics: MetricsSettings = MetricsSettings()
    sinks: Mapping[str, SinkSettings] = field(default_factory=dict)

    def definitions(self) -> dict[str, dict[str, Any]]:
        """Return the sections that decide which alerts there are, for the record: no sink, no secret."""
        return {name: asdict(getattr(self, name)) for name in DEFINING}

    def with_metrics(self, port: int | None, host: str | None) -> "Settings":
        """Return these settings with another port and host of the exporter, where given."""
        section = self.metrics
        section = MetricsSettings(section.port if port is None else port, host or section.host)
        return replace(self, metrics=section)

    @property
    def definition_hash(self) -> str:
        """Twelve hexadecimal digits that tell these definitions from others."""
        text = json.dumps(self.definitions(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_TELLING = ("terminal", "metrics", "sinks")
DEFINING = tuple(f.name for f in fields(Settings) if f.name not in _TELLING)
