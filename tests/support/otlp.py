"""Exports as senders make them, and a receiver that writes them to a folder."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

T0 = 1_795_000_000 * 10**9
WHO = {"service.name": "train", "service.instance.id": "a1", "host.name": "node1"}


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP's JSON has them."""
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return [{"key": k, "value": {kinds[type(v)]: v}} for k, v in values.items()]


def point(value: float | int | None, at_s: float = 0.0, **of: Any) -> dict[str, Any]:
    """Return a data point; what else it has by its name in JSON, `about` are its attributes."""
    about = of.pop("about", {})
    told: dict[str, Any] = {"timeUnixNano": str(T0 + round(at_s * 1e9)), "attributes": attributes(about)}
    if value is not None:
        told["asInt" if isinstance(value, int) else "asDouble"] = value
    return told | of


def gauge(name: str, *points: dict[str, Any], unit: str = "") -> dict[str, Any]:
    """Return a gauge."""
    return {"name": name, "unit": unit, "gauge": {"dataPoints": list(points)}}


def total(name: str, *points: dict[str, Any], unit: str = "", delta: bool = False) -> dict[str, Any]:
    """Return a monotonic sum."""
    data = {"dataPoints": list(points), "isMonotonic": True, "aggregationTemporality": 1 if delta else 2}
    return {"name": name, "unit": unit, "sum": data}


def export(*metrics: dict[str, Any], who: Mapping[str, Any] = WHO, scope: str = "test") -> dict[str, Any]:
    """Return an export of one resource as JSON has it."""
    of_scope = {"scope": {"name": scope}, "metrics": list(metrics)}
    resource = {"attributes": attributes(who)}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [of_scope]}]}


def request(*metrics: dict[str, Any], **of: Any) -> Any:
    """Return an export as a message."""
    from thermograd.ingest.otlp.wire.messages import read_request

    return read_request(json.dumps(export(*metrics, **of)).encode(), is_json=True)


@contextlib.contextmanager
def receiver(
    runs: Path, columns: tuple[str, ...] = (), units: tuple[str, ...] = (), **of: Any
) -> Iterator[Any]:
    """Give a receiver; it is ended in order."""
    from thermograd.ingest.otlp.names import Names, given_units, mapped_columns
    from thermograd.ingest.otlp.receiver import Receiver

    names = Names(mapped_columns(columns), given_units(units))
    made = Receiver(runs, names, None, of.pop("say", lambda text: None), **of)
    try:
        made.take_up()
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def http_port(made: Any, token: str | None = None) -> Iterator[int]:
    """Give the port at which a receiver answers."""
    import socket

    from thermograd.ingest.otlp.listening import http_server
    from thermograd.ingest.otlp.wire.http import Application

    app = Application(made, token, names=token is None)
    server = http_server(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)
    assert not thread.is_alive()
    app.close()


def rows(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    """Return a run's events without what is null, in order of time."""
    from thermograd.store.log.reader import read_kind

    skipped = ("seq", "monotonic_ns", "writer")
    told = sorted(read_kind(run_dir, kind).to_pylist(), key=lambda row: row["time_ns"])
    return [{k: v for k, v in row.items() if v is not None and k not in skipped} for row in told]
