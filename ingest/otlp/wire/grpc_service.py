"""OTLP over gRPC, where grpcio is installed."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from thermograd.ingest.otlp.received_run import BusyError
from thermograd.ingest.otlp.receiver import Receiver, TooManyError
from thermograd.ingest.otlp.wire.http import MOST_BODY_BYTES
from thermograd.ingest.otlp.wire.messages import answer_message
from thermograd.store.errors import ServeError
from thermograd.store.listening.addresses import bracketed
from thermograd.store.listening.tokens import bearer_of, is_secret_given

_WORKERS, _MOST_CALLS = 2, 64
_ENDING_S = 5.0


class _Service(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: Receiver, token: str | None) -> None:
        self._receiver, self._token = receiver, token

    def Export(self, request: Any, context: Any) -> Any:
        """Write an export; its answer is sent when all of it is in the log."""
        if self._token is not None:
            told = dict(context.invocation_metadata()).get("authorization", "")
            if not is_secret_given(bearer_of(str(told)), self._token):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "this receiver asks for its token")
        try:
            return answer_message(self._receiver.take(request))
        except TooManyError as error:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except BusyError as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))


class GrpcServer:
    """Answers ``MetricsService.Export`` at an address. ServeError where it cannot listen there."""

    def __init__(self, receiver: Receiver, host: str, port: int, token: str | None) -> None:
        options = [("grpc.max_receive_message_length", MOST_BODY_BYTES), ("grpc.so_reuseport", 0)]
        workers = ThreadPoolExecutor(_WORKERS, "thermograd-otlp-grpc")
        self._server = grpc.server(workers, options=options, maximum_concurrent_rpcs=_MOST_CALLS)
        service = _Service(receiver, token)
        add: Any = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server  # it has no types
        add(service, self._server)
        shown = f"{bracketed(host)}:{port}"
        try:
            self.port = int(self._server.add_insecure_port(shown))
        except RuntimeError as error:
            raise ServeError(f"--otlp-grpc: cannot listen at {shown}; give another port") from error
        self._server.start()

    def close(self) -> None:
        """Finish what has begun, and stop."""
        self._server.stop(_ENDING_S).wait()
