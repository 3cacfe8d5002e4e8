import pytest

pytest.importorskip("opentelemetry.proto")
pytest.importorskip("grpc")

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from otlp import gauge, point, receiver, request, rows
from thermograd.ingest.otlp.received_run import BusyError
from thermograd.ingest.otlp.wire.grpc_service import GrpcServer
from thermograd.store.runs.catalogue import list_runs


def test_what_comes_over_grpc_is_written_and_what_is_refused_has_its_code(tmp_path, monkeypatch):
    old = {"name": "old", "summary": {"dataPoints": [{}]}}
    bearer = [("authorization", "Bearer 0123456789abcdef")]
    with receiver(tmp_path) as made:
        server = GrpcServer(made, "127.0.0.1", 0, "0123456789abcdef")
        with grpc.insecure_channel(f"127.0.0.1:{server.port}", compression=grpc.Compression.Gzip) as channel:
            export = metrics_service_pb2_grpc.MetricsServiceStub(channel).Export
            answer = export(request(gauge("a", point(0.1)), old), metadata=bearer, timeout=120)
            assert answer.partial_success.rejected_data_points == 1
            for code, options in (
                (grpc.StatusCode.UNAUTHENTICATED, {}),
                (grpc.StatusCode.RESOURCE_EXHAUSTED, {"most": 0}),
                (grpc.StatusCode.UNAVAILABLE, {"busy": True}),
            ):
                with monkeypatch.context() as changed:
                    if "most" in options:
                        changed.setattr("thermograd.ingest.otlp.receiver._MOST_POINTS", 0)
                    if "busy" in options:
                        changed.setattr(made, "_require_space", lambda: _raise(BusyError("full", 30)))
                    with pytest.raises(grpc.RpcError) as refused:
                        export(
                            request(gauge("b", point(1.0))), metadata=bearer if options else None, timeout=120
                        )
                assert refused.value.code() == code
        server.close()
    (run,) = list_runs(tmp_path)
    assert [(row["name"], row["value"]) for row in rows(run.path, "metric")] == [("a", 0.1)]


def _raise(error):
    raise error
