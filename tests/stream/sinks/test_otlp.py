import gzip
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("opentelemetry.proto")

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from otlp import receiver, rows
from thermograd.store.errors import ConfigError
from thermograd.store.events import KINDS, Event
from thermograd.store.runs.catalogue import list_runs
from thermograd.stream.pipeline.config import load_config
from thermograd.stream.pipeline.live import watch_log
from thermograd.stream.settings import OtlpSettings, Settings
from thermograd.stream.sinks.otlp import OtlpSink

T0 = 1_795_000_000 * 10**9
RUN = {"run_id": "20261118-120000-train-abcd", "name": "train", "devices": {}}
DEVICES = {"GPU-1": {"model": "NVIDIA H100", "simulated": True}}


@contextmanager
def collector(without=()):
    """Give the address of a collector, and what it has got: path, headers, body."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((self.path, dict(self.headers), body))
            self.send_response(404 if self.path in without else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


def event(kind, seq, **values):
    known = {column.name: None for column in KINDS[kind]}
    at_ns = T0 + seq * 10**9
    return Event(kind, "w", {**known, "seq": seq, "time_ns": at_ns, "monotonic_ns": at_ns, **values})


def value_of(column, seq):
    if column.type == "bool":
        return seq % 2 == 0
    return 1000 + seq if "int" in column.type else 57.0 + 0.1 * seq


def everything():
    """Return steps and samples with every column, and some without."""
    steps = [c for c in KINDS["step"] if c.name not in ("step", "rank")]
    sample = [c for c in KINDS["sample"] if c.name != "device"]
    for seq in range(3):
        yield event("step", seq, step=seq + 1, rank=0, **{c.name: value_of(c, seq) for c in steps})
        yield event("sample", seq, device="GPU-1", **{c.name: value_of(c, seq) for c in sample})
        yield event("sample", seq, device="cpu", utilization_pct=100 / 3 + seq)
    yield event("step", 3, step=4, rank=0, loss=math.nan, grad_norm=math.inf)


def known(found):
    return {
        name: value
        for name, value in found.items()
        if value is not None and name not in ("seq", "monotonic_ns")
    }


def test_what_goes_out_comes_in_again_equal(tmp_path):
    sent = list(everything())
    with collector() as (address, got):
        sink = OtlpSink(OtlpSettings(endpoint=address), RUN, DEVICES, pytest.fail)
        sink.take(sent)
        sink.close(60)
    requests = [
        ExportMetricsServiceRequest.FromString(body) for path, _, body in got if path == "/v1/metrics"
    ]
    with receiver(tmp_path) as made:
        for request in (*requests, *requests):  # a collector may send twice
            assert made.take(request).rejected == 0
    (run,) = list_runs(tmp_path)
    for kind in ("step", "sample"):
        ours = sorted((known(e.values) for e in sent if e.kind == kind), key=lambda row: row["time_ns"])
        assert [repr(sorted(row.items())) for row in rows(run.path, kind)] == [
            repr(sorted(row.items())) for row in ours
        ]
    assert run.name == "train"
    assert run.facts["devices"]["GPU-1"] == {"model": "NVIDIA H100", "simulated": True}
    names = {m.name for r in requests for m in r.resource_metrics[0].scope_metrics[0].metrics}
    assert {"hw.temperature", "hw.power", "hw.energy", "hw.gpu.utilization", "thermograd.step.loss"} <= names


def test_alerts_are_log_records_of_their_own_time_and_severity(monkeypatch):
    """Through the layer itself: a norm that is not finite is an alert, and the layer's own account tells."""
    monkeypatch.setattr(OtlpSink.close, "__defaults__", (60.0,))  # the end waits for what is sent
    steps = [event("step", n, step=n, rank=0, loss=1.0, grad_norm=1.0) for n in range(1, 4)]
    steps.append(event("step", 9, step=9, rank=0, loss=math.nan, grad_norm=1.0))
    polls, stop, written = [steps], threading.Event(), []
    stop.set()
    with collector() as (address, got):
        settings = Settings(otlp=OtlpSettings(endpoint=address, headers="authorization=Bearer%20secret"))
        watch_log(
            lambda: polls.pop() if polls else [],
            lambda kind, **values: written.append((kind, values)) or len(written),
            {},
            stop,
            lambda line: None,
            settings,
            RUN,
        )
    alerts = [values for kind, values in written if kind == "alert"]
    (told,) = [ExportLogsServiceRequest.FromString(body) for path, _, body in got if path == "/v1/logs"]
    records = told.resource_logs[0].scope_logs[0].log_records
    assert [(r.time_unix_nano, r.severity_text, r.body.string_value) for r in records] == [
        (a["time_ns"], a["severity"], a["message"]) for a in alerts
    ]
    assert records[0].severity_number == 21
    assert {headers["Authorization"] for _, headers, _ in got} == {"Bearer secret"}
    (account,) = [values for _, values in written if values.get("text") == "the stream layer's own account"]
    assert f'"requests sent by OTLP": {len(got)}' in account["detail"]


def test_a_collector_without_logs_gets_the_readings_and_is_told_of_once():
    said = []
    with collector(without=("/v1/logs",)) as (address, got):
        sink = OtlpSink(OtlpSettings(endpoint=address), RUN, {}, said.append)
        for seq in range(3):
            sink._due_s = 0.0
            sink.alert({"time_ns": T0 + seq, "alert": "x", "severity": "warning", "message": "hot"})
            sink.take([event("step", seq, step=seq, loss=1.0)])
        sink.close(60)
    assert [path for path, *_ in got] == ["/v1/metrics", "/v1/logs", "/v1/metrics", "/v1/metrics"]
    assert said == [
        "alerts do not reach sink 'otlp': it takes no logs (HTTP 404); they are in the log, "
        "and readings go on"
    ]
    assert sink.account() == {
        "requests sent by OTLP": 3,
        "requests that did not reach the OTLP collector": 3,
    }


def test_a_collector_that_is_down_is_counted_and_holds_nobody_up():
    said = []
    sink = OtlpSink(
        OtlpSettings(endpoint="http://127.0.0.1:9", attempts=1, interval_s=0.5), RUN, {}, said.append
    )
    for seq in range(300):
        sink._due_s = 0.0
        sink.take([event("step", seq, step=seq, loss=1.0)])
    sink.close(wait_s=0.5)
    assert sink.account() == {
        "requests sent by OTLP": 0,
        "requests that did not reach the OTLP collector": 300,
    }
    assert said[0].startswith("readings do not reach sink 'otlp': ")
    assert len(said) < 4


def test_what_cannot_be_an_address_or_would_tell_a_secret_is_refused(monkeypatch, tmp_path):
    for endpoint, headers, why in (
        ("collector:4318", "", "no address"),
        ("http://user:word@127.0.0.1", "", "no address"),
        ("http://[::1", "", "no address"),
        ("http://collector:4318", "authorization=x", "https://"),
        ("http://127.0.0.1:4318", "nonsense", "name=value"),
        ("http://127.0.0.1:4318", "a=x%0d%0ab", "name=value"),
        ("env:NO_SUCH_ENDPOINT", "", "NO_SUCH_ENDPOINT is not set"),
    ):
        with pytest.raises(ConfigError, match=why):
            OtlpSink(OtlpSettings(endpoint=endpoint, headers=headers), RUN, {}, pytest.fail)
    file = tmp_path / "thermograd.toml"
    file.write_text('[otlp]\nendpoint = "http://127.0.0.1:4318"\ninterval_s = 2.0\n')
    assert load_config(file, {}).settings.otlp.interval_s == 2.0
    assert "4318" not in repr(load_config(file, {}).settings)
