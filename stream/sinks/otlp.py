"""Steps, samples and alerts for an OpenTelemetry collector, at the times at which they were.

Sensors have the names of the semantic conventions for hardware (``hw.*``), what these have no name for is
``thermograd.device.*``, of a step ``thermograd.step.*``. Where a convention has another unit, the column
itself goes beside it: what another thermograd receives is equal to the bit.
"""

import gzip
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from thermograd.store.errors import ConfigError
from thermograd.store.events import KINDS, Event
from thermograd.store.failures import Guard
from thermograd.store.listening.addresses import is_loopback
from thermograd.store.telling.devices import is_simulated
from thermograd.store.text import printable
from thermograd.stream.settings import OtlpSettings, secret_value
from thermograd.stream.sinks.base import Message, SinkError
from thermograd.stream.sinks.outbox import Outbox
from thermograd.stream.sinks.posting import post

_SCOPE = "thermograd"
_LOGS = "/v1/logs"
_MOST_EVENTS = 5_000  # that are sent together
_MOST_BATCHES = 64  # that wait
_SEVERITIES = {"info": 9, "warning": 13, "critical": 21}  # of OpenTelemetry: INFO, WARN, FATAL
_STEP = tuple(c.name for c in KINDS["step"] if c.name not in ("step", "rank"))
_DEVICE = tuple(c.name for c in KINDS["sample"] if c.name != "device")
_HARDWARE = {  # name, unit, how it is counted
    "temperature_c": ("hw.temperature", "Cel", "gauge"),
    "memory_temperature_c": ("hw.temperature", "Cel", "gauge"),
    "power_w": ("hw.power", "W", "gauge"),
    "energy_j": ("hw.energy", "J", "counter"),
    "memory_used_bytes": ("hw.gpu.memory.usage", "By", "sum"),
}
_UNITS = {
    "_pct": "%", "_w": "W", "_average": "W", "_c": "Cel", "_mhz": "MHz", "_ns": "ns", "_us": "us", "_s": "s",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class OtlpSink:
    """Sends what the stream layer sees. Nothing of it waits or raises.

    Parameters
    ----------
    settings
        The table ``[otlp]``.
    run, devices
        Facts of the run (``run_id``, ``name``), and of each device.
    on_trouble
        Gets one sentence when the collector cannot be reached, and one when it can again.

    Raises
    ------
    ConfigError
        If the endpoint cannot be used, a secret is not set, or what is needed is not installed.
    """

    def __init__(
        self,
        settings: OtlpSettings,
        run: Mapping[str, Any] | None,
        devices: Mapping[str, Mapping[str, Any]],
        on_trouble: Callable[[str], None],
    ) -> None:
        try:
            from thermograd.stream.sinks import otlp_messages
        except ImportError:
            raise ConfigError("[otlp] needs opentelemetry-proto: pip install 'thermograd[otlp]'") from None
        self._messages = otlp_messages
        self._poster = _Poster(settings, on_trouble)
        self._interval_s, self._devices = settings.interval_s, devices
        self._resource = _resource(run or {})
        self._outbox = Outbox(
            "otlp", self._poster, on_trouble, settings.attempts, capacity=_MOST_BATCHES, noun="reading"
        )
        self._guard = Guard("readings cannot be sent by OTLP: %(error)r", on_trouble)
        self._events: list[Event] = []
        self._alerts: list[Mapping[str, Any]] = []
        self._due_s = time.monotonic() + self._interval_s

    def take(self, events: Iterable[Event]) -> None:
        """Take in the events of a look; send what is due."""
        self._events += (event for event in events if event.kind in ("step", "sample"))
        if time.monotonic() >= self._due_s or len(self._events) >= _MOST_EVENTS:
            with self._guard:
                self._flush()

    def alert(self, alert: Mapping[str, Any]) -> None:
        """Take in an alert, to be sent with the next."""
        self._alerts.append(dict(alert))

    def _flush(self) -> None:
        self._due_s = time.monotonic() + self._interval_s
        events, self._events = self._events, []
        alerts, self._alerts = self._alerts, []
        for start in range(0, len(events), _MOST_EVENTS):
            part = events[start : start + _MOST_EVENTS]
            points = [point for event in part for point in readings(event, self._devices)]
            if points:
                self._put("/v1/metrics", self._messages.metrics(self._resource, points), "info")
        if alerts:
            logs = [_log_record(alert) for alert in alerts]
            self._put(_LOGS, self._messages.logs(self._resource, logs), "critical")

    def _put(self, path: str, body: bytes, severity: str) -> None:
        values = {"path": path, "body": gzip.compress(body, 1)}
        self._outbox.put(Message(title="otlp", text="", severity=severity, values=values))

    def close(self, wait_s: float = 2.5) -> None:
        """Send what is left, for so long at most."""
        with self._guard:
            self._flush()
        self._outbox.close(wait_s)

    def account(self) -> dict[str, int]:
        """Return how many requests the collector has got, and has not got."""
        refused = self._poster.logs_refused
        return {
            "requests sent by OTLP": self._outbox.sent - refused,
            "requests that did not reach the OTLP collector": self._outbox.dropped + refused,
        }


class _Poster:
    """Posts to a collector; its address and its headers are secrets.

    One that takes no logs gets none after the first: `logs_refused` counts those that it has not got.
    """

    def __init__(self, settings: OtlpSettings, on_trouble: Callable[[str], None]) -> None:
        self._on_trouble, self.logs_refused = on_trouble, 0
        environment = os.environ
        self._base = secret_value(settings.endpoint, "otlp.endpoint", environment).rstrip("/")
        headers = _headers(secret_value(settings.headers, "otlp.headers", environment))
        _check(self._base, bool(headers))
        own = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
            "User-Agent": "thermograd",
        }
        self._headers, self._timeout_s = own | headers, settings.timeout_s

    def send(self, message: Message) -> None:
        """Post one request and wait for the answer."""
        path, body = message.values["path"], message.values["body"]
        if path == _LOGS and self.logs_refused:
            self.logs_refused += 1
            return
        try:
            post(self._base + path, body, self._headers, self._timeout_s)
        except SinkError as error:
            if path != _LOGS or "HTTP 404" not in str(error):
                raise
            self.logs_refused += 1
            self._on_trouble(
                "alerts do not reach sink 'otlp': it takes no logs (HTTP 404); they are in the log, "
                "and readings go on"
            )


