"""A sender in another process, and a receiver that is killed while it sends: what was acknowledged is there.

The last export has losses whose norms never come: they wait when the receiver is killed a last time, and no
sender comes again.

`benchmarks/otlp_kill.py` runs it in full size, the suite a small one.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ports import reserved_port

STEPS_IN_EXPORT = 5  # loss and norm of each


class Outcome(NamedTuple):
    """Points by what became of them, and how long sending took."""

    acknowledged: int
    missing: int
    twice: int
    strangers: int
    kills: int
    seconds: float
    retried: int


def values_of(seed: int, export: int, series: int) -> list[float]:
    """Return the values of an export: finite doubles of every size, by their bits."""
    drawn = random.Random(seed * 1_000_003 + export)
    found: list[float] = []
    while len(found) < series:
        (value,) = struct.unpack("<d", drawn.getrandbits(64).to_bytes(8, "little"))
        if value == value and abs(value) != float("inf"):
            found.append(value)
    return found


def send(port: int, exports: int, series: int, seed: int) -> None:
    """Send with OpenTelemetry's SDK and exporter; print each export that was acknowledged."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.metrics import Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    now = 0

    class Persistent(OTLPMetricExporter):
        def export(self, metrics_data: Any, *args: Any, **of: Any) -> Any:
            if now == exports:  # of the provider's shutdown
                return MetricExportResult.SUCCESS
            tries = 1
            while super().export(metrics_data, *args, **of) is not MetricExportResult.SUCCESS:
                tries += 1
                time.sleep(0.02)
            scopes = metrics_data.resource_metrics[0].scope_metrics
            at_ns = scopes[0].metrics[0].data.data_points[0].time_unix_nano
            sys.stdout.write(json.dumps([now, at_ns, tries]) + "\n")
            sys.stdout.flush()
            return MetricExportResult.SUCCESS

    exporter = Persistent(endpoint=f"http://127.0.0.1:{port}/v1/metrics", timeout=2)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=1e9)
    resource = Resource.create({"service.name": "sender", "service.instance.id": "one"})
    provider = MeterProvider([reader], resource=resource)
    meter = provider.get_meter("kill")

    def plain(_: Any) -> Any:
        for at, value in enumerate(values_of(seed, now, series)[2 * STEPS_IN_EXPORT :]):
            yield Observation(value, {"series": at})

    def of_steps(column: int) -> Any:
        def observe(_: Any) -> Any:
            if column and now == exports - 1:
                return
            found = values_of(seed, now, series)[: 2 * STEPS_IN_EXPORT]
            for at in range(STEPS_IN_EXPORT):
                yield Observation(abs(found[2 * at + column]), {"step": now * STEPS_IN_EXPORT + at + 1})

        return observe

    meter.create_observable_gauge("some.metric", [plain])
    meter.create_observable_gauge("train.loss", [of_steps(0)])
    meter.create_observable_gauge("train.grad_norm", [of_steps(1)])
    while now < exports:
        assert provider.force_flush(120_000)
        now += 1
    provider.shutdown(timeout_millis=1)


def run(folder: Path, exports: int, series: int, seed: int = 0, kills: int = 2) -> Outcome:
    """Let `exports` exports of so many points arrive while the receiver is killed; return what came.

    The last kill is when all has been acknowledged.
    """
    with reserved_port() as port:
        return _run(folder, port, exports, series, seed, kills)


def _run(folder: Path, port: int, exports: int, series: int, seed: int, kills: int) -> Outcome:
    receiver = _receiver(folder, port)
    _wait_for(port)
    command = [sys.executable, __file__, "--send", *map(str, (port, exports, series, seed))]
    begun_s = time.monotonic()
    due = {exports * (n + 1) // kills for n in range(kills)}
    drawn, known, retried = random.Random(seed), list[tuple[int, int]](), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as sender:
        assert sender.stdout is not None
        for line in sender.stdout:
            export, at_ns, tries = json.loads(line)
            known.append((export, at_ns))
            retried += tries - 1
            if len(known) in due:
                if len(known) < exports:
                    time.sleep(drawn.uniform(0, 0.02))  # in the middle of the next one
                os.kill(receiver.pid, signal.SIGKILL)
                receiver.wait()
                receiver = _receiver(folder, port)
    seconds = time.monotonic() - begun_s
    assert sender.returncode == 0
    _wait_for(port)
    receiver.send_signal(signal.SIGINT)
    receiver.wait(60)
    return _compare(folder, known, series, seed, kills=kills, seconds=seconds, retried=retried)


def _compare(folder: Path, known: list[tuple[int, int]], series: int, seed: int, **told: Any) -> Outcome:
    from thermograd.store.log.reader import read_kind
    from thermograd.store.runs.catalogue import list_runs

    there: Counter[Any] = Counter()
    for found in list_runs(folder):
        for row in read_kind(found.path, "metric").to_pylist():
            there[row["time_ns"], row["name"], struct.pack("<d", row["value"])] += 1
        for row in read_kind(found.path, "step").to_pylist():
            for column in ("loss", "grad_norm"):
                if row[column] is not None:
                    there[row["step"], column, struct.pack("<d", row[column])] += 1
    sent: Counter[Any] = Counter()
    last = max(export for export, _ in known)
    for export, at_ns in known:
        columns = ("loss",) if export == last else ("loss", "grad_norm")
        values = values_of(seed, export, series)
        for at in range(STEPS_IN_EXPORT):
            for column, name in enumerate(columns):
                step = export * STEPS_IN_EXPORT + at + 1
                sent[step, name, struct.pack("<d", abs(values[2 * at + column]))] += 1
        for at, value in enumerate(values[2 * STEPS_IN_EXPORT :]):
            sent[at_ns, f"some.metric{{series={at}}}", struct.pack("<d", value)] += 1
    missing, more = (sent - there).total(), there - sent
    twice = sum(count for key, count in more.items() if key in sent)
    return Outcome(sent.total(), missing, twice, more.total() - twice, **told)


def _receiver(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    words = ["-P", "-m", "thermograd.cli", "--runs", str(folder), "record", "--otlp", f"127.0.0.1:{port}"]
    return subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for(port: int) -> None:
    until_s = time.monotonic() + 120
    while True:
        try:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as asked:
                asked.request("GET", "/")
                asked.getresponse()
                return
        except OSError:
            assert time.monotonic() < until_s
            time.sleep(0.05)


if __name__ == "__main__":
    send(*map(int, sys.argv[2:]))
