"""Every setting: its section, name, default, limits and meaning.

A section is a frozen struct and a table of ``thermograd.toml``; its fields are the keys, and each says its
own limits. The sections in `DEFINING` decide which alerts there are, so a live run records them and its
replay uses the same. The others only decide who is told.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import asdict, replace
from thermograd.store.errors import ConfigError
from thermograd.store.events import ALERTS, SEVERITIES

if TYPE_CHECKING:
    Severity: TypeAlias = str
    AlertName: TypeAlias = str
else:
    Severity, AlertName = Literal[SEVERITIES], Literal[ALERTS]

_COOLDOWN = "seconds until alike alerts are summed up, then twice as long; 0: each is told"
_NEVER = 1e9  # periods
_LONGEST = "longest time between two summaries of alike alerts, s"
SECRET = {"secret": True}  # of a setting whose value is never shown


def secret_value(text: str, where: str, environment: Mapping[str, str]) -> str:
    """Return a setting, or of one written `env:NAME` that variable; a ConfigError where it is not set."""
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if not environment.get(name):
        raise ConfigError(f"{where} is taken from the environment, but {name} is not set")
    return environment[name]


def says(meaning: str, **limits: Any) -> Meta:
    """Return what the configuration says about a setting: its meaning and its limits."""
    return Meta(description=meaning, **limits)


class SpikeSettings(Struct, frozen=True):
    """Alerts ``spike.grad`` and ``spike.loss``, see `thermograd.stream.spike.SpikeDetector`."""

    k: Annotated[float, says("standard deviations above the recent level", gt=0)] = 6.75
    grad_ratio: Annotated[
        float, says("a gradient norm below this multiple of its level is no spike", ge=1)
    ] = 1.3
    loss_ratio: Annotated[float, says("a loss below this multiple of its level is no spike", ge=1)] = 1.1
    window_steps: Annotated[int, says("steps that make the level", ge=2, le=1_000_000)] = 128
    warmup_steps: Annotated[int, says("steps before anything is detected", ge=2)] = 20
    rebase_steps: Annotated[int, says("spikes in a row after which the level has changed", ge=2)] = 20
    quiet_steps: Annotated[int, says("steps without a spike that end an episode", ge=1)] = 10
    critical_score: Annotated[float, says("deviations from which on a spike is critical", gt=0)] = 10.0
    usual: Annotated[bool, says("whether a window that a spike has spoilt counts as quiet as before it")] = (
        True
    )


class ShiftSettings(Struct, frozen=True):
    """Alert ``shift.grad``, see `thermograd.stream.level_shift.LevelShift`."""

    fast_steps: Annotated[int, says("steps of the recent median", ge=1)] = 16
    slow_steps: Annotated[int, says("steps of the median it is compared with", ge=2, le=1_000_000)] = 256
    ratio: Annotated[float, says("smallest growth of the median", ge=1)] = 1.6
    deviations: Annotated[float, says("robust standard deviations it must have grown by", ge=0)] = 2.0
    warmup_steps: Annotated[int, says("steps before anything is detected", ge=1)] = 64
    quiet_steps: Annotated[int, says("steps without a shift that end an episode", ge=1)] = 10


class NonfiniteSettings(Struct, frozen=True):
    """Alert ``nonfinite``: a loss or gradient norm that is NaN or infinite."""

    quiet_steps: Annotated[int, says("finite steps that end an episode", ge=1)] = 10


class ZeroGradSettings(Struct, frozen=True):
    """Alert ``zero_grad``: a gradient norm of exactly 0."""

    quiet_steps: Annotated[int, says("steps with a gradient that end an episode", ge=1)] = 10


class ThrottleSettings(Struct, frozen=True):
    """Alerts ``collapse.*``, ``throttle.warn``, ``power_limited``, see `ThrottleDetector`."""

    clock_loss_ratio: Annotated[float, says("share of the usual clock that must be lost", gt=0, le=1)] = 0.05
    loss_s: Annotated[float, says("seconds the loss must last", ge=0)] = 2.0
    majority_s: Annotated[float, says("seconds in most of which the driver must report it", gt=0)] = 3.0
    warn_margin_c: Annotated[float, says("degC below the limit that are warned of", ge=0)] = 2.0
    near_margin_c: Annotated[
        float, says("degC below the limit that count as heat without a driver's word", ge=0)
    ] = 4.0
    counter_warn_s: Annotated[float, says("throttled seconds in majority_s that are warned of", gt=0)] = 0.1
    reference_s: Annotated[float, says("seconds that make the usual clock", gt=0, le=86_400)] = 1800.0
    reference_min_s: Annotated[float, says("seconds needed to know it", ge=0)] = 5.0
    idle_pct: Annotated[float, says("utilisation below which a low clock is no loss", ge=0, le=100)] = 10.0
    gap_s: Annotated[float, says("longest time one sample stands for", gt=0)] = 3.0
    quiet_s: Annotated[float, says("seconds without the condition that end an episode", gt=0)] = 30.0


class SensorGapSettings(Struct, frozen=True):
    """Alert ``sensor.gap``: samples of a device that stopped for a while."""

    least_s: Annotated[float, says("shortest gap that is told, s", gt=0)] = 5.0
    intervals: Annotated[int, says("and in usual intervals between samples", ge=1)] = 5
    median_of: Annotated[int, says("intervals that make the usual one", ge=3, le=10_000)] = 31


class SilenceSettings(Struct, frozen=True):
    """Alerts ``silent.*``, and ``sensor.gap`` of single sensors: what gives no sign of life any more."""

    periods: Annotated[
        float, says("usual periods without a reading after which a device or sensor is silent", ge=2, le=1e6)
    ] = 3.0
    quiet_s: Annotated[float, says("seconds that it has to be back to end its silence", ge=0, le=3600)] = 5.0

    @property
    def is_on(self) -> bool:
        """Whether there is such a rule: a run that recorded none has none in its replay."""
        return self.periods < _NEVER


class SlowRankSettings(Struct, frozen=True):
    """Alert ``slow.rank``: a rank that works longer than its peers, see `thermograd.stream.slow_rank`."""

    tolerance: Annotated[float, says("a rank that is slower by a smaller share is not slow", ge=0, lt=1)] = (
        0.03
    )
    alarm_s: Annotated[float, says("false alarms of a job are in the mean at least so far apart", gt=1)] = (
        259_200.0
    )
    block_s: Annotated[float, says("seconds whose median step time is compared", gt=0, le=3600)] = 3.0


class JoinSettings(Struct, frozen=True):
    """Live join of steps with samples, see `thermograd.stream.join.event_time.EventTimeJoin`."""

    tolerance_s: Annotated[float, says("largest distance of a step and its sample", ge=0)] = 1.0
    lateness_s: Annotated[float, says("how late an event may arrive; the answers wait for it", ge=0)] = 2.0


class CorrelationSettings(Struct, frozen=True):
    """Rolling correlation of the watch view and the exporter; raises no alert."""

    window: Annotated[int, says("steps in the window", ge=2, le=100_000)] = 128


class CouplingSettings(Struct, frozen=True):
    """Alert ``coupling``, see `thermograd.stream.join.coupling_alerts.CouplingRule`."""

    alarm_s: Annotated[float, says("false alarms are in the mean at least so far apart", gt=1)] = 259_200.0
    max_lag_s: Annotated[int, says("largest lag, in either direction", ge=1, le=60)] = 12
    warmup_s: Annotated[int, says("seconds before the first bet", ge=0)] = 120
    quiet_s: Annotated[int, says("seconds without an alarm that end an episode", ge=1)] = 1800
    order: Annotated[int, says("past values that predict a series", ge=1, le=20)] = 4
    forgetting: Annotated[float, says("weight of a second relative to the next", ge=0.9, le=1)] = 0.999
    driver_lags: Annotated[int, says("past seconds of each driver that are regressed out", ge=0, le=10)] = 1


class EfficiencySettings(Struct, frozen=True):
    """Collapse as the first instrument defined it, as alert ``collapse.thermal``: cannot see throttling."""

    collapse: Annotated[Literal["off", "rle_clean", "seed_1hz"], says("definition that raises it")] = "off"


class AlertSettings(Struct, frozen=True):
    """Which alerts there are at all, in the log and everywhere."""

    off: Annotated[tuple[AlertName, ...], says("alerts that are not raised")] = ()
    minimum: Annotated[Severity, says("least severity that is raised")] = "info"


class TerminalSettings(Struct, frozen=True):
    """The lines on the terminal."""

    minimum: Annotated[Severity, says("least severity that is shown")] = "info"
    cooldown_s: Annotated[float, says(_COOLDOWN, ge=0)] = 300.0
    longest_s: Annotated[float, says(_LONGEST, ge=0)] = 14_400.0


class MetricsSettings(Struct, frozen=True):
    """The Prometheus exporter of the agent."""

    port: Annotated[int, says("port to listen on; 0 is off", ge=0, le=65_535)] = 0
    host: Annotated[str, says("address to listen on")] = "127.0.0.1"


class PublishSettings(Struct, frozen=True):
    """Where an agent publishes alerts, heartbeats and summaries for the fleet; see docs/fleet.md."""

    url: Annotated[
        str,
        says(
            'broker, nats://HOST:4222[/STREAM] or kafka://HOST:9092/TOPIC; empty is off; "env:NAME" takes it '
            "from the environment",
            extra=SECRET,
        ),
    ] = ""
    user: Annotated[str, says('user at the broker, or "env:NAME"')] = ""
    password: Annotated[str, says('password, or "env:NAME"', extra=SECRET)] = ""
    token: Annotated[str, says('token of NATS, or "env:NAME"', extra=SECRET)] = ""
    creds: Annotated[str, says("credentials file of NATS")] = ""
    ca: Annotated[str, says("file of the certificate authority, for tls://")] = ""
    replicas: Annotated[int, says("copies that a JetStream stream is made with", ge=1, le=5)] = 1

    def __repr__(self) -> str:  # the address may hold secrets
        return "PublishSettings(...)"


class OtlpSettings(Struct, frozen=True):
    """Where steps, samples and alerts go as OpenTelemetry metrics and logs; see docs/otlp.md."""

    endpoint: Annotated[
        str,
        says(
            'collector, as http://127.0.0.1:4318; empty is off; "env:NAME" takes it from the environment',
            extra=SECRET,
        ),
    ] = ""
    headers: Annotated[
        str, says('what is sent with it, "authorization=Bearer ...,name=value", or "env:NAME"', extra=SECRET)
    ] = ""
    protocol: Annotated[Literal["http/protobuf"], says("how it is sent")] = "http/protobuf"
    interval_s: Annotated[float, says("seconds that are sent together", ge=0.5, le=300)] = 5.0
    timeout_s: Annotated[float, says("seconds that one attempt may take", gt=0, le=120)] = 10.0
    attempts: Annotated[int, says("attempts before what is sent together is given up", ge=1, le=20)] = 5

    def __repr__(self) -> str:  # headers are secrets
        return "OtlpSettings(...)"


class FleetSettings(Struct, frozen=True):
    """What `watch --fleet` makes of all runs together."""

    false_alarms_per_day: Annotated[
        float, says("fleet alerts by chance a day, over all runs together, at most", gt=0, le=1000)
    ] = 1.0
    silent_s: Annotated[float, says("seconds without a heartbeat after which a node is silent", ge=2)] = 10.0
    lateness_s: Annotated[float, says("how late a node's evidence may come", ge=1, le=3600)] = 60.0
    recent_s: Annotated[float, says("how far back spikes are counted in the view, s", gt=0)] = 300.0


class SinkSettings(Struct, frozen=True):
    """One place that is told of alerts: a table ``[sinks.NAME]``."""

    type: Annotated[Literal["jsonl", "webhook", "apprise"], says("what it is")] = ""  # type: ignore[assignment]  # a table without is refused
    url: Annotated[
        str, says('of a webhook or apprise; "env:NAME" takes it from the environment', extra=SECRET)
    ] = ""
    token: Annotated[str, says("sent to a webhook as bearer token", extra=SECRET)] = ""
    path: Annotated[str, says("file of a jsonl sink")] = ""
    minimum: Annotated[Severity, says("least severity that is sent")] = "warning"
    alerts: Annotated[tuple[AlertName, ...], says("only these alerts; none named means all")] = ()
    cooldown_s: Annotated[float, says(_COOLDOWN, ge=0)] = 300.0
    longest_s: Annotated[float, says(_LONGEST, ge=0)] = 14_400.0
    picture: Annotated[
        bool, says("whether a critical alert carries a picture; default of apprise true, of a webhook false")
    ] = False
    timeout_s: Annotated[float, says("seconds that one attempt may take", gt=0, le=120)] = 10.0
    attempts: Annotated[int, says("attempts before an alert is given up", ge=1, le=20)] = 5

    def __repr__(self) -> str:  # url and token are secrets
        return f"SinkSettings(type={self.type!r}, ...)"


class Settings(Struct, frozen=True):
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
    silence: SilenceSettings = SilenceSettings()
    slow_rank: SlowRankSettings = SlowRankSettings()
    join: JoinSettings = JoinSettings()
    correlation: CorrelationSettings = CorrelationSettings()
    coupling: CouplingSettings = CouplingSettings()
    efficiency: EfficiencySettings = EfficiencySettings()
    alerts: AlertSettings = AlertSettings()
    terminal: TerminalSettings = TerminalSettings()
    metrics: MetricsSettings = MetricsSettings()
    publish: PublishSettings = PublishSettings()
    otlp: OtlpSettings = OtlpSettings()
    fleet: FleetSettings = FleetSettings()
    sinks: Mapping[str, SinkSettings] = {}

    def definitions(self) -> dict[str, dict[str, Any]]:
        """Return the sections that decide which alerts there are, for the record: no sink, no secret."""
        return {name: asdict(getattr(self, name)) for name in DEFINING}

    def with_metrics(self, port: int | None, host: str | None) -> "Settings":
        """Return these settings with another port and host of the exporter, where given."""
        port = self.metrics.port if port is None else port
        return replace(self, metrics=MetricsSettings(port, host or self.metrics.host))

    def with_publish(self, url: str | None) -> "Settings":
        """Return these settings with another broker to publish to, where given."""
        return self if url is None else replace(self, publish=replace(self.publish, url=url))

    @property
    def definition_hash(self) -> str:
        """Twelve hexadecimal digits that tell these definitions from others."""
        text = json.dumps(self.definitions(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


BEFORE_SILENCE = SilenceSettings(periods=_NEVER)  # of runs from before there was such a section
SPIKE_2: Mapping[str, Any] = {"k": 6.0, "rebase_steps": 32, "usual": False}  # of runs from before `usual`
_TELLING = ("terminal", "metrics", "publish", "fleet", "sinks")
DEFINING = tuple(name for name in Settings.__struct_fields__ if name not in _TELLING)
