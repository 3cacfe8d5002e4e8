import contextlib
import gzip
import http.client
import json
import socket

import pytest

pytest.importorskip("opentelemetry.proto")
pytest.importorskip("uvicorn")

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from otlp import export, gauge, http_port, point, receiver, request, rows
from thermograd.ingest.otlp.listening import Doors, address_of, receive
from thermograd.ingest.otlp.received_run import BusyError
from thermograd.ingest.otlp.wire import http as ours
from thermograd.store.errors import ImportFormatError, LogError, MissingExtraError, ServeError
from thermograd.store.runs.catalogue import list_runs

PROTOBUF, JSON = "application/x-protobuf", "application/json"


def send(connection, body, kind=PROTOBUF, path="/v1/metrics", method="POST", **headers):
    told = {"Content-Type": kind} | {name.replace("_", "-"): text for name, text in headers.items()}
    connection.request(method, path, body, told)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def post(port, *args, **of):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        return send(connection, *args, **of)


@pytest.fixture
def served(tmp_path):
    with receiver(tmp_path) as made, http_port(made) as port:
        yield made, port, tmp_path


def test_protobuf_json_gzip_and_chunks_over_one_connection(served):
    made, port, runs = served
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    plain = request(gauge("a", point(1.0))).SerializeToString()
    packed = gzip.compress(request(gauge("z", point(2.0))).SerializeToString())
    snake = json.dumps(export(gauge("c", point(3.0)))).replace("resourceMetrics", "resource_metrics")
    ids = {"exemplars": [{"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "zz"}]}
    document = json.dumps(export(gauge("b", point(float("nan")), point(2**60, 1) | ids)))
    for body, kind, headers in (
        (plain, PROTOBUF, {}),
        (packed, PROTOBUF, {"Content_Encoding": "gzip"}),
        (document, JSON, {}),
        (snake, f"{JSON}; charset=utf-8", {}),
        (iter([plain[:10], plain[10:]]), PROTOBUF, {}),
    ):
        status, answer, told = send(client, body, kind, **headers)
        assert status == 200
        assert told["content-type"] == kind.partition(";")[0]
        assert answer == (b"{}" if "json" in kind else b"")
    client.close()
    (run,) = list_runs(runs)
    assert [row["name"] for row in rows(run.path, "metric")].count("a") == 1
    assert made.counts == {
        "exports": 5,
        "written": 5,
        "repeated": 1,
        "empty": 0,
        "rejected": 0,
        "late": 0,
        "second": 0,
    }


def test_what_is_not_taken_is_told_in_the_answer(served):
    _, port, _ = served
    old = {"name": "old", "summary": {"dataPoints": [{}, {}]}}
    status, answer, _ = post(port, request(old, gauge("a", point(1.0))).SerializeToString())
    told = service.ExportMetricsServiceResponse.FromString(answer).partial_success
    assert (status, told.rejected_data_points, told.error_message) == (200, 2, "2 x summary old is not taken")
    _, answer, _ = post(port, json.dumps(export(old)), JSON)
    assert json.loads(answer)["partialSuccess"]["rejectedDataPoints"] == "2"


def test_what_is_refused_has_its_status_and_a_sentence(served, monkeypatch):
    _, port, runs = served
    monkeypatch.setattr(ours, "MOST_BODY_BYTES", 100_000)
    monkeypatch.setattr("thermograd.ingest.otlp.receiver._MOST_POINTS", 8)
    bomb = gzip.compress(b"\0" * 10_000_000, 9)
    deep = b"[" * 50_000 + b"]" * 50_000
    nested = b'{"a":' * 1000 + b"1" + b"}" * 1000
    for expected, of in (
        (400, {"body": b"\xff\xff\xff"}),
        (400, {"body": b"{", "kind": JSON}),
        (400, {"body": b"[1]", "kind": JSON}),
        (400, {"body": b"[]", "kind": JSON}),
        (400, {"body": b'{"resourceMetrics": [{"scopeMetrics": 1}]}', "kind": JSON}),
        (400, {"body": deep, "kind": JSON}),
        (400, {"body": nested, "kind": JSON}),
        (400, {"body": b"no gzip", "Content_Encoding": "gzip"}),
        (400, {"body": gzip.compress(b"x" * 1000)[:-9], "Content_Encoding": "gzip"}),
        (413, {"body": bomb, "Content_Encoding": "gzip"}),
        (413, {"body": b"x" * 100_001}),
        (413, {"body": request(gauge("many", *[point(1.0)] * 9)).SerializeToString()}),
        (413, {"body": iter([b"x" * 60_000, b"x" * 60_000])}),
        (415, {"body": b"", "kind": "text/plain"}),
        (415, {"body": b"x", "Content_Encoding": "br"}),
        (404, {"body": b"", "path": "/v1/traces"}),
        (404, {"body": b"", "path": "/v1/logs"}),
        (404, {"body": b"", "path": "/../../etc/passwd"}),
        (405, {"body": b"", "method": "GET"}),
        (403, {"body": b"", "Origin": "http://evil.example"}),
        (403, {"body": b"", "Host": "evil.example"}),
    ):
        status, answer, headers = post(port, **of)
        assert status == expected, (of["body"], answer)
        read = {
            JSON: lambda told: json.loads(told)["message"],
            PROTOBUF: lambda told: Status.FromString(told).message,
        }
        kind = headers["content-type"].partition(";")[0]
        assert kind == of.get("kind", PROTOBUF)
        message = read.get(kind, lambda told: told.decode().strip())(answer)
        assert message.isprintable()
        assert message
    assert not list_runs(runs)
    assert post(port, request(gauge("a", point(1.0))).SerializeToString())[0] == 200


def test_a_sender_is_told_to_come_again_where_nothing_can_be_written(served, monkeypatch):
    made, port, _ = served
    body = request(gauge("a", point(1.0))).SerializeToString()

    def full(_):
        raise BusyError("less than 32 MB are free", 30)

    with monkeypatch.context() as broken:
        broken.setattr(made, "take", full)
        status, _, headers = post(port, body)
        assert (status, headers["retry-after"]) == (503, "30")
    with monkeypatch.context() as broken:
        broken.setattr(ours, "_MOST_BYTES", 10)
        status, _, headers = post(port, body)
        assert (status, headers["retry-after"]) == (429, "1")
    assert post(port, body)[0] == 200


def test_a_connection_that_ends_early_or_dawdles_costs_nothing(served, monkeypatch):
    _, port, runs = served
    monkeypatch.setattr(ours, "_MOST_BODY_S", 0.2)
    with socket.create_connection(("127.0.0.1", port)) as torn:
        torn.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        torn.sendall(b"Content-Length: 1000\r\n\r\n{")
    with socket.create_connection(("127.0.0.1", port), timeout=120) as slow:
        slow.sendall(b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        slow.sendall(b"Content-Length: 1000\r\n\r\n{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
    assert not list_runs(runs)


def test_another_address_asks_for_the_token(tmp_path):
    with receiver(tmp_path) as made, http_port(made, "0123456789abcdef") as port:
        body = request(gauge("a", point(1.0))).SerializeToString()
        assert post(port, body)[0] == 401
        assert post(port, body, Authorization="Bearer no")[0] == 401
        assert post(port, body, Authorization="Bearer 0123456789abcdef")[0] == 200


def test_the_command_receives_for_a_while_and_refuses_what_it_cannot_use(tmp_path, monkeypatch):
    said = []
    monkeypatch.delenv("THERMOGRAD_RECEIVE_TOKEN", raising=False)
    counts = receive(tmp_path, Doors(http="0.0.0.0:0"), None, said.append, duration_s=0.1)
    assert counts == {}
    assert said[1].startswith("Senders carry the token ")
    for text in ("4318", "host:", ":1", "host:99999", "host:a"):
        with pytest.raises(ServeError, match="no HOST:PORT"):
            address_of(text, "--otlp")
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="cannot record in"):
        receive(tmp_path / "file" / "runs", Doors("127.0.0.1:0"), None, said.append)
    monkeypatch.setattr("thermograd.ingest.otlp.listening.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'thermograd\[otlp\]'"):
        receive(tmp_path, Doors("127.0.0.1:0"), None, said.append)
    monkeypatch.undo()
    for of, why in (
        ({"columns": ["voltage=x"]}, "there is no column 'voltage'; allowed: step, epoch, "),
        ({"columns": ["power_w"]}, "is no NAME=METRIC, such as power_w="),
        ({"columns": ["loss=a", "loss=b"]}, "loss is 'a' already"),
        ({"units": ["power_w=Cel"]}, "allowed for power_w is W, "),
    ):
        with pytest.raises(ImportFormatError, match=why):
            receive(tmp_path, Doors("127.0.0.1:0", **of), None, said.append)
