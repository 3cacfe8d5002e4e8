"""What watches the log while it grows: detectors, the event-time join, alert policy, sinks."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.stream.alerts.alert import alert_line, digest
    from thermograd.stream.alerts.policy import AlertPolicy
    from thermograd.stream.correlation import RollingCorrelation
    from thermograd.stream.coupling.detector import CouplingMonitor
    from thermograd.stream.efficiency import Efficiency
    from thermograd.stream.join.event_time import EventTimeJoin
    from thermograd.stream.pipeline.config import load_config
    from thermograd.stream.pipeline.live import watch_log, watch_written
    from thermograd.stream.pipeline.monitor import Monitor
    from thermograd.stream.pipeline.replay import Replay, replay_events
    from thermograd.stream.settings import Settings
    from thermograd.stream.shift import LevelShift
    from thermograd.stream.sinks.base import Message, Sink, SinkError
    from thermograd.stream.spike import SpikeDetector
    from thermograd.stream.throttle import ThrottleDetector
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "thermograd.stream.alerts.alert": "alert_line digest",
            "thermograd.stream.alerts.policy": "AlertPolicy",
            "thermograd.stream.correlation": "RollingCorrelation",
            "thermograd.stream.coupling.detector": "CouplingMonitor",
            "thermograd.stream.efficiency": "Efficiency",
            "thermograd.stream.join.event_time": "EventTimeJoin",
            "thermograd.stream.pipeline.config": "load_config",
            "thermograd.stream.pipeline.live": "watch_log watch_written",
            "thermograd.stream.pipeline.monitor": "Monitor",
            "thermograd.stream.pipeline.replay": "Replay replay_events",
            "thermograd.stream.settings": "Settings",
            "thermograd.stream.shift": "LevelShift",
            "thermograd.stream.sinks.base": "Message Sink SinkError",
            "thermograd.stream.spike": "SpikeDetector",
            "thermograd.stream.throttle": "ThrottleDetector",
        },
    )

__all__ = [
    "AlertPolicy",
    "CouplingMonitor",
    "Efficiency",
    "EventTimeJoin",
    "LevelShift",
    "Message",
    "Monitor",
    "Replay",
    "RollingCorrelation",
    "Settings",
    "Sink",
    "SinkError",
    "SpikeDetector",
    "ThrottleDetector",
    "alert_line",
    "digest",
    "load_config",
    "replay_events",
    "watch_log",
    "watch_written",
]