def _headers(text: str) -> dict[str, str]:
    """Return headers that are written as in OTEL_EXPORTER_OTLP_HEADERS."""
    found = {}
    for pair in filter(str.strip, text.split(",")):
        name, given, value = pair.partition("=")
        value = unquote(value.strip())
        if (
            not given
            or not name.strip().replace("-", "").replace("_", "").isalnum()
            or not value.isprintable()
        ):
            raise ConfigError("otlp.headers is a list of name=value, such as authorization=Bearer%20...")
        found[name.strip()] = value
    return found


def _check(url: str, has_headers: bool) -> None:
    """Refuse, by ConfigError, what is no address, or would tell secrets to a network."""
    try:
        parts = urlsplit(url)
        is_known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_known, parts = False, urlsplit("")
    if not is_known or parts.query or "@" in parts.netloc or not url.isprintable() or " " in url:
        raise ConfigError(
            "otlp.endpoint is no address; allowed: http(s)://HOST:PORT, such as http://127.0.0.1:4318"
        )
    if has_headers and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            "otlp.headers are secrets, and http:// tells them to the network; allowed: https://"
        )


def _resource(run: Mapping[str, Any]) -> dict[str, Any]:
    run_id = printable(run.get("run_id") or "")
    told = {
        "service.name": _SCOPE,
        "service.instance.id": run_id,
        "host.name": printable(socket.gethostname()),
        "thermograd.run_id": run_id,
        "thermograd.run": printable(run.get("name") or ""),
    }
    return {name: text for name, text in told.items() if text}


def readings(event: Event, devices: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[Any, ...]]:
    """Yield name, unit, kind, time, value and attributes of each column of a step or sample that is known."""
    values, time_ns = event.values, int(event.values["time_ns"])
    if event.kind == "step":
        about = {name: values[name] for name in ("step", "rank") if values.get(name) is not None}
        for column in _STEP:
            if (value := values.get(column)) is not None:
                yield f"thermograd.step.{column}", _unit(column), "gauge", time_ns, value, about
        return
    device = str(values.get("device"))
    about = _device_attributes(device, devices.get(device, {}))
    for column in _DEVICE:
        if (value := values.get(column)) is None:
            continue
        name, unit, kind = _HARDWARE.get(column, (f"thermograd.device.{column}", _unit(column), "gauge"))
        place = {"hw.sensor_location": "memory"} if column == "memory_temperature_c" else {}
        yield name, unit, kind, time_ns, value, about | place
        if column == "utilization_pct" and about["hw.type"] == "gpu":
            yield "hw.gpu.utilization", "1", "gauge", time_ns, value / 100, about


def _device_attributes(device: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    told = {"hw.id": device, "hw.type": "cpu" if device == "cpu" else "gpu"}
    if facts.get("model"):
        told["hw.model"] = printable(facts["model"])
    if is_simulated(device, facts):
        told["thermograd.simulated"] = "true"
    return told


def _unit(column: str) -> str:
    return next((unit for end, unit in _UNITS.items() if column.endswith(end)), "")


def _log_record(alert: Mapping[str, Any]) -> tuple[int, int, str, str, dict[str, Any]]:
    """Return time, severity, its name, body and attributes of an alert."""
    severity = str(alert.get("severity"))
    about = {
        f"thermograd.alert.{name}": value
        for name, value in alert.items()
        if value is not None and name not in ("time_ns", "monotonic_ns", "message", "severity")
    }
    body = printable(alert.get("message") or "")
    return int(alert["time_ns"]), _SEVERITIES.get(severity, 17), severity, body, about
