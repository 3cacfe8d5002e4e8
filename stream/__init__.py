"""What watches the log while it grows: detectors, the event-time join, alert policy, sinks."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "alerts.alert": "alert_line digest",
        "alerts.policy": "AlertPolicy",
        "correlation": "RollingCorrelation",
        "coupling.detector": "CouplingMonitor",
        "efficiency": "Efficiency",
        "join.event_time": "EventTimeJoin",
        "pipeline.config": "load_config",
        "pipeline.live": "watch_log watch_written",
        "pipeline.monitor": "Monitor",
        "pipeline.replay": "Replay replay_events",
        "settings": "Settings",
        "level_shift": "LevelShift",
        "sinks.base": "Message Sink SinkError",
        "spike": "SpikeDetector",
        "throttle": "ThrottleDetector",
    },
)

if TYPE_CHECKING:
    from thermograd.stream.alerts.alert import alert_line as alert_line, digest as digest
    from thermograd.stream.alerts.policy import AlertPolicy as AlertPolicy
    from thermograd.stream.correlation import RollingCorrelation as RollingCorrelation
    from thermograd.stream.coupling.detector import CouplingMonitor as CouplingMonitor
    from thermograd.stream.efficiency import Efficiency as Efficiency
    from thermograd.stream.join.event_time import EventTimeJoin as EventTimeJoin
    from thermograd.stream.level_shift import LevelShift as LevelShift
    from thermograd.stream.pipeline.config import load_config as load_config
    from thermograd.stream.pipeline.live import watch_log as watch_log, watch_written as watch_written
    from thermograd.stream.pipeline.monitor import Monitor as Monitor
    from thermograd.stream.pipeline.replay import Replay as Replay, replay_events as replay_events
    from thermograd.stream.settings import Settings as Settings
    from thermograd.stream.sinks.base import Message as Message, Sink as Sink, SinkError as SinkError
    from thermograd.stream.spike import SpikeDetector as SpikeDetector
    from thermograd.stream.throttle import ThrottleDetector as ThrottleDetector
