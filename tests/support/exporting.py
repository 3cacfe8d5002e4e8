"""An exporter that has a series of everything there is, and what Prometheus gets of it."""

import urllib.request
from typing import Any

from thermograd.store.events import KINDS, Event, column_names
from thermograd.store.telling.silences import Silence
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.sinks.prometheus import Exporter

SECOND = 10**9
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def event(kind: str, time_s: float = 0.0, **values: Any) -> Event:
    time_ns = round(time_s * SECOND)
    base = dict.fromkeys(column_names(kind)) | {"seq": 0, "time_ns": time_ns, "monotonic_ns": time_ns}
    return Event(kind, "w", base | values)


def scrape(port: int, accept: str = OPENMETRICS) -> tuple[str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def full_exporter() -> tuple[Exporter, Monitor]:
    """Return an exporter that has heard of 400 steps with samples, and the monitor that has, too."""
    rated = {"rated_power_w": 2.0, "temperature_limit_c": 90.0}
    exporter, monitor = Exporter({"gpu": rated, "cpu": rated}), Monitor({"gpu": {}})
    events = []
    for i in range(400):
        norm, heat = 1.0 + (i * 7 % 11) / 100, 60.0 + (i * 5 % 13) / 10
        events.append(event("step", i, seq=i, step=i + 1, rank=0, grad_norm=norm))
        events.append(event("sample", i + 0.1, seq=i, device="gpu", temperature_c=heat))
    for each in events:
        monitor.process(each)
    exporter.publish(events, monitor.pairs)
    for time_ns in (7 * SECOND, 3 * SECOND):
        exporter.count({"alert": "spike.grad", "severity": "warning", "time_ns": time_ns})
    return exporter, monitor


def fill(exporter: Exporter) -> None:
    """Let an exporter hear of a step and of samples that have every value, of a silence, and of sinks."""
    step, sample = ({c.name: 1 for c in KINDS[kind] if c.type != "string"} for kind in ("step", "sample"))
    silence = Silence("silent.device", "warning", 1, "", devices=("lost",), device="lost")
    exporter.publish([event("step", 400, **step), event("mark", 400, **silence.mark("lost"))])
    samples = [event("sample", 401, **sample, device=device) for device in ("gpu", "cpu")]
    exporter.publish(samples, told={("pager", "failed"): 2})
