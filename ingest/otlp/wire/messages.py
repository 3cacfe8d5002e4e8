"""Requests and answers as protobuf and as its JSON."""

import json
import math
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from thermograd.ingest.otlp.receiver import Answer

# of gRPC, as they stand in a Status
INVALID, NOT_FOUND, PERMISSION, RESOURCES, UNIMPLEMENTED, UNAVAILABLE, UNAUTHENTICATED = (
    3,
    5,
    7,
    8,
    12,
    14,
    16,
)
_DEEPEST = 64


class MessageError(ValueError):
    """A body is not what its content type says."""


def read_request(body: bytes, is_json: bool) -> Any:
    """Return the request; MessageError where the body is none."""
    if not is_json:
        try:
            return ExportMetricsServiceRequest.FromString(body)
        except DecodeError as error:
            raise MessageError(f"no ExportMetricsServiceRequest in protobuf ({error})"[:300]) from None
    try:
        document = _prepared(json.loads(body), 0)
        if not isinstance(document, dict):
            raise ValueError("no object")
        return json_format.ParseDict(document, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
    except (ValueError, RecursionError, json_format.Error, AttributeError, TypeError) as error:
        raise MessageError(f"no ExportMetricsServiceRequest in JSON ({error})"[:300]) from None


def _prepared(value: Any, depth: int) -> Any:
    """Return a document as protobuf reads it.

    Without exemplars: of no use here, and their ids are hex, which protobuf takes for base64. A NaN that is
    written as Python writes it becomes a text.
    """
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {k: _prepared(v, depth + 1) for k, v in value.items() if k != "exemplars"}
    if isinstance(value, list):
        return [_prepared(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return value


def answer_message(answer: Answer) -> Any:
    """Return the response that tells how many readings were not taken, if any, and why."""
    response = ExportMetricsServiceResponse()
    if answer.rejected:
        response.partial_success.rejected_data_points = answer.rejected
        response.partial_success.error_message = answer.message[:2000]
    return response


def written_answer(answer: Answer, is_json: bool) -> bytes:
    """Return the response as the sender speaks."""
    return written_message(answer_message(answer), is_json)


def written_message(message: Message, is_json: bool) -> bytes:
    """Return a message as protobuf, or as its JSON."""
    if is_json:
        return str(json_format.MessageToJson(message, indent=None)).encode()
    return bytes(message.SerializeToString())
